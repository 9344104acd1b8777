//! `plugin test`, held against plugins that break the contract one point at a time.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use crate::snooze::{Place, snooze};
use expect_test::expect;
use serde_json::Value;

const SHELL: &str = include_str!("../../../plugins/templates/sh/my-plugin.sh");
const HELLO: &str = include_str!("../../../plugins/examples/hello.sh");

// S0-13
#[test]
fn plugin_test_judges_the_example_in_shell() {
    let place = Place::new();
    // A checkout may be writable for a group, which the daemon refuses.
    let plugin = place.program("hello.sh", HELLO);
    let run = snooze(["--json", "plugin", "test", "--patience", "10", &plugin]);
    assert_eq!(run.code, 0, "{}", run.out);
    let verdicts: Vec<String> = points(&run.json());
    expect![[r#"
        ok file
        ok start and Info
        ok Info again
        none Configure
        none Initialize
        none GetSupportedEvents
        none Health
        none CheckIdle, at rest
        none CheckIdle, busy
        ok HandleEvent
        none event of another type
        ok event without time
        none dry_run
        ok unknown method
        ok two requests at once
        none Health after that
        ok Shutdown
        none line that is no request
        ok end of stdin
        ok SIGTERM"#]]
    .assert_eq(&verdicts.join("\n"));
}

#[test]
fn c11_plugin_test_names_what_a_broken_plugin_does() {
    let place = Place::new();
    let plugin = place.program(
        "broken",
        r#"#!/bin/sh
        echo 'who am I' >&2
        while read -r request; do
            id=${request##*\"id\":}
            case $request in
                *'"Info"'*) echo "{\"result\":{\"name\":\"broken\"},\"id\":${id%\}}}" ;;
                *'"HandleEvent"'*) printf '{"result":{"error":"no \\u001b[2Jway"},"id":%s}\n' "${id%\}}" ;;
                *) echo "{\"result\":{\"success\":true,\"is_idle\":true,\"events\":[]},\"id\":${id%\}}}" ;;
            esac
        done
        exit 4
        "#,
    );
    let run = snooze(["plugin", "test", "--patience", "10", &plugin]);
    assert_eq!(run.code, 1, "{}", run.out);
    let failed: Vec<&str> = run.out.lines().filter(|line| line.starts_with("FAIL")).collect();
    let parts =
        ["HandleEvent", "event of another type", "unknown method", "Shutdown", "end of stdin"];
    assert_eq!(failed.len(), parts.len(), "{}", run.out);
    assert!(failed.iter().zip(parts).all(|(line, part)| line.contains(part)), "{}", run.out);
    assert!(!run.out.contains('\u{1b}'), "{}", run.out);
    assert!(failed[3].contains("exit status: 4"), "{}", run.out);
    assert!(run.out.contains("the last line it wrote: who am I"), "{}", run.out);
}

#[test]
fn plugin_test_tells_of_a_file_that_the_daemon_would_not_run() {
    let place = Place::new();
    let open = place.program("open", HELLO);
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let nameless = place.program("under_score.sh", HELLO);
    for (plugin, why) in [(open, "mode 0777"), (nameless, "\"under_score\" is not a plugin name")] {
        let run = snooze(["plugin", "test", "--patience", "10", &plugin]);
        assert_eq!(run.code, 1, "{}", run.out);
        let first = run.out.lines().next().unwrap();
        assert!(first.starts_with("FAIL  file") && first.contains(why), "{}", run.out);
    }
}

#[test]
fn plugin_test_of_what_is_no_plugin_ends_soon() {
    let run = snooze(["plugin", "test", "/bin/true"]);
    assert_eq!(run.code, 1);
    assert!(run.out.contains("FAIL  start and Info"), "{}", run.out);
    assert_eq!(snooze(["plugin", "test", "/no/such/plugin"]).code, 3);
}

#[test]
fn plugin_test_of_a_plugin_that_floods_ends_soon() {
    let place = Place::new();
    let plugin = place.program("flood", "#!/bin/sh\nyes flood >&2 &\nyes flood\n");
    let run = snooze(["plugin", "test", "--patience", "10", &plugin]);
    assert_eq!(run.code, 1);
    assert!(run.out.contains("broken reply: not JSON: `flood`"), "{}", run.out);
}

#[test]
fn plugin_test_without_the_service_takes_an_error_and_nothing_else() {
    let place = Place::new();
    let handles = "'{\"method\":\"HandleEvent\",'*) sync && result='{\"handled\":true,\"status\":\"synced\"}' ;;";
    assert_eq!(HELLO.matches(handles).count(), 1);
    for (answer, verdict, summary) in [
        (
            "result='{\"error\":\"no server at port 1\"}'",
            "skip",
            "0 broken, 10 not offered, 1 not tried",
        ),
        ("result='{\"handled\":false,\"error\":\"no server\"}'", "skip", ", 1 not tried"),
        ("result='{\"status\":\"saved\"}'", "FAIL", "1 broken"),
        ("exit 1", "FAIL", " broken"),
    ] {
        let instead = format!("'{{\"method\":\"HandleEvent\",'*) {answer} ;;");
        let plugin = place.program("hello.sh", &HELLO.replace(handles, &instead));
        let judge = |more: &[&str]| {
            snooze(["plugin", "test", "--patience", "10", &plugin].iter().chain(more))
        };
        assert_eq!(judge(&[]).code, 1, "{answer}");
        let run = judge(&["--without-service"]);
        assert_eq!(run.code, i32::from(verdict == "FAIL"), "{answer}: {}", run.out);
        let line = run.out.lines().find(|line| line.contains(" HandleEvent ")).unwrap();
        assert!(line.starts_with(verdict), "{line}");
        assert!(run.out.trim_end().lines().last().unwrap().contains(summary), "{}", run.out);
    }
}

/// A plugin that breaks the contract: a part of the template in shell, and what stands there
/// instead; the point that is broken by it, and a part of what is said of it.
struct Flaw {
    part: &'static str,
    instead: &'static str,
    point: &'static str,
    said: &'static str,
}

/// What is seen by an answer.
const WRONG_ANSWERS: [Flaw; 11] = [
    Flaw {
        part: "result=$(info) ;;",
        instead: "asked=1$asked && result=$(info) && result=\"${result%?},\\\"x\\\":$asked}\" ;;",
        point: "Info again",
        said: "something else than before",
    },
    Flaw {
        part: "*) fault \" is no setting of this plugin\" ;;",
        instead: "*) ;;",
        point: "unknown setting",
        said: "takes a setting that it does not declare",
    },
    Flaw {
        part: "fault \" is no setting of this plugin\"",
        instead: "fault \" is no setting: $(echo \"$value\" | tr -d '\"')\"",
        point: "unknown setting",
        said: "shows the value of `cloudsnooze_no_such_setting`",
    },
    Flaw {
        part: "is_percent \"$value\" ||",
        instead: "true ||",
        point: "wrong values",
        said: "takes \"canary-5b1f\" for `cpu_threshold`",
    },
    Flaw {
        part: "! below 100 \"$1\"",
        instead: "true",
        point: "wrong values",
        said: "takes 201.0 for `cpu_threshold`",
    },
    Flaw {
        part: "\"default\":\"/var/tmp/my-plugin.json\"",
        instead: "\"required\":true",
        point: "missing settings",
        said: "does without `path`, which is required",
    },
    Flaw {
        part: "\"default\":5,",
        instead: "\"default\":500,",
        point: "defaults",
        said: "its default is not a number from 0 to 100",
    },
    Flaw {
        part: "\"default\":\"/var/tmp/my-plugin.json\"",
        instead: "\"default\":\"my-plugin.json\"",
        point: "defaults",
        said: "refuses its own defaults: `path`",
    },
    Flaw {
        part: "*) result='{\"handled\":false}' && return ;;",
        instead: "*) ;;",
        point: "event of another type",
        said: "handles system.disk.low",
    },
    Flaw {
        part: "\\\"status\\\":\\\"would_save\\\",\\\"dry_run\\\":true",
        instead: "\\\"status\\\":\\\"saved\\\"",
        point: "dry_run",
        said: "no `\"dry_run\":true`",
    },
    Flaw {
        part: "echo '{\"error\":\"the request is not a JSON object\",\"id\":null}'",
        instead: "exit 3",
        point: "line that is no request",
        said: "ended without an answer (exit status: 3)",
    },
];

/// What is seen by the time that passes.
const NO_ANSWERS: [Flaw; 4] = [
    Flaw {
        part: "text=\"$value s are left",
        instead: "sleep 1000; text=\"$value s are left",
        point: "event without time",
        said: "obey `timeRemaining`",
    },
    Flaw {
        part: "while IFS= read -r line; do",
        instead: "while line=$(dd bs=65536 count=1 2>/dev/null) && [ -n \"$line\" ]; do",
        point: "two requests at once",
        said: "no answer within 5.0 s",
    },
    Flaw {
        part: "  [ \"$method\" != '\"Shutdown\"' ] || exit 0\ndone\n",
        instead: "  [ \"$method\" != '\"Shutdown\"' ] || exit 0\ndone\nsleep 1000\n",
        point: "end of stdin",
        said: "still runs 5.0 s after its stdin was closed",
    },
    Flaw {
        part: "defaults\nwhile",
        instead: "trap '' TERM\ndefaults\nwhile",
        point: "SIGTERM",
        said: "still runs 2.0 s after SIGTERM",
    },
];

#[test]
fn plugin_test_finds_each_flaw_and_nothing_else() {
    for flaw in WRONG_ANSWERS {
        let failed = failed(&flaw, "10");
        assert_eq!(failed.len(), 1, "{}: {failed:?}", flaw.point);
        assert!(failed[0].contains(flaw.said), "{}: {failed:?}", flaw.point);
    }
}

// On a slow machine other points may be late too.
#[test]
fn plugin_test_finds_a_plugin_that_does_not_answer_or_end_in_time() {
    thread::scope(|scope| {
        for flaw in &NO_ANSWERS {
            scope.spawn(move || {
                let failed = failed(flaw, "1");
                assert!(failed.iter().any(|line| line.contains(flaw.said)), "{failed:?}");
            });
        }
    });
}

/// The points that a plugin with the flaw breaks.
fn failed(flaw: &Flaw, patience: &str) -> Vec<String> {
    assert_eq!(SHELL.matches(flaw.part).count(), 1, "{}", flaw.part);
    let place = Place::new();
    let plugin = place.program("flawed.sh", &SHELL.replace(flaw.part, flaw.instead));
    let config = format!(r#"{{"path": "{}"}}"#, place.path("state.json").display());
    let test = ["plugin", "test", "--patience", patience, "--config", &config, &plugin];
    let run = snooze(["--json"].into_iter().chain(test));
    assert_eq!(run.code, 1, "{}: {}", flaw.point, run.out);
    let data = run.json();
    let points = data["points"].as_array().unwrap().iter();
    let failed = points.filter(|point| point["verdict"] == "FAIL");
    failed.map(|point| format!("{}: {}", text(point, "point"), text(point, "text"))).collect()
}

fn points(data: &Value) -> Vec<String> {
    let points = data["points"].as_array().unwrap();
    points
        .iter()
        .map(|point| format!("{} {}", text(point, "verdict"), text(point, "point")))
        .collect()
}

fn text(point: &Value, key: &str) -> String {
    point[key].as_str().unwrap().to_owned()
}
