//! What instances tell, taken in as `record` does; and the sweep.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use snooze_cloud::bus::Entry;
use snooze_event::wire::eventbridge;
use snooze_event::{Event, EventType};
use snooze_functions::record::told;
use snooze_policy::ledger::{By, Incident, Report, TaskState};

use super::cloud::{AGAIN, Cut, LATE, WAY, envelope};
use super::moves::Fault;
use super::promises::{Flaw, Kept, Promise};
use super::world::{Happening, World};

impl World {
    /// The bus takes what an instance tells, and gives it to `record`.
    pub(super) fn put(&mut self, entry: &Entry) -> Kept {
        self.check_silence("a report", &entry.detail)?;
        let detail: Value = serde_json::from_str(&entry.detail).unwrap_or_default();
        let id = format!("00000000-0000-4000-a000-{:012}", self.now);
        let Entry { source, detail_type, .. } = entry;
        let text = envelope(&id, source, detail_type, self.aws(), &json!([]), &detail);
        let wait = if self.cloud.meets(Fault::LateReport) { LATE } else { WAY };
        if self.cloud.meets(Fault::DoubleReport) {
            self.after(wait * 3, Happening::Record { text: text.clone(), tries: 0 });
        }
        self.after(wait, Happening::Record { text, tries: 0 });
        Ok(())
    }

    pub(super) fn record(&mut self, text: String, tries: u32) -> Kept {
        match self.recorded(&text) {
            Ok(()) => Ok(()),
            Err(Cut::Broken(broken)) => Err(broken),
            // Events of the bus are kept for a day, and tried again all the time.
            Err(Cut::Again) => {
                let wait = AGAIN.get(usize::from(tries > 0)).copied().unwrap_or_default();
                self.after(wait, Happening::Record { text, tries: tries + 1 });
                Ok(())
            }
        }
    }

    fn recorded(&mut self, text: &str) -> Result<(), Cut> {
        if !self.cloud.is_up {
            return Err(Cut::Again);
        }
        let Ok(events) = eventbridge::read(text) else {
            return Err(self.broken(Promise::NoCloud, "a report cannot be read").into());
        };
        for event in events {
            let is_report =
                matches!(event.kind, EventType::IncidentPhase | EventType::IncidentOutcome);
            let report = told::report(&event).ok().filter(|_| is_report);
            let Some(report) = report else {
                return Err(self.broken(Promise::NoCloud, "a report is none").into());
            };
            self.told(&event, &report)?;
        }
        Ok(())
    }

    /// As `record` takes a report in.
    fn told(&mut self, event: &Event, report: &Report) -> Result<(), Cut> {
        self.cloud.call("record")?;
        self.cloud.ledger()?;
        let now = self.aws();
        let is_late = self.cloud.meets(Fault::IndexLate);
        let rows = self.cloud.rows.values();
        let found = rows.filter(|row| !is_late || report.told_by.contains(&row.id));
        let belongs = |row: &&Incident| {
            told::is_about(row, event, report) || told::is_awaited(row, event, report)
        };
        let found: Vec<String> = found.filter(belongs).map(|row| row.id.clone()).collect();
        let mut has_drilled = event.drill;
        let mut is_known = false;
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for id in found {
            let Some(row) = self.cloud.rows.get(&id) else { continue };
            has_drilled |= row.drill;
            is_known |= told::is_about(row, event, report);
            let last = self.flaw == Some(Flaw::TakesTheLastWord);
            self.change(&id, |row| {
                if last && report.outcome.is_some() {
                    row.ended = None;
                }
                row.report(report, now);
            })?;
            taken.insert(id);
        }
        if !is_known && !has_drilled {
            let first = told::unseen(event, report);
            let Some(instance) = &event.instance else { return Ok(()) };
            let open = |id: &str| {
                let mut incident = Incident::unseen(id, &first, now);
                incident.report(report, now);
                incident
            };
            let claim = told::claim(instance, report);
            let (id, is_new) = self.cloud.claim(&claim, open, now);
            if !is_new {
                self.change(&id, |row| row.report(report, now))?;
            }
            taken.insert(id);
        }
        self.ensure_sweep();
        for id in taken {
            self.change(&id, |_| ())?;
            self.settle("record", &id)?;
        }
        Ok(())
    }

    pub(super) fn ensure_sweep(&mut self) {
        if !self.cloud.is_sweeping {
            self.cloud.is_sweeping = true;
            self.after(60_000, Happening::Sweep);
        }
    }

    pub(super) fn sweep(&mut self) -> Kept {
        self.cloud.is_sweeping = false;
        if self.cloud.rows.values().any(Incident::is_open) {
            self.ensure_sweep();
        }
        if !self.cloud.is_up {
            return Ok(());
        }
        let now = self.aws();
        let due = |row: &&Incident| row.look_at().is_some_and(|look| look <= now);
        let due: Vec<String> =
            self.cloud.rows.values().filter(due).map(|row| row.id.clone()).collect();
        for id in due {
            if self.cloud.meets(Fault::LedgerDown) {
                continue;
            }
            self.change(&id, |row| row.mend(now))?;
            match self.settle("sweep", &id) {
                Ok(()) => {}
                Err(Cut::Broken(broken)) => return Err(broken),
                Err(Cut::Again) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Every incident has its ending, every task is over, and every hook was let go.
    pub(super) fn check_settled(&mut self) -> Kept {
        self.check_told()?;
        let now = self.aws();
        for row in self.cloud.rows.values() {
            let text = serde_json::to_string(row).unwrap_or_default();
            self.check_silence("the ledger", &text)?;
            if row.ended.is_none() || row.is_open() {
                let open = row.tasks.iter().find(|task| !task.state.is_over());
                let text = format!("`{}` stays open in the ledger: {open:?}", row.id);
                return Err(self.broken(Promise::OneEnding, text));
            }
            let is_denied =
                row.tasks.iter().any(|task| matches!(&task.state, TaskState::Failed { .. }));
            let hook = row.hook.as_ref().and_then(|hook| self.cloud.hooks.get(&hook.token));
            let Some(hook) = hook else { continue };
            if hook.answer.is_none() && now <= hook.until && !is_denied {
                let text = format!("the hook of `{}` still waits", row.id);
                return Err(self.broken(Promise::Release, text));
            }
            let is_good = row
                .ended
                .as_ref()
                .is_some_and(|ended| ended.outcome == "done" && ended.by != By::Sweep);
            if hook.answer == Some(true) && !is_good {
                let text = format!("the hook of `{}` got CONTINUE: {:?}", row.id, row.ended);
                return Err(self.broken(Promise::Release, text));
            }
        }
        Ok(())
    }
}
