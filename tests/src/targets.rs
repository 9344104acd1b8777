//! What may not happen, whatever bytes come from outside: a function for each reader.
//!
//! A target panics when its reader breaks a promise: it ends, its answer is bounded, and what it
//! took in it also understands when we write it. The tests run all targets over `tests/corpus/`,
//! and `cargo xtask fuzz` looks for more: it compiles this file into a program of its own, so that
//! the file stands on nothing but the crates that think. Those of the daemon are beside it.

use jiff::Timestamp;
use serde_json::Value;
use snooze_event::wire::{self, cloudevents, command, eventbridge, imds, plugin};
use snooze_event::{Event, EventId};
use snooze_pattern::{Pattern, PatternSet};
use snooze_plugin::Info;
use snooze_plugin::wire::{EXCERPT, LineBuffer, MAX_LINE, read_reply, read_request, request_line};

/// A reader of bytes from outside, held to its promises.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of the folder of its corpus.
    pub name: &'static str,
    /// Feeds it; panics when a promise is broken.
    pub feed: fn(&[u8]),
}

/// The targets of what thinks.
pub const THINKING: [Target; 9] = [
    Target { name: "cloudevents", feed: cloudevent },
    Target { name: "command", feed: command },
    Target { name: "custom", feed: custom },
    Target { name: "eventbridge", feed: eventbridge },
    Target { name: "imds", feed: imds },
    Target { name: "manifest", feed: manifest },
    Target { name: "pattern", feed: pattern },
    Target { name: "plugin", feed: plugin },
    Target { name: "policy", feed: policy },
];

/// No text that we make of bytes from outside is longer than this for one fault, whatever they
/// are: it goes to logs and to people.
const LONGEST_FAULT: usize = 4096;

/// CloudEvents, which is how events come from Azure, Google Cloud and our own bus.
pub fn cloudevent(bytes: &[u8]) {
    let Some(value) = value(bytes) else { return };
    let _ = cloudevents::correlation(&value);
    match cloudevents::read(&value, now()) {
        Ok(event) => told_again(&event),
        Err(error) => short(&error.to_string()),
    }
}

/// Commands, as they stand in the envelope.
pub fn command(bytes: &[u8]) {
    let Ok(text) = wire::text(bytes) else { return };
    let read = match command::read(text) {
        Ok(read) => read,
        Err(error) => return short(&error.to_string()),
    };
    let written = command::write(&read);
    let text = written.to_string();
    // A source is escaped when it is written, and may outgrow the bounds.
    if text.len() <= command::MAX_COMMAND {
        let again = command::read(&text).expect("what we write can be read");
        assert_eq!(command::write(&again), written);
    }
}

/// Events that a person gives, and events as plugins read them.
pub fn custom(bytes: &[u8]) {
    let Some(value) = value(bytes) else { return };
    match plugin::read_custom(&value, now(), id()) {
        Ok(event) => {
            assert!(!event.source.starts_with("aws."), "{}", event.source);
            told_again(&event);
        }
        Err(error) => short(&error.to_string()),
    }
    if let Ok(event) = plugin::read(&value) {
        let left = plugin::time_remaining(&event);
        assert!(left.is_finite() && left >= 0.0, "{left}");
    }
}

/// Deliveries of EventBridge: EC2, Auto Scaling, Health, drills, our own.
pub fn eventbridge(bytes: &[u8]) {
    let Ok(text) = wire::text(bytes) else { return };
    match eventbridge::read(text) {
        Ok(events) => {
            assert!(events.len() <= wire::MAX_VALUES, "{} events", events.len());
            events.iter().for_each(told_again);
        }
        Err(error) => short(&error.to_string()),
    }
}

/// Answers of the metadata service, whatever path they come from.
pub fn imds(bytes: &[u8]) {
    let Ok(text) = wire::text(bytes) else { return };
    let known = r#"{"instanceId":"i-0a1b2c3d4e5f60718"}"#;
    let known = imds::identity(known).expect("an instance is enough");
    let identity = imds::identity(text).unwrap_or_else(|_| known.clone());
    if let Ok(notice) = imds::spot_instance_action(text) {
        told_again(&imds::spot_event(&notice, &known, now(), id()));
    }
    if let Ok(notice) = imds::rebalance(text) {
        told_again(&imds::rebalance_event(&notice, &identity, now(), id()));
    }
    match imds::target_lifecycle_state(text) {
        Ok(state) => drop(imds::lifecycle_event(&state, &identity, now(), id())),
        Err(error) => short(&error.to_string()),
    }
    for entry in imds::maintenance(text).unwrap_or_default() {
        told_again(&imds::maintenance_event(&entry, &identity, now(), id()));
    }
}

/// What a plugin says of itself.
pub fn manifest(bytes: &[u8]) {
    let Some(read) = value(bytes).and_then(|value| Info::read(&value).ok()) else { return };
    let _ = read.host_is_new_enough("0.1.0");
    let _ = read.is_older_than("1.0.0");
    let again = Info::read(&read.to_value()).expect("what we write can be read");
    assert_eq!(again.to_value(), read.to_value());
}

/// A pattern and, after a line feed, an event: all ways to match say the same.
pub fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (pattern, event) = text.split_once('\n').unwrap_or((text, "{}"));
    let pattern = match Pattern::compile(pattern) {
        Ok(pattern) => pattern,
        Err(error) => return short(&error.to_string()),
    };
    let _ = pattern.matches_text(event);
    let Ok(event) = wire::parse(event) else { return };
    let matched = pattern.matches(&event);
    assert_eq!(pattern.explain(&event).matched, matched);
    let mut set = PatternSet::new();
    set.insert((), pattern);
    assert_eq!(set.matches(&event).count(), usize::from(matched));
}

/// Lines that a plugin writes, and requests as a plugin reads them.
pub fn plugin(bytes: &[u8]) {
    let cut = bytes.first().map_or(1, |first| usize::from(*first) + 1);
    let (mut whole, mut parts) = (LineBuffer::default(), LineBuffer::default());
    let lines = whole.push(bytes);
    let pieces: Result<Vec<_>, _> = bytes.chunks(cut).map(|part| parts.push(part)).collect();
    assert_eq!(pieces.map(|pieces| pieces.concat()), lines, "however it is cut");
    assert!(whole.rest().len() <= MAX_LINE);
    for line in lines.into_iter().flatten() {
        if let Err(broken) = read_reply(&line) {
            assert!(broken.to_string().len() <= 2 * EXCERPT, "{broken}");
        }
        let Ok(asked) = read_request(&line) else { continue };
        let (Ok(method), Some(id)) = (asked.method.parse(), asked.id.as_u64()) else { continue };
        let again = request_line(method, asked.params.clone(), id, false);
        let again = read_request(again.trim_end().as_bytes()).expect("what we write can be read");
        assert_eq!(again, asked);
    }
}

/// Policies: what a person is told is fine, the instance takes as it is.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let checked = snooze_policy::check(text);
    let (read, faults) = snooze_policy::read_all([("corpus", text)]);
    faults.iter().for_each(|(_, fault)| short(&fault.to_string()));
    match checked {
        Ok(policy) => assert_eq!((read, faults.len()), (vec![policy], 0)),
        Err(faults) => faults.iter().for_each(|fault| short(&fault.to_string())),
    }
}

/// An event that we took in is one that whoever we tell of it can take in too.
fn told_again(event: &Event) {
    let written = cloudevents::write(event, None);
    let again = cloudevents::read(&written, now()).expect("what we write can be read");
    assert_eq!(cloudevents::write(&again, None), written);
}

/// A fault is for a log or a person: short, and without control characters.
///
/// # Panics
/// When it is not.
pub fn short(text: &str) {
    let start: String = text.chars().take(200).collect();
    assert!(text.len() <= LONGEST_FAULT, "a fault of {} bytes: {start}", text.len());
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
}

/// The JSON of bytes from outside, within the bounds of events.
#[must_use]
pub fn value(bytes: &[u8]) -> Option<Value> {
    wire::text(bytes).ok().and_then(|text| wire::parse(text).ok())
}

/// The moment at which all of this happens.
///
/// # Panics
/// Never: the text is one.
#[must_use]
pub fn now() -> Timestamp {
    "2026-03-14T09:27:00Z".parse().expect("a moment")
}

fn id() -> EventId {
    "00000000-0000-4000-8000-000000000001".parse().expect("an id")
}
