//! The version item: the version, and the event types in use.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;

use super::VERSION;
use super::item::{key, size};
use crate::item::{Item, n, number, text};

/// The version item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) version: u64,
    pub(super) types: BTreeMap<String, Used>,
}

/// What stands under an event type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// So many policies.
    pub(super) count: usize,
    /// Their items, as DynamoDB counts them.
    pub(super) bytes: usize,
}

impl Index {
    pub(super) fn read(item: &Item) -> Self {
        let types = item.get("types").and_then(|value| value.as_m().ok()).into_iter().flatten();
        let types = types.map(|(event_type, used)| {
            let used = used.as_m().ok();
            let of = |name| used.and_then(|used| number(used, name)).unwrap_or(0);
            (event_type.clone(), Used { count: of("count"), bytes: of("bytes") })
        });
        Self { version: number(item, "version").unwrap_or(0), types: types.collect() }
    }

    pub(super) fn write(&self) -> Item {
        let used = |used: &Used| {
            let members = [("count", used.count), ("bytes", used.bytes)];
            let members = members.map(|(name, value)| (name.to_owned(), n(value)));
            AttributeValue::M(HashMap::from(members))
        };
        let types = self.types.iter().map(|(event_type, it)| (event_type.clone(), used(it)));
        let types = AttributeValue::M(types.collect());
        let mut item = key(VERSION, VERSION);
        item.extend([("version".to_owned(), n(self.version)), ("types".to_owned(), types)]);
        item
    }

    /// An item of a policy comes.
    pub(super) fn put_in(&mut self, item: &Item) {
        let Some(event_type) = text(item, "event_type") else { return };
        let used = self.types.entry(event_type.to_owned()).or_default();
        used.count = used.count.saturating_add(1);
        used.bytes = used.bytes.saturating_add(size(item));
    }

    /// An item of a policy goes.
    pub(super) fn take_out(&mut self, item: &Item) {
        let Some(event_type) = text(item, "event_type") else { return };
        let Some(used) = self.types.get_mut(event_type) else { return };
        used.count = used.count.saturating_sub(1);
        used.bytes = used.bytes.saturating_sub(size(item));
        if used.count == 0 {
            self.types.remove(event_type);
        }
    }
}
