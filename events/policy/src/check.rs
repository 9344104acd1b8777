//! From the text of a policy document to a checked policy.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_event::EventType;
use snooze_pattern::Pattern;

use crate::fault::{element, hint, member, shown};
use crate::fields::{Fields, Unknown, handler};
use crate::json;
use crate::policy::{
    Action, ActionName, DEFAULT_RESERVE, Dispatch, Drill, Handler, Policy, PolicyName, When,
};
use crate::{Fault, action, select};

/// The version of the format, major and minor, of documents that do not say theirs.
const FORMAT: (u32, u32) = (1, 0);

const KEYS: [&str; 10] = [
    "version",
    "name",
    "enabled",
    "match",
    "dispatch",
    "reserve_seconds",
    "drill",
    "handlers",
    "undo",
    "actions",
];

/// Reads a policy for a person who can mend it.
///
/// # Errors
/// Everything that is wrong with it, at once: also keys and event types that are not known, with
/// the nearest known one named.
pub fn check(text: &str) -> Result<Policy, Vec<Fault>> {
    read(text, Reader::Strict)
}

/// Reads policies when nobody can mend them: one that cannot be read is reported with its
/// origin, and the others are there.
///
/// A document that says that it is of a newer minor version is read without the parts that are
/// not known; one of another major version is refused. Of two policies with one name the first
/// holds.
pub fn read_all<'a>(
    documents: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (Vec<Policy>, Vec<(String, Fault)>) {
    let mut policies: Vec<Policy> = Vec::new();
    let mut faults = Vec::new();
    let mut taken: BTreeMap<PolicyName, &str> = BTreeMap::new();
    for (origin, text) in documents {
        let mut report = |fault| faults.push((origin.to_owned(), fault));
        match read(text, Reader::Tolerant) {
            Err(all) => all.into_iter().for_each(report),
            Ok(policy) => match taken.get(&policy.name) {
                Some(first) => report(Fault::new(
                    "$.name",
                    format!("{} is already the name of the policy from {}", policy.name, first),
                )),
                None => {
                    taken.insert(policy.name.clone(), origin);
                    policies.push(policy);
                }
            },
        }
    }
    (policies, faults)
}

/// For whom a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Strict,
    Tolerant,
}

fn read(text: &str, reader: Reader) -> Result<Policy, Vec<Fault>> {
    let value = json::parse(text).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let policy = policy(&value, reader, &mut faults);
    match policy {
        Some(policy) if faults.is_empty() => Ok(policy),
        Some(_) | None => Err(faults),
    }
}

fn policy(value: &Value, reader: Reader, faults: &mut Vec<Fault>) -> Option<Policy> {
    let fields = Fields::of("$", value, faults)?;
    let (major, minor) = version(&fields, faults)?;
    if major != FORMAT.0 {
        let text = format!("version {major}.{minor} is not read here: expected {}.x", FORMAT.0);
        faults.push(Fault::new("$.version", text));
        return None;
    }
    let unknown = match reader {
        Reader::Tolerant if minor > FORMAT.1 => Unknown::LeaveOut,
        Reader::Tolerant | Reader::Strict => Unknown::Refuse,
    };
    fields.expect(&KEYS, unknown, faults);
    let name = fields.required("name", faults);
    let pattern = pattern(&fields, unknown, faults);
    let handlers = all_handlers(&fields, "handlers", unknown, faults);
    let undo = all_handlers(&fields, "undo", unknown, faults);
    let actions = all_actions(&fields, unknown, faults);
    if ["handlers", "undo", "actions"].iter().all(|key| is_empty(&fields, key)) {
        let text = "no `handlers`, no `undo` and no `actions`: the policy would do nothing";
        faults.push(Fault::new("$", text));
    }
    Some(Policy {
        enabled: fields.flag("enabled", true, faults),
        dispatch: dispatch(&fields, faults),
        reserve: reserve(&fields, faults),
        drill: drill(&fields, faults),
        name: name?,
        pattern: pattern?,
        handlers,
        undo,
        actions,
    })
}

fn version(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Option<(u32, u32)> {
    if fields.get("version").is_none() {
        return Some(FORMAT);
    }
    let text = fields.text("version", faults)?;
    let parsed = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    if parsed.is_none() {
        let text = format!("{} is not a version: expected such as \"1.0\"", shown(text));
        faults.push(Fault::new("$.version", text));
    }
    parsed
}

fn pattern(fields: &Fields<'_>, unknown: Unknown, faults: &mut Vec<Fault>) -> Option<Pattern> {
    let Some(value) = fields.get("match") else {
        faults.push(Fault::new("$", "the key `match` is missing"));
        return None;
    };
    if unknown == Unknown::Refuse {
        members("$.match", value, &select::MEMBERS, faults);
    }
    Pattern::compile_value(value)
        .map_err(|error| faults.push(Fault::new("$.match", error.to_string())))
        .ok()
}

/// A fault for each member that no event ever has, at which a pattern would silently fail.
pub(crate) fn members(path: &str, value: &Value, known: &[&str], faults: &mut Vec<Fault>) {
    let Value::Object(object) = value else { return };
    for (key, value) in object {
        let path = member(path, key);
        // A key with dots is a path of its own.
        let (head, rest) = key.split_once('.').map_or((key.as_str(), None), |(h, r)| (h, Some(r)));
        match (head, rest, value) {
            ("$or", None, Value::Array(choices)) => {
                for (index, choice) in choices.iter().enumerate() {
                    members(&element(&path, index), choice, known, faults);
                }
            }
            (head, ..) if !known.contains(&head) => {
                let hint = hint(head, known.iter().copied());
                faults.push(Fault::new(&path, format!("events have no such member: {hint}")));
            }
            ("type", None, Value::Array(types)) if known == select::MEMBERS => types
                .iter()
                .enumerate()
                .for_each(|(index, kind)| event_type(&element(&path, index), kind, faults)),
            ("instance", None, value) => {
                members(&path, value, &select::INSTANCE_MEMBERS, faults);
            }
            ("instance", Some(rest), value) => {
                let inner = Map::from_iter([(rest.to_owned(), value.clone())]);
                members(&path, &Value::Object(inner), &select::INSTANCE_MEMBERS, faults);
            }
            _ => {}
        }
    }
}

/// A fault for an exact type that no event ever has.
fn event_type(path: &str, kind: &Value, faults: &mut Vec<Fault>) {
    if let Value::String(text) = kind {
        known_type(path, text, faults);
    }
}

/// The type of a text; a fault when it is not a known one and not the user's own.
pub(crate) fn known_type(path: &str, text: &str, faults: &mut Vec<Fault>) -> Option<EventType> {
    let problem = match text.parse() {
        Ok(EventType::Unknown(text)) => {
            let hint = hint(&text, EventType::names());
            format!("unknown event type {}: {hint} (your own begin with `custom.`)", shown(&text))
        }
        Ok(kind) => return Some(kind),
        Err(error) => error.to_string(),
    };
    faults.push(Fault::new(path, problem));
    None
}

pub(crate) fn dispatch(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Dispatch {
    fields.word("dispatch", &Dispatch::WORDS, faults).unwrap_or(Dispatch::All)
}

pub(crate) fn drill(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Drill {
    fields.word("drill", &Drill::WORDS, faults).unwrap_or(Drill::Run)
}

pub(crate) fn reserve(fields: &Fields<'_>, faults: &mut Vec<Fault>) -> Duration {
    fields.seconds("reserve_seconds", Duration::ZERO, faults).unwrap_or(DEFAULT_RESERVE)
}

fn is_empty(fields: &Fields<'_>, key: &str) -> bool {
    fields.get(key).is_none_or(|value| value.as_array().is_some_and(Vec::is_empty))
}

fn all_handlers(
    fields: &Fields<'_>,
    key: &str,
    unknown: Unknown,
    faults: &mut Vec<Fault>,
) -> Vec<Handler> {
    let entries = fields.list(key, faults);
    entries
        .into_iter()
        .filter_map(|(path, value)| handler(&path, value, "plugin", unknown, faults))
        .collect()
}

fn all_actions(fields: &Fields<'_>, unknown: Unknown, faults: &mut Vec<Fault>) -> Vec<Action> {
    let entries = fields.list("actions", faults);
    entries
        .into_iter()
        .filter_map(|(path, value)| {
            let fields = Fields::of(&path, value, faults)?;
            action(&fields, unknown, faults)
        })
        .collect()
}

fn action(fields: &Fields<'_>, unknown: Unknown, faults: &mut Vec<Fault>) -> Option<Action> {
    fields.expect(&["action", "when", "config"], unknown, faults);
    if fields.get("action").is_none() {
        faults.push(Fault::new(&fields.path, "the key `action` is missing"));
    }
    let config = fields.config(faults);
    // Words of a newer minor version are not faults; what they ask for is left out.
    let mut strange = Vec::new();
    let name = fields.word("action", &ActionName::WORDS, &mut strange);
    let when = fields.word("when", &When::WORDS, &mut strange);
    if unknown == Unknown::Refuse {
        faults.append(&mut strange);
    }
    let name = name?;
    action::check(name, fields, unknown, faults);
    let when = when.or_else(|| fields.get("when").is_none().then(|| name.usual()))?;
    if name.usual() == When::Outcome && when == When::Now {
        let text = format!("`{}` waits for the outcome: expected `outcome`", name.as_str());
        faults.push(fields.fault("when", &text));
    }
    Some(Action { name, when, config })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{ORDERS_DB, listed, policy, seconds};
    use crate::{Band, SIZE};

    // S0-48, S0-49, S0-50, S0-51
    #[test]
    fn the_document_of_the_format_is_read_whole() {
        let read = policy(ORDERS_DB);
        expect![[r#"
            (
                [
                    Handler {
                        plugin: PluginName(
                            "postgres-flusher",
                        ),
                        priority: 100,
                        timeout: 30s,
                        minimum: 1s,
                        repeatable: true,
                        instant: false,
                        config: {
                            "connection_string",
                        },
                    },
                    Handler {
                        plugin: PluginName(
                            "app-checkpointer",
                        ),
                        priority: 80,
                        timeout: 45s,
                        minimum: 1s,
                        repeatable: false,
                        instant: false,
                        config: {
                            "app_endpoint",
                            "verify_success",
                        },
                    },
                    Handler {
                        plugin: PluginName(
                            "slack-notifier",
                        ),
                        priority: 10,
                        timeout: 10s,
                        minimum: 1s,
                        repeatable: false,
                        instant: false,
                        config: {
                            "channel",
                            "webhook_url",
                        },
                    },
                ],
                [],
                [
                    Action {
                        name: Notify,
                        when: Now,
                        config: {},
                    },
                    Action {
                        name: CompleteLifecycle,
                        when: Outcome,
                        config: {},
                    },
                ],
            )
        "#]]
        .assert_debug_eq(&(&read.handlers, &read.undo, &read.actions));
        assert_eq!((read.name.as_str(), read.enabled), ("orders-db", true));
        assert_eq!((read.dispatch, read.drill), (Dispatch::All, Drill::Run));
        assert_eq!(read.reserve, seconds(5));
        assert_eq!(read.handlers[2].config["channel"], "#cloud-events");
    }

    // S0-48, D-3
    #[test]
    fn a_handler_that_says_little_gets_the_time_out_of_its_band() {
        for (priority, timeout) in [(100, 60), (70, 60), (69, 45), (40, 45), (39, 10), (-5, 10)] {
            let read =
                policy(&with_handlers(&format!(r#"{{"plugin":"x","priority":{priority}}}"#)));
            assert_eq!(read.handlers[0].timeout, seconds(timeout));
            assert_eq!(Band::of(priority).timeout(), seconds(timeout));
        }
        let read = policy(&with_handlers(r#"{"plugin":"x","timeout_seconds":0.5}"#));
        assert_eq!(read.handlers[0].priority, 50);
        assert_eq!(read.handlers[0].minimum, Duration::from_millis(500));
    }

    #[test]
    fn every_fault_is_said_at_once() {
        let text = r#"{
            "nmae": "x", "name": "a b", "enabled": 1, "dispatch": "first", "reserve_seconds": -1,
            "drill": "rehears", "match": { "typo": ["x"], "instance": { "tag": { "a": ["b"] } },
                "$or": [{ "type": ["cloud.spot.interupt"] }, { "instance.zones": ["a"] }] },
            "handlers": [
                { "plugin": "Redis", "priority": 1.5, "timeout_seconds": 0, "minimum_seconds": 200000,
                  "repeatable": null, "instant": "yes", "config": [], "command": "rm" },
                { "priority": 5000000000, "timeout_seconds": 2, "minimum_seconds": 3 }, 7
            ],
            "undo": {},
            "actions": [{ "action": "notifiy" }, { "when": "later" }, { "action": 1, "confg": {} }]
        }"#;
        faults(
            text,
            expect![[r#"
                $: unknown key `nmae`: did you mean `name`?
                $.name: "a b" is not a policy name: expected a letter or digit, then up to 63 letters, digits, `.`, `_` and `-`
                $.match["$or"][0].type[0]: unknown event type `cloud.spot.interupt`: did you mean `cloud.spot.interrupt`? (your own begin with `custom.`)
                $.match["$or"][1]["instance.zones"].zones: events have no such member: did you mean `zone`?
                $.match.instance.tag: events have no such member: did you mean `tags`?
                $.match.typo: events have no such member: did you mean `type`?
                $.handlers[0]: unknown key `command`: expected one of `plugin`, `priority`, `timeout_seconds`, `minimum_seconds`, `repeatable`, `instant`, `config`
                $.handlers[0].plugin: "Redis" is not a plugin name: expected a lower-case letter, then up to 31 lower-case letters, digits and hyphens
                $.handlers[0].config: expected an object, found a list
                $.handlers[0].timeout_seconds: expected a number of seconds from 0.001 to 172800
                $.handlers[0].priority: expected a whole number from -2147483648 to 2147483647
                $.handlers[0].minimum_seconds: expected a number of seconds from 0.001 to 172800
                $.handlers[0].repeatable: expected true or false, found null
                $.handlers[0].instant: expected true or false, found a string
                $.handlers[1]: the key `plugin` is missing
                $.handlers[1].priority: expected a whole number from -2147483648 to 2147483647
                $.handlers[1].minimum_seconds: longer than the time-out of 2s, so that it would never fit
                $.handlers[2]: expected an object, found a number
                $.undo: expected a list, found an object
                $.actions[0].action: unknown word `notifiy`: did you mean `notify`?
                $.actions[1]: the key `action` is missing
                $.actions[1].when: unknown word `later`: expected one of `now`, `outcome`
                $.actions[2]: unknown key `confg`: did you mean `config`?
                $.actions[2].action: expected a string, found a number
                $.enabled: expected true or false, found a number
                $.dispatch: unknown word `first`: did you mean `first_handled`?
                $.reserve_seconds: expected a number of seconds from 0 to 172800
                $.drill: unknown word `rehears`: did you mean `rehearse`?
            "#]],
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        faults(
            "{}",
            expect![[r#"
            $: the key `name` is missing
            $: the key `match` is missing
            $: no `handlers`, no `undo` and no `actions`: the policy would do nothing
        "#]],
        );
        faults(
            "[]",
            expect![[r#"
            $: expected an object, found a list
        "#]],
        );
        faults(
            r#"{"name":"x","match":{"type":[]},"handlers":[{"plugin":"x"}]}"#,
            expect![[r#"
                $.match: `type`: expected at least one value, found []
            "#]],
        );
    }

    #[test]
    fn a_fault_never_shows_a_value_of_a_configuration() {
        let text = with_handlers(
            r#"{"plugin":"x","timeout":1,
                "config":{"a":"hunter2","b":["credential:../hunter2",{"c d":"env:"}]}},
               {"plugin":"y","config":"hunter2"},{"plugin":"z","password":"hunter2"}"#,
        );
        faults(
            &text,
            expect![[r#"
            $.handlers[0]: unknown key `timeout`: did you mean `timeout_seconds`?
            $.handlers[0].config.b[0]: begins like a reference to a secret, and what follows is no name of one
            $.handlers[0].config.b[1]["c d"]: begins like a reference to a secret, and what follows is no name of one
            $.handlers[1].config: expected an object, found a string
            $.handlers[2]: unknown key `password`: expected one of `plugin`, `priority`, `timeout_seconds`, `minimum_seconds`, `repeatable`, `instant`, `config`
        "#]],
        );
    }

    #[test]
    fn own_event_types_begin_with_custom() {
        let typed = |kind: &str| {
            check(&format!(
                r#"{{"name":"x","match":{{"type":["{kind}"]}},"handlers":[{{"plugin":"x"}}]}}"#
            ))
        };
        assert!(typed("custom").is_ok() && typed("custom.deploy").is_ok());
        assert!(EventType::names().all(|kind| typed(kind).is_ok()));
        assert!(typed("deploy").is_err() && typed("cloud.spot").is_err());
    }

    #[test]
    fn a_pattern_may_name_paths_with_dots() {
        let matching = |pattern: &str| {
            check(&format!(r#"{{"name":"x","match":{pattern},"handlers":[{{"plugin":"x"}}]}}"#))
        };
        assert!(matching(r#"{"instance.tags.role":["db"],"data.action":["stop"]}"#).is_ok());
        assert!(matching(r#"{"instance":{"tags":{"any tag":["db"]}},"drill":[false]}"#).is_ok());
        assert!(matching(r#"{"instance.role":["db"]}"#).is_err());
        assert!(matching(r#"{"detail-type":["db"]}"#).is_err());
    }

    #[test]
    fn c9_a_policy_that_is_too_long_or_too_deep_is_refused() {
        let padded = |length: usize| {
            let text = with_handlers(r#"{"plugin":"x"}"#);
            let spaces = length - text.len();
            text + &" ".repeat(spaces)
        };
        assert!(check(&padded(SIZE)).is_ok());
        faults(
            &padded(SIZE + 1),
            expect![[r#"
            $: 65537 bytes are too long: at most 65536 are allowed
        "#]],
        );
        let deep = "[".repeat(40) + &"]".repeat(40);
        let text = with_handlers(&format!(r#"{{"plugin":"x","config":{{"a":{deep}}}}}"#));
        faults(
            &text,
            expect![[r#"
            $: not readable as JSON: more than 32 lists and objects in one another at line 1 column 123
        "#]],
        );
    }

    #[test]
    fn c12_a_newer_minor_version_is_read_without_what_is_not_known() {
        let text = versioned("1.7");
        let (policies, faults) = read_all([("table", text.as_str())]);
        assert_eq!(listed(&faults.iter().map(|(_, fault)| fault).collect::<Vec<_>>()), "");
        assert_eq!(policies[0].handlers.len(), 1);
        assert_eq!(policies[0].actions.len(), 1);
        assert!(check(&text).is_err(), "a person should learn that the parts are not known");
    }

    #[test]
    fn c12_another_major_version_is_refused() {
        for version in ["2.0", "0.9"] {
            let text = versioned(version);
            let (policies, faults) = read_all([("table", text.as_str())]);
            assert!(policies.is_empty());
            let expected = format!("$.version: version {version} is not read here: expected 1.x");
            assert_eq!(faults[0].1.to_string(), expected);
        }
    }

    #[test]
    fn c12_the_same_version_and_none_are_read_strictly() {
        for text in [versioned("1.0"), versioned("1.0").replace(r#""version":"1.0","#, "")] {
            let (policies, faults) = read_all([("table", text.as_str())]);
            assert!(policies.is_empty());
            assert_eq!(faults.len(), 3);
        }
    }

    #[test]
    fn one_bad_policy_never_stops_the_others() {
        let good = with_handlers(r#"{"plugin":"x"}"#);
        let documents =
            [("a.json", "{"), ("b.json", good.as_str()), ("c.json", "{}"), ("d.json", ORDERS_DB)];
        let (policies, faults) = read_all(documents);
        let names: Vec<_> = policies.iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, ["p", "orders-db"]);
        let origins: Vec<_> = faults.iter().map(|(origin, _)| origin.as_str()).collect();
        assert_eq!(origins, ["a.json", "c.json", "c.json", "c.json"]);
    }

    #[test]
    fn of_two_policies_with_one_name_the_first_holds() {
        let first = with_handlers(r#"{"plugin":"x"}"#);
        let second = with_handlers(r#"{"plugin":"y"}"#);
        let (policies, faults) = read_all([("a.json", &*first), ("b.json", &*second)]);
        assert_eq!(policies.len(), 1);
        assert_eq!(policies[0].handlers[0].plugin.as_str(), "x");
        assert_eq!(faults[0].0, "b.json");
        assert_eq!(
            faults[0].1.to_string(),
            "$.name: p is already the name of the policy from a.json"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_check_panic(text in any::<String>()) {
            let _ = check(&text);
        }

        #[test]
        fn no_change_of_a_policy_makes_check_panic(
            at in 0..ORDERS_DB.len(),
            length in 0..40_usize,
            with in r#"(\PC|[\[\]{}",:0-9e-]|null|true|"match"|\$or|-1e9){0,6}"#,
        ) {
            let mut text = ORDERS_DB.to_owned();
            text.replace_range(at..(at + length).min(ORDERS_DB.len()), &with);
            let (policies, faults) = read_all([("table", text.as_str())]);
            prop_assert_eq!(check(&text).is_ok(), policies.len() == 1);
            prop_assert_eq!(policies.is_empty(), !faults.is_empty());
        }
    }

    fn with_handlers(handlers: &str) -> String {
        format!(
            r#"{{"name":"p","match":{{"type":["cloud.spot.interrupt"]}},"handlers":[{handlers}]}}"#
        )
    }

    /// A document of a version with a key, a key of a handler and an action that are not known.
    fn versioned(version: &str) -> String {
        format!(
            r#"{{"version":"{version}","name":"p","match":{{"type":["cloud.spot.interrupt"]}},
                "quorum":2,"handlers":[{{"plugin":"x","mood":"calm"}}],
                "actions":[{{"action":"teleport"}},{{"action":"notify"}}]}}"#
        )
    }

    fn faults(text: &str, expected: Expect) {
        expected.assert_eq(&listed(&check(text).unwrap_err()));
    }
}
