use serde_json::json;

use super::*;

fn faults(text: &str) -> Vec<String> {
    check(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn everything_has_a_default() {
    let settings = check("{}").unwrap();
    assert_eq!(settings.sources.polling_interval, Duration::from_secs(1));
    assert_eq!(settings.socket.path, Path::new("/run/cloudsnooze/snoozed.sock"));
    assert_eq!(settings.socket.mode, 0o660);
    assert!(settings.sources.imds_enabled);
}

#[test]
fn g10_every_fault_is_told_at_once() {
    let text = r#"{
        "pollin_interval_seconds": 1, "polling_interval_seconds": 0.1,
        "state_directory": "here", "socket": { "mode": "0666" }, "log_level": "loud",
        "sources": { "imds": { "endpoints": ["https://example.com"] } },
        "plugins": { "allowed": ["No"], "sha256": { "a": "short" }, "limits": { "memory_mb": 1 },
            "sandbox": { "p": { "permissions": ["net"], "user": "-", "limits": { "cpu": 1 } },
                         "q": { "permissions": ["root"], "user": "63001" }, "Q": {} } },
        "naptime_minutes": 0,
        "policies": [{ "name": "p" }]
    }"#;
    let faults = faults(text).join("\n");
    for part in [
        "`polling_interval_seconds`?",
        "$.polling_interval_seconds: expected a number from 0.2 to 60",
        "$.state_directory: expected an absolute path",
        "$.socket.mode:",
        "$.log_level:",
        "$.sources.imds.endpoints[0]:",
        "$.plugins.allowed[0]:",
        "$.plugins.sha256",
        "$.plugins.limits.memory_mb: expected a whole number from 16 to",
        "$.plugins.sandbox.p.permissions[0]: `net` is no permission: expected `network`",
        "$.plugins.sandbox.p.user: no such user",
        "$.plugins.sandbox.p.limits",
        "$.plugins.sandbox.q.permissions: `root` needs no other `user`",
        "$.plugins.sandbox: \"Q\" is not a plugin name",
        "$.naptime_minutes:",
        "$.policies[0]",
    ] {
        assert!(faults.contains(part), "{part} is not in:\n{faults}");
    }
}

// S0-46 to S0-51, S1-61 to S1-63, S1-65 to S1-69
#[test]
fn the_layouts_of_the_source_documents_are_read() {
    let text = r##"{
        "cpu_threshold_percent": 5.0, "memory_threshold_percent": 10.0,
        "network_threshold_kbps": 50.0, "disk_io_threshold_kbps": 100.0,
        "naptime_minutes": 30,
        "event_handlers": { "cloud.spot.interrupt": {
            "enabled": true, "polling_interval_seconds": 5,
            "plugins": [
                { "name": "mysql-flusher", "priority": 100, "timeout_seconds": 30,
                  "config": { "connection_string": "user:pass@tcp(localhost:3306)/db" } },
                { "name": "slack-notifier", "priority": 10,
                  "config": { "webhook_url": "https://hooks.slack.com/services/...",
                              "channel": "#cloud-events" } }
            ] } },
        "plugins": {
            "enabled": true,
            "directories": ["/etc/cloudsnooze/plugins", "/usr/local/share/cloudsnooze/plugins"],
            "external_repositories": [{ "name": "community",
                "url": "https://plugins.cloudsnooze.io/community", "trusted": true }],
            "plugin_configs": {
                "redis-monitor": { "connection_threshold": 3,
                                   "redis_url": "redis://localhost:6379" },
                "spot-interrupt-handler": {
                    "shutdown_script_path": "/usr/local/bin/graceful_shutdown.sh",
                    "timeout_seconds": 90,
                    "events": { "cloud.spot.interrupt": { "priority": 100, "enabled": true } } }
            } }
    }"##;
    let settings = check(text).unwrap();
    let (policies, faults) = settings.policies();
    assert_eq!(faults, Vec::<String>::new());
    let plugins: Vec<&str> =
        policies[0].handlers.iter().map(|handler| handler.plugin.as_str()).collect();
    assert_eq!(policies.len(), 1);
    assert_eq!(plugins.len(), 3, "{plugins:?}");
    assert_eq!(settings.sources.polling_interval, Duration::from_secs(5));
    let voters = settings.voters();
    assert_eq!(voters.len(), 1);
    assert_eq!(voters[0].id, "idle/redis-monitor");
    let shown = settings.shown().to_string();
    assert!(!shown.contains("user:pass") && !shown.contains("hooks.slack.com"), "{shown}");
}

#[test]
fn g11_what_is_shown_holds_references_and_no_secret() {
    let text = r#"{ "policies": [{ "name": "p", "match": { "type": ["custom"] }, "handlers": [
        { "plugin": "a", "config": { "dsn": "credential:orders",
                                     "plain": "S3CR3T-CANARY", "list": ["S3CR3T-CANARY"] } } ]
    }] }"#;
    let shown = check(text).unwrap().shown().to_string();
    assert!(shown.contains("credential:orders") && !shown.contains("CANARY"), "{shown}");
}

#[test]
fn g10_a_file_that_everybody_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("snoozed.json");
    fs::write(&file, "{}").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let faults = read(Some(&file)).unwrap_err();
    assert!(faults[0].to_string().contains("chmod o-w"), "{faults:?}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(read(Some(&file)).is_ok());
}

#[test]
fn g10_a_policy_that_everybody_can_write_is_left_out_and_told() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let policy = |name| {
        format!(
            r#"{{ "name": "{name}", "match": {{ "type": ["custom"] }},
            "handlers": [{{ "plugin": "a" }}] }}"#
        )
    };
    let (open, own) = (directory.path().join("a.json"), directory.path().join("b.json"));
    fs::write(&open, policy("open")).unwrap();
    fs::write(&own, policy("own")).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
    let text = json!({ "policies_directory": directory.path() }).to_string();
    let (policies, faults) = check(&text).unwrap().policies();
    assert_eq!(policies.len(), 1);
    assert_eq!(policies[0].name.as_str(), "own");
    assert!(faults.len() == 1 && faults[0].contains("chmod o-w"), "{faults:?}");
}

#[test]
fn g10_a_policies_directory_that_cannot_be_read_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let text = json!({ "policies_directory": file }).to_string();
    assert_eq!(check(&text).unwrap().policies().1.len(), 1);
}

#[test]
fn g10_a_file_that_is_missing_or_half_written_is_a_fault_and_not_a_default() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("snoozed.json");
    assert!(read(Some(&file)).is_err());
    fs::write(&file, "{ \"log_level\": ").unwrap();
    assert!(read(Some(&file)).is_err());
}

proptest::proptest! {
    #[test]
    fn g10_no_text_makes_the_check_panic(text in "\\PC{0,300}") {
        let _ = check(&text);
    }
}

#[test]
fn the_cloud_side_is_off_until_the_settings_name_it() {
    assert_eq!(check("{}").unwrap().cloud, None);
    let cloud = check(r#"{ "cloud": {} }"#).unwrap().cloud.unwrap();
    assert_eq!(cloud.stack, "cloudsnooze");
    assert!(cloud::Part::ALL.into_iter().all(|part| cloud.parts.has(part)));
    assert_eq!(cloud.startup_jitter, Duration::from_secs(10));
    let text = r#"{ "cloud": { "stack": "blue", "region": "eu-west-1",
        "parts": { "commands": false }, "signing_certificates": "/etc/sns",
        "startup_jitter_seconds": 0 } }"#;
    let settings = check(text).unwrap();
    let cloud = settings.cloud.clone().unwrap();
    let on = cloud::Part::ALL.into_iter().filter(|part| cloud.parts.has(*part));
    let on: Vec<&str> = on.map(cloud::Part::as_str).collect();
    assert_eq!(on, ["hello", "policies", "reports", "secrets"]);
    assert_eq!(settings.shown()["cloud"]["parts"]["commands"], false);
    assert_eq!(settings.shown()["cloud"]["signing_certificates"], "/etc/sns");
}

#[test]
fn g10_every_fault_of_the_cloud_side_is_told_at_once() {
    let text = r#"{ "cloud": { "stak": "blue", "stack": "-", "region": "EU",
        "parts": { "command": true, "hello": 1 }, "signing_certificates": "here",
        "startup_jitter_seconds": 301 } }"#;
    let faults = faults(text).join("\n");
    for part in [
        "`stack`?",
        "$.cloud.stack: expected a letter",
        "$.cloud.region: expected a Region",
        "`commands`?",
        "$.cloud.parts.hello:",
        "$.cloud.signing_certificates: expected an absolute path",
        "$.cloud.startup_jitter_seconds:",
    ] {
        assert!(faults.contains(part), "{part} is not in:\n{faults}");
    }
}

// S1-84, S1-85
#[test]
fn a_plugin_has_the_limits_of_all_and_what_is_set_for_it() {
    let text = r#"{ "plugins": {
        "limits": { "processes": 64, "open_files": 0 },
        "sandbox": {
            "flush": { "user": "63001", "permissions": ["network:5432"],
                       "limits": { "memory_mb": 128 } },
            "webhook-notifier": { "limits": { "processes": 8 } },
            "slack-notifier": { "permissions": "all" }
        } } }"#;
    let sandboxes = check(text).unwrap().sandboxes();
    let line = |name: &str| {
        let approved = std::collections::BTreeSet::from(["signal".parse().unwrap()]);
        let sandbox = sandboxes.of(&name.parse().unwrap(), Some(&approved));
        let amounts = sandbox.amounts;
        format!(
            "{name}: {:?} {:?} {:?} {:?} {:?}\n",
            sandbox.user.map(|user| user.uid),
            sandbox.permissions.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>()),
            amounts.processes,
            amounts.memory_mb,
            amounts.open_files,
        )
    };
    let names =
        ["flush", "webhook-notifier", "slack-notifier", "spot-interrupt-handler", "another"];
    expect_test::expect![[r#"
        flush: Some(63001) Some(["network:5432"]) Some(64) Some(128) None
        webhook-notifier: None Some(["network"]) Some(8) None None
        slack-notifier: None None Some(64) None None
        spot-interrupt-handler: None Some(["signal"]) Some(64) None None
        another: None Some(["signal"]) Some(64) None None
    "#]]
    .assert_eq(&names.map(line).concat());
    // Without any setting, too, built-in plugins get what they say that they need.
    let sandboxes = check("{}").unwrap().sandboxes();
    assert!(sandboxes.of(&"slack-notifier".parse().unwrap(), None).permissions.is_some());
}
