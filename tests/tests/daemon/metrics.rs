//! What the daemon tells of itself in figures.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use snooze_imds::fake::Notice;
use snooze_tests::setup::{Daemon, Setup};
use snooze_tests::{exposition, plugins, wait};
use snoozed::metrics::{ALIAS, FAMILIES, PREFIX};

#[test]
fn s4_58_what_the_daemon_prints_is_well_formed_and_told_of() {
    let setup = served();
    let daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    assert_eq!(daemon.closed()["outcome"], "done");
    let text = text(&daemon);
    let metrics = exposition::read(&text).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let own = FAMILIES.iter().map(|one| format!("{PREFIX}{} {}", one.name, one.kind.as_str()));
    assert_eq!(names, own.collect::<Vec<_>>());
    for family in FAMILIES {
        for (tail, labels, _) in &metrics[&format!("{PREFIX}{}", family.name)].samples {
            let names: Vec<&str> = labels.keys().map(String::as_str).collect();
            let mut expected = family.labels.to_vec();
            expected.extend((tail == "_bucket").then_some("le"));
            expected.sort_unstable();
            assert_eq!(names, expected, "{}", family.name);
        }
    }
    let closed = [("cause", "spot"), ("outcome", "done"), ("drill", "false")];
    let value = |name: &str, labels: &[(&str, &str)]| {
        metrics[&format!("{PREFIX}{name}")].value(labels).unwrap()
    };
    assert_eq!(value("incidents_closed_total", &closed), 1.0);
    assert_eq!(value("steps_total", &[("plugin", "saver"), ("outcome", "done")]), 1.0);
    assert_eq!(value("plugins", &[("state", "ready")]), 1.0);
    assert_eq!(value("policies", &[]), 1.0);
    let path = [("path", "spot/instance-action")];
    let polls = value("metadata_polls_total", &path);
    assert!(polls >= 1.0 && value("metadata_misses_total", &path) < polls);
    assert!(value("journal_bytes", &[]) > 100.0);
    assert!(value("process_resident_memory_bytes", &[]) > 1e6);
}

#[test]
fn a_service_that_is_silent_is_missed() {
    let setup = served();
    setup.fake.down();
    let daemon = setup.start();
    wait::until("a miss to be counted", || {
        let metrics = exposition::read(&text(&daemon)).unwrap();
        let missed = &metrics["cloudsnooze_metadata_misses_total"];
        (missed.value(&[("path", "spot/instance-action")])? >= 3.0).then_some(())
    });
    wait::until("the fault to be counted", || {
        let metrics = exposition::read(&text(&daemon)).unwrap();
        (metrics["cloudsnooze_faults"].value(&[])? >= 1.0).then_some(())
    });
}

#[test]
fn get_metrics_is_answered_on_the_loopback_port_and_nothing_else() {
    let setup = served();
    let daemon = setup.start();
    let address = address(&setup);
    let (head, body) = get(&address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    assert!(exposition::read(&body).unwrap().contains_key("cloudsnooze_build_info"));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("STATUS\r\n\r\n", "400"),
    ] {
        let (head, _) = get(&address, request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    // Those who say nothing hold up neither the daemon nor, for longer than a moment, others.
    let silent: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert!(daemon.ask("STATUS", json!({}))["pid"].is_u64());
    let (head, _) = get(&address, "GET /metrics HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    drop(silent);
}

#[test]
fn a_port_that_is_taken_costs_the_port_and_nothing_more() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut setup = served();
    let address = taken.local_addr().unwrap().to_string();
    setup.set("metrics", json!({ "address": address }));
    let daemon = setup.start();
    let faults = daemon.ask("STATUS", json!({}))["faults"].clone();
    let faults = faults.as_array().unwrap();
    assert!(faults.iter().any(|fault| fault["source"] == "metrics"), "{faults:?}");
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    assert_eq!(daemon.closed()["outcome"], "done");
}

#[test]
fn s4_41_s4_45_the_names_of_the_other_system_are_there_where_they_are_wanted() {
    let mut setup = served();
    let without = text(&setup.start());
    assert!(!without.contains(ALIAS), "{without}");
    setup.set("metrics", json!({ "roost_keeper_names": true }));
    let metrics = exposition::read(&text(&setup.start())).unwrap();
    let names: Vec<&str> = metrics.keys().filter_map(|name| name.strip_prefix(ALIAS)).collect();
    assert_eq!(
        names,
        [
            "consumer_health_status",
            "consumer_lag",
            "dlq_messages_total",
            "event_consume_duration_seconds",
            "event_publish_duration_seconds",
            "event_publish_errors_total",
            "events_consumed_total",
            "events_published_total",
            "producer_health_status",
        ]
    );
}

/// A daemon with one handler, and a port for metrics that the kernel chooses.
fn served() -> Setup {
    let mut setup = Setup::new();
    let done = setup.path("done");
    setup.script("plugins/saver.sh", &plugins::recorder("saver", &done, 0.0));
    setup.policy("orders", json!([{ "plugin": "saver", "priority": 100 }]));
    setup.set("metrics", json!({ "address": "127.0.0.1:0" }));
    setup
}

fn text(daemon: &Daemon) -> String {
    let answer = daemon.ask("METRICS", json!({}));
    answer.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Where the log says that metrics are.
fn address(setup: &Setup) -> String {
    wait::until("the port to be told", || {
        let log = setup.log();
        let line = log.lines().find(|line| line.contains("metrics are served"))?;
        let line: Value = serde_json::from_str(line).ok()?;
        Some(line["address"].as_str()?.to_owned())
    })
}

fn get(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (format!("{head}\r\n"), body.to_owned())
}
