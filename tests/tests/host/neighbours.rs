//! What plugins cost, and what the bad ones cost their neighbours and the daemon.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, json};
use snooze_tests::place;
use snoozed::plugins::{Entry, Outcome, PluginState, Report, go_first};
use snoozed::sandbox::{Amounts, Sandbox};

use super::LONG;
use super::bench::{Bench, bench_entry, check, event, ms, reap};
use super::sandbox::{permitted, resident_mib};

/// What the poll of the metadata service may be late.
const LATE: Duration = Duration::from_millis(100);

/// How often something is measured until once it was as it should be: a machine that does much else
/// is slow again and again, but not always.
const ROUNDS: usize = 10;

/// The bad ones, each in its own way.
const BAD: [&str; 20] = [
    "hang",
    "deaf",
    "stop",
    "late",
    "crash",
    "crash-idle",
    "brood",
    "flood",
    "flood-lines",
    "noise",
    "garbage-half",
    "garbage-wide",
    "shut-in",
    "shut-out",
    "unread",
    "orphan",
    "bomb",
    "eat",
    "fill",
    "spin",
];

#[test]
fn f9_a_plugin_that_takes_all_processors_does_not_make_the_loop_late() {
    check(&["spin"], async |bench| {
        drop(go_first());
        bench.until(PluginState::Ready, "spin").await;
        let run = bench.start("spin", event(), LONG, ms(100));
        let keeper = bench.keeper("spin");
        let threads = |_: &Bench| {
            let plugin = snoozed::launch::children_of(keeper);
            plugin.first().map_or(0, |pid| {
                let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
                tasks.map_or(0, Iterator::count)
            })
        };
        bench.reaches(LONG, |bench| threads(bench) == 64).await;
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            best = best.min(lateness().await);
            if best < LATE {
                break;
            }
        }
        assert!(best < LATE, "{best:?} late");
        bench.host.shorten(run, ms(0));
        assert_eq!(bench.outcome(run).await.outcome, Outcome::TimedOut);
    });
}

#[test]
fn f9_a_plugin_is_not_ahead_of_other_processes_though_the_daemon_is() {
    check(&["hang"], async |bench| {
        let nice = |pid| rustix::process::getpriority_process(pid).unwrap();
        let before = nice(None);
        let is_first = go_first().is_ok();
        bench.restart(&["hang"]).await;
        bench.until(PluginState::Ready, "hang").await;
        let keeper = bench.keeper("hang");
        let plugin = snoozed::launch::children_of(keeper)[0];
        let expected = if is_first { (-10, 0) } else { (before, before) };
        assert_eq!((nice(Some(keeper)), nice(Some(plugin))), expected);
    });
}

/// Rows F1 to F20, one after the other.
#[test]
fn a_bad_plugin_holds_up_neither_the_loop_nor_its_neighbour_and_leaves_nothing() {
    let all: Vec<&str> = BAD.into_iter().chain(["steady"]).collect();
    check(&all, async |bench| {
        drop(go_first());
        let amounts = Amounts { memory_mb: Some(64), file_size_mb: Some(3), ..Amounts::default() };
        for name in ["hostile-eat", "hostile-fill"] {
            let sandbox = Sandbox { amounts, ..Sandbox::default() };
            bench.settings.sandboxes.each.insert(name.parse().unwrap(), sandbox);
        }
        bench.settings.limits.health_period = LONG;
        bench.restart(&["steady"]).await;
        bench.until(PluginState::Ready, "steady").await;
        let mut usual = Duration::MAX;
        for _ in 0..3 {
            usual = usual.min(steady(bench).await);
        }
        let before = resident_mib();
        for bad in BAD {
            bench.host.set_entries(["steady", bad].map(bench_entry).into());
            let (mut took, mut late) = (Duration::MAX, Duration::MAX);
            for _ in 0..ROUNDS {
                let run = bench.start(bad, event(), 2 * usual, ms(100));
                took = took.min(steady(bench).await);
                late = late.min(lateness().await);
                bench.host.shorten(run, ms(0));
                bench.outcome(run).await;
                if took <= usual.mul_f64(1.1) && late < LATE {
                    break;
                }
            }
            println!("{bad}: {took:?}, {late:?} late");
            assert!(took <= usual.mul_f64(1.1), "{bad}: {took:?}, usually {usual:?}");
            assert!(late < LATE, "{bad}: {late:?} late");
        }
        let after = resident_mib();
        assert!(after < before + 32, "{before} MiB before, {after} after");
    });
}

#[test]
fn f22_the_start_of_a_slow_plugin_is_in_its_own_budget_and_told() {
    check(&["slow"], async |bench| {
        bench.settings.limits.call = LONG;
        bench.restart(&["slow"]).await;
        let first = bench.run("slow", LONG).await;
        assert_eq!(first.outcome, Outcome::Done);
        assert!((0.3..=first.seconds).contains(&first.start_seconds), "{first:?}");
        let ready = bench.run("slow", LONG).await;
        assert_eq!((ready.outcome, ready.start_seconds), (Outcome::Done, 0.0));

        bench.restart(&["slow"]).await;
        let short = bench.run("slow", ms(100)).await;
        assert_eq!(short.outcome, Outcome::TimedOut);
        assert!(short.start_seconds <= short.seconds && short.seconds >= 0.1, "{short:?}");
        assert_eq!(short.status, "the plugin was not ready in time");
    });
}

/// All handlers of one priority start together, however many they are (a promise of the README), so
/// that their number has no limit; what one more costs has.
#[test]
fn f24_of_a_hundred_plugins_in_one_plan_each_costs_the_daemon_less_than_3_ms() {
    let names: Vec<String> = (0..100).map(|number| format!("echo{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    check(&names, async |bench| {
        for name in &names {
            bench.until(PluginState::Ready, name).await;
        }
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let before = processor_time();
            for name in &names {
                bench.start(name, event(), LONG, ms(100));
            }
            let mut ended = 0;
            while ended < names.len() {
                ended += usize::from(matches!(bench.report().await, Report::Ended { .. }));
            }
            best = best.min((processor_time() - before) / 100);
        }
        println!("{best:?} of the processor for each");
        assert!(best < ms(3), "{best:?}");
    });
}

/// An engine that writes its code while it runs does that behind walls too.
#[test]
fn f25_a_plugin_in_node_works_behind_walls() {
    if !place::has("node") {
        return;
    }
    check(&[], async |bench| {
        let config = node(bench);
        let permissions = permitted(&[&format!("write:{}", bench.run_directory().display())]);
        bench.settings.sandboxes.each.insert("my-plugin".parse().unwrap(), permissions);
        bench.settings.limits.call = LONG;
        bench.settings.limits.start = LONG;
        bench.restart(&[]).await;
        bench.host.set_entries(vec![Entry {
            id: "node".to_owned(),
            plugin: "my-plugin".parse().unwrap(),
            config,
        }]);
        let outcome = bench.run("node", LONG).await;
        assert_eq!((outcome.outcome, outcome.verified), (Outcome::Done, Some(true)));
    });
}

/// Why no unit may set `MemoryDenyWriteExecute=` for the daemon: what it starts cannot take it off.
#[test]
fn f25_a_daemon_that_may_not_write_code_has_no_plugin_in_node() {
    if !place::has("node") {
        return;
    }
    check(&[], async |bench| {
        node(bench);
        let reports = bench.run_directory().join("reports");
        let mut daemon = Command::new("python3")
            .args(["-c", DENY, env!("CARGO_BIN_EXE_launcher"), "daemon"])
            .args([bench.plugins(), bench.run_directory()])
            .arg("my-plugin")
            .stdin(Stdio::null())
            .stdout(fs::File::create(&reports).unwrap())
            .spawn()
            .unwrap();
        let said = || fs::read_to_string(&reports).unwrap();
        bench.reaches(2 * LONG, |_| said().contains("Ended {") || said().contains("no MDWE")).await;
        if place::there("Linux 6.3", !said().contains("no MDWE")) {
            assert!(said().contains("outcome: CannotStart"), "{}", said());
        }
        // It may be at an end already.
        let _ = daemon.kill();
        daemon.wait().unwrap();
        bench.reaches(LONG, |bench| bench.traces().is_empty()).await;
        reap();
    });
}

/// Becomes the program that it is given, with `PR_SET_MDWE` (prctl(2)), which is what
/// `MemoryDenyWriteExecute=` sets.
const DENY: &str = "\
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit(print('no MDWE'))
os.execv(sys.argv[1], sys.argv[1:])
";

/// Installs the plugin that `snooze plugin new` writes for Node; returns its configuration.
fn node(bench: &Bench) -> Map<String, serde_json::Value> {
    let from = place::root().join("plugins/templates/node/my-plugin.mjs");
    place::install(&from, &bench.dir.join("my-plugin.mjs"), None);
    let state = bench.run_directory().join("state.json");
    Map::from_iter([("path".to_owned(), json!(state))])
}

/// How long a step takes whose plugin takes a second.
async fn steady(bench: &mut Bench) -> Duration {
    let outcome = bench.run("steady", LONG).await;
    assert_eq!(outcome.outcome, Outcome::Done);
    Duration::from_secs_f64(outcome.seconds)
}

/// How late the latest of twenty ticks is, of a clock such as that of the polls.
async fn lateness() -> Duration {
    let mut latest = Duration::ZERO;
    for _ in 0..20 {
        let due = Instant::now() + ms(20);
        tokio::time::sleep_until(due.into()).await;
        latest = latest.max(due.elapsed());
    }
    latest
}

/// What this process, without its children, has had of the processors.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}
