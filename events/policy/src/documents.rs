//! What `docs/policies.md` shows is what this crate does.

use serde_json::Value;
use snooze_event::{Event, EventType, Severity};

use crate::samples::{listed, policy, seconds, spot};
use crate::{ActionName, Facts, check, document, from_settings, schedule, select, steps};

const PAGE: &str = include_str!("../../../docs/policies.md");

#[test]
fn every_policy_shown_is_read_without_a_fault() {
    let blocks = blocks("json");
    assert_eq!(blocks.len(), 11);
    for block in blocks {
        let value: Value = serde_json::from_str(block).unwrap();
        let events = value.get("event_handlers");
        let plugins = value.pointer("/plugins/plugin_configs");
        if events.is_some() || plugins.is_some() {
            let (policies, faults) = from_settings(events, plugins);
            assert_eq!(listed(&faults), "");
            assert!(!policies.is_empty());
        } else {
            assert_eq!(check(block).map_err(|faults| listed(&faults)).err(), None, "{block}");
        }
    }
}

#[test]
fn the_plans_shown_are_those_of_the_whole_policy() {
    let whole = policy(blocks("json")[1]);
    let steps = steps(&[&whole], &spot());
    assert_eq!(schedule(&steps, seconds(120)).to_string(), blocks("text")[0]);
    assert_eq!(schedule(&steps, seconds(40)).to_string(), blocks("text")[1]);
}

#[test]
fn the_policy_for_everything_urgent_matches_what_the_page_says() {
    let policies = [policy(blocks("json")[2])];
    let facts = |asg: &str| Facts { asg: Some(asg.to_owned()), ..Facts::default() };
    let selects = |event: &Event, asg| select(&policies, &document(event, &facts(asg))).len();
    assert_eq!(selects(&spot(), "web-blue"), 1);
    assert_eq!(selects(&spot(), "orders"), 0);
    assert_eq!(selects(&Event { drill: true, ..spot() }, "web-blue"), 0);
    assert_eq!(selects(&Event { severity: Severity::Warning, ..spot() }, "web-blue"), 0);
}

#[test]
fn the_faults_shown_are_those_that_are_said() {
    let text = r#"{"name":"x","match":{"type":["cloud.spot.interupt"]},"handler":[]}"#;
    assert_eq!(listed(&check(text).unwrap_err()), blocks("text")[2]);
}

#[test]
fn every_event_type_and_action_is_named() {
    let actions = ActionName::WORDS.map(|(word, _)| word);
    for word in EventType::names().chain(actions) {
        assert!(PAGE.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn every_action_has_a_row_with_all_its_keys() {
    for (word, action) in ActionName::WORDS {
        let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{word}` |"))).unwrap();
        for key in action.keys() {
            assert!(row.contains(&format!("`{}`", key.name)), "{word}: {}", key.name);
            let required = format!("`{}` (required", key.name);
            assert_eq!(row.contains(&required), key.required, "{word}: {}", key.name);
        }
    }
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fences = PAGE.split("```").skip(1).step_by(2);
    fences.filter_map(|fence| fence.strip_prefix(language)?.strip_prefix('\n')).collect()
}
