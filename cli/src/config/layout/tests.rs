use expect_test::{Expect, expect};
use serde_json::json;
use snoozed::settings;

use super::*;

/// The file that the first CloudSnooze came with.
const FIRST: &str = include_str!("../../../samples/migrate/snooze.json");
/// The file that its deployment templates wrote.
const CAMEL: &str = include_str!("../../../samples/migrate/camel-case.json");
/// Snoozebot's defaults, as Go writes them.
const SNOOZEBOT: &str = include_str!("../../../samples/migrate/snoozebot.json");

#[test]
fn s4_62_the_file_of_the_first_cloudsnooze_is_read() {
    check(
        FIRST,
        expect![[r#"
            the first CloudSnooze
            aws_region left out: the Region comes from the metadata service
            check_interval_seconds kept
            cpu_threshold_percent kept
            disk_io_threshold_kbps kept
            enable_instance_tags left out: the cloud side writes tags on what it stops, with the prefix of the stack
            gpu_monitoring_enabled left out: a GPU is looked at where there is one
            gpu_threshold_percent kept
            input_idle_threshold_secs kept
            logging.cloudwatch_log_group left out: the CloudWatch agent can read the journal
            logging.enable_cloudwatch left out: logs go to standard error, and so to the journal
            logging.enable_file_logging left out: logs go to standard error, and so to the journal
            logging.enable_syslog left out: logs go to standard error, and so to the journal
            logging.log_file_path left out: logs go to standard error, and so to the journal
            logging.log_level renamed log_level = "info"
            memory_threshold_percent kept
            monitoring_mode left out: there is one mode
            naptime_minutes kept
            network_threshold_kbps kept
            tagging_prefix left out: the cloud side writes tags on what it stops, with the prefix of the stack
            {"check_interval_seconds":60,"cpu_threshold_percent":10.0,"disk_io_threshold_kbps":100.0,"gpu_threshold_percent":5.0,"input_idle_threshold_secs":900,"log_level":"info","memory_threshold_percent":30.0,"naptime_minutes":30,"network_threshold_kbps":50.0}
        "#]],
    );
}

#[test]
fn s4_62_the_camel_case_of_the_deployment_templates_is_read() {
    check(
        CAMEL,
        expect![[r#"
        the first CloudSnooze, in CamelCase
        AWSRegion left out: the Region comes from the metadata service
        CPUThresholdPercent renamed cpu_threshold_percent = 5.0
        CheckIntervalSeconds renamed check_interval_seconds = 60
        DetailedInstanceTags left out: the cloud side writes tags on what it stops, with the prefix of the stack
        DiskIOThresholdKBps renamed disk_io_threshold_kbps = 10.0
        EnableInstanceTags left out: the cloud side writes tags on what it stops, with the prefix of the stack
        GPUMonitoringEnabled left out: a GPU is looked at where there is one
        GPUThresholdPercent renamed gpu_threshold_percent = 5.0
        InputIdleThresholdSecs renamed input_idle_threshold_secs = 1800
        Logging.CloudWatchLogGroup left out: the CloudWatch agent can read the journal
        Logging.EnableCloudWatch left out: the CloudWatch agent can read the journal
        MemoryThresholdPercent renamed memory_threshold_percent = 10.0
        NaptimeMinutes renamed naptime_minutes = 60
        NetworkThresholdKBps renamed network_threshold_kbps = 5.0
        TaggingPrefix left out: the cloud side writes tags on what it stops, with the prefix of the stack
        {"check_interval_seconds":60,"cpu_threshold_percent":5.0,"disk_io_threshold_kbps":10.0,"gpu_threshold_percent":5.0,"input_idle_threshold_secs":1800,"memory_threshold_percent":10.0,"naptime_minutes":60,"network_threshold_kbps":5.0}
    "#]],
    );
}

#[test]
fn s4_62_snoozebots_percentages_and_nanoseconds_are_converted() {
    check(
        SNOOZEBOT,
        expect![[r#"
        Snoozebot
        AgentURL left out: the cloud side takes the place of the agent: `cloud.stack`
        CheckInterval converted check_interval_seconds = 60: from Go's duration
        NapTime converted naptime_minutes = 30: from Go's duration
        Thresholds.cpu renamed cpu_threshold_percent = 10
        Thresholds.disk converted disk_io_threshold_kbps = 25600: from percent of 512 MB/s to KB/s
        Thresholds.gpu renamed gpu_threshold_percent = 5
        Thresholds.memory renamed memory_threshold_percent = 20
        Thresholds.network converted network_threshold_kbps = 625: from percent of 12.5 MB/s to KB/s
        Thresholds.user_input converted input_idle_threshold_secs = 5: Snoozebot looked back five seconds
        {"check_interval_seconds":60,"cpu_threshold_percent":10,"disk_io_threshold_kbps":25600,"gpu_threshold_percent":5,"input_idle_threshold_secs":5,"memory_threshold_percent":20,"naptime_minutes":30,"network_threshold_kbps":625}
    "#]],
    );
}

#[test]
fn s4_62_snoozebots_agent_is_read() {
    check(
        r#"{ "listen_address": "0.0.0.0", "listen_port": 8080, "log_level": "info",
            "plugin_dir": "/opt/snoozebot/plugins", "idle_timeout": 3600 }"#,
        expect![[r#"
            Snoozebot's agent
            idle_timeout converted naptime_minutes = 60: from seconds to minutes
            listen_address left out: nothing listens but the local socket
            listen_port left out: nothing listens but the local socket
            log_level kept
            plugin_dir converted plugins.directories = ["/opt/snoozebot/plugins"]: a list in our settings
            {"log_level":"info","naptime_minutes":60,"plugins":{"directories":["/opt/snoozebot/plugins"]}}
        "#]],
    );
}

#[test]
fn s4_62_what_nobody_knows_is_said_and_left_out() {
    check(
        r#"{ "aws_region": "", "colour": "blue", "logging": { "shade": 1 }, "naptime_minutes": 9,
            "Thresholdz": {} }"#,
        expect![[r#"
            the first CloudSnooze
            Thresholdz unknown: nothing is done with it
            aws_region left out: the Region comes from the metadata service
            colour unknown: nothing is done with it
            logging.shade unknown: nothing is done with it
            naptime_minutes kept
            {"naptime_minutes":9}
        "#]],
    );
}

#[test]
fn s4_62_a_value_that_cannot_be_is_said() {
    check(
        r#"{ "Thresholds": { "network": "5%", "user_input": 100, "power": 1 }, "NapTime": "45m0s",
            "CheckInterval": true }"#,
        expect![[r#"
            Snoozebot
            CheckInterval bad: expected nanoseconds, or a duration such as `30m0s`
            NapTime converted naptime_minutes = 45: from Go's duration
            Thresholds.network bad: expected a number
            Thresholds.power unknown: nothing is done with it
            Thresholds.user_input converted input_idle_threshold_secs = 0: input was not looked at
            {"input_idle_threshold_secs":0,"naptime_minutes":45}
        "#]],
    );
}

#[test]
fn s4_62_our_own_settings_are_kept_as_they_are() {
    let own = r#"{ "plugins": { "enabled": true, "plugin_configs": { "mysql-monitor":
        { "connection_threshold": 5, "dsn": "credential:dsn" } } }, "naptime_minutes": 30,
        "log_level": "debug", "socket": { "mode": "0600" } }"#;
    check(
        own,
        expect![[r#"
        CloudSnooze's own
        log_level kept
        naptime_minutes kept
        plugins kept
        socket kept
        {"log_level":"debug","naptime_minutes":30,"plugins":{"enabled":true,"plugin_configs":{"mysql-monitor":{"connection_threshold":5,"dsn":"credential:dsn"}}},"socket":{"mode":"0600"}}
    "#]],
    );
}

#[test]
fn d22_both_spellings_of_a_name_mean_one_key() {
    for (name, key) in [
        ("cpu-threshold", "cpu_threshold_percent"),
        ("cpu_threshold_percent", "cpu_threshold_percent"),
        ("CPUThresholdPercent", "cpu_threshold_percent"),
        ("naptime", "naptime_minutes"),
        ("network-threshold", "network_threshold_kbps"),
        ("user-input-threshold", "input_idle_threshold_secs"),
        ("plugins_dir", "plugins_dir"),
        ("plugins-enabled", "plugins.enabled"),
        ("socket.mode", "socket.mode"),
    ] {
        assert_eq!(meant(name), key);
    }
}

#[test]
fn a_key_with_full_stops_is_set_level_by_level() {
    let mut settings = Map::new();
    put(&mut settings, "socket.mode", json!("0600"));
    put(&mut settings, "socket.group", json!("adm"));
    put(&mut settings, "log_level", json!("info"));
    assert_eq!(look(&settings, "socket.mode"), Some(&json!("0600")));
    assert_eq!(look(&settings, "socket.path"), None);
    assert_eq!(
        Value::from(settings),
        json!({ "socket": { "mode": "0600", "group": "adm" }, "log_level": "info" })
    );
}

fn check(text: &str, expected: Expect) {
    let root: Map<String, Value> = serde_json::from_str(text).unwrap();
    let reading = read(&root, settings::knows);
    let mut out = format!("{}\n", reading.layout.as_str());
    for entry in &reading.entries {
        out.push_str(&format!("{} {}", entry.key, entry.fate.as_str()));
        match &entry.set {
            Some((key, value)) if entry.fate != Fate::Kept => {
                out.push_str(&format!(" {key} = {value}"));
            }
            Some(_) | None => {}
        }
        if !entry.why.is_empty() {
            out.push_str(&format!(": {}", entry.why));
        }
        out.push('\n');
    }
    let mut settings = Map::new();
    reading.put(&mut settings);
    let settings = Value::from(settings).to_string();
    settings::check(&settings).unwrap();
    expected.assert_eq(&(out + &settings + "\n"));
}
