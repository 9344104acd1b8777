use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn document(name: &str, text: &str) -> Document {
    Document {
        name: name.parse().unwrap(),
        text: text.to_owned(),
        version: 7,
        enabled: true,
        sha256: "00".to_owned(),
        types: vec!["cloud.spot.interrupt".to_owned()],
        by: "somebody".to_owned(),
        at: "2026-03-14T09:26:53Z".parse().unwrap(),
        signature: None,
    }
}

fn policy(name: &str, plugin: &str) -> String {
    format!(
        r#"{{ "name": "{name}", "match": {{ "type": ["cloud.spot.interrupt"] }},
             "handlers": [{{ "plugin": "{plugin}" }}, {{ "plugin": "flush" }}] }}"#
    )
}

fn contents(version: u64, policies: &[(&str, &str)]) -> Contents {
    let documents = policies.iter().map(|(name, plugin)| document(name, &policy(name, plugin)));
    Contents { version, documents: documents.collect(), faults: Vec::new() }
}

fn keeper(directory: &Path, place: (String, String)) -> Keeper {
    Keeper::new(directory, "blue", place, off())
}

fn off() -> Signatures {
    Signatures { required: false, keys: PathBuf::from("/no/keys"), grace: Duration::ZERO }
}

/// Takes what a table holds, as one that is new.
fn keep(mut keeper: Keeper, contents: Contents) -> (Table, Option<io::Error>) {
    keeper.keep(contents, &Facts::default(), Timestamp::UNIX_EPOCH).unwrap()
}

fn merge(
    local: &[Policy],
    table: Option<&Table>,
    allowed: Option<&[PluginName]>,
) -> (Vec<Policy>, Vec<String>, Vec<String>) {
    let facts = Facts::default();
    let here = Here { facts: &facts, now: Timestamp::UNIX_EPOCH, grace: Duration::ZERO };
    super::merge(local, table, allowed, here)
}

fn place() -> (String, String) {
    ("123456789012".to_owned(), "eu-west-1".to_owned())
}

fn names(policies: &[Policy]) -> Vec<&str> {
    policies.iter().map(|policy| policy.name.as_str()).collect()
}

#[test]
fn what_was_kept_is_there_after_a_restart_and_nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(load(directory.path(), "blue", &off()), None);
    let new = keeper(directory.path(), place());
    assert!((new.highest, new.wants(1), new.wants(0)) == (0, true, false));
    let (table, fault) = keep(new, contents(7, &[("one", "save"), ("two", "save")]));
    assert!(fault.is_none() && !table.is_snapshot);
    assert_eq!(names(&table.policies), ["one", "two"]);
    let loaded = load(directory.path(), "blue", &off()).unwrap();
    assert_eq!(loaded, Table { is_snapshot: true, ..table });
    let again = keeper(directory.path(), place());
    assert!((again.highest, again.wants(7), again.wants(8)) == (7, false, true));
    assert!(again.is_behind(6) && !again.is_behind(7));
    let mode = fs::metadata(directory.path().join(NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_snapshot_of_another_stack_account_or_region_counts_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    keep(keeper(directory.path(), place()), contents(7, &[("one", "save")]));
    assert_eq!(load(directory.path(), "green", &off()), None);
    let (account, region) = place();
    for elsewhere in [("999999999999".to_owned(), region), (account, "us-east-1".to_owned())] {
        assert_eq!(keeper(directory.path(), elsewhere).highest, 0);
    }
}

#[test]
fn a_damaged_snapshot_is_none_wherever_it_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    keep(keeper(directory.path(), place()), contents(7, &[("one", "save")]));
    let path = directory.path().join(NAME);
    let whole = fs::read(&path).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(load(directory.path(), "blue", &off()), None, "byte {place}");
        fs::write(&path, &whole[..place]).unwrap();
        assert_eq!(load(directory.path(), "blue", &off()), None, "cut at {place}");
    }
}

#[test]
fn a_disk_that_does_not_take_the_snapshot_leaves_the_policies_in_force() {
    let mut keeper = keeper(Path::new("/no/such/directory"), place());
    let kept = keeper.keep(contents(7, &[("one", "save")]), &Facts::default(), Timestamp::now());
    let (table, fault) = kept.unwrap();
    assert!(fault.is_some());
    assert_eq!(names(&table.policies), ["one"]);
    assert_eq!(keeper.highest, 7);
}

#[test]
fn d10_one_bad_policy_of_the_table_is_one_fault_and_the_others_are_in_force() {
    let directory = tempfile::tempdir().unwrap();
    for bad in ["{", "[]", "{}", r#"{ "name": "bad" }"#, "null", ""] {
        let mut contents = contents(7, &[("one", "save"), ("two", "save")]);
        contents.documents.insert(1, document("bad", bad));
        let (table, _) = keep(keeper(directory.path(), place()), contents);
        let (policies, faults, _) = merge(&[], Some(&table), None);
        assert_eq!(names(&policies), ["one", "two"], "{bad}");
        assert!(
            !faults.is_empty() && faults.iter().all(|fault| fault.contains("bad")),
            "{faults:?}"
        );
    }
}

#[test]
fn the_instances_own_policy_wins_over_one_of_the_table_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let contents = contents(7, &[("one", "save"), ("two", "save")]);
    let (table, _) = keep(keeper(directory.path(), place()), contents);
    let own = [snooze_policy::check(&policy("one", "mine")).unwrap()];
    let (policies, faults, taken) = merge(&own, Some(&table), None);
    assert_eq!(names(&policies), ["one", "two"]);
    assert_eq!(policies[0].handlers[0].plugin.as_str(), "mine");
    assert_eq!((faults.len(), taken), (0, vec!["one".to_owned()]));
    let (policies, ..) = merge(&own, None, None);
    assert_eq!(names(&policies), ["one"]);
}

// I1
#[test]
fn a_policy_of_the_table_runs_a_script_only_where_the_instance_allows_that_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let contents = contents(7, &[("one", SCRIPTS)]);
    let (table, _) = keep(keeper(directory.path(), place()), contents);
    let plugins = |allowed: Option<&[PluginName]>| {
        let (policies, faults, _) = merge(&[], Some(&table), allowed);
        let plugins = policies[0].handlers.iter().map(|handler| handler.plugin.to_string());
        (plugins.collect::<Vec<_>>(), faults.len())
    };
    assert_eq!(plugins(None), (vec!["flush".to_owned()], 1));
    let named: [PluginName; 1] = [SCRIPTS.parse().unwrap()];
    assert_eq!(plugins(Some(&named)), (vec![SCRIPTS.to_owned(), "flush".to_owned()], 0));
}
