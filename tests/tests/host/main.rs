//! The plugin host with real processes that misbehave. Each test runs alone, so that what it
//! leaves behind can be told: no process, no child, no descriptor.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Map, json};
use snooze_plugin::{Metrics, Verdict};
use snooze_tests::place;
use snoozed::launch::{children_of, descendants_of, is_alive};
use snoozed::plugins::{Entry, Host, Outcome, PluginState, Report, discover};

use bench::{Bench, bench_entry, check, command_line, event, install, ms, reap, sha256, swap};

#[cfg(test)]
mod bench;
#[cfg(test)]
mod names;
#[cfg(test)]
mod neighbours;
#[cfg(test)]
mod sandbox;

const CANARY: &str = "S3CR3T-CANARY";

/// Longer than anything takes on a machine that does much else.
const LONG: Duration = Duration::from_secs(30);

// ---- doing it well ----

/// S1-17, S1-41
#[test]
fn a_handler_gets_the_event_and_its_answer_is_the_outcome() {
    check(&["echo"], async |bench| {
        let outcome = bench.run("echo", LONG).await;
        assert_eq!(outcome.outcome, Outcome::Done);
        assert_eq!(outcome.result.get("event"), Some(&event()));
        assert!(!outcome.late);
        let status = bench.status("echo");
        assert_eq!(status.state, PluginState::Ready);
        assert_eq!(status.info.map(|info| info.version), Some("1.0.0".to_owned()));
        assert_eq!(
            status.supported.as_deref(),
            Some(&["cloud.spot.*", "custom"].map(str::to_owned)[..])
        );
        assert_eq!((status.stats.calls, status.stats.failures, status.stats.restarts), (1, 0, 0));
    });
}

/// S1-50
#[test]
fn what_a_handler_says_of_itself_tells_done_from_degraded_failed_and_not_handled() {
    check(&["degraded", "refuse"], async |bench| {
        let outcome = bench.run("degraded", LONG).await;
        assert_eq!(outcome.outcome, Outcome::Degraded);
        assert_eq!(outcome.result.get("error"), Some(&json!("half")));
        let outcome = bench.run("refuse", LONG).await.outcome;
        assert_eq!(outcome, Outcome::Failed("no database".to_owned()));
    });
}

/// S1-42
#[test]
fn an_event_that_a_plugin_does_not_name_is_not_handed_to_it() {
    check(&["echo"], async |bench| {
        let event = json!({ "type": "instance.idle" });
        let outcome = bench.hand("echo", event, LONG).await;
        assert_eq!(outcome.outcome, Outcome::NotHandled);
        let outcome = bench.hand("echo", json!({ "type": "custom" }), LONG).await;
        assert_eq!(outcome.outcome, Outcome::Done);
    });
}

/// S1-22 to S1-28, S1-18, S1-19
#[test]
fn a_python_voter_of_the_first_protocol_runs_and_is_told_from_a_handler() {
    check(&["voter.py"], async |bench| {
        bench.until(PluginState::Ready, "voter").await;
        let metrics = |cpu| Metrics::read(&json!({ "cpu_usage": cpu }));
        bench.host.check_idle("voter", &metrics(3.0));
        assert_eq!(bench.vote().await.unwrap().verdict, Verdict::Idle);
        bench.host.check_idle("voter", &metrics(50.0));
        let vote = bench.vote().await.unwrap();
        assert_eq!((vote.verdict, vote.reason.as_str()), (Verdict::Busy, "50.0 of 5 percent"));
        assert_eq!(bench.run("voter", LONG).await.outcome, Outcome::NotHandled);
        assert_eq!(bench.status("voter").supported, None);
    });
}

#[test]
fn a_plugin_in_shell_may_end_after_each_event() {
    check(&["once.sh"], async |bench| {
        for _ in 0..2 {
            let outcome = bench.run("once", LONG).await;
            assert_eq!(outcome.outcome, Outcome::Done);
            assert!(outcome.status.starts_with("by /proc/self/fd/"), "{}", outcome.status);
            bench.until(PluginState::Waiting, "once").await;
        }
        assert_eq!(bench.status("once").stats.failures, 0);
    });
}

#[test]
fn a_hundred_handlers_start_their_event_together() {
    let names: Vec<String> = (0..100).map(|number| format!("echo{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    check(&names, async |bench| {
        for name in &names {
            bench.until(PluginState::Ready, name).await;
        }
        let start = Instant::now();
        for name in &names {
            bench.start(name, event(), LONG, ms(100));
        }
        let mut started = 0;
        while started < names.len() {
            started += usize::from(matches!(bench.report().await, Report::Started { .. }));
        }
        // One after the other would take so long if each took a third of a second; `cargo xtask
        // bench` holds a release build to the bar of the promises.
        assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    });
}

// ---- time ----

#[test]
fn f1_a_handler_that_hangs_gets_term_at_its_budget() {
    check(&["hang"], async |bench| {
        bench.until(PluginState::Ready, "hang").await;
        let outcome = bench.run("hang", ms(150)).await;
        assert_eq!(outcome.outcome, Outcome::TimedOut);
        assert!((0.15..10.0).contains(&outcome.seconds), "{}", outcome.seconds);
        bench.until(PluginState::Ready, "hang").await;
    });
}

#[test]
fn f2_a_handler_that_ignores_signals_is_killed_after_the_grace() {
    check(&["deaf"], async |bench| overruns_by_its_grace(bench, "deaf").await);
}

#[test]
fn f3_a_handler_that_stops_itself_is_killed_after_the_grace() {
    check(&["stop"], async |bench| overruns_by_its_grace(bench, "stop").await);
}

async fn overruns_by_its_grace(bench: &mut Bench, name: &str) {
    bench.until(PluginState::Ready, name).await;
    let keeper = bench.keeper(name);
    let outcome = bench.run(name, ms(150)).await;
    assert_eq!(outcome.outcome, Outcome::TimedOut);
    assert!((0.45..10.0).contains(&outcome.seconds), "{}", outcome.seconds);
    bench.gone(keeper, LONG).await;
}

/// A process that is traced can be held in its end: to whoever kills it that looks like one that
/// hangs in the kernel.
#[test]
fn f3_what_the_kernel_does_not_end_is_abandoned_and_told() {
    check(&[], async |bench| {
        install(bench.dir.parent().unwrap(), "held");
        let place = bench.run_directory();
        let file = |name: &str| fs::File::create(place.join(name)).unwrap();
        let says = |name: &str, text: &str| {
            fs::read_to_string(place.join(name)).unwrap().matches(text).count()
        };
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_launcher"))
            .arg("daemon")
            .args([bench.plugins(), bench.run_directory()])
            .args(["hostile-held", "200"])
            .stdin(Stdio::piped())
            .stdout(file("reports"))
            .spawn()
            .unwrap();
        bench.reaches(LONG, |_| says("reports", "Ready") == 1).await;
        let plugin = bench.dir.join("hostile-held").display().to_string();
        let pid = bench.traces().into_iter().find(|pid| command_line(*pid).starts_with(&plugin));
        let pid = pid.unwrap();
        let mut tracer = Command::new("python3")
            .args(["-c", HOLD, &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(file("tracer"))
            .spawn()
            .unwrap();
        bench.reaches(LONG, |_| says("tracer", "\n") == 1).await;
        if place::there("a kernel that lets one trace", says("tracer", "held") == 1) {
            daemon.stdin.take().unwrap().write_all(b"\n").unwrap();
            bench.reaches(LONG, |_| says("reports", "Unkillable") == 1).await;
            let told = fs::read_to_string(place.join("reports")).unwrap();
            assert!(
                told.contains("the kernel does not end ") && told.contains(&format!(" {pid} "))
            );
            assert!(is_alive(Pid::from_raw(pid).unwrap()), "somebody waited for it");
            // The next event has a process of its own.
            bench.reaches(LONG, |_| says("reports", "Ready") == 2).await;
        }
        drop(tracer.stdin.take());
        tracer.wait().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        bench.reaches(LONG, |bench| bench.traces().is_empty()).await;
        reap();
    });
}

/// Holds the process of that number in its end, whoever ends it, as long as stdin is open:
/// `PTRACE_SEIZE` with `PTRACE_O_TRACEEXIT` (ptrace(2)).
const HOLD: &str = "\
import ctypes, sys
word = ctypes.c_void_p
ptrace = ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_int, word, word]
held = ptrace(0x4206, int(sys.argv[1]), None, 0x40) == 0
print('held' if held else 'refused', flush=True)
sys.stdin.read()
";

#[test]
fn a_deadline_moved_forward_ends_a_handler_earlier_and_never_later() {
    check(&["hang"], async |bench| {
        bench.until(PluginState::Ready, "hang").await;
        let run = bench.start("hang", event(), LONG, ms(200));
        bench.host.shorten(run, ms(100));
        bench.host.shorten(run, LONG);
        let outcome = bench.outcome(run).await;
        assert_eq!(outcome.outcome, Outcome::TimedOut);
        assert!(outcome.seconds < 10.0, "{}", outcome.seconds);
    });
}

#[test]
fn f13_an_answer_after_the_time_is_late_and_changes_nothing() {
    check(&["late"], async |bench| {
        bench.until(PluginState::Ready, "late").await;
        let run = bench.start("late", event(), ms(1000), LONG);
        let outcome = bench.outcome(run).await;
        assert_eq!((outcome.outcome, outcome.late), (Outcome::TimedOut, true));
        assert_eq!(outcome.status, "late");
    });
}

/// S3-15
#[test]
fn a_plugin_that_never_says_who_it_is_cannot_start() {
    check(&[], async |bench| {
        install(bench.dir.parent().unwrap(), "mute");
        bench.settings.limits.call = ms(900);
        bench.restart(&["mute"]).await;
        let outcome = bench.run("mute", LONG).await;
        assert_eq!(outcome.outcome, Outcome::CannotStart("no answer in time".to_owned()));
        let outcome = bench.run("mute", ms(100)).await;
        assert_eq!(outcome.outcome, Outcome::TimedOut);
    });
}

// ---- ending and starting again ----

#[test]
fn f4_the_way_a_plugin_ended_is_told() {
    let cases = [
        ("exit-before-0", Outcome::Exited { code: 0 }),
        ("exit-before-3", Outcome::Exited { code: 3 }),
        ("crash", Outcome::Killed { signal: 6 }),
        ("exit-after-0", Outcome::Done),
        (
            "exit-after-3",
            Outcome::Failed("the plugin ended with exit code 3 after its answer".to_owned()),
        ),
    ];
    check(&cases.each_ref().map(|(name, _)| *name), async |bench| {
        for (name, expected) in cases {
            let mut outcome = bench.run(name, LONG).await.outcome;
            for _ in 0..4 {
                // On a busy machine it may end after it was believed.
                if name == "exit-after-3" && outcome == Outcome::Done {
                    outcome = bench.run(name, LONG).await.outcome;
                }
            }
            assert_eq!(outcome, expected, "{name}");
        }
    });
}

#[test]
fn f5_a_plugin_that_crashes_at_its_start_is_tried_a_few_times() {
    check(&["crash-start", "crash-idle"], async |bench| {
        let start = Instant::now();
        let outcome = bench.run("crash-start", LONG).await.outcome;
        let text = "the plugin ended with exit code 3".to_owned();
        assert_eq!(outcome, Outcome::CannotStart(text));
        // Waits of 10, 20, 40 and 80 ms between five starts.
        assert!(start.elapsed() >= ms(150), "{:?}", start.elapsed());
        for name in ["crash-start", "crash-idle"] {
            bench.until(PluginState::Failed, name).await;
        }
        let short = bench.run("crash-start", ms(60)).await;
        assert!(short.seconds < 10.0, "{short:?}");
    });
}

#[test]
fn a_ready_plugin_that_is_killed_is_started_again() {
    check(&["echo"], async |bench| {
        bench.until(PluginState::Ready, "echo").await;
        let plugin = children_of(bench.keeper("echo"));
        rustix::process::kill_process(plugin[0], Signal::KILL).unwrap();
        bench.until(PluginState::Waiting, "echo").await;
        bench.until(PluginState::Ready, "echo").await;
        assert_eq!(bench.run("echo", LONG).await.outcome, Outcome::Done);
        assert_eq!(bench.status("echo").stats.restarts, 1);
    });
}

/// S3-17
#[test]
fn a_plugin_that_does_not_answer_the_health_check_is_started_again() {
    check(&["unread"], async |bench| {
        bench.settings.limits.call = ms(900);
        bench.restart(&["unread"]).await;
        bench.until(PluginState::Ready, "unread").await;
        bench.until(PluginState::Waiting, "unread").await;
        let error = bench.status("unread").stats.last_error;
        assert_eq!(error.as_deref(), Some("no answer in time"));
        bench.until(PluginState::Ready, "unread").await;
    });
}

/// S3-13
#[test]
fn a_plugin_that_clings_to_life_is_ended_with_the_host() {
    check(&["clinging"], async |bench| {
        bench.until(PluginState::Ready, "clinging").await;
        let keeper = bench.keeper("clinging");
        let start = Instant::now();
        bench.host.stop(ms(300)).await;
        assert!((ms(100)..LONG).contains(&start.elapsed()), "{:?}", start.elapsed());
        bench.gone(keeper, ms(0)).await;
    });
}

#[test]
fn a_stop_answers_every_run_once() {
    check(&["hang"], async |bench| {
        bench.until(PluginState::Ready, "hang").await;
        let runs = [0; 2].map(|_| bench.start("hang", event(), LONG, ms(100)));
        while !matches!(bench.report().await, Report::Started { .. }) {}
        bench.host.stop(ms(100)).await;
        for run in runs {
            let outcome = bench.outcome(run).await.outcome;
            assert_eq!(outcome, Outcome::Failed("the daemon stops".to_owned()));
        }
    });
}

#[test]
fn a_stop_does_not_wait_for_those_who_do_not_listen() {
    check(&["hang"], async |bench| {
        bench.until(PluginState::Ready, "hang").await;
        // Each answer needs room among the reports, and nobody makes any.
        for _ in 0..12 {
            bench.start("hang", event(), LONG, ms(100));
        }
        let (reports, _unread) = tokio::sync::mpsc::channel(1);
        bench.host.stop(ms(100)).await;
        bench.host = Host::new(bench.settings.clone(), reports);
        bench.host.set_entries(vec![bench_entry("hang")]);
        let start = Instant::now();
        bench.host.stop(ms(100)).await;
        assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    });
}

/// S1-08
#[test]
fn entries_come_change_and_go_and_plugins_are_switched_off_and_on() {
    check(&["leak"], async |bench| {
        bench.until(PluginState::Ready, "leak").await;
        let entry = |dsn: &str| Entry {
            config: Map::from_iter([("dsn".to_owned(), json!(dsn))]),
            ..bench_entry("leak")
        };
        bench.host.set_entries(vec![entry("one")]);
        assert_eq!(bench.run("leak", LONG).await.status, "one");
        bench.host.set_entries(vec![entry("two")]);
        assert_eq!(bench.run("leak", LONG).await.status, "two");

        let name = entry("").plugin;
        bench.host.disable(&name);
        let outcome = bench.run("leak", LONG).await.outcome;
        assert!(matches!(outcome, Outcome::CannotStart(text) if text.contains("disabled")));
        bench.host.enable(&name);
        assert_eq!(bench.run("leak", LONG).await.status, "two");

        bench.host.set_entries(Vec::new());
        let outcome = bench.run("leak", LONG).await.outcome;
        assert!(matches!(outcome, Outcome::CannotStart(text) if text.contains("no handler")));
    });
}

#[test]
fn a_handler_that_runs_may_end_although_its_policy_is_gone() {
    check(&["late"], async |bench| {
        bench.until(PluginState::Ready, "late").await;
        let run = bench.start("late", event(), LONG, ms(100));
        while !matches!(bench.report().await, Report::Started { .. }) {}
        bench.host.set_entries(Vec::new());
        assert_eq!(bench.outcome(run).await.outcome, Outcome::Done);
    });
}

// ---- what is left behind ----

#[test]
fn f6_a_daemon_in_its_own_session_dies_with_its_plugin() {
    check(&["daemon", "brood"], async |bench| {
        bench.until(PluginState::Ready, "daemon").await;
        // The daemon holds stdout open: the end of the plugin is seen all the same.
        assert_eq!(bench.run("daemon", LONG).await.outcome, Outcome::Exited { code: 0 });
        assert_eq!(bench.named("hostile-daemon session"), 0);

        bench.until(PluginState::Ready, "brood").await;
        let run = bench.start("brood", event(), LONG, ms(100));
        bench.reaches(LONG, |bench| bench.named("hostile-brood session") == 6).await;
        bench.host.shorten(run, ms(0));
        assert_eq!(bench.outcome(run).await.outcome, Outcome::TimedOut);
        bench.reaches(LONG, |bench| bench.named("hostile-brood session") == 0).await;
    });
}

#[test]
fn f6_what_a_killed_keeper_leaves_behind_is_swept() {
    check(&["brood"], async |bench| {
        snoozed::plugins::adopt_orphans().unwrap();
        bench.until(PluginState::Ready, "brood").await;
        let run = bench.start("brood", event(), LONG, ms(100));
        bench.reaches(LONG, |bench| bench.named("hostile-brood session") == 6).await;
        rustix::process::kill_process(bench.keeper("brood"), Signal::KILL).unwrap();
        assert_eq!(bench.outcome(run).await.outcome, Outcome::Killed { signal: 9 });
        bench.reaches(LONG, |bench| bench.named("hostile-brood session") == 0).await;
    });
}

#[test]
fn a_stopped_keeper_is_killed_with_its_plugin() {
    check(&["hang"], async |bench| {
        bench.until(PluginState::Ready, "hang").await;
        let keeper = bench.keeper("hang");
        rustix::process::kill_process(keeper, Signal::STOP).unwrap();
        assert_eq!(bench.run("hang", ms(100)).await.outcome, Outcome::TimedOut);
        bench.gone(keeper, LONG).await;
    });
}

#[test]
fn f15_no_zombie_stays() {
    check(&["orphan"], async |bench| {
        bench.until(PluginState::Ready, "orphan").await;
        assert_eq!(bench.run("orphan", LONG).await.outcome, Outcome::Done);
        let keeper = bench.keeper("orphan");
        bench.reaches(LONG, |_| descendants_of(keeper).len() == 1).await;
    });
}

#[test]
fn g2_plugins_die_with_a_daemon_that_is_killed_and_the_next_one_starts_its_own() {
    check(&[], async |bench| {
        install(bench.dir.parent().unwrap(), "brood");
        for _ in 0..3 {
            let mut daemon = Command::new(env!("CARGO_BIN_EXE_launcher"))
                .arg("daemon")
                .args([bench.plugins(), bench.run_directory()])
                .arg("hostile-brood")
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            // Each keeper waits for the lock of the one before, so that there are never twelve.
            bench.reaches(LONG, |bench| bench.named("hostile-brood session") == 6).await;
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
        bench.reaches(LONG, |bench| bench.traces().is_empty()).await;
        reap();
    });
}

// ---- what they write ----

#[test]
fn f10_a_flood_on_stdout_is_cut_off() {
    check(&["flood", "flood-lines"], async |bench| {
        for name in ["flood", "flood-lines"] {
            bench.until(PluginState::Ready, name).await;
            let outcome = bench.run(name, LONG).await;
            assert_eq!(outcome.outcome, Outcome::TooMuchOutput, "{name}");
        }
    });
}

#[test]
fn f11_a_flood_on_stderr_blocks_nobody_and_its_end_is_kept() {
    check(&["noise"], async |bench| {
        assert_eq!(bench.run("noise", LONG).await.outcome, Outcome::Done);
        let tail = |bench: &Bench| bench.status("noise").stderr_tail;
        bench.reaches(LONG, |bench| tail(bench).ends_with("the last line\n")).await;
        assert!(bench.status("noise").stderr_bytes > 6_000_000);
        assert!((60 * 1024..=64 * 1024).contains(&tail(bench).len()), "{}", tail(bench).len());
    });
}

#[test]
fn f12_the_first_bad_line_is_a_broken_reply() {
    let cases = [
        ("garbage-text", "broken reply: not JSON: `saved 3 tables`"),
        ("garbage-half", "broken reply: not JSON: `{\\\"result\\\":{\\\"handled\\\":`"),
        ("garbage-id", "broken reply: it answers request 4711, the last one is 5"),
        ("garbage-binary", "broken reply: not UTF-8: `\\x00\\xff\\x7f\\x1b[2J`"),
    ];
    let names = cases.map(|(name, _)| name);
    check(&names, async |bench| {
        // What is asked between would have numbers too.
        bench.settings.limits.health_period = 10 * LONG;
        bench.restart(&names).await;
        for (name, expected) in cases {
            let outcome = bench.run(name, LONG).await.outcome;
            assert_eq!(outcome, Outcome::BrokenReply(expected.to_owned()), "{name}");
        }
    });
}

#[test]
fn f12_wide_characters_are_broken_and_what_follows_an_answer_is_ignored() {
    check(&["garbage-wide", "garbage-two", "garbage-unasked"], async |bench| {
        let outcome = bench.run("garbage-wide", LONG).await.outcome;
        assert!(matches!(&outcome, Outcome::BrokenReply(text) if text.contains("UTF-16")));
        for name in ["garbage-two", "garbage-unasked"] {
            assert_eq!(bench.run(name, LONG).await.outcome, Outcome::Done, "{name}");
        }
    });
}

#[test]
fn f14_closed_and_unread_pipes_have_an_outcome_before_the_budget_is_over() {
    let names = ["shut-in", "shut-out", "unread"];
    check(&names, async |bench| {
        // Nobody else finds out first.
        bench.settings.limits.health_period = 10 * LONG;
        bench.restart(&names).await;
        for name in names {
            bench.until(PluginState::Ready, name).await;
        }
        // On a busy machine the request may be in the pipe before the plugin has shut it.
        let mut outcome = bench.run("shut-in", ms(4000)).await.outcome;
        for _ in 0..4 {
            if outcome != Outcome::TimedOut {
                break;
            }
            bench.until(PluginState::Ready, "shut-in").await;
            outcome = bench.run("shut-in", ms(4000)).await.outcome;
        }
        assert!(
            matches!(&outcome, Outcome::Failed(text) if text.contains("takes no requests")),
            "{outcome:?}"
        );
        let outcome = bench.run("shut-out", LONG).await.outcome;
        assert!(matches!(&outcome, Outcome::Failed(text) if text.contains("closed its stdout")));
        let large = json!({ "type": "custom", "data": "x".repeat(200_000) });
        let outcome = bench.hand("unread", large, LONG).await;
        assert!(
            matches!(&outcome.outcome, Outcome::Failed(text) if text.contains("took no request"))
        );
        assert!(outcome.seconds < 10.0, "{}", outcome.seconds);
    });
}

// ---- what they get ----

#[test]
fn f17_a_plugin_inherits_nothing() {
    check(&["dump"], async |bench| {
        let outcome = bench.run("dump", LONG).await;
        let dump = outcome.result.get("dump").unwrap();
        let expected = json!({
            "environment": {
                "CLOUDSNOOZE_PLUGIN": "hostile-dump", "HOME": "/", "LANG": "C.UTF-8",
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            },
            "files": ["0", "1", "2"],
            "directory": "/",
            "umask": "Umask:\t0077",
            "core": "Max core file size        0                    0                    bytes     ",
            "no_new_privileges": "NoNewPrivs:\t1",
            "blocked_signals": "SigBlk:\t0000000000000000",
            // Only SIGPIPE, by the runtime of the plugin itself.
            "ignored_signals": [13],
            "leads_its_session": true,
            "arguments": [],
        });
        assert_eq!(*dump, expected, "{dump:#}");
    });
}

/// S1-04, S1-11: the plugin itself would take anything.
#[test]
fn a_configuration_is_held_against_the_schema_before_the_plugin_gets_it() {
    check(&["strict"], async |bench| {
        let outcome = bench.run("strict", LONG).await.outcome;
        assert_eq!(outcome, Outcome::CannotStart("Configure: `path` is missing".to_owned()));
        let mut entry = bench_entry("strict");
        for (given, told) in [
            (
                json!({ "path": "/x", "mod": "full" }),
                "`mod` is no setting of this plugin; did you mean `mode`?",
            ),
            (json!({ "path": "/x", "mode": "S3CR3T" }), "`mode`: expected `fast` or `full`"),
        ] {
            entry.config = given.as_object().unwrap().clone();
            bench.host.set_entries(vec![entry.clone()]);
            let outcome = bench.run("strict", LONG).await.outcome;
            assert_eq!(outcome, Outcome::CannotStart(format!("Configure: {told}")));
        }
        entry.config = json!({ "path": "/x", "mode": "full" }).as_object().unwrap().clone();
        bench.host.set_entries(vec![entry]);
        assert_eq!(bench.run("strict", LONG).await.outcome, Outcome::Done);
    });
}

/// S1-13
#[test]
fn a_plugin_that_wants_a_newer_host_is_refused_at_its_start() {
    check(&["later"], async |bench| {
        let Outcome::CannotStart(text) = bench.run("later", LONG).await.outcome else {
            panic!("it started");
        };
        assert!(text.starts_with("the plugin wants CloudSnooze 99.1 or later"), "{text}");
    });
}

#[test]
fn f23_a_protocol_that_nobody_here_speaks_is_found_at_the_start() {
    check(&["newer"], async |bench| {
        let outcome = bench.run("newer", LONG).await.outcome;
        let text = "the plugin speaks protocol 2 to 3, this host 1 to 1".to_owned();
        assert_eq!(outcome, Outcome::CannotStart(text));
    });
}

#[test]
fn f16_what_cannot_be_run_is_told_at_once_and_found_by_a_check() {
    check(&[], async |bench| {
        let busy = fs::copy(env!("CARGO_BIN_EXE_hostile"), bench.dir.join("busy"));
        busy.unwrap();
        let busy = fs::OpenOptions::new().append(true).open(bench.dir.join("busy")).unwrap();
        for (name, content, mode) in [
            ("empty", "", 0o755),
            ("plain", "#!/bin/sh\n", 0o644),
            ("lost", "#!/no/such/python\n", 0o755),
            ("open", "#!/bin/sh\n", 0o777),
        ] {
            fs::write(bench.dir.join(name), content).unwrap();
            fs::set_permissions(bench.dir.join(name), Permissions::from_mode(mode)).unwrap();
        }
        let (found, refused) = discover(&bench.settings);
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["busy"]);
        assert_eq!(refused.len(), 4);

        for (name, expected) in [
            ("busy", "Text file busy"),
            ("empty", "Exec format error"),
            ("plain", "Permission denied"),
            ("lost", "\"/no/such/python\": No such file"),
            ("missing", "there is no plugin `missing`"),
        ] {
            bench.host.set_entries(vec![bench_entry(name)]);
            let outcome = bench.run(name, LONG).await.outcome;
            let Outcome::CannotStart(text) = outcome else { panic!("{name}: {outcome:?}") };
            assert!(text.contains(expected), "{name}: {text}");
        }
        bench.host.set_entries(vec![bench_entry("open")]);
        let outcome = bench.run("open", LONG).await.outcome;
        assert!(matches!(&outcome, Outcome::Untrusted(text) if text.contains("mode 0777")));
        drop(busy);
    });
}

#[test]
fn f21_a_file_that_is_swapped_while_it_is_started_runs_only_if_it_was_checked() {
    check(&[], async |bench| {
        let dir = bench.dir.clone();
        for name in ["good", "evil"] {
            // What a launcher starts may print anything: here, which file it is.
            fs::write(dir.join(name), format!("#!/bin/sh\necho {name}\n")).unwrap();
            fs::set_permissions(dir.join(name), Permissions::from_mode(0o755)).unwrap();
        }
        let pin = sha256(&dir.join("good"));
        fs::hard_link(dir.join("good"), dir.join("plugin")).unwrap();
        let is_over = AtomicBool::new(false);
        let (mut good, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| swap(&dir, &is_over));
            for _ in 0..40 {
                let output = Command::new(env!("CARGO_BIN_EXE_launcher"))
                    .args(["launch", "keep", &std::process::id().to_string()])
                    .args([bench.run_directory().join("lock").as_os_str(), "{}".as_ref()])
                    .arg("file")
                    .args([dir.as_os_str(), "plugin".as_ref(), pin.as_ref()])
                    .stdin(Stdio::null())
                    .output()
                    .unwrap();
                match String::from_utf8(output.stdout).unwrap().as_str() {
                    "good\n" => good += 1,
                    text if text.contains("its sha256 is") => refused += 1,
                    other => panic!("{other}"),
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert!(good > 0 && refused > 0, "{good} good, {refused} refused");
    });
}

/// S1-88
#[test]
fn only_the_pinned_file_and_only_allowed_plugins_are_run() {
    check(&["echo", "once.sh"], async |bench| {
        let script = fs::read(bench.dir.join("once.sh")).unwrap();
        let echo: snooze_event::PluginName = "hostile-echo".parse().unwrap();
        bench.settings.pins = BTreeMap::from([
            (echo.clone(), "00".repeat(32)),
            ("once".parse().unwrap(), sha256(&bench.dir.join("once.sh"))),
        ]);
        bench.settings.allowed = Some(vec![echo, "once".parse().unwrap()]);
        bench.restart(&["hostile-echo", "once", "voter"]).await;
        let outcome = bench.run("hostile-echo", LONG).await.outcome;
        assert!(matches!(&outcome, Outcome::Untrusted(text) if text.contains("sha256")));
        let outcome = bench.run("voter", LONG).await.outcome;
        assert!(matches!(&outcome, Outcome::Untrusted(text) if text.contains("allowed")));
        // It runs from the copy that was hashed.
        assert_eq!(bench.run("once", LONG).await.outcome, Outcome::Done);
        assert!(!script.is_empty());
    });
}

#[test]
fn g11_no_value_of_a_secret_comes_out_of_a_plugin() {
    check(&["leak", "leak-broken", "leak-start"], async |bench| {
        bench.settings.secrets.environment =
            BTreeMap::from([("DSN".to_owned(), CANARY.to_owned())]);
        bench.restart(&["hostile-leak", "hostile-leak-broken", "hostile-leak-start"]).await;
        let mut seen = String::new();
        for name in ["hostile-leak", "hostile-leak-broken", "hostile-leak-start"] {
            let outcome = bench.run(name, LONG).await;
            seen += &format!("{outcome:?}\n");
        }
        bench.host.check_idle("hostile-leak", &Metrics::read(&json!({})));
        seen += &format!("{:?}\n", bench.vote().await);
        bench.reaches(LONG, |bench| bench.status("hostile-leak").stderr_bytes > 0).await;
        seen += &format!("{:?}\n{:?}\n", bench.host.status(), bench.settings);
        for pid in bench.traces() {
            for file in ["cmdline", "environ"] {
                let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                seen += &String::from_utf8_lossy(&bytes);
            }
        }
        assert!(!seen.contains(CANARY), "{seen}");
        assert!(seen.contains("no route to ***") && seen.contains("connecting to ***"), "{seen}");
    });
}

#[test]
fn a_handler_whose_secret_is_not_there_says_so_and_starts_when_it_comes() {
    const DSN: &str = "ssm:/orders/dsn";
    check(&["leak"], async |bench| {
        let config = Map::from_iter([("dsn".to_owned(), json!(DSN))]);
        bench.host.set_entries(vec![Entry { config, ..bench_entry("hostile-leak") }]);
        let outcome = bench.run("hostile-leak", LONG).await.outcome;
        let Outcome::CannotStart(text) = &outcome else { panic!("{outcome:?}") };
        assert!(text.starts_with("`ssm:/orders/dsn`: not fetched"), "{text}");
        let fetched = bench.host.fetched();
        for (restarts, value) in [CANARY, "S3CR3T-RENEWED"].into_iter().enumerate() {
            assert!(fetched.put(DSN, Ok(value.to_owned())));
            bench.host.renew(&[DSN.to_owned()].into());
            bench.until(PluginState::Ready, "hostile-leak").await;
            let outcome = bench.run("hostile-leak", LONG).await;
            let seen = format!("{outcome:?} {:?}", bench.host.status());
            assert!(seen.contains("no route to ***") && !seen.contains("S3CR3T"), "{seen}");
            let started = bench.status("hostile-leak").stats.restarts;
            assert_eq!(started, u64::try_from(restarts).unwrap());
        }
        bench.host.renew(&["ssm:/another".to_owned()].into());
        assert_eq!(bench.run("hostile-leak", LONG).await.outcome, Outcome::Degraded);
        assert_eq!(bench.status("hostile-leak").stats.restarts, 1, "it has no such secret");
    });
}
