use serde_json::json;
use snooze_event::wire;

use super::*;
use crate::record::{Ending, Entry as Line, Outcome, Record, StepOutcome, StepRecord};

const KEY: &str = "i-0a1b2c3d4e5f60718/boot/spot/terminate";

fn home() -> Home {
    Home {
        instance: "i-0a1b2c3d4e5f60718".parse().unwrap(),
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
    }
}

/// An incident with `steps` steps, each of which ended with this text and result.
fn incident(steps: usize, text: &str, result: &Value) -> Incident {
    let at =
        |second: u64| -> Timestamp { format!("2026-03-14T09:26:{second:02}Z").parse().unwrap() };
    let line = |second: u64, record| Line {
        at: at(second),
        clock_ms: second * 1000,
        boot: "boot".to_owned(),
        incident: KEY.to_owned(),
        record,
    };
    let event = json!({
        "specversion": "1.0", "id": "one", "source": "test", "type": "cloud.spot.interrupt",
        "time": at(0).to_string(), "cause": "spot", "action": "terminate", "data": {},
    });
    let handlers: Vec<Value> =
        (0..steps).map(|n| json!({ "plugin": format!("p-{n}"), "priority": 50 })).collect();
    let policy = json!({ "name": "orders", "match": { "type": ["cloud.spot.interrupt"] },
        "handlers": handlers });
    let policy = snooze_policy::check(&policy.to_string()).unwrap();
    let read = wire::cloudevents::read(&event, at(0)).unwrap();
    let steps = snooze_policy::steps(&[&policy], &read);
    let records = steps.iter().map(StepRecord::of).collect();
    let opened = Record::Opened { event, due_ms: Some(121_000), steps: records };
    let mut known = Incident::open(&line(1, opened)).unwrap();
    known.apply(&line(1, Record::Told { by: "cloud-1".to_owned() }));
    for step in steps {
        let step = step.id.to_string();
        known.apply(&line(2, Record::Started { step: step.clone(), attempt: 1, budget_ms: 1 }));
        let result = result.as_object().cloned().unwrap_or_default();
        let done = StepOutcome { result, ..StepOutcome::plain(Ending::Done, text) };
        known.apply(&line(5, Record::Ended { step, outcome: done }));
    }
    known.apply(&line(6, Record::Closed { outcome: Outcome::Done, text: "all done".to_owned() }));
    known
}

fn read(entry: &Entry) -> (Value, Report) {
    let detail: Value = serde_json::from_str(&entry.detail).unwrap();
    let report = serde_json::from_value(detail["data"].clone()).unwrap();
    (detail, report)
}

#[test]
fn an_outcome_tells_its_steps_with_the_times_at_which_they_happened() {
    let known = incident(1, "saved", &json!({ "rows": 3 }));
    let entry = outcome(&known, &home(), true);
    assert_eq!(
        (entry.source.as_str(), entry.detail_type.as_str()),
        ("cloudsnooze.shim", "incident.outcome")
    );
    let (detail, report) = read(&entry);
    assert_eq!(detail["subject"], "i-0a1b2c3d4e5f60718");
    assert_eq!(detail["correlationid"], KEY);
    assert_eq!(detail["time"], "2026-03-14T09:26:06Z");
    let hops: Vec<String> = report.hops.iter().map(|(hop, at)| format!("{hop} {at}")).collect();
    assert_eq!(
        hops,
        [
            "finished 2026-03-14T09:26:06Z",
            "received 2026-03-14T09:26:01Z",
            "started 2026-03-14T09:26:02Z",
        ]
    );
    assert_eq!(report.told_by, ["cloud-1"]);
    // 120 s after the first sight.
    assert_eq!(report.deadline.unwrap().to_string(), "2026-03-14T09:28:01Z");
    assert_eq!(
        (report.cause.as_deref(), report.action.as_deref()),
        (Some("spot"), Some("terminate"))
    );
    assert_eq!((report.outcome.as_deref(), report.text.as_str()), (Some("done"), "all done"));
    let step = &report.steps[0];
    assert_eq!((step.step.as_str(), step.outcome.as_deref()), ("orders/p-0", Some("done")));
    assert_eq!(step.result, json!({ "rows": 3 }));
    // The same again has the same id; with another incident of the cloud it is another report.
    assert_eq!(outcome(&known, &home(), true), entry);
}

#[test]
fn a_phase_tells_what_is_known_at_the_start() {
    let known = incident(1, "", &Value::Null);
    let (detail, _) = read(&phase(&known, &home(), false));
    assert_eq!(detail["type"], "incident.phase");
    assert_eq!(detail["time"], "2026-03-14T09:26:01Z");
    assert_eq!(detail["data"]["durable"], false);
}

#[test]
fn a_report_that_is_too_long_loses_its_results_first_and_then_its_texts() {
    let long = "x".repeat(10_000);
    let fits = |steps, text: &str, result: &Value| {
        let entry = outcome(&incident(steps, text, result), &home(), true);
        assert!(entry.detail.len() < LONGEST + 2000, "{}", entry.detail.len());
        read(&entry).1
    };
    let report = fits(40, "short", &json!({ "log": long }));
    assert!(report.steps.iter().all(|step| step.result.is_null() && step.text == "short"));
    let report = fits(40, &long, &json!({ "log": long }));
    assert_eq!(report.steps.len(), 40);
    assert!(report.steps.iter().all(|step| step.text.chars().count() == CUT_TEXT + 1));
    let report = fits(1000, &long, &Value::Null);
    assert_eq!(report.steps.len(), CUT_STEPS);
    assert_eq!(report.text, "all done (the first 200 of 1000 steps)");
}
