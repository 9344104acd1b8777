use expect_test::expect;
use serde_json::{Map, json};
use snooze_event::{BootId, Cause, Event, EventType, LossAction};
use snooze_policy::Facts;

use super::*;
use crate::record::{Ending, StepOutcome};
use crate::watch::{Channel, Effect, Input, Limits};

/// A Spot notice two minutes ahead; the first handler begins at once and takes 1.5 seconds.
#[test]
fn an_incident_is_counted_by_cause_outcome_and_plugin() {
    let mut tally = Tally::default();
    incident(&mut tally, "flush");
    let mut page = Page::default();
    tally.show(&mut page);
    let counted = [OPENED, CLOSED, STEPS, STEP_SECONDS];
    expect![[r#"
        # HELP cloudsnooze_incidents_opened_total Incidents that were opened.
        # TYPE cloudsnooze_incidents_opened_total counter
        cloudsnooze_incidents_opened_total{cause="spot",drill="false"} 1
        # HELP cloudsnooze_incidents_closed_total Incidents that ended.
        # TYPE cloudsnooze_incidents_closed_total counter
        cloudsnooze_incidents_closed_total{cause="spot",outcome="done",drill="false"} 1
        # HELP cloudsnooze_steps_total Steps that ended, or were never begun.
        # TYPE cloudsnooze_steps_total counter
        cloudsnooze_steps_total{plugin="flush",outcome="done"} 1
        # HELP cloudsnooze_step_seconds How long steps took, of those that were begun.
        # TYPE cloudsnooze_step_seconds summary
        cloudsnooze_step_seconds_sum{plugin="flush"} 1.5
        cloudsnooze_step_seconds_count{plugin="flush"} 1
    "#]]
    .assert_eq(&page.text(&counted, false));
    let times = page.text(&[FIRST_HANDLER, MARGIN], false);
    for line in [
        "first_handler_seconds_bucket{le=\"0.001\"} 1",
        "first_handler_seconds_count 1",
        "margin_seconds_bucket{le=\"90\"} 0",
        "margin_seconds_bucket{le=\"120\"} 1",
        "margin_seconds_sum 118.5",
    ] {
        assert!(times.contains(&format!("\ncloudsnooze_{line}\n")), "{line}:\n{times}");
    }
}

#[test]
fn plugins_without_end_are_counted_together() {
    let mut tally = Tally::default();
    for number in 0..100 {
        incident(&mut tally, &format!("plugin-{number}"));
    }
    let mut page = Page::default();
    tally.show(&mut page);
    let text = page.text(&[STEPS], false);
    assert_eq!(text.lines().count(), 2 + 65, "{text}");
    assert!(text.contains("{plugin=\"others\",outcome=\"done\"} 36\n"), "{text}");
}

#[test]
fn types_of_events_are_few_words() {
    for (kind, word) in [
        ("cloud.spot.interrupt", "cloud.spot.interrupt"),
        ("custom.orders.i-0123456789abcdef0", "custom"),
        ("customs", "other"),
        ("\"} 1\nx", "other"),
    ] {
        assert_eq!(known_type(kind), word);
    }
}

#[test]
fn every_family_has_a_good_name_and_its_kind_of_it() {
    for (index, family) in FAMILIES.iter().enumerate() {
        let Family { name, kind, help, .. } = family;
        assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(help.ends_with('.') && !help.contains(['\n', '\\', '|']), "{help}");
        assert!(FAMILIES.iter().skip(index + 1).all(|other| other.name != *name), "{name}");
    }
}

/// Lets a plugin handle a Spot notice.
fn incident(tally: &mut Tally, plugin: &str) {
    let start = Now { wall: "2026-03-14T09:26:53Z".parse().unwrap(), boot: Duration::ZERO };
    let boot: BootId = "11111111-2222-3333-4444-555555555555".parse().unwrap();
    let instance = "i-0a1b2c3d4e5f60718".parse().unwrap();
    let facts = Facts { id: Some(instance), ..Facts::default() };
    let mut watch = Watch::new(facts.clone(), boot, Limits::default());
    let policy = json!({
        "name": "orders", "match": { "type": ["cloud.spot.interrupt"] },
        "handlers": [{ "plugin": plugin }],
    });
    let policies = vec![snooze_policy::check(&policy.to_string()).unwrap()];
    watch.on(Input::Policies(policies), start);
    let event = Event {
        cause: Some(Cause::Spot),
        action: Some(LossAction::of("terminate")),
        instance: facts.id,
        deadline: Some(start.wall + Duration::from_secs(120)),
        ..Event::new(EventType::SpotInterrupt, "metadata", start.wall, "notice".parse().unwrap())
    };
    let heard = Input::Heard { event: Box::new(event), channel: Channel::Metadata };
    let effects = watch.on(heard, start);
    let run = effects.iter().find_map(|effect| match effect {
        Effect::Start(start) => Some(start.run),
        Effect::Write(_) | Effect::Shorten { .. } | Effect::Ignored { .. } | Effect::Exit => None,
    });
    note(tally, &watch, effects);
    let outcome = StepOutcome {
        milliseconds: 1500,
        result: Map::new(),
        ..StepOutcome::plain(Ending::Done, "")
    };
    let took = Duration::from_millis(1500);
    let later = Now { wall: start.wall + took, boot: took };
    let effects = watch.on(Input::Ended { run: run.unwrap(), outcome: Box::new(outcome) }, later);
    note(tally, &watch, effects);
}

fn note(tally: &mut Tally, watch: &Watch, effects: Vec<Effect>) {
    for entry in effects.iter().filter_map(Effect::written) {
        let known = watch.incidents().find(|known| known.key.as_str() == entry.incident);
        tally.note(entry, known.unwrap());
    }
}
