//! What an instance reports about an incident, read from the bus and taken into the ledger.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{By, Incident};

/// The outcome of an incident as its instance tells it: the data of `incident.outcome`. The
/// first word of the data of `incident.phase` is the same without an outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The key that the instance knows it by.
    pub incident: String,
    /// The ids of the commands' incidents that belong to it.
    #[serde(default)]
    pub told_by: Vec<String>,
    /// The type of the event that opened it.
    pub event: String,
    /// The cause of the loss, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What is done to the instance, where it is a loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `done`, `partial`, `failed`, `expired`, `cancelled` or `unknown`; `None` while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why, for a person.
    #[serde(default)]
    pub text: String,
    /// Whether it could be written down before each step.
    #[serde(default)]
    pub durable: bool,
    /// When the instance goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// `received` (the first signal on the instance), `started` (the first step), `finished`.
    #[serde(default)]
    pub hops: BTreeMap<String, Timestamp>,
    /// Its steps.
    #[serde(default)]
    pub steps: Vec<StepReport>,
}

/// One step of a handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// `POLICY/PLUGIN`.
    pub step: String,
    /// How it ended, in one word; `None` while it runs or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// In a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// How long it took.
    #[serde(default)]
    pub milliseconds: u64,
    /// Whether the plugin read back what it saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// What the plugin answered, without secrets.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
}

impl Incident {
    /// Takes a report in. The first outcome of the instance is final; the tasks that waited for
    /// it are released.
    pub fn report(&mut self, report: &Report, now: Timestamp) {
        for (hop, at) in &report.hops {
            self.hops.entry(hop.clone()).or_insert(*at);
        }
        if self.word().is_some() {
            return;
        }
        self.steps.clone_from(&report.steps);
        let Some(outcome) = &report.outcome else { return };
        self.hops.entry("recorded".to_owned()).or_insert(now);
        self.end(outcome, By::Instance, &report.text, now);
    }
}
