//! The one who looks after an entry: a task that starts its process, hands it events and
//! questions, and starts it again when it ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::wire::{Answer, Method};
use snooze_plugin::{Handled, Info, Metrics, PROTOCOL, Vote};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::exchange::{SETTLE, Said, Trouble, ending_text, judge};
use super::log::Tail;
use super::process::{Ending, Heard, Process};
use super::{
    Entry, HostSettings, Kind, Outcome, PluginState, Redactor, Report, Run, Stats, StepOutcome,
    discover,
};
use crate::launch::{Fault, Refusal};

/// How long after its answer a plugin must still be alive for the answer to count: one that
/// answers and then fails has not done its step. It is asked, so this is a bound, not a wait.
const CONFIRM: Duration = Duration::from_millis(250);

/// How long a plugin that closed its stdout may take to end, until it counts as living on.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// Runs that may wait for one entry; two at once are rare already.
const QUEUE: usize = 16;

/// How long a plugin may take to end when nobody said otherwise.
const GRACE: Duration = Duration::from_secs(2);

/// What the host tells an attendant.
#[derive(Debug)]
pub(super) enum Order {
    Run {
        run: Run,
        deadline: Instant,
    },
    Shorten {
        run_id: u64,
        deadline: Instant,
    },
    CheckIdle(Metrics),
    Replace(Entry),
    Enable(bool),
    /// Stop after what is still to be done.
    Retire,
    Stop {
        grace: Duration,
    },
}

/// What all attendants of a host share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: HostSettings,
    pub(super) reports: mpsc::Sender<Report>,
    /// So many processes may be in their start at once, unless an event waits for one.
    pub(super) starts: Semaphore,
}

/// What the host can see of an entry at any time.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) kind: Option<Kind>,
    pub(super) state: PluginState,
    pub(super) pid: Option<u32>,
    pub(super) info: Option<Info>,
    pub(super) supported: Option<Vec<String>>,
    pub(super) stats: Stats,
}

/// Looks after one entry.
pub(super) struct Attendant {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Entry,
    pub(super) face: Arc<Mutex<Face>>,
    pub(super) tail: Arc<Mutex<Tail>>,
    pub(super) inbox: mpsc::Receiver<Order>,
    work: Work,
}

/// What is to be done, as far as orders said so.
#[derive(Debug, Default)]
struct Work {
    runs: VecDeque<Pending>,
    /// The run whose event the plugin has, and when its time is over.
    current: Option<(u64, Instant)>,
    question: Option<Metrics>,
    replacement: Option<Entry>,
    is_disabled: bool,
    is_retired: bool,
    /// Stop, within this grace.
    stop: Option<Duration>,
    /// Starts that went well.
    starts: u64,
    /// Starts and processes that failed in a row.
    failures: u32,
    not_before: Option<Instant>,
    redactor: Redactor,
}

#[derive(Debug)]
struct Pending {
    run: Run,
    came: Instant,
    deadline: Instant,
    starts: u32,
}

/// Why a wait is over.
enum Next {
    Heard(Heard),
    Time,
    /// An order changed what is to be done.
    Noted,
}

impl Attendant {
    pub(super) fn new(
        shared: Arc<Shared>,
        entry: Entry,
        face: Arc<Mutex<Face>>,
        tail: Arc<Mutex<Tail>>,
        inbox: mpsc::Receiver<Order>,
        is_disabled: bool,
    ) -> Self {
        let work = Work { is_disabled, ..Work::default() };
        Self { shared, entry, face, tail, inbox, work }
    }

    /// Does all that is ordered until it is told to stop.
    pub(super) async fn attend(mut self) {
        let mut process = None;
        while self.work.stop.is_none() && !(self.work.is_retired && self.work.runs.is_empty()) {
            process = match process {
                None => self.start_when_due().await,
                Some(process) if self.work.wants_other_process() => {
                    self.end(process, GRACE).await;
                    None
                }
                Some(process) => match self.work.runs.pop_front() {
                    Some(pending) => self.run(process, pending).await,
                    None => self.idle(process).await,
                },
            };
            if let Some(entry) = self.work.replacement.take_if(|_| process.is_none()) {
                self.entry = entry;
                (self.work.failures, self.work.not_before) = (0, None);
            }
        }
        let grace = self.work.stop.unwrap_or(GRACE);
        if let Some(process) = process {
            self.end(process, grace).await;
        }
        self.refuse_all(&Outcome::Failed("the daemon stops".to_owned())).await;
        self.turn(PluginState::Stopped).await;
    }

    // ---- starting ----

    /// Waits until there is a reason to start, and starts; `None` when something else is to be
    /// considered first.
    async fn start_when_due(&mut self) -> Option<Process> {
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

    async fn start(&mut self) -> Option<Process> {
        self.turn(PluginState::Starting).await;
        let was_for = self.work.runs.front_mut().map(|pending| {
            pending.starts += 1;
            pending.run.run_id
        });
        match self.try_start().await {
            Ok(process) => Some(process),
            Err(Trouble::Stopped) => None,
            Err(trouble) => {
                let text = self.work.redactor.text(&trouble.to_string());
                tracing::warn!(step = %self.entry.id, plugin = %self.entry.plugin, error = text,
                    "plugin cannot start");
                self.failed(&text).await;
                self.answer_failed_start(was_for, &trouble, text).await;
                None
            }
        }
    }

    /// The run for which a start failed ends with it, unless another start could do better.
    async fn answer_failed_start(&mut self, was_for: Option<u64>, trouble: &Trouble, text: String) {
        let attempts = self.shared.settings.limits.attempts;
        let Some(pending) = self.work.runs.front() else { return };
        if was_for != Some(pending.run.run_id) {
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
            | Trouble::Launch(Fault::CannotStart(_))
            | Trouble::Stopped => Outcome::CannotStart(text),
        };
        if let Some(pending) = self.work.runs.pop_front() {
            let took = pending.came.elapsed();
            self.ended(pending.run.run_id, StepOutcome::bare(outcome, took)).await;
        }
    }

    async fn try_start(&mut self) -> Result<Process, Trouble> {
        let cannot = |text: String| Trouble::Launch(Fault::CannotStart(text));
        let settings = &self.shared.settings;
        let found = discover::target(settings, &self.entry.plugin);
        let (target, kind) = found.map_err(|refusal| {
            Trouble::Launch(match refusal {
                Refusal::Untrusted(text) => Fault::Untrusted(text),
                Refusal::CannotStart(text) => Fault::CannotStart(text),
            })
        })?;
        let resolved = settings.secrets.resolve(&self.entry.config);
        let (config, redactor) = resolved.map_err(|fault| cannot(fault.to_string()))?;
        self.work.redactor = redactor.clone();
        let tail = Arc::clone(&self.tail);
        let started =
            Process::start(settings, &self.entry.id, &self.entry.plugin, &target, redactor, tail);
        let mut process = started.map_err(|source| cannot(format!("keeper: {source}")))?;
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
                process.kill().await;
                self.show(|face| face.pid = None);
                Err(trouble)
            }
        }
    }

    async fn make_ready(
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
        process.jsonrpc = info.jsonrpc;
        self.show(|face| face.info = Some(info));

        let params = Map::from_iter([("config".to_owned(), Value::Object(config))]);
        for (method, params) in [(Method::Configure, params), (Method::Initialize, Map::new())] {
            let answer = self.ask(process, method, params, end).await?;
            answer.done().map_err(|text| cannot(format!("{method}: {text}")))?;
        }
        let answer = self.ask(process, Method::GetSupportedEvents, Map::new(), end).await?;
        let supported = answer.supported_events();
        self.show(|face| face.supported = supported);
        Ok(())
    }

    // ---- events ----

    /// Hands an event over and waits for the answer; returns the process if it can go on.
    async fn run(&mut self, mut process: Process, pending: Pending) -> Option<Process> {
        let Pending { run, came, deadline, .. } = pending;
        if !self.is_supported(&run.event) {
            let mut outcome = StepOutcome::bare(Outcome::NotHandled, came.elapsed());
            outcome.status = "the plugin does not support this type of event".to_owned();
            self.ended(run.run_id, outcome).await;
            return Some(process);
        }
        self.turn(PluginState::Busy).await;
        self.work.current = Some((run.run_id, deadline));
        let params = Map::from_iter([("event".to_owned(), run.event)]);
        let answer = match process.ask(Method::HandleEvent, params).await {
            Ok(id) => {
                self.report(Report::Started { run_id: run.run_id }).await;
                self.answer_to(&mut process, id, None).await
            }
            Err(fault) => Err(self.ending_or(&mut process, fault.into()).await),
        };
        let (outcome, can_go_on) = match answer {
            Ok(answer) => {
                let took = came.elapsed();
                let outcome = self.judged(answer, took);
                self.confirmed(&mut process, outcome).await
            }
            Err(Trouble::Time) => (self.timed_out(&mut process, run.grace, came).await, false),
            Err(trouble) => {
                let outcome = self.outcome_of(trouble);
                (StepOutcome::bare(outcome, came.elapsed()), false)
            }
        };
        self.work.current = None;
        self.note_run(&outcome);
        let error = outcome.outcome.reason();
        self.ended(run.run_id, outcome).await;
        if can_go_on {
            self.turn(PluginState::Ready).await;
            return Some(process);
        }
        self.bury(process, error.as_deref()).await;
        None
    }

    fn is_supported(&self, event: &Value) -> bool {
        let face = self.face.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(supported) = &face.supported else { return true };
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        supported.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => kind.starts_with(start),
            None => name == kind,
        })
    }

    /// What the answer of a handler means.
    fn judged(&self, answer: Answer, took: Duration) -> StepOutcome {
        let value = match answer {
            Answer::NotSupported => return StepOutcome::bare(Outcome::NotHandled, took),
            Answer::Failed(text) => {
                let text = self.work.redactor.text(&text);
                return StepOutcome::bare(Outcome::Failed(text), took);
            }
            Answer::Result(value) => self.work.redactor.value(&value),
        };
        let handled = Handled::read(&value);
        let outcome = match (handled.handled, handled.degraded(), handled.error) {
            (true, false, _) => Outcome::Done,
            (true, true, _) => Outcome::Degraded,
            (false, _, Some(error)) => Outcome::Failed(error),
            (false, _, None) => Outcome::NotHandled,
        };
        let mut result = handled.more;
        if let (Outcome::Degraded, Some(error)) = (&outcome, value.get("error")) {
            result.insert("error".to_owned(), error.clone());
        }
        StepOutcome {
            status: handled.status.unwrap_or_default(),
            result,
            verified: handled.verified,
            ..StepOutcome::bare(outcome, took)
        }
    }

    /// A plugin that fails right after its answer has failed (F4).
    async fn confirmed(
        &mut self,
        process: &mut Process,
        outcome: StepOutcome,
    ) -> (StepOutcome, bool) {
        let end = Instant::now() + CONFIRM;
        // The budget is for the answer, which has come.
        self.work.current = None;
        let trouble = match self.ask(process, Method::Info, Map::new(), end).await {
            Ok(_) | Err(Trouble::Time | Trouble::Stopped) => return (outcome, true),
            Err(trouble) => trouble,
        };
        match trouble {
            Trouble::Ended(ending @ (Ending::Exited(1..) | Ending::Killed(_))) => {
                let text = format!("{} after its answer", ending_text(ending));
                (StepOutcome { outcome: Outcome::Failed(text), ..outcome }, false)
            }
            Trouble::Ended(_)
            | Trouble::Closed
            | Trouble::NotWritten(_)
            | Trouble::Broken(_)
            | Trouble::TooMuch
            | Trouble::Launch(_)
            | Trouble::Time
            | Trouble::Stopped => (outcome, false),
        }
    }

    /// TERM, and the grace for an end of its own; an answer that still comes is late.
    async fn timed_out(
        &mut self,
        process: &mut Process,
        grace: Duration,
        came: Instant,
    ) -> StepOutcome {
        process.terminate();
        let end = Instant::now() + grace;
        let mut outcome = StepOutcome::bare(Outcome::TimedOut, came.elapsed());
        self.work.current = None;
        loop {
            match self.wait(Some(process), end).await {
                Next::Heard(Heard::Line(line)) => {
                    if let Said::Answer(answer) = judge(&line, process.last_id()) {
                        let late = self.judged(answer, came.elapsed());
                        outcome = StepOutcome { outcome: Outcome::TimedOut, late: true, ..late };
                    }
                }
                Next::Noted if self.work.stop.is_none() => {}
                Next::Heard(Heard::Closed) => {}
                Next::Heard(Heard::TooMuch(_) | Heard::Ended(_)) | Next::Time | Next::Noted => {
                    outcome.seconds = came.elapsed().as_secs_f64();
                    return outcome;
                }
            }
        }
    }

    fn outcome_of(&self, trouble: Trouble) -> Outcome {
        let text = self.work.redactor.text(&trouble.to_string());
        match trouble {
            Trouble::Time => Outcome::TimedOut,
            Trouble::Broken(_) => Outcome::BrokenReply(text),
            Trouble::TooMuch => Outcome::TooMuchOutput,
            Trouble::Ended(Ending::Exited(code)) => Outcome::Exited { code },
            Trouble::Ended(Ending::Killed(signal)) => Outcome::Killed { signal },
            Trouble::Launch(_)
            | Trouble::Ended(Ending::NotStarted)
            | Trouble::NotWritten(_)
            | Trouble::Closed
            | Trouble::Stopped => Outcome::Failed(text),
        }
    }

    // ---- between events ----

    /// Waits for something to do; returns the process if it is still well.
    async fn idle(&mut self, mut process: Process) -> Option<Process> {
        if let Some(metrics) = self.work.question.take() {
            return self.check_idle(process, &metrics).await;
        }
        let ping = Instant::now() + self.shared.settings.limits.health_period;
        let trouble = match self.wait(Some(&mut process), ping).await {
            Next::Noted => return Some(process),
            Next::Time => return self.check_health(process).await,
            Next::Heard(Heard::Line(_)) => {
                tracing::debug!(step = %self.entry.id, "a reply to no request");
                return Some(process);
            }
            Next::Heard(Heard::TooMuch(_)) => Trouble::TooMuch,
            Next::Heard(Heard::Closed) => self.ending_or(&mut process, Trouble::Closed).await,
            Next::Heard(Heard::Ended(ending)) => Trouble::Ended(ending),
        };
        let text = trouble.to_string();
        tracing::warn!(step = %self.entry.id, error = text, "plugin ended between events");
        self.bury(process, Some(&text)).await;
        None
    }

    async fn check_idle(&mut self, mut process: Process, metrics: &Metrics) -> Option<Process> {
        let params = Map::from_iter([("metrics".to_owned(), metrics.to_value())]);
        let end = Instant::now() + self.shared.settings.limits.call;
        let answer = self.ask(&mut process, Method::CheckIdle, params, end).await;
        self.show(|face| face.stats.calls += 1);
        let trouble = match answer {
            Ok(answer) => {
                let vote = Vote::of(&answer).map(|vote| Vote {
                    reason: self.work.redactor.text(&vote.reason),
                    details: self.work.redactor.map(&vote.details),
                    ..vote
                });
                self.vote(vote).await;
                return Some(process);
            }
            Err(trouble) => self.work.redactor.text(&trouble.to_string()),
        };
        self.vote(Some(Vote::unknown(trouble.as_str()))).await;
        self.bury(process, Some(&trouble)).await;
        None
    }

    /// `Health`, or `Info` where the plugin does not know that; silence means that it hangs.
    async fn check_health(&mut self, mut process: Process) -> Option<Process> {
        let end = Instant::now() + self.shared.settings.limits.call;
        let mut answer = self.ask(&mut process, Method::Health, Map::new(), end).await;
        if answer == Ok(Answer::NotSupported) {
            answer = self.ask(&mut process, Method::Info, Map::new(), end).await;
        }
        match answer {
            Ok(answer) => {
                self.work.failures = 0;
                if let Err(text) = answer.done() {
                    let text = self.work.redactor.text(&text);
                    self.show(|face| face.stats.last_error = Some(text));
                }
                Some(process)
            }
            Err(Trouble::Stopped) => Some(process),
            Err(trouble) => {
                let text = self.work.redactor.text(&trouble.to_string());
                tracing::warn!(step = %self.entry.id, error = text, "plugin is not well");
                self.bury(process, Some(&text)).await;
                None
            }
        }
    }

    // ---- ending ----

    /// Kills what is left of a process and sets the time of the next start. `error` is what it
    /// did wrong, if anything.
    async fn bury(&mut self, process: Process, error: Option<&str>) {
        process.kill().await;
        self.show(|face| face.pid = None);
        match error {
            Some(error) => self.failed(error).await,
            None => self.turn(PluginState::Waiting).await,
        }
    }

    async fn failed(&mut self, error: &str) {
        let limits = &self.shared.settings.limits;
        self.work.failures = self.work.failures.saturating_add(1);
        let wait = limits.backoff_after(self.work.failures);
        let gave_up = self.work.failures >= limits.attempts;
        self.work.not_before = Some(Instant::now() + wait);
        self.show(|face| face.stats.last_error = Some(error.to_owned()));
        self.turn(if gave_up { PluginState::Failed } else { PluginState::Waiting }).await;
    }

    /// Lets a process end: `Shutdown` and the end of its stdin, then TERM, then KILL (S3-13).
    async fn end(&mut self, mut process: Process, grace: Duration) {
        let now = Instant::now();
        let _ = process.ask(Method::Shutdown, Map::new()).await;
        process.close_stdin();
        if process.wait_until(now + grace / 2).await.is_none() {
            process.terminate();
            process.wait_until(now + grace).await;
        }
        process.kill().await;
        self.show(|face| face.pid = None);
        self.turn(PluginState::Waiting).await;
    }

    // ---- talking to the plugin ----

    async fn ask(
        &mut self,
        process: &mut Process,
        method: Method,
        params: Map<String, Value>,
        end: Instant,
    ) -> Result<Answer, Trouble> {
        let end = end.min(Instant::now() + self.shared.settings.limits.call);
        match process.ask(method, params).await {
            Ok(id) => self.answer_to(process, id, Some(end)).await,
            Err(fault) => Err(self.ending_or(process, fault.into()).await),
        }
    }

    /// The answer to request `id`, until `end` or until the time of the current run is over.
    async fn answer_to(
        &mut self,
        process: &mut Process,
        id: u64,
        end: Option<Instant>,
    ) -> Result<Answer, Trouble> {
        let mut perhaps: Option<(String, Instant)> = None;
        loop {
            let current = self.work.current.map(|(_, deadline)| deadline);
            let settled = perhaps.as_ref().map(|(_, until)| *until);
            let until = [end, current, settled].into_iter().flatten().min();
            let until = until.unwrap_or_else(|| Instant::now() + GRACE);
            let line = match self.wait(Some(process), until).await {
                Next::Noted if self.work.stop.is_some() => return Err(Trouble::Stopped),
                Next::Noted => continue,
                Next::Time => match perhaps {
                    Some((text, _)) => return Ok(Answer::Failed(text)),
                    None => return Err(Trouble::Time),
                },
                Next::Heard(Heard::TooMuch(_)) => return Err(Trouble::TooMuch),
                Next::Heard(Heard::Ended(ending)) => return Err(Trouble::Ended(ending)),
                Next::Heard(Heard::Closed) => {
                    return Err(self.ending_or(process, Trouble::Closed).await);
                }
                Next::Heard(Heard::Line(line)) => line,
            };
            match judge(&line, id) {
                Said::Answer(answer) => return Ok(answer),
                Said::Trouble(trouble) => return Err(trouble),
                Said::Perhaps(text) => perhaps = Some((text, Instant::now() + SETTLE)),
                Said::Nothing => {}
            }
        }
    }

    /// How the process ended if that is what is behind `trouble`.
    async fn ending_or(&mut self, process: &mut Process, trouble: Trouble) -> Trouble {
        match process.wait_until(Instant::now() + CLOSE_LIMIT).await {
            Some(ending) => Trouble::Ended(ending),
            None => trouble,
        }
    }

    /// Waits for the process, an order or `until`, whatever comes first; orders are noted, and
    /// runs whose time is over meanwhile are answered.
    async fn wait(&mut self, process: Option<&mut Process>, until: Instant) -> Next {
        let overdue = self.work.runs.iter().map(|pending| pending.deadline).min();
        let wake = overdue.map_or(until, |overdue| overdue.min(until));
        let heard = async {
            match process {
                Some(process) => process.hear().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            order = self.inbox.recv() => {
                self.note(order).await;
                Next::Noted
            }
            heard = heard => Next::Heard(heard),
            () = sleep_until(wake) => {
                self.expire().await;
                if Instant::now() < until { Next::Noted } else { Next::Time }
            }
        }
    }

    // ---- orders and reports ----

    async fn note(&mut self, order: Option<Order>) {
        match order {
            None => self.work.stop = self.work.stop.or(Some(GRACE)),
            Some(Order::Retire) => self.work.is_retired = true,
            Some(Order::Stop { grace }) => self.work.stop = Some(grace),
            Some(Order::Run { run, deadline }) if self.work.runs.len() < QUEUE => {
                let came = Instant::now();
                self.work.runs.push_back(Pending { run, came, deadline, starts: 0 });
            }
            Some(Order::Run { run, .. }) => {
                let outcome = Outcome::Failed("too many runs wait for this plugin".to_owned());
                self.ended(run.run_id, StepOutcome::bare(outcome, Duration::ZERO)).await;
            }
            Some(Order::Shorten { run_id, deadline }) => self.work.shorten(run_id, deadline),
            Some(Order::CheckIdle(metrics)) => self.work.question = Some(metrics),
            Some(Order::Replace(entry)) => self.work.replacement = Some(entry),
            Some(Order::Enable(is_enabled)) => {
                self.work.is_disabled = !is_enabled;
                if is_enabled {
                    (self.work.failures, self.work.not_before) = (0, None);
                }
            }
        }
    }

    /// Answers the waiting runs whose time is over.
    async fn expire(&mut self) {
        let now = Instant::now();
        let is_over = |pending: &Pending| pending.deadline <= now;
        while let Some(index) = self.work.runs.iter().position(is_over) {
            let Some(pending) = self.work.runs.remove(index) else { return };
            let mut outcome = StepOutcome::bare(Outcome::TimedOut, pending.came.elapsed());
            outcome.status = "the plugin was not ready in time".to_owned();
            self.ended(pending.run.run_id, outcome).await;
        }
    }

    async fn refuse_all(&mut self, outcome: &Outcome) {
        while let Some(pending) = self.work.runs.pop_front() {
            let outcome = StepOutcome::bare(outcome.clone(), pending.came.elapsed());
            self.ended(pending.run.run_id, outcome).await;
        }
    }

    fn note_run(&mut self, outcome: &StepOutcome) {
        let is_fine =
            matches!(outcome.outcome, Outcome::Done | Outcome::Degraded | Outcome::NotHandled);
        if is_fine {
            self.work.failures = 0;
        }
        let error = outcome.outcome.reason();
        self.show(|face| {
            face.stats.calls += 1;
            face.stats.failures += u64::from(!is_fine);
            face.stats.last_seconds = Some(outcome.seconds);
            face.stats.total_seconds += outcome.seconds;
            if !is_fine {
                face.stats.last_error =
                    Some(error.unwrap_or_else(|| outcome.outcome.as_str().to_owned()));
            }
        });
    }

    async fn ended(&mut self, run_id: u64, outcome: StepOutcome) {
        self.report(Report::Ended { run_id, outcome }).await;
    }

    async fn vote(&self, vote: Option<Vote>) {
        self.report(Report::Vote { entry_id: self.entry.id.clone(), vote }).await;
    }

    async fn turn(&self, state: PluginState) {
        let mut has_changed = false;
        self.show(|face| {
            has_changed = face.state != state;
            face.state = state;
        });
        if has_changed {
            self.report(Report::State { entry_id: self.entry.id.clone(), state }).await;
        }
    }

    async fn report(&self, report: Report) {
        // Nobody listens any more when the daemon is about to end.
        let _ = self.shared.reports.send(report).await;
    }

    fn show(&self, change: impl FnOnce(&mut Face)) {
        change(&mut self.face.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Work {
    fn wants_other_process(&self) -> bool {
        self.is_disabled || self.replacement.is_some()
    }

    /// Deadlines only move forward.
    fn shorten(&mut self, run_id: u64, deadline: Instant) {
        if let Some((current, until)) = &mut self.current
            && *current == run_id
        {
            *until = deadline.min(*until);
        }
        for pending in self.runs.iter_mut().filter(|pending| pending.run.run_id == run_id) {
            pending.deadline = deadline.min(pending.deadline);
        }
    }
}

impl Face {
    pub(super) fn new() -> Self {
        Self {
            kind: None,
            state: PluginState::Waiting,
            pid: None,
            info: None,
            supported: None,
            stats: Stats::default(),
        }
    }
}
