//! The kill loop: SIGKILL at random moments, a restart, and a look at what was promised.
//!
//! 200 kills by default; `SNOOZE_KILLS=10000` for more, `SNOOZE_SEED` to repeat a run. What each
//! step of a plan may do is a model of a few lines ([`check`]), which reads the journal of the
//! daemon and the notes that the plugins took themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use snooze_imds::fake::Notice;
use snooze_tests::dice::{self, Dice};
use snooze_tests::setup::Setup;
use snooze_tests::{place, plugins, wait};

/// All kills so far, for those who wait.
static KILLS: AtomicU64 = AtomicU64::new(0);
/// How many plans are under fire at the same time; most of their time is waiting.
const SIDE_BY_SIDE: u64 = 5;
/// Below so many times a daemon is killed before its plan may be finished.
const MOST_KILLS: u64 = 9;
/// The steps of a plan with their priority, and whether they may be run again.
const STEPS: [(&str, i64, bool); 4] =
    [("first", 90, true), ("once", 90, false), ("second", 50, true), ("last", 10, false)];

#[test]
fn g1_a_daemon_killed_at_any_moment_goes_on_repeats_nothing_done_and_owns_up_to_the_unknown() {
    let seed = dice::seed();
    let kills: u64 =
        place::variable("SNOOZE_KILLS").and_then(|text| text.parse().ok()).unwrap_or(200);
    println!("SNOOZE_SEED={seed} SNOOZE_KILLS={kills} repeats this");
    let threads: Vec<_> = (0..SIDE_BY_SIDE)
        .map(|thread| {
            let dice = Dice::new(seed.wrapping_add(thread));
            thread::spawn(move || under_fire(dice, kills.div_ceil(SIDE_BY_SIDE)))
        })
        .collect();
    let seen: Vec<Seen> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    println!("{seen:#?}");
    // A loop that never meets a running step shows nothing.
    assert!(seen.iter().any(|seen| seen.repeated > 0), "no step was repeated: {seen:?}");
    assert!(seen.iter().any(|seen| seen.unknown > 0), "no step is unknown: {seen:?}");
}

#[test]
fn g2_the_plugins_of_a_killed_daemon_end_with_it() {
    let setup = plan(5.0);
    let daemon = setup.start();
    wait::until("a step", || (!setup.lines("done").is_empty()).then_some(()));
    assert!(setup.processes().iter().any(|line| line.contains("first.sh")));
    daemon.kill();
    wait::until("all processes to end", || setup.processes().is_empty().then_some(()));
    assert!(!setup.lines("done").iter().any(|line| line.starts_with("finish")));
}

/// What a thread has met.
#[derive(Debug, Default)]
struct Seen {
    plans: u64,
    kills: u64,
    repeated: u64,
    unknown: u64,
}

fn under_fire(mut dice: Dice, kills: u64) -> Seen {
    let mut seen = Seen::default();
    while seen.kills < kills {
        let setup = plan(0.03);
        for _ in 0..dice.below(MOST_KILLS).min(kills - seen.kills) {
            shoot(&setup, &mut dice);
            seen.kills += 1;
            let so_far = KILLS.fetch_add(1, Ordering::Relaxed) + 1;
            if so_far.is_multiple_of(500) {
                println!("{so_far} kills");
            }
        }
        let daemon = setup.start();
        let incident = daemon.closed();
        daemon.kill();
        wait::until("all processes to end", || setup.processes().is_empty().then_some(()));
        check(&setup, &incident, &mut seen);
        seen.plans += 1;
    }
    seen
}

/// Starts a daemon and kills it: soon after the start, or soon after some line of its journal,
/// which is when most is under way.
fn shoot(setup: &Setup, dice: &mut Dice) {
    let lines = usize::try_from(dice.below(8)).unwrap_or(0);
    if lines == 0 {
        let daemon = setup.spawn();
        wait::pause(dice.time(Duration::from_micros(500), Duration::from_millis(60)));
        return daemon.kill();
    }
    let enough = setup.journal().len() + lines;
    // A plan may have fewer lines to come.
    let closed = || setup.journal().last().is_some_and(|entry| entry["record"] == "closed");
    let daemon = setup.start();
    let met = || (setup.journal().len() >= enough || closed()).then_some(());
    wait::until_or(|| format!("the plan to go on: {}", setup.log()), met);
    wait::pause(dice.time(Duration::ZERO, Duration::from_millis(40)));
    daemon.kill();
}

/// A notice that stands, and a policy of four steps.
fn plan(seconds: f64) -> Setup {
    let mut setup = Setup::new();
    let mut handlers = Vec::new();
    for (name, priority, repeatable) in STEPS {
        let text = plugins::recorder(name, &setup.path("done"), seconds);
        setup.script(&format!("plugins/{name}.sh"), &text);
        handlers.push(json!({ "plugin": name, "priority": priority, "repeatable": repeatable }));
    }
    setup.policy("orders", Value::Array(handlers));
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(115)));
    setup
}

/// What holds after a plan, however often its daemon was killed.
fn check(setup: &Setup, incident: &Value, seen: &mut Seen) {
    let (journal, notes) = (setup.journal(), setup.lines("done"));
    let told = format!("{incident:#}\n{journal:#?}\n{notes:#?}\n{}", setup.log());
    let of = |record: &str| journal.iter().filter(|entry| entry["record"] == record).count();
    assert_eq!((of("opened"), of("closed")), (1, 1), "one ending: {told}");
    assert!(!notes.iter().any(|line| line.starts_with("violation")), "one run at a time: {told}");
    let mut outcomes = BTreeMap::new();
    for (name, _, repeatable) in STEPS {
        let step = format!("orders/{name}");
        let mine: Vec<&Value> = journal.iter().filter(|entry| entry["step"] == *step).collect();
        let (last, starts) = mine.split_last().unwrap_or_else(|| panic!("no {name}: {told}"));
        // Write ahead, each attempt counted, the end once and last: done stays done.
        let attempts: Vec<u64> = starts.iter().filter_map(|s| s["attempt"].as_u64()).collect();
        assert!(starts.iter().all(|entry| entry["record"] == "started"), "{name}: {told}");
        let counted = (1..).zip(&attempts).all(|(number, attempt)| number == *attempt);
        assert!(counted, "{name}: {told}");
        assert_eq!(last["record"], "ended", "{name}: {told}");
        // No run of which the journal does not know, and no attempt twice.
        let ran = noted(&notes, "start", name);
        assert!(ran.is_sorted_by(|a, b| a < b), "{name} twice: {told}");
        assert!(ran.iter().all(|attempt| attempts.contains(attempt)), "{name}: {told}");
        let outcome = last["outcome"]["kind"].as_str().unwrap_or_default().to_owned();
        let finished = noted(&notes, "finish", name);
        match outcome.as_str() {
            "done" => assert!(finished.contains(attempts.last().unwrap()), "{name}: {told}"),
            "unknown" => assert!(!repeatable, "{name}: {told}"),
            _ => panic!("{name} ended as {outcome}: {told}"),
        }
        assert!(repeatable || attempts.len() == 1, "{name}: {told}");
        seen.repeated += u64::from(attempts.len() > 1);
        seen.unknown += u64::from(outcome == "unknown");
        outcomes.insert(name, outcome);
    }
    let all_done = outcomes.values().all(|outcome| outcome == "done");
    assert_eq!(incident["outcome"] == "done", all_done, "{told}");
}

/// The attempts of a step that its plugin has noted.
fn noted(notes: &[String], word: &str, name: &str) -> Vec<u64> {
    let head = format!("{word} {name} ");
    let attempts = notes.iter().filter_map(|line| line.strip_prefix(&head)?.split(' ').next());
    attempts.filter_map(|attempt| attempt.parse().ok()).collect()
}
