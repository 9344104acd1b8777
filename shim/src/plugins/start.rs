//! Starting an entry's process and making it ready.

use std::sync::Arc;

use serde_json::{Map, Value};
use snooze_plugin::wire::{Answer, Method};
use snooze_plugin::{Info, PROTOCOL, Setting, Vote};
use tokio::time::Instant;

use super::attendant::Attendant;
use super::discover::Startable;
use super::exchange::Trouble;
use super::process::{self, Process};
use super::{Outcome, PluginState, StepOutcome, discover};
use crate::launch::{Fault, Refusal};

impl Attendant {
    /// Waits until there is a reason to start, and starts; `None` when something else is to be
    /// considered first.
    pub(super) async fn start_when_due(&mut self) -> Option<Process> {
        if self.work.is_disabled {
            self.turn(PluginState::Disabled).await;
            let text = format!("plugin `{}` is disabled", self.entry.plugin);
            self.refuse_all(&Outcome::CannotStart(text)).await;
        }
        if self.work.question.take().is_some() {
            self.vote(Some(Vote::unknown("the plugin does not run"))).await;
        }
        let limits = &self.shared.settings.limits;
        let has_run = match self.work.runs.front_mut() {
            Some(pending) => {
                // What failed before the event came does not count against it.
                if pending.starts == 0 {
                    self.work.not_before = None;
                }
                true
            }
            None => false,
        };
        let gave_up = self.work.failures >= limits.attempts;
        if !has_run && (self.work.is_disabled || gave_up) {
            let order = self.inbox.recv().await;
            self.note(order).await;
            return None;
        }
        if let Some(due) = self.work.not_before
            && Instant::now() < due
        {
            self.wait(None, due).await;
            return None;
        }
        if has_run {
            return self.start().await;
        }
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            order = self.inbox.recv() => {
                self.note(order).await;
                None
            }
            permit = shared.starts.acquire() => {
                let process = self.start().await;
                drop(permit);
                process
            }
        }
    }

    pub(super) async fn start(&mut self) -> Option<Process> {
        self.turn(PluginState::Starting).await;
        let was_for = self.work.runs.front_mut().map(|pending| {
            pending.starts += 1;
            pending.began.get_or_insert_with(Instant::now);
            pending.run.run_id
        });
        match self.try_start().await {
            Ok(process) => Some(process),
            Err(Trouble::Stopped) => None,
            Err(trouble) => {
                let text = trouble.told(&self.work.redactor);
                tracing::warn!(step = %self.entry.id, plugin = %self.entry.plugin, error = text,
                    "plugin cannot start");
                self.failed(&text).await;
                self.answer_failed_start(was_for, &trouble, text).await;
                None
            }
        }
    }

    /// The run for which a start failed ends with it, unless another start could do better.
    pub(super) async fn answer_failed_start(
        &mut self,
        was_for: Option<u64>,
        trouble: &Trouble,
        text: String,
    ) {
        let attempts = self.shared.settings.limits.attempts;
        let Some(pending) = self.work.runs.front() else { return };
        if was_for != Some(pending.run.run_id) {
            return;
        }
        if matches!(trouble, Trouble::Launch(Fault::Scarce(_))) {
            // Others give back what they have: it is tried again for as long as the run may take.
            return;
        }
        let ended = matches!(trouble, Trouble::Ended(_) | Trouble::Closed | Trouble::NotWritten(_));
        if ended && pending.starts < attempts {
            return;
        }
        let outcome = match trouble {
            Trouble::Launch(Fault::Untrusted(_)) => Outcome::Untrusted(text),
            Trouble::Broken(_) => Outcome::BrokenReply(text),
            Trouble::TooMuch => Outcome::TooMuchOutput,
            Trouble::Time
            | Trouble::NotWritten(_)
            | Trouble::Closed
            | Trouble::Ended(_)
            | Trouble::Launch(Fault::CannotStart(_) | Fault::Scarce(_))
            | Trouble::Stopped => Outcome::CannotStart(text),
        };
        if let Some(pending) = self.work.runs.pop_front() {
            let mut outcome = StepOutcome::bare(outcome, pending.came.elapsed());
            outcome.start_seconds = pending.began.map_or(0.0, |b| b.elapsed().as_secs_f64());
            self.ended(pending.run.run_id, outcome).await;
        }
    }

    pub(super) async fn try_start(&mut self) -> Result<Process, Trouble> {
        let cannot = |text: String| Trouble::Launch(Fault::CannotStart(text));
        let settings = &self.shared.settings;
        let lent = self.shared.spare.lend();
        let found = discover::target(settings, &self.entry.plugin);
        let Startable { target, kind, approved } = found.map_err(|refusal| {
            Trouble::Launch(match refusal {
                Refusal::Untrusted(text) => Fault::Untrusted(text),
                Refusal::CannotStart(text) => Fault::CannotStart(text),
            })
        })?;
        let resolved = settings.secrets.resolve(&self.entry.config);
        let (config, redactor) = resolved.map_err(|fault| cannot(fault.to_string()))?;
        self.work.redactor = redactor.clone();
        let tail = Arc::clone(&self.tail);
        let entry = &self.entry;
        let plan = settings
            .sandboxes
            .of(&entry.plugin, approved.as_ref())
            .plan(&settings.sandboxes.abilities, &process::place(settings, &entry.id));
        self.show(|face| face.gaps = plan.gaps);
        let started = Process::start(settings, entry, &plan.confinement, &target, redactor, tail);
        drop(lent);
        let started = started.map_err(|source| Fault::of_start("keeper", &source));
        let mut process = started.map_err(Trouble::Launch)?;
        let pid = u32::try_from(process.pid.as_raw_nonzero().get()).ok();
        self.show(|face| (face.kind, face.pid) = (Some(kind), pid));
        match self.make_ready(&mut process, config).await {
            Ok(()) => {
                let restarts = self.work.starts;
                self.work.starts += 1;
                self.show(|face| face.stats.restarts = restarts);
                self.turn(PluginState::Ready).await;
                Ok(process)
            }
            Err(trouble) => {
                // What cannot be killed is in the log.
                let _ = self.kill(process).await;
                Err(trouble)
            }
        }
    }

    pub(super) async fn make_ready(
        &mut self,
        process: &mut Process,
        config: Map<String, Value>,
    ) -> Result<(), Trouble> {
        let cannot = |text: String| Trouble::Launch(Fault::CannotStart(text));
        let end = Instant::now() + self.shared.settings.limits.start;
        let answer = self.ask(process, Method::Info, Map::new(), end).await?;
        let info = match answer {
            Answer::Result(value) => {
                Info::read(&value).map_err(|source| cannot(source.to_string()))?
            }
            Answer::Failed(text) => return Err(cannot(format!("Info: {text}"))),
            Answer::NotSupported => return Err(cannot("the plugin knows no Info".to_owned())),
        };
        info.protocol.common(PROTOCOL).map_err(|source| cannot(source.to_string()))?;
        info.host_is_new_enough(env!("CARGO_PKG_VERSION")).map_err(cannot)?;
        // What says nothing of its settings is asked itself.
        let settings = Setting::read(&info.config_schema);
        let faults = Setting::faults(&settings, &config);
        if !settings.is_empty() && !faults.is_empty() {
            return Err(cannot(format!("{}: {}", Method::Configure, faults.join("; "))));
        }
        process.has_started = true;
        process.jsonrpc = info.jsonrpc;
        self.show(|face| face.info = Some(info));

        let params = Map::from_iter([("config".to_owned(), Value::Object(config))]);
        for (method, params) in [(Method::Configure, params), (Method::Initialize, Map::new())] {
            let answer = self.ask(process, method, params, end).await?;
            answer.done().map_err(|text| cannot(format!("{method}: {text}")))?;
        }
        let answer = self.ask(process, Method::GetSupportedEvents, Map::new(), end).await?;
        let hide = |names: Vec<String>| names.iter().map(|n| self.work.redactor.text(n)).collect();
        let supported = answer.supported_events().map(hide);
        self.show(|face| face.supported = supported);
        Ok(())
    }
}
