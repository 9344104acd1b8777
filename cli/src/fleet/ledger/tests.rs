//! Tests of the ledger's entries as text.

use expect_test::expect;
use serde_json::{Value, json};

use super::samples::{at, done, troubled};
use super::{data, person, standing};

#[test]
fn an_entry_tells_hops_steps_tasks_margin_and_fate() {
    expect![[r#"
        cloud.spot.interrupt terminate, done with 1 min 58 s to spare
          incident  i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z
          instance  i-0a1b2c3d4e5f60718
          opened    2026-11-21T10:00:01.100Z
          deadline  2026-11-21T10:02:00.000Z
          ended     2026-11-21T10:00:03.000Z, by the instance: 1 done
          EC2 told  2026-11-21T10:02:10.000Z, terminated
          policies  version 12
          signal    2026-11-21T10:00:01.100Z, cloud.spot.interrupt from aws.ec2

          HOP         AT                        AFTER
          noticed     2026-11-21T10:00:00.000Z  -
          received    2026-11-21T10:00:00.900Z  900 ms
          started     2026-11-21T10:00:00.910Z  10 ms
          finished    2026-11-21T10:00:01.060Z  150 ms
          dispatched  2026-11-21T10:00:01.100Z  40 ms
          commanded   2026-11-21T10:00:01.200Z  100 ms
          recorded    2026-11-21T10:00:03.000Z  1.8 s

          STEP                     OUTCOME  TOOK    TEXT
          orders-db/redis-flusher  done     150 ms  redis_saved

          TASK              STATE  ATTEMPTS  TEXT
          command           done   0         -
          orders-db/notify  done   2         2 told

          planned for the instance
            118.9s left
            run  orders-db/redis-flusher (high 100) within 30s
    "#]]
    .assert_eq(&person(&done(json!({})), at("11:00:00")));
}

#[test]
fn an_entry_tells_what_went_wrong() {
    expect![[r#"
        cloud.spot.interrupt terminate, partial, 1.5 s too late
          incident  i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z
          instance  i-0a1b2c3d4e5f60718
          opened    2026-11-21T10:00:01.100Z
          deadline  2026-11-21T10:02:00.000Z
          ended     2026-11-21T10:03:00.000Z, by the sweep: the instance did not tell
          EC2 told  2026-11-21T10:02:10.000Z, terminated
          hook      drain of group orders, not answered, waits 5 min 0 s
          policies  version 12
          signal    2026-11-21T10:00:01.100Z, cloud.spot.interrupt from aws.ec2

          HOP       AT                        AFTER
          noticed   2026-11-21T10:00:00.000Z  -
          finished  2026-11-21T10:02:01.500Z  2 min 1 s

          STEP                     OUTCOME    TOOK    TEXT
          orders-db/redis-flusher  timed-out  30.0 s  after 30s
          orders-db/image          dropped    -       too little time: 20s left, 65s needed
          orders-db/later          not told   -       -

          TASK                          STATE    ATTEMPTS  TEXT
          command                       failed   0         Denied: `Publish` failed: AuthorizationError
          heartbeat                     skipped  3         it is over
          orders-db/complete-lifecycle  waiting  0         -
          orders-db/webhook             sent     4         BreakerOpen: example.com failed 5 times
          orders-db/tag                 running  1         -
          orders-db/notify              pending  0         -

          planned for the instance
            118.9s left
            run  orders-db/redis-flusher (high 100) within 30s
    "#]].assert_eq(&person(&troubled(), at("11:00:00")));
}

#[test]
fn an_open_incident_says_what_is_left() {
    let open = done(json!({ "ended": null }));
    let told = ["10:00:30", "10:02:05"].map(|now| standing(&open, at(now)));
    assert_eq!(told, ["open, 1 min 30 s left", "open, 5.0 s after its deadline"]);
    let endless = done(json!({ "ended": null, "deadline": null }));
    assert_eq!(standing(&endless, at("10:00:30")), "open");
}

#[test]
fn c11_what_an_instance_told_steers_no_terminal() {
    let evil = "\u{1b}]0;x\u{7}\u{202e}\n";
    let told = person(
        &done(json!({
            "steps": [{ "step": evil, "outcome": evil, "text": evil }], "plan": [evil],
            "ended": { "outcome": evil, "by": "instance", "text": evil,
                "at": "2026-11-21T10:00:03Z" },
            "fate": { evil: "2026-11-21T10:00:03Z" }, "hops": { evil: "2026-11-21T10:00:03Z" }
        })),
        at("11:00:00"),
    );
    let told = crate::text::shown_lines(&told);
    assert!(!told.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{told:?}");
}

#[test]
fn data_holds_latencies_and_margin_beside_what_is_stored() {
    let data = data(&done(json!({})));
    assert_eq!(data["id"], "i-0a1b2c3d4e5f60718/spot/terminate/20261121T100001Z");
    assert_eq!(data["margin_seconds"], 118.94);
    let hops: Vec<&Value> = data["latencies"].as_array().unwrap().iter().collect();
    assert_eq!((&hops[0]["hop"], &hops[0]["after_seconds"]), (&json!("noticed"), &Value::Null));
    assert_eq!((&hops[1]["hop"], &hops[1]["after_seconds"]), (&json!("received"), &json!(0.9)));
}
