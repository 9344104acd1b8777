//! The table Incidents.

use std::time::Duration;

use serde_json::{Value, json};
use snooze_cloud::Kind;
use snooze_cloud::fake::{Fault, Server};
use snooze_cloud::incidents::{Claimed, Incidents, Stored};
use snooze_policy::ledger::{Finish, Take};
use tokio::task::JoinSet;

use super::common::{claim, incident, instance, moment, spot};

const TABLE: &str = "cloudsnooze-incidents";
const KEEP: Duration = Duration::from_secs(90 * 24 * 3600);
/// A task that the incident of the Spot notice has.
const TASK: &str = "operators";

#[tokio::test]
async fn a_claim_opens_one_incident_and_what_follows_joins_it() {
    let (server, incidents) = start().await;
    let first = opened(&incidents, 0).await;
    assert_eq!(claimed(&incidents, 300).await, Claimed::Known(first.clone()));
    let late = opened(&incidents, 601).await;
    assert_ne!(first.incident.id, late.incident.id);
    assert_eq!(incidents.read(&first.incident.id).await.unwrap(), Some(first));
    assert_eq!(server.items(TABLE).len(), 3);
}

#[tokio::test]
async fn of_twenty_who_claim_at_once_one_opens() {
    let (server, incidents) = start().await;
    let mut racers = JoinSet::new();
    for _ in 0..20 {
        let incidents = incidents.clone();
        racers.spawn(async move { claimed(&incidents, 0).await });
    }
    let all = racers.join_all().await;
    let is_opened = |it: &&Claimed| matches!(it, Claimed::Opened(_));
    assert_eq!(all.iter().filter(is_opened).count(), 1);
    let ids = all.iter().map(|it| match it {
        Claimed::Opened(stored) | Claimed::Known(stored) => stored.incident.id.as_str(),
    });
    assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), 1);
    assert_eq!(server.items(TABLE).len(), 2);
}

#[tokio::test]
async fn a_claim_that_meets_another_transaction_is_made_again() {
    let (server, incidents) = start().await;
    server.fault("TransactWriteItems", cancelled(["TransactionConflict", "None"]));
    opened(&incidents, 0).await;
    assert_eq!(server.count("TransactWriteItems"), 2);
}

#[tokio::test]
async fn a_claim_that_is_throttled_says_so() {
    let (server, incidents) = start().await;
    server.fault("TransactWriteItems", cancelled(["None", "ThrottlingError"]));
    let error = incidents.claim(&claim(), incident, moment(0)).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (Kind::Later, "ThrottlingError"));
}

#[tokio::test]
async fn a_claim_whose_incident_was_removed_holds_nothing() {
    let (server, incidents) = start().await;
    opened(&incidents, 0).await;
    let claim = server.items(TABLE).into_iter().find(|item| item.contains_key("target")).unwrap();
    let (server, incidents) = start().await;
    server.put_item(TABLE, claim);
    opened(&incidents, 5).await;
}

#[tokio::test]
async fn changes_at_once_are_all_kept() {
    let (server, incidents) = start().await;
    let stored = opened(&incidents, 0).await;
    let mut writers = JoinSet::new();
    for number in 0..8 {
        let (incidents, stored) = (incidents.clone(), stored.clone());
        writers.spawn(async move {
            let state = format!("state-{number}");
            let changed = incidents.change_from(stored, |it| it.fated(&state, moment(number)));
            changed.await.unwrap().unwrap();
        });
    }
    writers.join_all().await;
    let stored = incidents.read(&stored.incident.id).await.unwrap().unwrap();
    assert_eq!(stored.incident.fate.len(), 8);
    assert_eq!(stored.revision, 9);
    assert_eq!(server.count("GetItem"), 1, "the item comes with the refusal");
}

#[tokio::test]
async fn a_change_that_changes_nothing_writes_nothing() {
    let (server, incidents) = start().await;
    let stored = opened(&incidents, 0).await;
    let id = stored.incident.id.clone();
    let (answer, after) = incidents.change(&id, |it| it.tasks.len()).await.unwrap().unwrap();
    assert_eq!((answer, after), (stored.incident.tasks.len(), stored));
    assert_eq!(server.count("PutItem"), 0);
}

#[tokio::test]
async fn what_is_not_there_is_not_changed() {
    let (_server, incidents) = start().await;
    let stored = opened(&incidents, 0).await;
    assert_eq!(incidents.change("i-0/none", |_| ()).await.unwrap(), None);
    let (_other, empty) = start().await;
    let change = empty.change_from(stored, |it| it.fated("terminated", moment(9)));
    assert_eq!(change.await.unwrap(), None);
}

#[tokio::test]
async fn d6_the_item_that_refuses_a_write_says_how_it_stands() {
    let (server, incidents) = start().await;
    let seen = opened(&incidents, 0).await;
    let take = |attempt: &'static str, seconds| {
        let (incidents, seen) = (incidents.clone(), seen.clone());
        async move {
            let take = incidents.change_from(seen, |it| it.take(TASK, attempt, moment(seconds)));
            take.await.unwrap().unwrap().0
        }
    };
    assert_eq!(take("first", 0).await, Take::Go);
    assert_eq!(take("second", 5).await, Take::Busy(Duration::from_secs(15)), "its lease is alive");
    assert_eq!(take("third", 20).await, Take::Go, "its lease is over");
    let finish = |it: &mut snooze_policy::ledger::Incident| {
        it.finish(TASK, "third", Finish::Done("told".to_owned()), moment(21));
    };
    incidents.change(&seen.incident.id, finish).await.unwrap();
    assert_eq!(take("fourth", 60).await, Take::Over, "it is done");
    assert_eq!(server.count("GetItem"), 1, "only the change without a copy reads");
}

#[tokio::test]
async fn d7_a_write_whose_answer_was_lost_is_not_done_twice() {
    let (server, incidents) = start().await;
    let seen = opened(&incidents, 0).await;
    server.fault("PutItem", Fault::DropAfter);
    let (take, stored) =
        incidents.change_from(seen, |it| it.take(TASK, "mine", moment(2))).await.unwrap().unwrap();
    assert_eq!(take, Take::Go);
    assert_eq!(server.count("PutItem"), 2, "the second is refused, and the item bears our word");
    assert_eq!(stored.revision, 2);
    assert_eq!(stored.incident.task(TASK).unwrap().attempts, 1);
    assert_eq!(incidents.read(&stored.incident.id).await.unwrap(), Some(stored));
}

#[tokio::test]
async fn d7_a_claim_whose_answer_was_lost_is_ours() {
    for known in [true, false] {
        let (server, incidents) = start().await;
        server.know_tokens(known);
        server.fault("TransactWriteItems", Fault::DropAfter);
        opened(&incidents, 0).await;
        assert_eq!(server.count("TransactWriteItems"), 2);
        assert_eq!(server.items(TABLE).len(), 2);
    }
}

#[tokio::test]
async fn d7_who_never_got_an_answer_finds_the_incident_later() {
    let (server, incidents) = start().await;
    server.faults("TransactWriteItems", 3, Fault::DropAfter);
    let error = incidents.claim(&claim(), incident, moment(0)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    let Claimed::Known(stored) = claimed(&incidents, 60).await else { panic!("opened twice") };
    assert_eq!(stored.incident.opened_at, moment(1));
    assert_eq!(server.items(TABLE).len(), 2);
}

#[tokio::test]
async fn an_incident_is_found_by_its_instance_the_latest_first() {
    let (_server, incidents) = start().await;
    let mut ids = Vec::new();
    for seconds in [0, 700, 1400] {
        ids.insert(0, opened(&incidents, seconds).await.incident.id);
    }
    let found = async |since, limit| -> Vec<String> {
        let found = incidents.of_instance(&instance(), moment(since), limit).await.unwrap();
        found.into_iter().map(|it| it.incident.id).collect()
    };
    assert_eq!(found(0, 10).await, ids);
    assert_eq!(found(0, 2).await, ids[..2]);
    assert_eq!(found(701, 10).await, ids[..2]);
    let other = "i-00000000000000001".parse().unwrap();
    assert_eq!(incidents.of_instance(&other, moment(0), 10).await.unwrap(), []);
    let listed = incidents.list(moment(0), 2).await.unwrap();
    assert_eq!(listed.into_iter().map(|it| it.incident.id).collect::<Vec<_>>(), ids[..2]);
}

#[tokio::test]
async fn an_open_incident_is_due_until_it_is_closed() {
    let (server, incidents) = start().await;
    let stored = opened(&incidents, 0).await;
    let look = stored.incident.look_at().unwrap();
    let before = look - Duration::from_secs(1);
    assert_eq!(incidents.due(before, 10).await.unwrap(), [""; 0]);
    assert_eq!(incidents.due(look, 10).await.unwrap(), [stored.incident.id.as_str()]);
    let close = |it: &mut snooze_policy::ledger::Incident| {
        it.mend(moment(100_000));
        for task in it.tasks.clone() {
            it.take(&task.id, "a", moment(100_000));
            it.finish(&task.id, "a", Finish::Skipped("over".to_owned()), moment(100_000));
        }
    };
    let (_, closed) = incidents.change_from(stored, close).await.unwrap().unwrap();
    assert!(!closed.incident.is_open());
    assert_eq!(incidents.due(moment(200_000), 10).await.unwrap(), [""; 0]);
    let item = item(&server, &closed);
    assert_eq!(item["outcome"], json!({ "S": "unknown" }));
}

#[tokio::test]
async fn many_due_incidents_come_in_the_order_of_their_time_and_bounded() {
    let (server, incidents) = start().await;
    let mut all = Vec::new();
    for number in 0..40 {
        let id = format!("i-{number:017x}/event/e");
        let stored = Stored { incident: incident(&id), revision: 1 };
        all.push((39 - number, id.clone()));
        server.put_item(TABLE, due(&stored, 39 - number));
    }
    all.sort_unstable();
    let ids: Vec<String> = all.into_iter().map(|(_, id)| id).collect();
    assert_eq!(incidents.due(moment(0), 100).await.unwrap(), ids);
    assert_eq!(incidents.due(moment(0), 7).await.unwrap(), ids[..7]);
}

#[tokio::test]
async fn what_is_no_incident_is_an_error_alone_and_left_out_of_a_list() {
    let (server, incidents) = start().await;
    let good = opened(&incidents, 0).await;
    let mut bad = item(&server, &good);
    bad.insert("incident".to_owned(), json!({ "S": "bad" }));
    bad.insert("body".to_owned(), json!({ "S": "{\"schema\":1" }));
    server.put_item(TABLE, bad);
    let error = incidents.read("bad").await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (Kind::Invalid, "NotAnIncident"));
    let good = [good];
    assert_eq!(incidents.list(moment(0), 10).await.unwrap(), good);
    assert_eq!(incidents.of_instance(&instance(), moment(0), 10).await.unwrap(), good);
}

#[tokio::test]
async fn the_table_forgets_an_incident_when_its_time_is_over() {
    let (server, incidents) = start().await;
    let stored = opened(&incidents, 0).await;
    let keep = i64::try_from(KEEP.as_secs()).unwrap();
    let expires_at = (moment(1).as_second() + keep).to_string();
    assert_eq!(item(&server, &stored)["expires_at"], json!({ "N": expires_at }));
    assert_eq!(item(&server, &stored)["opened_at"], json!({ "S": "2026-11-18T11:06:41.000Z" }));
    assert_eq!(claim(), snooze_policy::ledger::claim(&spot()));
}

async fn start() -> (Server, Incidents) {
    let server = Server::start().await.unwrap();
    let incidents = Incidents::new(&server.aws().await, TABLE, KEEP);
    (server, incidents)
}

/// Claims the incident of the Spot notice so many seconds after it was given.
async fn claimed(incidents: &Incidents, seconds: i64) -> Claimed {
    let open = |id: &str| {
        let opened_at = moment(seconds + 1);
        snooze_policy::ledger::Incident { opened_at, ..incident(id) }
    };
    incidents.claim(&claim(), open, moment(seconds)).await.unwrap()
}

async fn opened(incidents: &Incidents, seconds: i64) -> Stored {
    match claimed(incidents, seconds).await {
        Claimed::Opened(stored) => stored,
        Claimed::Known(stored) => panic!("known: {stored:?}"),
    }
}

fn item(server: &Server, stored: &Stored) -> serde_json::Map<String, Value> {
    let id = json!({ "S": stored.incident.id });
    server.items(TABLE).into_iter().find(|item| item.get("incident") == Some(&id)).unwrap()
}

/// An item of an incident that was due so many seconds before the notice.
fn due(stored: &Stored, seconds: i64) -> serde_json::Map<String, Value> {
    let item = json!({
        "incident": { "S": stored.incident.id },
        "open": { "S": (seconds % 16).to_string() },
        "due": { "N": moment(seconds - 39).as_second().to_string() },
    });
    item.as_object().cloned().unwrap()
}

fn cancelled(codes: [&str; 2]) -> Fault {
    let reasons = codes.map(|code| json!({ "Code": code }));
    let body = json!({ "__type": "TransactionCanceledException", "message": "cancelled",
                       "CancellationReasons": reasons });
    Fault::Answer { status: 400, body: body.to_string() }
}
