//! The trace of an incident, from the daemon to a collector.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use snooze_event::wire::otlp;
use snooze_imds::fake::Notice;
use snooze_policy::ledger::{Incident, Report};
use snooze_tests::plugins;
use snooze_tests::setup::Setup;

/// As long as a loaded machine may take for anything here.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn s4_46_the_daemon_and_the_functions_tell_one_trace() {
    let (endpoint, documents) = collector("200 OK");
    let setup = traced(&endpoint);
    let daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    let incident = daemon.closed();
    let told = documents.recv_timeout(LONG).unwrap();
    let key = incident["incident"].as_str().unwrap();
    let own = spans(&told);
    let names: Vec<&str> = own.iter().filter_map(|span| span["name"].as_str()).collect();
    assert_eq!(names, ["snoozed cloud.spot.interrupt", "saver"]);
    assert!(own.iter().all(|span| span["traceId"] == otlp::trace_id(key)), "{told:#}");
    // Without the cloud side, the plan is the root; the step stands below it, and within it.
    assert!(own[0].get("parentSpanId").is_none(), "{told:#}");
    assert_eq!(own[1]["parentSpanId"], own[0]["spanId"]);
    assert!(moment(&own[0], "start") <= moment(&own[1], "start"));
    assert_eq!(own[1]["status"]["code"], 1);

    // What the functions make of the same incident, when the instance has reported it.
    let ledger = ledger(&incident);
    let cloud = snooze_functions::trace::document(&ledger, key, "cloudsnooze").unwrap();
    let cloud = spans(&cloud);
    assert_eq!(cloud[0]["traceId"], own[0]["traceId"]);
    // With the cloud side on, the plan names this root as its parent.
    assert_eq!(cloud[0]["spanId"], otlp::span_id(key, otlp::ROOT));
    assert!(cloud.iter().skip(1).all(|span| span["parentSpanId"] == cloud[0]["spanId"]));
}

#[test]
fn a_collector_that_refuses_hangs_or_is_not_there_holds_nothing_up() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (refusing, _documents) = collector("503 Service Unavailable");
    let hangs = format!("http://{}/v1/traces", hanging.local_addr().unwrap());
    for endpoint in [refusing, hangs, format!("http://{gone}/")] {
        let setup = traced(&endpoint);
        let mut daemon = setup.start();
        setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
        assert_eq!(daemon.closed()["outcome"], "done", "{endpoint}");
        daemon.terminate();
        assert!(daemon.ended().success(), "{endpoint}");
    }
}

fn traced(endpoint: &str) -> Setup {
    let mut setup = Setup::new();
    let done = setup.path("done");
    setup.script("plugins/saver.sh", &plugins::recorder("saver", &done, 0.0));
    setup.policy("orders", json!([{ "plugin": "saver", "priority": 100 }]));
    setup.set("traces", json!({ "endpoint": endpoint }));
    setup
}

/// The incident as the ledger has it, of which the instance alone has told.
fn ledger(incident: &Value) -> Incident {
    let opened = incident["opened"].as_str().unwrap().parse().unwrap();
    let closed = incident["closed"].as_str().unwrap().parse().unwrap();
    let kind = incident["event_type"].as_str().unwrap().parse().unwrap();
    let id = incident["event_id"].as_str().unwrap().parse().unwrap();
    let event = snooze_event::Event::new(kind, "cloudsnooze.shim", opened, id);
    let mut ledger = Incident::unseen("i-1/spot/terminate/1", &event, opened);
    let report: Report = serde_json::from_value(json!({
        "incident": incident["incident"], "told_by": [], "event": incident["event_type"],
        "outcome": incident["outcome"], "text": "1 done", "durable": true,
        "hops": { "received": opened, "finished": closed }, "steps": [],
    }))
    .unwrap();
    ledger.report(&report, closed);
    ledger
}

fn spans(document: &Value) -> Vec<Value> {
    let spans = &document["resourceSpans"][0]["scopeSpans"][0]["spans"];
    spans.as_array().unwrap_or_else(|| panic!("{document:#}")).clone()
}

fn moment(span: &Value, which: &str) -> u128 {
    span[format!("{which}TimeUnixNano")].as_str().unwrap().parse().unwrap()
}

/// A collector that answers so, and what it was sent.
fn collector(status: &'static str) -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (documents, received) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Some(document) = document(&mut stream) {
                let _ = documents.send(document);
            }
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (endpoint, received)
}

fn document(stream: &mut TcpStream) -> Option<Value> {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        text.extend_from_slice(chunk.get(..read)?);
        let sent = String::from_utf8_lossy(&text).into_owned();
        let Some((_, body)) = sent.split_once("\r\n\r\n") else { continue };
        if let Ok(document) = serde_json::from_str(body) {
            return Some(document);
        }
    }
}
