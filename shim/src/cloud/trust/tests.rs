//! The keys and signatures are those of `events/policy/samples/signed`.

use std::os::unix::fs::PermissionsExt as _;

use expect_test::{Expect, expect};
use snooze_cloud::policies::{Contents, Document};
use snooze_policy::Policy;
use tempfile::TempDir;

use super::super::snapshot::{Here, Keeper, Table, load, merge};
use super::*;

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../../../events/policy/samples/signed/", $name))
    };
}

const SEVEN: (&str, &str) = (sample!("orders-7.json"), sample!("orders-7.minisig"));
const EIGHT: (&str, &str) = (sample!("orders-8.json"), sample!("orders-8.minisig"));
const EXPIRED: (&str, &str) = (sample!("orders-8.json"), sample!("expired.minisig"));
/// After the expired one was signed, before it expired.
const IN_TIME: &str = "2025-12-24T00:00:00Z";
const NOW: &str = "2026-11-21T10:00:00Z";

/// An instance with a state directory and a directory of keys.
struct World {
    folder: TempDir,
}

impl World {
    fn new(keys: &[&str]) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["keys", "state"] {
            fs::create_dir(world.path(folder)).unwrap();
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(world.path(folder), mode).unwrap();
        }
        for key in keys {
            let text = if *key == "team.pub" { sample!("team.pub") } else { sample!("next.pub") };
            world.write(key, text);
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the keys.
    fn write(&self, name: &str, text: &str) {
        let path = self.path("keys").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn settings(&self) -> Signatures {
        let grace = Duration::from_secs(14 * 86_400);
        Signatures { required: true, keys: self.path("keys"), grace }
    }

    fn keeper(&self) -> Keeper {
        let place = ("123456789012".to_owned(), "us-east-1".to_owned());
        Keeper::new(&self.path("state"), "blue", place, self.settings())
    }

    /// Takes a table that holds this as `orders`, then starts anew from the snapshot, and says
    /// what is in force and what is wrong: the same twice.
    fn take(&self, version: u64, (text, signature): (&str, Option<&str>), now: &str) -> String {
        let contents = Contents {
            version,
            documents: vec![document("orders", text, signature)],
            faults: Vec::new(),
        };
        let kept = self.keeper().keep(contents, &facts(), at(now));
        let loaded = self.load();
        if let Some((table, fault)) = kept {
            assert!(fault.is_none());
            assert_eq!(
                self.shown(&Table { is_snapshot: true, ..table }, now),
                self.shown(&loaded, now)
            );
        }
        self.shown(&loaded, now)
    }

    fn load(&self) -> Table {
        load(&self.path("state"), "blue", &self.settings()).unwrap()
    }

    fn shown(&self, table: &Table, now: &str) -> String {
        let facts = facts();
        let here = Here { facts: &facts, now: at(now), grace: self.settings().grace };
        let (policies, faults, _) = merge(&[], Some(table), None, here);
        let policy = |policy: &Policy| {
            format!("{} of {} s\n", policy.name, policy.handlers[0].timeout.as_secs())
        };
        let in_force: String = policies.iter().map(policy).collect();
        let faults: String = faults.iter().map(|fault| format!("fault: {fault}\n")).collect();
        let elsewhere = table.refused.iter().filter(|refused| refused.is_elsewhere);
        let elsewhere: String =
            elsewhere.map(|one| format!("note: {}: {}\n", one.policy, one.why)).collect();
        in_force + &faults + &elsewhere
    }
}

fn document(name: &str, text: &str, signature: Option<&str>) -> Document {
    Document {
        name: name.parse().unwrap(),
        text: text.to_owned(),
        version: 1,
        enabled: true,
        sha256: format!("{:08x}", crc32fast::hash(text.as_bytes())),
        types: vec!["cloud.spot.interrupt".to_owned()],
        by: "somebody".to_owned(),
        at: at(NOW),
        signature: signature.map(str::to_owned),
    }
}

fn facts() -> Facts {
    Facts {
        id: "i-0a1b2c3d4e5f60718".parse().ok(),
        account: Some("123456789012".to_owned()),
        region: Some("us-east-1".to_owned()),
        ..Facts::default()
    }
}

fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap()
}

fn signed((text, signature): (&'static str, &'static str)) -> (&'static str, Option<&'static str>) {
    (text, Some(signature))
}

fn check(told: &str, expected: Expect) {
    expected.assert_eq(told);
}

#[test]
fn i1_whatever_is_refused_says_why_and_the_last_good_one_stays_also_after_a_restart() {
    let eight = sample!("orders-8.json");
    let mut told = String::new();
    for (case, refused) in [
        ("unsigned", (eight, None)),
        ("of another text", (eight, Some(SEVEN.1))),
        ("by a stranger", (eight, Some(sample!("stranger.minisig")))),
        ("expired", signed(EXPIRED)),
        ("the same version", (eight, Some(sample!("orders-8-as-7.minisig")))),
        ("for others", (eight, Some(sample!("elsewhere.minisig")))),
    ] {
        let world = World::new(&["next.pub", "team.pub"]);
        assert_eq!(world.take(1, signed(SEVEN), NOW), "orders of 35 s\n");
        told.push_str(&format!("{case}:\n{}", world.take(2, refused, NOW)));
    }
    check(
        &told,
        expect![[r#"
        unsigned:
        orders of 35 s
        fault: orders: refused: it is not signed; `snooze policy sign` signs it; version 7 stays in force
        of another text:
        orders of 35 s
        fault: orders: refused: its signature by `team.pub` is that of another text: it was changed; version 7 stays in force
        by a stranger:
        orders of 35 s
        fault: orders: refused: none of the keys that are here signed it (next.pub, team.pub); version 7 stays in force
        expired:
        orders of 35 s
        fault: orders: refused: its signature expired at 2026-01-01T00:00:00Z; version 7 stays in force
        the same version:
        orders of 35 s
        fault: orders: refused: its version 7 was seen with another text: a change needs a higher version; version 7 stays in force
        for others:
        orders of 35 s
        note: orders: refused: it was signed for other instances; version 7 stays in force
    "#]],
    );
}

#[test]
fn i1_what_was_never_good_is_not_in_force() {
    let world = World::new(&["team.pub"]);
    check(
        &world.take(1, (SEVEN.0, None), NOW),
        expect![[r#"
        fault: orders: refused: it is not signed; `snooze policy sign` signs it; none of that name is in force
    "#]],
    );
}

#[test]
fn i1_an_older_version_is_refused_also_when_the_policy_was_removed_meanwhile() {
    let world = World::new(&["next.pub", "team.pub"]);
    assert_eq!(world.take(1, signed(EIGHT), NOW), "orders of 40 s\n");
    check(
        &world.take(2, signed(SEVEN), NOW),
        expect![[r#"
        orders of 40 s
        fault: orders: refused: its version 7 is older than 8, which was seen; version 8 stays in force
    "#]],
    );
    let none = Contents { version: 3, ..Contents::default() };
    assert!(world.keeper().keep(none, &facts(), at(NOW)).is_some());
    assert_eq!(world.shown(&world.load(), NOW), "");
    check(
        &world.take(4, signed(SEVEN), NOW),
        expect![[r#"
        fault: orders: refused: its version 7 is older than 8, which was seen; none of that name is in force
    "#]],
    );
}

#[test]
fn i1_a_snapshot_that_somebody_changed_is_verified_again_at_the_start() {
    let world = World::new(&["team.pub"]);
    assert_eq!(world.take(1, signed(SEVEN), NOW), "orders of 35 s\n");
    let path = world.path("state/policies");
    let line = fs::read_to_string(&path).unwrap();
    let json = line[9..].trim_end().replace("timeout_seconds\\\": 35", "timeout_seconds\\\": 36");
    assert_ne!(json, line[9..].trim_end());
    fs::write(&path, format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()))).unwrap();
    check(
        &world.shown(&world.load(), NOW),
        expect![[r#"
        fault: orders: refused: its signature by `team.pub` is that of another text: it was changed; none of that name is in force
    "#]],
    );
}

#[test]
fn i1_a_snapshot_from_before_signatures_were_required_counts_only_as_far_as_it_is_signed() {
    let world = World::new(&["team.pub"]);
    let mut off = world.settings();
    off.required = false;
    let place = ("123456789012".to_owned(), "us-east-1".to_owned());
    let mut keeper = Keeper::new(&world.path("state"), "blue", place, off);
    let documents = vec![document("orders", SEVEN.0, None)];
    let contents = Contents { version: 1, documents, faults: Vec::new() };
    let (table, _) = keeper.keep(contents, &facts(), at(NOW)).unwrap();
    assert_eq!(world.shown(&table, NOW), "orders of 35 s\n");
    check(
        &world.shown(&world.load(), NOW),
        expect![[r#"
        fault: orders: refused: it is not signed; `snooze policy sign` signs it; none of that name is in force
    "#]],
    );
}

#[test]
fn i1_a_table_whose_version_somebody_raised_does_not_keep_newer_policies_out() {
    let world = World::new(&["next.pub", "team.pub"]);
    assert_eq!(world.take(u64::MAX, signed(SEVEN), NOW), "orders of 35 s\n");
    let keeper = world.keeper();
    assert!(keeper.wants(2) && !keeper.is_behind(2) && !keeper.wants(u64::MAX));
    assert_eq!(world.take(2, signed(EIGHT), NOW), "orders of 40 s\n");
}

#[test]
fn i2_an_expired_policy_serves_as_last_good_with_an_alarm_until_its_time_is_over() {
    let world = World::new(&["team.pub"]);
    let days = [IN_TIME, "2026-01-01T00:00:00Z", "2026-01-14T23:59:59Z", "2026-01-15T00:00:00Z"];
    let told: String =
        days.iter().map(|day| format!("{day}:\n{}", world.take(1, signed(EXPIRED), day))).collect();
    check(
        &told,
        expect![[r#"
        2025-12-24T00:00:00Z:
        orders of 40 s
        2026-01-01T00:00:00Z:
        orders of 40 s
        fault: orders: its signature expired at 2026-01-01T00:00:00Z: it serves until 2026-01-15T00:00:00Z; sign it anew and put it again
        2026-01-14T23:59:59Z:
        orders of 40 s
        fault: orders: its signature expired at 2026-01-01T00:00:00Z: it serves until 2026-01-15T00:00:00Z; sign it anew and put it again
        2026-01-15T00:00:00Z:
        fault: orders: its signature expired at 2026-01-01T00:00:00Z: not in force; sign it anew and put it again
    "#]],
    );
    let table = world.load();
    let due = |now: &str| table.due(at(now), world.settings().grace);
    assert_eq!(due(IN_TIME), Some(at(days[1])));
    assert_eq!(due(days[1]), Some(at(days[3])));
    assert_eq!(due(days[3]), None);
}

#[test]
fn i2_a_key_that_comes_later_lets_in_what_was_refused_before() {
    let world = World::new(&["team.pub"]);
    check(
        &world.take(1, signed(EIGHT), NOW),
        expect![[r#"
        fault: orders: refused: none of the keys that are here signed it (team.pub); none of that name is in force
    "#]],
    );
    assert!(world.keeper().wants(1), "the table is looked at again");
    world.write("next.pub", sample!("next.pub"));
    assert_eq!(world.take(1, signed(EIGHT), NOW), "orders of 40 s\n");
    assert!(!world.keeper().wants(1));
}

#[test]
fn i2_a_list_of_revocations_counts_and_none_of_a_lower_version_takes_its_place() {
    let world = World::new(&["next.pub", "team.pub"]);
    assert_eq!(world.take(1, signed(SEVEN), NOW), "orders of 35 s\n");
    let team = sample!("team.pub").lines().nth(1).unwrap();
    let list = |version: u64, keys: &[&str]| {
        world.write(REVOKED, &json!({ "version": version, "keys": keys }).to_string());
    };
    list(3, &[team]);
    let revoked = world.take(2, signed(SEVEN), NOW);
    list(2, &[]);
    let lower = world.take(3, signed(SEVEN), NOW);
    fs::remove_file(world.path("keys").join(REVOKED)).unwrap();
    let gone = world.take(4, signed(SEVEN), NOW);
    let newer = world.take(5, signed(EIGHT), NOW);
    let told = format!("revoked:\n{revoked}lower:\n{lower}gone:\n{gone}another key:\n{newer}");
    check(
        &told,
        expect![[r#"
        revoked:
        fault: orders: refused: `team.pub` signed it, and that key is revoked; none of that name is in force
        lower:
        fault: table: `revoked.json` is refused: its version 2 is lower than 3, which stays in force
        fault: orders: refused: `team.pub` signed it, and that key is revoked; none of that name is in force
        gone:
        fault: orders: refused: `team.pub` signed it, and that key is revoked; none of that name is in force
        another key:
        orders of 40 s
    "#]],
    );
}

#[test]
fn i2_keys_that_others_could_write_do_not_count() {
    let world = World::new(&["team.pub"]);
    let mode = fs::Permissions::from_mode(0o666);
    fs::set_permissions(world.path("keys/team.pub"), mode).unwrap();
    let told = world.take(1, signed(SEVEN), NOW);
    assert!(told.contains("fault: table: key `team.pub`: "), "{told}");
    assert!(told.contains("orders: refused: none of the keys"), "{told}");
    let (none, faults) = keys(&world.path("nowhere"));
    assert!(none.is_empty() && faults[0].contains("there are no keys"), "{faults:?}");
}
