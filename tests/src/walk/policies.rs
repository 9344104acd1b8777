//! The policies of all stories, read once, and what is known of the instance.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use snooze_event::PluginName;
use snooze_event::wire::imds::Identity;
use snooze_policy::ledger::Shelf;
use snooze_policy::{Facts, Policy};
use snoozed::cloud::{Here, Table};

/// Stands where a secret would, and may be found nowhere else.
pub(super) const CANARY: &str = "S3CR3T-CANARY";
/// The instance.
pub(super) const INSTANCE: &str = "i-0a1b2c3d4e5f60718";
pub(super) const ACCOUNT: &str = "123456789012";
pub(super) const REGION: &str = "us-east-1";
/// The plugin that no policy of the table may name.
pub(super) const FORBIDDEN: &str = "spot-interrupt-handler";

/// Different priorities, reserves and natures, and something to undo; the last answers hooks.
const LOCAL: [&str; 4] = [
    r#"{ "name": "all", "match": { "type": [{ "prefix": "c" }] }, "handlers": [
        { "plugin": "flush", "priority": 100, "timeout_seconds": 30,
          "config": { "password": "S3CR3T-CANARY" } },
        { "plugin": "copy", "priority": 50, "timeout_seconds": 60, "repeatable": true },
        { "plugin": "mark", "priority": 50, "timeout_seconds": 5, "instant": true },
        { "plugin": "tell", "priority": 10, "timeout_seconds": 10 } ],
      "undo": [{ "plugin": "join", "timeout_seconds": 20, "repeatable": true }] }"#,
    r#"{ "name": "first", "match": { "type": ["cloud.spot.interrupt"] }, "reserve_seconds": 20,
      "dispatch": "first_handled", "drill": "rehearse", "handlers": [
        { "plugin": "one", "priority": 80, "timeout_seconds": 30, "minimum_seconds": 10 },
        { "plugin": "two", "priority": 70, "timeout_seconds": 30, "repeatable": true } ] }"#,
    r#"{ "name": "late", "match": { "type": ["cloud.instance.termination"] }, "handlers": [
        { "plugin": "top", "priority": 200, "timeout_seconds": 90, "repeatable": true } ] }"#,
    r#"{ "name": "off", "enabled": false, "match": { "type": [{ "prefix": "c" }] },
      "handlers": [{ "plugin": "never", "priority": 250 }] }"#,
];

/// What the table holds beside them: actions of the cloud side, and a plugin that is not allowed.
const TABLE: &str = r#"{ "name": "table", "match": { "type": [{ "prefix": "c" }] }, "handlers": [
        { "plugin": "spot-interrupt-handler", "priority": 240 },
        { "plugin": "upload", "priority": 60, "timeout_seconds": 40, "repeatable": true } ],
      "actions": [{ "action": "notify" },
        { "action": "complete-lifecycle" },
        { "action": "notify", "when": "outcome" }] }"#;

pub(super) struct Known {
    pub(super) local: Vec<Policy>,
    pub(super) table: Table,
    pub(super) shelf: Shelf,
    pub(super) facts: Facts,
    pub(super) identity: Identity,
}

/// All of it, read once.
pub(super) fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let read = |text: &&str| snooze_policy::check(text).expect("a policy of the walk");
        let local: Vec<Policy> = LOCAL.iter().map(read).collect();
        let of_table = read(&TABLE);
        let all: Vec<Policy> = local.iter().cloned().chain([of_table.clone()]).collect();
        let tags = [("role".to_owned(), "orders-db".to_owned())];
        let instance = INSTANCE.parse().expect("an instance");
        Known {
            table: Table {
                version: 7,
                policies: vec![of_table],
                faults: Vec::new(),
                signed: BTreeMap::new(),
                refused: Vec::new(),
                is_snapshot: false,
                place: (ACCOUNT.to_owned(), REGION.to_owned()),
            },
            shelf: Shelf {
                version: Some(7),
                policies: all.into_iter().collect(),
                faults: Vec::new(),
            },
            facts: Facts {
                id: Some(instance),
                kind: Some("m7g.large".to_owned()),
                zone: Some("us-east-1a".to_owned()),
                region: Some(REGION.to_owned()),
                account: Some(ACCOUNT.to_owned()),
                lifecycle: Some("spot".to_owned()),
                asg: None,
                tags: tags.into(),
            },
            identity: Identity {
                instance: INSTANCE.parse().expect("an instance"),
                instance_type: Some("m7g.large".to_owned()),
                region: Some(REGION.to_owned()),
                zone: Some("us-east-1a".to_owned()),
                account: Some(ACCOUNT.to_owned()),
                image: None,
                architecture: None,
            },
            local,
        }
    })
}

/// The policies in force: the settings' own that `mask` names, and those of the table.
pub(super) fn in_force(mask: usize, trusts_the_table: bool) -> Vec<Policy> {
    let known = known();
    let chosen = known.local.iter().enumerate().filter(|(place, _)| mask & (1 << place) != 0);
    let mut local: Vec<Policy> = chosen.map(|(_, policy)| policy.clone()).collect();
    if trusts_the_table {
        local.extend(known.table.policies.iter().cloned());
        return local;
    }
    let allowed: Vec<PluginName> = Vec::new();
    let here = Here { facts: &known.facts, now: Timestamp::UNIX_EPOCH, grace: Duration::ZERO };
    snoozed::cloud::merge(&local, Some(&known.table), Some(&allowed), here).0
}
