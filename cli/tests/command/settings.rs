//! `snooze config` on files.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::snooze::{Place, Run, snooze};
use serde_json::{Value, json};

const FIRST: &str = include_str!("../../samples/migrate/snooze.json");

#[test]
fn s4_62_an_import_says_what_became_of_each_key_and_the_daemon_takes_the_outcome() {
    let place = Place::new();
    let to = place.path("snoozed.json").display().to_string();
    for (name, naptime, network) in [
        ("snooze.json", json!(30), json!(50.0)),
        ("camel-case.json", json!(60), json!(5.0)),
        ("snoozebot.json", json!(30), json!(625)),
    ] {
        let from = format!("{}/samples/migrate/{name}", env!("CARGO_MANIFEST_DIR"));
        let run = snooze(["--json", "config", "import", &from, "--settings", &to, "--yes"]);
        assert_eq!(run.code, 0, "{run:?}");
        let told = run.json();
        let keys: usize =
            count(&serde_json::from_str(&fs::read_to_string(&from).unwrap()).unwrap());
        assert_eq!(told["entries"].as_array().unwrap().len(), keys, "{told:#}");
        assert!(!run.out.contains("\"unknown\""), "{}", run.out);
        let written = settings(&to);
        assert_eq!(
            (&written["naptime_minutes"], &written["network_threshold_kbps"]),
            (&naptime, &network)
        );
        assert_eq!(snooze(["config", "check", &to]).code, 0);
    }
}

#[test]
fn s4_62_a_dry_run_writes_nothing() {
    let place = Place::new();
    let from = place.file("snooze.json", FIRST);
    let to = place.path("snoozed.json").display().to_string();
    for verb in ["import", "migrate"] {
        let run = snooze(["config", verb, &from, "--settings", &to, "--dry-run"]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.out.contains("logging.log_level") && run.out.contains("log_level = info"));
        assert!(run.out.ends_with("would be written; nothing is\n"), "{}", run.out);
    }
    assert_eq!(names(&place), ["snooze.json"]);
}

#[test]
fn s4_62_settings_that_are_there_are_changed_only_with_consent_and_kept_beside() {
    let place = Place::new();
    let from = place.file("snooze.json", FIRST);
    let ours = r#"{ "log_level": "debug", "cloud": { "stack": "cloudsnooze" } }"#;
    let to = place.file("snoozed.json", ours);
    fs::set_permissions(&to, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = snooze(["config", "import", &from, "--settings", &to]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("`--yes` changes"), "{refused:?}");
    assert!(refused.out.contains("log_level = info, was debug"), "{refused:?}");
    assert_eq!(fs::read_to_string(&to).unwrap(), ours);
    let run = snooze(["config", "import", &from, "--settings", &to, "--yes", "--json"]);
    let backup = run.json()["backup"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(&backup).unwrap(), ours);
    let written = settings(&to);
    assert_eq!(
        (&written["log_level"], &written["cloud"]["stack"]),
        (&json!("info"), &json!("cloudsnooze"))
    );
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o640);
    let again = snooze(["config", "import", &from, "--settings", &to]);
    assert!(again.code == 0 && again.out.ends_with("stays as it is\n"), "{again:?}");
}

#[test]
fn s4_62_a_file_can_be_migrated_where_it_stands() {
    let place = Place::new();
    let file = place.file("snoozed.json", FIRST);
    assert_eq!(snooze(["config", "check", &file]).code, 1);
    let run = snooze(["config", "migrate", &file, "--settings", &file, "--yes"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(snooze(["config", "check", &file]).code, 0);
    assert_eq!(names(&place).len(), 2);
}

#[test]
fn s4_62_what_the_daemon_would_refuse_is_not_written() {
    let place = Place::new();
    let to = place.path("snoozed.json").display().to_string();
    for (text, fault) in [
        (r#"{ "NaptimeMinutes": 0 }"#, "naptime_minutes"),
        (r#"{ "Thresholds": { "disk": "all" } }"#, "Thresholds.disk: expected a number"),
        (r#"{ "socket": { "mode": "0666" }, "colour": 1 }"#, "socket.mode"),
    ] {
        let from = place.file("from.json", text);
        let run = snooze(["config", "import", &from, "--settings", &to]);
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.out.contains(fault) && run.out.contains("nothing is written"), "{run:?}");
    }
    let list = place.file("list.json", "[]");
    let run = snooze(["config", "import", &list, "--settings", &to]);
    assert!(run.code == 3 && run.err.contains("expected a JSON object"), "{run:?}");
    assert_eq!(names(&place), ["from.json", "list.json"]);
}

#[test]
fn d22_a_key_is_set_by_either_of_its_names() {
    let place = Place::new();
    let to = place.file("snoozed.json", r#"{ "cpu_threshold_percent": 10 }"#);
    for (key, value) in [("cpu-threshold", "5"), ("cpu_threshold_percent", "6.5")] {
        let run = set(&to, &[key, value]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.out.starts_with(&format!("cpu_threshold_percent: {value}, was ")), "{run:?}");
    }
    assert_eq!(settings(&to), json!({ "cpu_threshold_percent": 6.5 }));
    assert!(set(&to, &["cpu-threshold", "6.5"]).out.contains("is 6.5 already"));
    let none = place.path("none.json").display().to_string();
    for (key, value) in [
        ("naptime", "20"),
        ("socket.mode", "0600"),
        ("log_level", "debug"),
        ("plugins-enabled", "true"),
    ] {
        assert_eq!(set(&none, &[key, value]).code, 0, "{key}");
    }
    assert_eq!(
        settings(&none),
        json!({ "naptime_minutes": 20, "socket": { "mode": "0600" }, "log_level": "debug",
            "plugins": { "enabled": true } })
    );
}

#[test]
fn a_value_that_the_daemon_would_refuse_is_not_set() {
    let place = Place::new();
    let text = r#"{ "naptime_minutes": 10 }"#;
    let to = place.file("snoozed.json", text);
    for (key, value, fault) in [
        ("naptime", "0", "$.naptime_minutes"),
        ("naptime", "soon", "expected a number"),
        ("naptime_minuts", "5", "did you mean `naptime_minutes`?"),
        ("cpu-threshold", "-1", "$.cpu_threshold_percent"),
    ] {
        let run = set(&to, &[key, value]);
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.err.contains(fault), "{run:?}");
    }
    let dry = set(&to, &["naptime", "20", "--dry-run"]);
    assert!(dry.out.ends_with("would be written; nothing is\n"), "{dry:?}");
    assert_eq!(fs::read_to_string(&to).unwrap(), text);
    assert_eq!(names(&place), ["snoozed.json"]);
}

#[test]
fn c11_what_may_be_secret_is_written_and_not_shown() {
    let place = Place::new();
    let to = place.file("snoozed.json", "{}");
    let key = "plugins.plugin_configs.mysql-monitor.dsn";
    for secret in ["hunter2", "hunter3"] {
        let run = set(&to, &[key, secret]);
        assert!(run.code == 0 && !run.out.contains("hunter"), "{run:?}");
    }
    let from = place.file("from.json", &fs::read_to_string(&to).unwrap());
    let other = place.path("other.json").display().to_string();
    for json in [&[][..], &["--json"]] {
        let run =
            snooze(["config", "import", &from, "--settings", &other, "--yes"].iter().chain(json));
        assert!(run.code == 0 && !run.out.contains("hunter"), "{run:?}");
    }
    assert_eq!(settings(&other)["plugins"]["plugin_configs"]["mysql-monitor"]["dsn"], "hunter3");
}

#[test]
fn an_export_can_be_imported_and_writes_over_nothing() {
    let place = Place::new();
    let text = r#"{ "naptime_minutes": 10, "policies": [] }"#;
    let from = place.file("snoozed.json", text);
    let copy = place.path("copy.json").display().to_string();
    assert_eq!(snooze(["config", "export", &copy, "--settings", &from]).code, 0);
    assert_eq!(settings(&copy), settings(&from));
    assert_eq!(snooze(["config", "export", &copy, "--settings", &from]).code, 3);
    let printed = snooze(["config", "export", "--settings", &from]);
    assert_eq!(printed.json(), settings(&from));
}

fn set(to: &str, args: &[&str]) -> Run {
    snooze(["config", "set", "--settings", to].iter().chain(args))
}

fn settings(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The keys of a file of an older layout, which has one level of groups.
fn count(value: &Value) -> usize {
    let members = value.as_object().unwrap().values();
    members.map(|value| value.as_object().map_or(1, serde_json::Map::len)).sum()
}

fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path("")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
