//! Each finding appears when what it is about is wrong, alone, and is gone when that is mended.

use jiff::SignedDuration;

use super::*;
use crate::host::State;

const PAGE: &str = include_str!("../../../../docs/doctor.md");

/// An instance with which nothing is wrong.
fn healthy() -> Facts {
    Facts {
        signatures: Some(true),
        unit: Some(Unit {
            is_there: true,
            is_enabled: true,
            is_active: true,
            is_notify: true,
            is_restarted: true,
            restart_after: Some(Duration::from_millis(200)),
            watchdog: Some(Duration::from_secs(10)),
            is_unlimited: true,
            stop: Some(Duration::from_secs(90)),
        }),
        shutdown_budget: Duration::from_secs(60),
        metadata: works(false, Some(1), Some(true)),
        state: Some(State { path: "/var/lib/cloudsnooze".into(), free: ROOM, ..State::default() }),
        core_limit: Some(0),
        landlock: 6,
        seccomp: true,
        cgroup2: true,
        ..Facts::default()
    }
}

fn works(is_open: bool, ahead: Option<i64>, has_role: Option<bool>) -> Metadata {
    let ahead = ahead.map(SignedDuration::from_secs);
    Metadata::Works { is_open, ahead, has_role, needs_role: true }
}

fn unit(facts: &mut Facts) -> &mut Unit {
    facts.unit.as_mut().unwrap()
}

fn state(facts: &mut Facts) -> &mut State {
    facts.state.as_mut().unwrap()
}

fn said() -> Vec<String> {
    vec!["something".to_owned()]
}

/// Makes facts worse.
type Break = fn(&mut Facts);

/// What breaks an instance so that the finding of this part appears.
const BROKEN: [(&str, Break); 31] = [
    ("settings", |facts| facts.settings = said()),
    ("local-policies", |facts| facts.policies = said()),
    ("plugin-file", |facts| facts.refused = said()),
    ("plugin-missing", |facts| facts.missing = said()),
    ("plugin-not-allowed", |facts| facts.not_allowed = said()),
    ("signatures", |facts| facts.signatures = Some(false)),
    ("signing-keys", |facts| facts.keys = said()),
    ("secret-files", |facts| facts.open_secrets = vec![("/etc/x".into(), 0o644)]),
    ("secret-key", |facts| facts.secret_keys = vec!["/etc/x".into()]),
    ("credentials", |facts| facts.credentials = said()),
    ("socket", |facts| facts.unanswered = Some("nobody listens".to_owned())),
    ("systemd", |facts| facts.unit = None),
    ("unit", |facts| unit(facts).is_there = false),
    ("unit-enabled", |facts| unit(facts).is_enabled = false),
    ("unit-active", |facts| unit(facts).is_active = false),
    ("unit-type", |facts| unit(facts).is_notify = false),
    ("unit-restart", |facts| unit(facts).restart_after = Some(Duration::from_secs(5))),
    ("unit-restart-limit", |facts| unit(facts).is_unlimited = false),
    ("unit-watchdog", |facts| unit(facts).watchdog = None),
    ("unit-stop", |facts| unit(facts).stop = Some(Duration::from_secs(79))),
    ("metadata-silent", |facts| facts.metadata = Metadata::Silent),
    ("metadata-token", |facts| facts.metadata = Metadata::NoToken),
    ("metadata-version", |facts| facts.metadata = works(true, None, Some(true))),
    ("clock", |facts| facts.metadata = works(false, Some(-6), Some(true))),
    ("role", |facts| facts.metadata = works(false, Some(5), Some(false))),
    ("state-missing", |facts| facts.is_stateless = true),
    ("state-read-only", |facts| state(facts).is_read_only = true),
    ("state-shared", |facts| state(facts).is_shared = true),
    ("state-space", |facts| state(facts).free = ROOM - 1),
    ("core-dumps", |facts| facts.core_limit = Some(1)),
    ("kernel", |facts| facts.landlock = 0),
];

#[test]
fn each_finding_appears_alone_when_it_is_so_and_is_gone_when_it_is_not() {
    assert_eq!(findings(&healthy()), []);
    assert_eq!(BROKEN.map(|(part, _)| part), ALL.map(|(part, _)| part));
    for (part, break_it) in BROKEN {
        let mut facts = healthy();
        break_it(&mut facts);
        let found = findings(&facts);
        let parts: Vec<&str> = found.iter().map(|finding| finding.part.as_str()).collect();
        assert_eq!(parts, [part]);
        let severity = ALL.iter().find(|(known, _)| *known == part).unwrap().1;
        assert_eq!(found[0].severity, severity, "{part}");
        let has_mend = severity == Severity::Note || !found[0].mend.is_empty();
        assert!(has_mend, "{part} has no mend");
    }
}

#[test]
fn other_ways_to_the_same_findings() {
    let ways: [(&str, Break); 5] = [
        ("unit-restart", |facts| unit(facts).is_restarted = false),
        ("unit-restart", |facts| unit(facts).restart_after = None),
        ("clock", |facts| facts.metadata = works(false, Some(6), None)),
        ("kernel", |facts| facts.seccomp = false),
        ("kernel", |facts| facts.cgroup2 = false),
    ];
    for (part, break_it) in ways {
        let mut facts = healthy();
        break_it(&mut facts);
        let found = findings(&facts);
        assert!(found.len() == 1 && found[0].part == part, "{part}: {found:?}");
    }
    let mut facts = healthy();
    facts.metadata = Metadata::Off;
    facts.signatures = None;
    facts.core_limit = None;
    assert_eq!(findings(&facts), []);
}

#[test]
fn the_page_lists_every_finding_with_how_bad_it_is_and_no_other() {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| {
        let (part, rest) = row.split_once("` | ")?;
        Some((part, rest.split(" | ").next()?))
    });
    let listed: Vec<(&str, &str)> = rows.collect();
    assert_eq!(listed, ALL.map(|(part, severity)| (part, severity.as_str())));
}
