//! What the loop has to do with the cloud side.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_event::IncidentKey;
use snooze_event::wire::command::{Command, Kind};
use snooze_policy::{Facts, Policy};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::Daemon;
use crate::answer;
use crate::clock::Now;
use crate::cloud::{self, Hello, Here, News, Part, Signatures, State, Table};
use crate::metrics;
use crate::plugins;
use crate::record::{Entry, Record};
use crate::settings::Settings;
use crate::watch::Input;

/// How often it is looked whether the hello has changed.
const HELLO: Duration = Duration::from_secs(10);
/// How long the end of the machine may be held up by telling of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the policies in force come from.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// Those of the settings.
    pub(super) local: Vec<Policy>,
    /// Those of the table.
    pub(super) table: Option<Table>,
    /// Newer ones of the table, which wait for the end of an incident: its handlers must not go
    /// in the middle of it.
    waiting: Option<Table>,
    /// What is wrong with those of the table.
    pub(crate) faults: Vec<String>,
    /// Those of the table whose names the settings have, too.
    shadowed: Vec<String>,
    /// When signatures expire next, or the time for which they serve then ends.
    due: Option<Timestamp>,
}

impl Shelf {
    pub(super) fn new(local: Vec<Policy>, table: Option<Table>) -> Self {
        Self { local, table, ..Self::default() }
    }

    /// The policies in force; notes what is wrong with the others.
    pub(super) fn policies(
        &mut self,
        settings: &Settings,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Policy> {
        let table = self.table.as_ref().filter(|_| settings.runs_plugins());
        let grace = settings.signatures.grace;
        self.due = table.and_then(|table| table.due(now, grace));
        let here = Here { facts, now, grace };
        let (policies, faults, shadowed) =
            cloud::merge(&self.local, table, settings.allowed(), here);
        for fault in faults.iter().filter(|fault| !self.faults.contains(fault)) {
            error!(%fault, "policy of the table left out");
        }
        self.faults = faults;
        self.shadowed = shadowed;
        policies
    }

    /// The version of the table that is in force.
    pub(super) fn version(&self) -> Option<u64> {
        self.table.as_ref().map(|table| table.version)
    }

    pub(crate) fn shown(&self, signatures: &Signatures) -> Value {
        let from = self.table.as_ref().map(|table| match table.is_snapshot {
            true => "snapshot",
            false => "table",
        });
        json!({
            "version": self.version(),
            "from": from,
            "waiting": self.waiting.as_ref().map(|table| table.version),
            "shadowed": self.shadowed,
            "signatures_required": signatures.required,
            "refused": self.table.iter().flat_map(|table| &table.refused).map(|refused| {
                json!({ "policy": refused.policy, "why": refused.why })
            }).collect::<Vec<_>>(),
        })
    }
}

/// What the cloud side is to be told at the end of a turn.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    opened: Vec<IncidentKey>,
    /// What is closed and unreported has changed.
    is_changed: bool,
    /// When the hello is looked at next, since boot.
    hello_at: Duration,
}

impl Outbox {
    pub(super) fn note(&mut self, entries: &[Entry]) {
        for entry in entries {
            match &entry.record {
                Record::Opened { .. } => self.opened.push(entry.key()),
                Record::Closed { .. } | Record::Told { .. } | Record::Reported { .. } => {
                    self.is_changed = true;
                }
                Record::Joined { .. }
                | Record::Seen
                | Record::Started { .. }
                | Record::Ended { .. }
                | Record::Cancelled
                | Record::Survived => {}
            }
        }
    }
}

impl Daemon {
    /// What a part of the cloud side has told.
    pub(super) fn learn(&mut self, news: News) {
        match news {
            News::Part { part, state, detail } => self.note_part(part, state, detail),
            News::Policies(table) => {
                info!(version = table.version, "policies of the table read");
                self.shelf.waiting = Some(*table);
            }
            News::Command { command, taken } => {
                let is_taken = self.obey(*command);
                // Whoever does not wait any more lets the queue show it again.
                let _ = taken.send(is_taken);
            }
            News::Secrets(references) => self.renewed.extend(references),
            News::Counts(counts) => {
                if let Some(cloud) = &mut self.cloud {
                    cloud.count(counts);
                }
            }
            News::Reported { incident, told } => self.turn(Input::Reported { incident, told }),
            News::Gone => {
                if let Some(cloud) = &mut self.cloud {
                    cloud.depart();
                }
            }
        }
    }

    fn note_part(&mut self, part: Part, state: State, detail: String) {
        let source = format!("cloud/{}", part.as_str());
        self.health.retain(|(known, _)| *known != source);
        if state == State::Failing {
            self.health.push((source, detail.clone()));
        }
        let part_name = part.as_str();
        let Some(cloud) = &mut self.cloud else { return };
        if !cloud.note(part, state, detail.clone(), Now::read().wall) {
            return;
        }
        let state_name = state.as_str();
        match state {
            State::Failing => warn!(part = part_name, detail, "the cloud side does not work"),
            State::Off | State::Waiting | State::On => {
                info!(part = part_name, state = state_name, detail, "cloud side");
            }
        }
    }

    /// Acts on a command at once, with the policies that are there; answers whether it need not
    /// come again.
    fn obey(&mut self, command: Command) -> bool {
        let Command { id, kind, policies, correlation, issued_at, .. } = command;
        let heard = Now::read();
        info!(command = id, "command heard");
        let is_newer = policies.is_some_and(|wanted| self.shelf.version() < Some(wanted));
        let event = match kind {
            Kind::Handle(event) => Some(event),
            Kind::Drill(mut event) => {
                event.drill = true;
                Some(event)
            }
            Kind::PoliciesChanged => None,
        };
        if let Some(cloud) = self.cloud.as_ref().filter(|_| is_newer || event.is_none()) {
            cloud.refresh();
        }
        let Some(event) = event else { return true };
        if self.is_awake_again(&event) {
            // The cloud side hears so by `instance.active`, and stops nothing.
            info!(event_id = %event.id, "not obeyed: the instance is in use again");
            return true;
        }
        let kind = event.kind.clone();
        self.turn(Input::Commanded { event, by: correlation });
        let took = Now::read().boot.saturating_sub(heard.boot);
        self.tally.consumed(&kind, metrics::age(issued_at, heard), took);
        self.durable
    }

    /// The instance is known, or better known than before.
    pub(super) fn know(&mut self) {
        let Some(cloud) = &self.cloud else { return };
        cloud.know(self.watch.facts());
        let place = cloud.place();
        self.outbox.is_changed = true;
        self.outbox.hello_at = Duration::ZERO;
        // A snapshot may have come with the disk of another machine.
        let is_foreign = |table: &Table| place.as_ref().is_some_and(|place| *place != table.place);
        if self.shelf.table.as_ref().is_some_and(is_foreign) {
            warn!("the snapshot of the policies is not of this account and Region");
            self.shelf.table = None;
            self.take_policies_up();
        } else if self.shelf.table.as_ref().is_some_and(|table| !table.signed.is_empty()) {
            // Signed policies may be for other instances than what this one turns out to be.
            self.take_policies_up();
        }
    }

    /// Puts the policies of settings and table in force.
    pub(super) fn take_policies_up(&mut self) {
        let now = Now::read().wall;
        let policies = self.shelf.policies(&self.settings, self.watch.facts(), now);
        self.turn(Input::Policies(policies));
        self.set_entries();
        self.outbox.hello_at = Duration::ZERO;
    }

    /// Has the handlers of the policies in force ready, and their secrets fetched.
    pub(super) fn set_entries(&mut self) {
        let entries = self.entries();
        if let Some(cloud) = &self.cloud {
            let references = entries.iter().map(|entry| plugins::remote_references(&entry.config));
            cloud.want(references.flatten().collect());
        }
        let voters = self.settings.voters();
        let voters = voters.into_iter().map(|entry| (entry.id, entry.plugin.to_string()));
        self.idleness.monitor.set_voters(voters.collect());
        self.host.set_entries(entries);
    }

    /// Lets the cloud side know what the turn has brought. Never waits.
    pub(super) fn tell_cloud(&mut self) {
        if self.cloud.is_none() {
            return;
        }
        let is_busy = self.watch.incidents().any(|incident| incident.closed.is_none());
        if !is_busy && let Some(table) = self.shelf.waiting.take() {
            self.shelf.table = Some(table);
            self.take_policies_up();
        } else if !is_busy && self.shelf.due.is_some_and(|due| due <= Now::read().wall) {
            self.take_policies_up();
        }
        if !is_busy && !self.renewed.is_empty() {
            self.host.renew(&std::mem::take(&mut self.renewed));
        }
        let now = Now::read().boot;
        if now >= self.outbox.hello_at {
            self.outbox.hello_at = now + HELLO;
            let hello = self.hello();
            if let Some(cloud) = &self.cloud {
                cloud.greet(hello);
            }
        }
        let Some(cloud) = &mut self.cloud else { return };
        for key in self.outbox.opened.drain(..) {
            let opened = self.watch.incidents().find(|known| known.key == key);
            if let Some(known) = opened.filter(|known| known.closed.is_none() && !known.is_undo()) {
                cloud.opened(known, self.durable);
            }
        }
        if std::mem::take(&mut self.outbox.is_changed) {
            cloud.spool(self.watch.incidents(), self.durable);
        }
    }

    fn hello(&self) -> Hello {
        let own = "cloud/hello";
        let faults = answer::faults(self).into_iter().filter(|(source, _)| source != own);
        Hello {
            facts: self.watch.facts().clone(),
            boot: self.watch.boot().to_string(),
            policies: self.shelf.version(),
            faults: faults.map(|(source, detail)| format!("{source}: {detail}")).collect(),
        }
    }

    /// Tells what is left to tell before the machine goes down. When only the daemon ends, the
    /// next one tells.
    pub(super) async fn farewell(&mut self, news: &mut mpsc::Receiver<News>) {
        let Some(cloud) = self.cloud.as_ref().filter(|_| self.shutdown) else { return };
        cloud.end();
        self.tell_cloud();
        let all = async {
            while self.cloud.as_ref().is_some_and(crate::cloud::Cloud::has_to_tell) {
                let Some(told) = news.recv().await else { return };
                self.learn(told);
                self.tell_cloud();
            }
        };
        if timeout(FAREWELL, all).await.is_err() {
            warn!("the cloud side was not told of everything");
        }
    }
}
