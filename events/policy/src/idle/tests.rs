use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::strict::Fields;

/// A machine that is up for an hour, and measured every minute.
struct Day {
    idle: Idle,
    at: Moment,
}

fn quiet() -> Seen {
    let readings = [
        (Monitor::Cpu, 1.0),
        (Monitor::Memory, 80.0),
        (Monitor::Network, 2.0),
        (Monitor::DiskIo, 3.0),
        (Monitor::Gpu, 0.0),
        (Monitor::Input, 4000.0),
    ];
    let readings = readings.map(|(monitor, value)| (monitor, Reading::Value(value)));
    Seen { readings: readings.into(), ..Seen::default() }
}

fn with(monitor: Monitor, reading: Reading) -> Seen {
    let mut seen = quiet();
    seen.readings.insert(monitor, reading);
    seen
}

fn settings(text: Value) -> Settings {
    let mut faults = Vec::new();
    let root = Fields::of("$", &text, &mut faults).unwrap();
    let settings = Settings::read(&root, &mut faults);
    assert_eq!(faults, []);
    settings
}

impl Day {
    fn of(text: Value) -> Self {
        let wall: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let at = Moment { wall, boot: Duration::from_secs(3600) };
        Self { idle: Idle::new(settings(text), at), at }
    }

    fn pass(&mut self, time: Duration) {
        self.at.boot += time;
        self.at.wall = self.at.wall.checked_add(time).unwrap();
    }

    /// So many minutes with one measurement each, and what followed.
    fn minutes(&mut self, minutes: usize, seen: &Seen) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..minutes {
            self.pass(Duration::from_secs(60));
            let effects = self.idle.on(seen.clone(), self.at);
            let at = self.at.wall.strftime("%H:%M");
            told.extend(effects.iter().map(|effect| format!("{at} {}", word(effect))));
        }
        told
    }
}

fn word(effect: &Effect) -> String {
    match effect {
        Effect::Warn { left } => format!("warn {}s", left.as_secs()),
        Effect::CalledOff { reason } => format!("called off: {reason}"),
        Effect::Idle { heartbeat: true } => "still idle".to_owned(),
        Effect::Idle { heartbeat: false } => "idle".to_owned(),
        Effect::Active { reason } => format!("active: {reason}"),
    }
}

fn busy() -> Seen {
    with(Monitor::Cpu, Reading::Value(42.0))
}

#[test]
fn s1_64_an_instance_is_idle_when_all_agreed_for_the_whole_naptime() {
    let mut day = Day::of(json!({}));
    assert_eq!(day.minutes(1, &busy()), [""; 0]);
    let told = day.minutes(43, &quiet());
    assert_eq!(told, ["10:32 warn 60s", "10:33 idle", "10:38 still idle", "10:43 still idle"]);
    assert_eq!(
        day.minutes(1, &busy()),
        ["10:45 active: cpu 42 % (busy from 10 %)"],
        "what is not idle any more is told at once"
    );
    assert_eq!(day.minutes(30, &quiet()), [""; 0], "and has the whole naptime before it");
}

#[test]
fn any_activity_calls_the_stop_off() {
    let mut day = Day::of(json!({ "idle": { "warning_seconds": 300 } }));
    assert_eq!(day.minutes(33, &quiet()), ["10:31 warn 300s"]);
    let key = with(Monitor::Input, Reading::Value(2.0));
    let told = ["10:34 called off: input 2 s ago (idle from 900 s)"];
    assert_eq!(day.minutes(1, &key), told);
    assert_eq!(day.idle.phase(), Phase::Active);
}

#[test]
fn g14_a_figure_that_cannot_be_read_makes_a_nap_wait_and_ends_what_follows_it() {
    let unknown = with(Monitor::DiskIo, Reading::Unknown("no /proc/diskstats".to_owned()));
    let mut day = Day::of(json!({}));
    day.minutes(20, &quiet());
    assert_eq!(day.minutes(600, &unknown), [""; 0]);
    assert_eq!(day.idle.view()["napped_seconds"], 19 * 60);
    assert_eq!(day.minutes(13, &quiet()), ["20:32 warn 60s", "20:33 idle"]);
    assert_eq!(
        day.minutes(1, &unknown),
        ["20:34 active: disk_io unknown: no /proc/diskstats"],
        "nobody may stop an instance of which too little is known"
    );
}

#[test]
fn what_is_not_there_takes_no_part() {
    let mut day = Day::of(json!({}));
    let mut bare = with(Monitor::Gpu, Reading::Absent("no GPU".to_owned()));
    bare.readings.insert(Monitor::Input, Reading::Absent("no session".to_owned()));
    assert_eq!(day.minutes(32, &bare), ["10:31 warn 60s", "10:32 idle"]);
    let nothing = Seen {
        readings: Monitor::ALL.map(|one| (one, Reading::Absent(String::new()))).into(),
        ..Seen::default()
    };
    assert_eq!(
        day.minutes(1, &nothing),
        ["10:33 active: nothing was measured"],
        "but where nothing at all is measured nothing is known"
    );
}

#[test]
fn d_8_a_plugin_that_says_busy_or_does_not_know_keeps_the_instance_up() {
    let vote = |verdict| Seen {
        votes: vec![Vote {
            plugin: "redis-monitor".to_owned(),
            verdict,
            reason: "12 connections".to_owned(),
        }],
        ..quiet()
    };
    for verdict in [Verdict::Busy, Verdict::Unknown] {
        assert_eq!(Day::of(json!({})).minutes(600, &vote(verdict)), [""; 0], "{verdict:?}");
    }
    let mut day = Day::of(json!({}));
    assert_eq!(day.minutes(32, &vote(Verdict::Idle)).len(), 2);
    let reason = day.idle.report()["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with("Plugin redis-monitor: 12 connections"), "{reason}");
}

#[test]
fn d_8_one_idle_plugin_is_enough_where_the_settings_say_any() {
    let vote =
        Vote { plugin: "queue".to_owned(), verdict: Verdict::Idle, reason: "empty".to_owned() };
    let seen = Seen { votes: vec![vote], ..busy() };
    let mut day = Day::of(json!({ "idle": { "votes": "any" } }));
    assert_eq!(day.minutes(32, &seen).len(), 2);
    assert_eq!(day.idle.report()["reason"], "Plugin queue: empty");
    assert_eq!(Day::of(json!({})).minutes(600, &seen), [""; 0]);
}

#[test]
fn a_figure_a_little_above_its_threshold_does_not_end_a_nap() {
    let at = |percent| with(Monitor::Cpu, Reading::Value(percent));
    let mut day = Day::of(json!({}));
    day.minutes(5, &at(10.5));
    assert_eq!(day.idle.phase(), Phase::Active, "but it does not begin one either");
    day.minutes(5, &at(9.9));
    day.minutes(5, &at(10.5));
    assert_eq!(day.idle.view()["napped_seconds"], 9 * 60);
    day.minutes(1, &at(11.1));
    assert_eq!(day.idle.phase(), Phase::Active);
}

#[test]
fn what_holds_an_instance_up_counts_as_activity() {
    let mut day = Day::of(json!({}));
    day.minutes(32, &quiet());
    assert!(day.idle.is_idle());
    let held = Seen { holds: vec!["`snooze wake` until 12:00".to_owned()], ..quiet() };
    assert_eq!(day.minutes(1, &held), ["10:33 active: `snooze wake` until 12:00"]);
}

#[test]
fn an_instance_that_has_just_started_or_woken_is_left_alone() {
    let wall: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let at = Moment { wall, boot: Duration::ZERO };
    let text = json!({ "naptime_minutes": 5, "idle": { "cooldown_minutes": 60 } });
    let fresh = || Day { idle: Idle::new(settings(text.clone()), at), at };
    let mut day = fresh();
    assert_eq!(day.minutes(17, &quiet()), ["10:15 warn 60s", "10:16 idle"]);

    let mut day = fresh();
    day.idle.restarted();
    assert_eq!(day.minutes(66, &quiet()), ["11:05 warn 60s", "11:06 idle"]);

    day.pass(Duration::from_secs(8 * 3600));
    let told = day.minutes(1, &quiet());
    assert_eq!(told, ["19:07 active: it was suspended"], "hibernation is a start, too");
    assert_eq!(day.minutes(63, &quiet()), [""; 0]);
}

#[test]
fn a_restart_of_the_daemon_does_not_forget_the_naptime() {
    let mut day = Day::of(json!({}));
    day.minutes(20, &quiet());
    let kept = serde_json::to_string(&day.idle.kept()).unwrap();
    let kept: Kept = serde_json::from_str(&kept).unwrap();
    day.pass(Duration::from_secs(90));
    day.idle = Idle::new(settings(json!({})), day.at);
    day.idle.restore(&kept, day.at);
    assert_eq!(day.idle.view()["napped_seconds"], 19 * 60);
    assert_eq!(day.minutes(12, &quiet()), ["10:33 warn 60s"], "what nobody saw does not count");

    let kept = day.idle.kept();
    day.pass(Duration::from_secs(3600));
    day.idle = Idle::new(settings(json!({})), day.at);
    day.idle.restore(&kept, day.at);
    assert_eq!(day.idle.phase(), Phase::Active, "after an hour nobody knows");
}

#[test]
fn the_last_hour_can_be_explained() {
    let mut day = Day::of(json!({}));
    day.minutes(50, &quiet());
    day.minutes(20, &busy());
    day.minutes(5, &with(Monitor::Network, Reading::Value(900.0)));
    let spans: Vec<_> = day
        .idle
        .spans()
        .map(|span| {
            let time = |at: Timestamp| at.strftime("%H:%M").to_string();
            format!(
                "{}-{} {} {}",
                time(span.from),
                time(span.to),
                span.verdict.as_str(),
                span.decided_by
            )
        })
        .collect();
    assert_eq!(spans, ["10:01-10:50 idle all", "10:51-11:10 busy cpu", "11:11-11:15 busy network"]);
}

#[test]
fn d_9_the_defaults_are_those_of_the_original() {
    let shown = settings(json!({})).shown();
    expect_test::expect![[r#"
        {
          "check_interval_seconds": 60.0,
          "cooldown_minutes": 15.0,
          "cpu_threshold_percent": 10.0,
          "disk_io_threshold_kbps": 100.0,
          "enabled": true,
          "exclude_interfaces": [],
          "gpu_threshold_percent": 5.0,
          "hours": [],
          "hysteresis_percent": 10.0,
          "input_idle_threshold_secs": 900.0,
          "load_threshold_percent": 5.0,
          "memory_threshold_percent": 30.0,
          "minimum_uptime_minutes": 10.0,
          "monitors": [
            "cpu",
            "network",
            "disk_io",
            "gpu",
            "input"
          ],
          "naptime_minutes": 30.0,
          "network_threshold_kbps": 50.0,
          "pressure_threshold_percent": 10.0,
          "processes": [],
          "tag_prefix": "CloudSnooze",
          "units": [],
          "votes": "all",
          "warning_seconds": 60.0
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&shown).unwrap());
}

#[test]
fn what_is_wrong_with_settings_is_said() {
    let text = json!({
        "cpu_threshold_percent": 101, "naptime_minutes": 0,
        "idle": {
            "monitors": ["cpus", "gpu"], "processes": [1], "votes": "most", "warning_seconds": -1,
            "hour": [], "hours": [{ "awake": "nine to five" }],
        },
    });
    let mut faults = Vec::new();
    let root = Fields::of("$", &text, &mut faults).unwrap();
    Settings::read(&root, &mut faults);
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    expect_test::expect![[r#"
        $.cpu_threshold_percent: expected a number from 0 to 100
        $.naptime_minutes: expected a number from 0.1 to 10080
        $.idle: unknown key `hour`: did you mean `hours`?
        $.idle.processes[0]: expected a text
        $.idle.monitors: expected some of `cpu`, `memory`, `network`, `disk_io`, `gpu`, `input`, `load`, `pressure`
        $.idle.monitors: expected `cpu` or `load` among them: what else is idle may still compute
        $.idle.votes: unknown word `most`: expected one of `all`, `any`
        $.idle.warning_seconds: expected a number from 0 to 3600
        $.idle.hours[0].awake: expected the five fields of cron, and a time zone where it is not UTC"#]].assert_eq(&faults.join("\n"));
}

/// One figure of a walk.
fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        6 => (0.0..20.0_f64).prop_map(Reading::Value),
        2 => (0.0..2000.0_f64).prop_map(Reading::Value),
        1 => prop_oneof![Just(f64::NAN), Just(-1.0), Just(f64::INFINITY)].prop_map(Reading::Value),
        1 => Just(Reading::Unknown("not read".to_owned())),
        1 => Just(Reading::Absent("not there".to_owned())),
    ]
}

fn moment() -> impl Strategy<Value = (u64, Vec<Reading>, Option<Verdict>, bool)> {
    let verdict = prop_oneof![
        3 => Just(Some(Verdict::Idle)),
        1 => Just(Some(Verdict::Busy)),
        1 => Just(Some(Verdict::Unknown)),
        5 => Just(None),
    ];
    let readings = proptest::collection::vec(reading(), 5);
    (1..400_u64, readings, verdict, proptest::bool::weighted(0.02))
}

proptest! {
    /// Whatever comes: at the moment at which an instance counts as idle nothing of it is unknown
    /// or busy, and so it was for the whole naptime.
    #[test]
    fn what_is_unknown_never_leads_to_a_stop(
        moments in proptest::collection::vec(moment(), 1..60),
        any in proptest::bool::ANY,
    ) {
        let votes = if any { "any" } else { "all" };
        let text = json!({
            "naptime_minutes": 5, "check_interval_seconds": 60,
            "network_threshold_kbps": 1500, "cpu_threshold_percent": 18,
            "disk_io_threshold_kbps": 1500, "gpu_threshold_percent": 19,
            "input_idle_threshold_secs": 1, "idle": { "votes": votes },
        });
        let mut day = Day::of(text);
        let mut rested = Duration::ZERO;
        let mut was_idle = false;
        for (seconds, readings, verdict, held) in moments {
            let time = Duration::from_secs(seconds);
            day.pass(time);
            let monitors =
                [Monitor::Cpu, Monitor::Network, Monitor::DiskIo, Monitor::Gpu, Monitor::Input];
            let votes = verdict.map(|verdict| Vote {
                plugin: "p".to_owned(), verdict, reason: String::new(),
            });
            let seen = Seen {
                readings: monitors.into_iter().zip(readings.iter().cloned()).collect(),
                votes: votes.into_iter().collect(),
                holds: held.then(|| "held".to_owned()).into_iter().collect(),
            };
            let fine = |reading: &Reading| match reading {
                Reading::Absent(_) => true,
                Reading::Value(value) => value.is_finite() && *value >= 0.0,
                Reading::Unknown(_) => false,
            };
            let is_known = readings.iter().all(fine) && !held
                && (any || verdict != Some(Verdict::Unknown) && verdict != Some(Verdict::Busy));
            if was_idle && is_known && time <= Duration::from_secs(300) {
                rested += time;
            }
            let effects = day.idle.on(seen, day.at);
            was_idle = day.idle.latest().unwrap().agreement.verdict == Verdict::Idle;
            if was_idle {
                prop_assert!(is_known);
            }
            if effects.iter().any(|effect| matches!(effect, Effect::Idle { .. })) {
                prop_assert!(is_known && was_idle);
                prop_assert!(rested >= Duration::from_secs(300), "{rested:?}");
            }
            if day.idle.phase() == Phase::Active {
                rested = Duration::ZERO;
            }
        }
    }
}
