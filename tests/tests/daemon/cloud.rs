//! The daemon and the cloud side, with AWS on the loopback.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use snooze_cloud::fake::Fault;
use snooze_event::{Cause, Event, EventType, LossAction};
use snooze_imds::fake::{Notice, Role};
use snooze_tests::services::{Cloud, INSTANCE, part};
use snooze_tests::setup::{Daemon, Setup};
use snooze_tests::{plugins, wait};

const PARTS: [&str; 4] = ["commands", "hello", "policies", "reports"];

#[test]
fn an_instance_says_hello_obeys_and_tells_how_it_ended() {
    let (cloud, mut setup) = stage(0.0);
    setup.set("policies", json!([]));
    let version = cloud.policy("orders", "saver");
    let daemon = setup.start();
    let hello = &cloud.wait_for("instance.registered", 1)[0];
    assert_eq!(hello["subject"], INSTANCE);
    assert_eq!(hello["data"]["region"], "us-east-1");
    assert_eq!(hello["data"]["tags"]["role"], "orders-db");
    wait::until("the queue to be missed", || {
        part(&daemon, "commands", "waiting").contains("no queue").then_some(())
    });
    cloud.make_queue(&Cloud::queue());
    for name in PARTS {
        part(&daemon, name, "on");
    }
    // What it acts on is told, too.
    wait::until("the version to be told", || {
        let updates = cloud.told("instance.updated");
        updates.iter().any(|told| told["data"]["policies"] == version).then_some(())
    });
    cloud.send(&Cloud::handle("cloud-1", &spot(), Some(version)));
    let incident = daemon.closed();
    assert_eq!(incident["outcome"], "done", "{incident:#}");
    assert_eq!(incident["source"], "aws.ec2");
    let outcome = &cloud.wait_for("incident.outcome", 1)[0];
    assert_eq!(outcome["data"]["told_by"], json!(["cloud-1"]));
    assert_eq!(outcome["data"]["outcome"], "done");
    assert_eq!(outcome["data"]["steps"][0]["step"], "orders/saver");
    wait::until("the queue to be empty", || {
        cloud.messages(&Cloud::queue()).is_empty().then_some(())
    });
    let phases = cloud.told("incident.phase");
    assert_eq!(phases.len(), 1);
    assert!(phases[0]["data"]["outcome"].is_null());
}

#[test]
fn without_the_setting_nothing_is_called() {
    let (cloud, mut setup) = stage(0.0);
    let members = setup.settings.as_object_mut().unwrap();
    members.remove("cloud");
    let daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    assert_eq!(daemon.closed()["outcome"], "done");
    assert!(daemon.ask("STATUS", json!({}))["cloud"].is_null());
    assert_eq!(cloud.calls(), []);
    assert!(!setup.path("state/policies").exists());
}

#[test]
fn an_instance_that_goes_down_reports_and_says_goodbye() {
    let (cloud, mut setup) = stage(0.0);
    setup.script("bin/systemctl", "#!/bin/sh\necho stopping\nexit 1\n");
    setup.set(
        "policies",
        json!([{
            "name": "orders", "match": { "type": ["cloud.instance.termination"] },
            "handlers": [{ "plugin": "saver" }],
        }]),
    );
    let mut daemon = setup.start();
    cloud.wait_for("instance.registered", 1);
    daemon.terminate();
    assert!(daemon.ended().success());
    let types: Vec<String> = cloud.entries().into_iter().map(|entry| entry.detail_type).collect();
    let last_two = &types[types.len() - 2..];
    assert_eq!(last_two, ["incident.outcome", "instance.deleted"], "{types:?}");
    let reported = setup.journal();
    assert!(reported.iter().any(|entry| entry["record"] == "reported"), "{reported:#?}");
}

#[test]
fn d8_with_all_of_aws_in_a_black_hole_the_plan_runs_on_the_policies_of_the_snapshot() {
    let (cloud, mut setup) = stage(0.0);
    setup.set("policies", json!([]));
    cloud.policy("orders", "saver");
    let daemon = setup.start();
    part(&daemon, "policies", "on");
    daemon.kill();
    cloud.standing("*", Fault::Hang);
    let daemon = setup.start();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    let incident = daemon.closed();
    assert_eq!(incident["outcome"], "done", "{incident:#}");
    let shown = daemon.ask("STATUS", json!({}));
    assert_eq!(shown["cloud"]["policies"]["from"], "snapshot");
    wait::until("the outcome to wait", || {
        (daemon.ask("STATUS", json!({}))["cloud"]["unreported"] == 1).then_some(())
    });
}

#[test]
fn d9_a_table_that_goes_back_is_refused_and_what_was_seen_stays_in_force() {
    let (cloud, mut setup) = stage(0.0);
    setup.set("policies", json!([]));
    cloud.policy("orders", "other");
    let seen = cloud.policy("orders", "saver");
    let daemon = setup.start();
    part(&daemon, "policies", "on");
    daemon.kill();
    // Restored from an old copy.
    let old = Cloud::start();
    assert!(old.policy("orders", "other") < seen);
    old.serve(&mut setup);
    let daemon = setup.start();
    let why = part(&daemon, "policies", "failing");
    assert!(why.contains("refused"), "{why}");
    let shown = daemon.ask("STATUS", json!({}));
    assert_eq!(shown["cloud"]["policies"]["version"], seen);
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    assert_eq!(steps(&daemon.closed()), ["orders/saver"]);
}

#[test]
fn d10_a_broken_policy_in_the_table_is_one_fault_and_the_others_run() {
    let (cloud, mut setup) = stage(0.0);
    setup.set("policies", json!([]));
    cloud.policy("broken", "saver");
    cloud.policy("orders", "saver");
    let table = "cloudsnooze-policies";
    for mut item in cloud.items(table) {
        if item["policy"]["S"] == "broken" {
            item.insert("text".to_owned(), json!({ "S": "{ \"name\": \"broken\", " }));
            cloud.put_item(table, item);
        }
    }
    let daemon = setup.start();
    part(&daemon, "policies", "on");
    wait::until("the policy to be taken up", || {
        (daemon.ask("STATUS", json!({}))["policies"] == 1).then_some(())
    });
    let faults = daemon.ask("STATUS", json!({}))["faults"].to_string();
    assert!(faults.contains("broken"), "{faults}");
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    assert_eq!(steps(&daemon.closed()), ["orders/saver"]);
}

#[test]
fn e3_a_command_that_is_delivered_again_starts_nothing_and_leaves_the_queue() {
    let (cloud, setup) = stage(0.0);
    cloud.make_queue(&Cloud::queue());
    let daemon = setup.start();
    let command = Cloud::handle("cloud-1", &spot(), None);
    let body = cloud.send(&command);
    assert_eq!(daemon.closed()["outcome"], "done");
    cloud.put_message(&Cloud::queue(), &body);
    cloud.send(&command);
    counted(&daemon, "repeated", 2);
    wait::until("the queue to be empty", || {
        cloud.messages(&Cloud::queue()).is_empty().then_some(())
    });
    assert_eq!(daemon.history().len(), 1);
    assert_eq!(started(&setup), 1);
}

#[test]
fn e7_what_is_not_for_us_is_deleted_and_does_not_circle_in_the_queue() {
    let (cloud, setup) = stage(0.0);
    let queue = Cloud::queue();
    cloud.make_queue(&queue);
    let daemon = setup.start();
    let other = Event { instance: Some("i-0123456789abcdef0".parse().unwrap()), ..spot() };
    let foreign = Cloud::handle("cloud-1", &other, None);
    cloud.send(&foreign);
    let mut late = Cloud::handle("cloud-2", &spot(), None);
    late.expires_at = Timestamp::now() - 1.second();
    cloud.send(&late);
    cloud.put_message(&queue, "hello");
    cloud.put_message(&queue, r#"{ "Type": "Notification", "Message": "{}" }"#);
    let forged = cloud.send(&Cloud::handle("cloud-3", &spot(), None)).replace("cloud-3", "cloud-4");
    cloud.put_message(&queue, &forged);
    counted(&daemon, "foreign", 1);
    counted(&daemon, "expired", 1);
    counted(&daemon, "refused", 3);
    counted(&daemon, "taken", 1);
    wait::until("the queue to be empty", || cloud.messages(&queue).is_empty().then_some(()));
    assert_eq!(daemon.history().len(), 1);
    part(&daemon, "commands", "on");
}

#[test]
fn e8_cut_off_before_the_notice_the_outcome_comes_later_with_its_times() {
    cut_off(|cloud, daemon, setup| {
        let _ = daemon;
        cut(cloud);
        notice(setup);
    });
}

#[test]
fn e8_cut_off_while_the_plan_runs_the_outcome_comes_later_with_its_times() {
    cut_off(|cloud, _, setup| {
        notice(setup);
        wait::until("the handler", || (started(setup) > 0).then_some(()));
        cut(cloud);
    });
}

#[test]
fn e8_cut_off_after_the_plan_and_restarted_the_outcome_comes_later_with_its_times() {
    let (cloud, setup) = stage(0.2);
    let daemon = setup.start();
    part(&daemon, "hello", "on");
    cloud.standing("PutEvents", Fault::HangAfter);
    notice(&setup);
    let incident = daemon.closed();
    daemon.kill();
    // What the bus took, and we were never told of, comes again: at least once.
    let daemon = setup.start();
    cloud.lift("PutEvents");
    healed(&cloud, &daemon, &incident);
}

fn cut_off(meanwhile: impl FnOnce(&Cloud, &Daemon, &Setup)) {
    let (cloud, setup) = stage(5.0);
    let daemon = setup.start();
    part(&daemon, "hello", "on");
    meanwhile(&cloud, &daemon, &setup);
    let incident = daemon.closed();
    assert_eq!(incident["outcome"], "done", "{incident:#}");
    part(&daemon, "reports", "failing");
    assert_eq!(cloud.told("incident.outcome"), Vec::<Value>::new());
    cloud.lift("*");
    healed(&cloud, &daemon, &incident);
    let told = cloud.told("incident.outcome");
    assert_eq!(told.len(), 1, "{told:#?}");
}

/// The outcome arrives, as old as it is.
fn healed(cloud: &Cloud, daemon: &Daemon, incident: &Value) {
    let outcome = cloud.wait_for("incident.outcome", 1).remove(0);
    assert_eq!(outcome["data"]["incident"], incident["incident"]);
    assert_eq!(outcome["time"], incident["closed"]);
    assert_eq!(outcome["data"]["hops"]["received"], incident["opened"]);
    assert_eq!(outcome["data"]["hops"]["finished"], incident["closed"]);
    wait::until("the report to be noted", || {
        (daemon.ask("STATUS", json!({}))["cloud"]["unreported"] == 0).then_some(())
    });
}

#[test]
fn e9_half_open_refused_or_without_a_name_the_cloud_costs_the_notice_nothing() {
    let hole = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let half_open = format!("http://{}", hole.local_addr().unwrap());
    for url in [half_open.as_str(), "http://127.0.0.1:1", "http://nowhere.invalid:80"] {
        let (cloud, mut setup) = stage(0.0);
        cloud.serve_at(&mut setup, url);
        let mut daemon = setup.start();
        part(&daemon, "hello", "failing");
        part(&daemon, "policies", "failing");
        notice(&setup);
        let incident = daemon.closed();
        on_time(&incident);
        daemon.terminate();
        let asked = Instant::now();
        assert!(daemon.ended().success());
        assert!(asked.elapsed() < Duration::from_secs(20), "{url}: {:?}", asked.elapsed());
    }
}

#[test]
fn e10_a_role_that_is_taken_away_stops_the_cloud_side_and_no_plan() {
    let (cloud, mut setup) = stage(0.0);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        setup.environment.remove(name);
    }
    setup.fake.role(Some(Role::lasting("instance", Duration::from_secs(60))));
    let daemon = setup.start();
    part(&daemon, "hello", "on");
    setup.fake.role(None);
    cloud.standing("*", Fault::error(403, "ExpiredTokenException"));
    notice(&setup);
    on_time(&daemon.closed());
    part(&daemon, "reports", "failing");
    setup.fake.role(Some(Role::lasting("instance", Duration::from_secs(3600))));
    cloud.lift("*");
    cloud.wait_for("incident.outcome", 1);
}

#[test]
fn one_permission_that_is_denied_stops_one_part_and_not_the_daemon() {
    for (operation, denied) in
        [("PutEvents", "hello"), ("GetItem", "policies"), ("ReceiveMessage", "commands")]
    {
        let (cloud, setup) = stage(0.0);
        cloud.make_queue(&Cloud::queue());
        cloud.standing(operation, Fault::error(400, "AccessDeniedException"));
        let mut daemon = setup.start();
        let why = part(&daemon, denied, "failing");
        assert!(why.contains("AccessDenied"), "{why}");
        for name in PARTS.into_iter().filter(|name| *name != denied) {
            part(&daemon, name, "on");
        }
        let faults = daemon.ask("STATUS", json!({}))["faults"].to_string();
        assert!(faults.contains(&format!("cloud/{denied}")), "{faults}");
        notice(&setup);
        on_time(&daemon.closed());
        assert!(daemon.running());
        cloud.lift(operation);
        part(&daemon, denied, "on");
    }
}

#[test]
fn a_bus_and_a_queue_that_hang_delay_no_handler() {
    let (cloud, setup) = stage(0.0);
    cloud.make_queue(&Cloud::queue());
    for operation in ["PutEvents", "ReceiveMessage", "GetItem"] {
        cloud.standing(operation, Fault::Hang);
    }
    let daemon = setup.start();
    wait::until("the calls to hang", || (cloud.calls().len() >= 3).then_some(()));
    notice(&setup);
    on_time(&daemon.closed());
}

#[test]
fn d17_no_word_comes_from_the_cloud_and_it_learns_of_the_loss_from_the_instance() {
    let (cloud, setup) = stage(0.0);
    cloud.make_queue(&Cloud::queue());
    let daemon = setup.start();
    notice(&setup);
    assert_eq!(daemon.closed()["outcome"], "done");
    let outcome = &cloud.wait_for("incident.outcome", 1)[0];
    assert_eq!(outcome["data"]["told_by"], json!([]));
    assert_eq!(outcome["data"]["cause"], "spot");
    assert_eq!(outcome["data"]["action"], "terminate");
    // The event comes after all: its incident learns the same, and nothing runs again.
    cloud.send(&Cloud::handle("cloud-1", &spot(), None));
    let again = &cloud.wait_for("incident.outcome", 2)[1];
    assert_eq!(again["data"]["told_by"], json!(["cloud-1"]));
    assert_eq!(again["time"], outcome["time"]);
    assert_eq!(started(&setup), 1);
}

/// A daemon with one handler of its own, which takes so many seconds, and the cloud.
fn stage(seconds: f64) -> (Cloud, Setup) {
    let cloud = Cloud::start();
    let mut setup = Setup::new();
    let text = plugins::recorder("saver", &setup.path("done"), seconds);
    setup.script("plugins/saver.sh", &text);
    setup.policy("orders", json!([{ "plugin": "saver", "priority": 50 }]));
    cloud.serve(&mut setup);
    (cloud, setup)
}

fn spot() -> Event {
    let now = Timestamp::now();
    Event {
        instance: Some(INSTANCE.parse().unwrap()),
        deadline: Some(now + 110.seconds()),
        cause: Some(Cause::Spot),
        action: Some(LossAction::Terminate),
        ..Event::new(EventType::SpotInterrupt, "aws.ec2", now, "event-1".parse().unwrap())
    }
}

fn notice(setup: &Setup) {
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
}

fn cut(cloud: &Cloud) {
    cloud.standing("*", Fault::Refuse);
}

/// The handler began before anything of the cloud side could have failed, which takes 3 s.
fn on_time(incident: &Value) {
    assert_eq!(incident["outcome"], "done", "{incident:#}");
    let after = incident["steps"][0]["started_after_ms"].as_u64().unwrap();
    assert!(after < 3000, "{after} ms");
}

fn counted(daemon: &Daemon, what: &str, times: u64) {
    let count = || daemon.ask("STATUS", json!({}))["cloud"]["commands"].clone();
    wait::until_or(
        || format!("{times} {what}: {}", count()),
        || (count()[what] == times).then_some(()),
    );
}

fn steps(incident: &Value) -> Vec<&str> {
    let steps = incident["steps"].as_array().unwrap();
    steps.iter().filter_map(|step| step["step"].as_str()).collect()
}

fn started(setup: &Setup) -> usize {
    setup.lines("done").iter().filter(|line| line.starts_with("start ")).count()
}
