//! `snooze instances`, `incidents` and `replay`.

use jiff::Timestamp;
use serde_json::json;
use snooze_event::{Event, wire};
use snooze_policy::ledger::{self, Incident, Opening, Report, Shelf};

use super::{Cloud, ID, ORDERS};
use crate::snooze::Place;

/// Has an incident in the table, opened now with these policies, and ended with `done`.
async fn incident(cloud: &Cloud, policies: &[&str]) -> Incident {
    let now = Timestamp::now();
    let envelope = json!({
        "version": "0", "id": "e-1", "detail-type": "EC2 Spot Instance Interruption Warning",
        "source": "aws.ec2", "account": "123456789012", "time": now.to_string(),
        "region": "eu-central-1", "resources": [],
        "detail": { "instance-id": ID, "instance-action": "terminate" }
    });
    let event: Event = wire::eventbridge::read(&envelope.to_string()).unwrap().remove(0);
    let facts = cloud.hello(ID).await.facts;
    let policies = policies.iter().map(|text| snooze_policy::check(text).unwrap()).collect();
    let shelf = Shelf { version: Some(1), policies, faults: Vec::new() };
    let open = |id: &str| {
        let opening = Opening {
            event: &event,
            facts: Some(&facts),
            shelf: &shelf,
            hook_timeout: None,
            lifecycle_budget: std::time::Duration::from_secs(120),
        };
        Incident::open(id, opening, now)
    };
    cloud.incidents().claim(&ledger::claim(&event), open, now).await.unwrap();
    let report: Report = serde_json::from_value(json!({
        "incident": "own", "event": "cloud.spot.interrupt", "outcome": "done", "text": "1 done",
        "hops": { "finished": now.to_string() },
        "steps": [{ "step": "orders-db/redis-flusher", "outcome": "done", "milliseconds": 150 }]
    }))
    .unwrap();
    let id = ledger::claim(&event).id(now);
    let (_, stored) = cloud
        .incidents()
        .change(&id, |incident| incident.report(&report, now))
        .await
        .unwrap()
        .unwrap();
    stored.incident
}

#[tokio::test]
async fn instances_are_listed_with_the_version_they_act_on() {
    let cloud = Cloud::start().await;
    cloud.hello(ID).await;
    cloud.policies().put(ORDERS, "operator", Timestamp::UNIX_EPOCH).await.unwrap();
    cloud
        .policies()
        .put(&ORDERS.replace("30", "40"), "operator", Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    let listed = cloud.snooze(&["instances"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.out.contains(ID) && listed.out.contains("1 (stored: 2)"), "{listed:?}");
    assert!(listed.out.ends_with("1 instance, 0 not heard of for 30 minutes\n"), "{listed:?}");
    let listed = cloud.snooze(&["--json", "instances"]).await.json();
    assert_eq!(
        (&listed["policies"], &listed["instances"][0]["tags"]["role"]),
        (&json!(2), &json!("db"))
    );
    for filter in ["--idle", "--stale"] {
        let none = cloud.snooze(&["instances", filter]).await;
        assert!(none.out.starts_with("no such instance"), "{none:?}");
    }
}

#[tokio::test]
async fn incidents_are_listed_shown_and_explained() {
    let cloud = Cloud::start().await;
    let id = incident(&cloud, &[ORDERS]).await.id;
    for args in
        [&["incidents"][..], &["incidents", "--instance", ID], &["incidents", "--since", "1h"]]
    {
        let listed = cloud.snooze(args).await;
        assert_eq!(listed.code, 0, "{listed:?}");
        assert!(
            listed.out.contains(&id) && listed.out.contains("done with 2 min 0 s to spare"),
            "{listed:?}"
        );
    }
    let sheet = cloud.snooze(&["incidents", "--format", "csv"]).await;
    let lines: Vec<&str> = sheet.out.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("opened,ended,instance,"), "{sheet:?}");
    assert!(lines[1].contains(",cloud.spot.interrupt,spot,terminate,false,done,"), "{sheet:?}");
    let other = cloud.snooze(&["incidents", "--instance", "i-0b1b2c3d4e5f60718"]).await;
    assert!(other.out.starts_with("no incident"), "{other:?}");
    for which in [id.as_str(), "last"] {
        let shown = cloud.snooze(&["incidents", "show", which]).await;
        assert!(shown.out.contains("orders-db/notify") && shown.out.contains("HOP"), "{shown:?}");
        let told = cloud.snooze(&["incidents", "explain", which]).await;
        assert!(told.out.contains("says the instance: 1 done."), "{told:?}");
    }
    let data = cloud.snooze(&["--json", "incidents", "show", &id]).await.json();
    assert_eq!((&data["id"], &data["ended"]["outcome"]), (&json!(id), &json!("done")));
    let missing = cloud.snooze(&["incidents", "show", "i-1/none"]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("`snooze incidents` lists"), "{missing:?}");
}

// S0-69
#[tokio::test]
async fn savings_are_what_the_ledger_tells_of_stops_and_losses() {
    let (cloud, place) = (Cloud::start().await, Place::new());
    incident(&cloud, &[ORDERS]).await;
    stop(&cloud).await;
    let prices = place.file("prices.json", r#"{ "eu-central-1": { "m7g.large": 0.1 } }"#);
    let args = ["savings", "--since", "2d", "--prices", &prices];
    let told = cloud.snooze(&args).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("m7g.large, eu-central-1  1      10.0   1.00"), "{told:?}");
    assert!(told.out.contains("nights"), "{told:?}");
    assert!(told.out.contains("1 loss (spot): everything was saved before 1\n"), "{told:?}");
    let data = cloud.snooze(&["--json", "savings"]).await.json();
    assert_eq!(
        data["total"]["known"],
        json!({ "hours": 10.0, "usd": 0.0, "unpriced_hours": 10.0 })
    );
    let bad = place.file("bad.json", r#"{ "eu-central-1": 1 }"#);
    assert_eq!(cloud.snooze(&["savings", "--prices", &bad]).await.code, 3);
    for since in ["soon", "2999-01-01"] {
        assert_eq!(cloud.snooze(&["savings", "--since", since]).await.code, 2, "{since}");
    }
}

// S0-69
#[tokio::test]
async fn prices_come_from_a_parameter_and_those_of_spot_instances_from_ec2() {
    let cloud = Cloud::start().await;
    stop_of(&cloud, "spot").await;
    let table = r#"{"Parameter":{"Value":"{\"eu-central-1\":{\"m7g.large\":{\"spot\":0.04}}}"}}"#;
    cloud.server.answer("GetParameter", 200, table);
    let args = ["savings", "--prices", "ssm:/fleet/prices"];
    let told = cloud.snooze(&args).await;
    assert!(told.out.contains("m7g.large spot, eu-central-1  1      10.0   0.40"), "{told:?}");
    let history = "<DescribeSpotPriceHistoryResponse><spotPriceHistorySet><item>\
                   <spotPrice>0.0300</spotPrice><timestamp>2026-01-01T00:00:00.000Z</timestamp>\
                   </item></spotPriceHistorySet><nextToken/></DescribeSpotPriceHistoryResponse>";
    cloud.server.answer("DescribeSpotPriceHistory", 200, history);
    let told = cloud.snooze(&[&args[..], &["--spot-prices"]].concat()).await;
    assert!(told.out.contains("  0.40"), "what is given counts: {told:?}");
    assert_eq!(cloud.server.count("DescribeSpotPriceHistory"), 0);
    let told = cloud.snooze(&["savings", "--spot-prices"]).await;
    assert!(told.out.contains("m7g.large spot, eu-central-1  1      10.0   0.30"), "{told:?}");
    // Not allowed: said, and the hours are there.
    let refused = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no\
                   </Message></Error></Errors></Response>";
    cloud.server.answer("DescribeSpotPriceHistory", 403, refused);
    let told = cloud.snooze(&["savings", "--spot-prices"]).await;
    assert_eq!(told.code, 0);
    assert!(told.err.contains("no Spot prices of m7g.large in eu-central-1a: "), "{told:?}");
    assert!(told.out.contains("m7g.large spot, eu-central-1  1      10.0   -"), "{told:?}");
    cloud.server.answer("GetParameter", 400, r#"{"__type":"ParameterNotFound"}"#);
    assert_eq!(cloud.snooze(&args).await.code, 8);
}

/// Has an idle instance in the table that was stopped for ten hours.
async fn stop(cloud: &Cloud) {
    stop_of(cloud, "on-demand").await;
}

/// The same of one that was bought so.
async fn stop_of(cloud: &Cloud, lifecycle: &str) {
    let now = Timestamp::now();
    let ago = |hours: i64| (now - jiff::SignedDuration::from_hours(hours)).to_string();
    let stored: Incident = serde_json::from_value(json!({
        "schema": 1, "id": format!("{ID}/idle/1"), "instance": ID,
        "machine": { "type": "m7g.large", "region": "eu-central-1",
            "zone": "eu-central-1a", "lifecycle": lifecycle },
        "event": { "specversion": "1.0", "id": "e-2", "source": "cloudsnooze.shim",
            "type": "instance.idle", "time": ago(13), "subject": ID, "severity": 0,
            "schemaversion": "1", "data": {} },
        "signals": [], "opened_at": ago(13), "steps": [],
        "tasks": [{ "id": "nights/stop-instance", "attempts": 1,
            "what": { "action": { "policy": "nights", "name": "stop-instance", "on_outcome": true,
                "config": {} } },
            "state": { "is": "done", "at": ago(12), "text": "" } }],
        "fate": { "running": ago(2) }
    }))
    .unwrap();
    let claim = ledger::Claim { key: format!("{ID}/idle/1"), window: std::time::Duration::ZERO };
    cloud
        .incidents()
        .claim(&claim, |id| Incident { id: id.to_owned(), ..stored }, now)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_replay_shows_what_would_be_planned_and_touches_nothing() {
    let (cloud, place) = (Cloud::start().await, Place::new());
    incident(&cloud, &[ORDERS]).await;
    cloud.policies().put(ORDERS, "operator", Timestamp::UNIX_EPOCH).await.unwrap();
    let before = cloud.server.items("cloudsnooze-incidents");
    cloud.server.forget_calls();
    let same = cloud.snooze(&["replay", "last"]).await;
    assert_eq!(same.code, 0, "{same:?}");
    assert!(same.out.contains("the plan would be the same"), "{same:?}");
    let slower = place.file("slower.json", &ORDERS.replace("30", "60"));
    let other = cloud.snooze(&["replay", "last", "--policy", &slower]).await;
    assert_eq!(other.code, 1, "{other:?}");
    let lines = "- run  orders-db/redis-flusher (high 100) within 30s\n\
                 + run  orders-db/redis-flusher (high 100) within 1m\n";
    assert!(other.out.contains(&lines.replace("1m", "60s")), "{other:?}");
    let reads = ["GetItem", "Query", "Scan"];
    assert!(cloud.server.calls().iter().all(|call| reads.contains(&call.operation.as_str())));
    assert_eq!(cloud.server.items("cloudsnooze-incidents"), before);
}
