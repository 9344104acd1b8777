//! Items of DynamoDB: attributes in, attributes out, and the pause between two tries of a write
//! that somebody else won.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

/// One item.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// How often a write is tried that others keep winning. Each of them made headway, so that so
/// many in a row tell of more writers than one incident has.
pub(crate) const ROUNDS: u32 = 12;
/// The longest pause after the first lost round; it doubles up to sixteen times this.
const PAUSE: Duration = Duration::from_millis(10);

/// A text.
pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number.
pub(crate) fn n(number: impl Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// The text of an attribute.
pub(crate) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The number of an attribute.
pub(crate) fn number<T: FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// The moment of an attribute that holds RFC 3339.
pub(crate) fn moment(item: &Item, name: &str) -> Option<Timestamp> {
    text(item, name)?.parse().ok()
}

/// The texts of an attribute that holds a list; what is no text in it is left out.
pub(crate) fn texts(item: &Item, name: &str) -> Vec<String> {
    let list = item.get(name).and_then(|value| value.as_l().ok());
    list.into_iter().flatten().filter_map(|value| value.as_s().ok().cloned()).collect()
}

/// A moment in RFC 3339, UTC, with milliseconds: of fixed width, so that it sorts as text.
pub(crate) fn fixed(moment: Timestamp) -> AttributeValue {
    s(format!("{moment:.3}"))
}

/// The second in which a moment falls, since 1970: what TTL counts in.
#[cfg(feature = "ledger")]
pub(crate) fn second(moment: Timestamp) -> AttributeValue {
    n(moment.as_second())
}

/// A moment so much later.
#[cfg(feature = "ledger")]
pub(crate) fn after(moment: Timestamp, wait: Duration) -> Timestamp {
    moment.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Waits after a lost round, for a time that differs from that of the others who lost it.
pub(crate) async fn pause(round: u32) {
    let longest = PAUSE * (1 << round.min(4));
    let share = Timestamp::now().subsec_nanosecond().unsigned_abs() / 1_000 % 1_000;
    tokio::time::sleep(longest * share / 1_000).await;
}
