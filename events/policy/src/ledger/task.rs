//! Tasks: what the cloud side does for an incident, each once.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{COMMAND, HEARTBEAT, Incident, OPERATORS, RUNNING};
use crate::{Action, ActionName, Policy, PolicyName, When};

/// Whoever takes a task has this long; then it may be taken over. Longer than a function runs.
pub const LEASE: Duration = Duration::from_secs(20);

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Names it within its incident: [`COMMAND`], [`HEARTBEAT`], [`OPERATORS`] or
    /// `POLICY/ACTION`, for the second action of that name `POLICY/ACTION#2`.
    pub id: String,
    /// What is done.
    pub what: What,
    /// How far it is.
    pub state: TaskState,
    /// How often it was begun.
    #[serde(default)]
    pub attempts: u32,
    /// What the last attempt said that did not succeed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// What a task does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Tells the instance.
    Command,
    /// Keeps the hook waiting.
    Heartbeat,
    /// Does an action of a policy.
    Action {
        /// The policy; `None` for what is done without one.
        policy: Option<String>,
        /// Which action, as policies write it.
        name: String,
        /// Whether it waits for the outcome.
        on_outcome: bool,
        /// Its parameters.
        config: Map<String, Value>,
    },
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum TaskState {
    /// It waits for the outcome of the incident.
    Waiting,
    /// It is to be sent.
    Pending {
        /// Since when.
        since: Option<Timestamp>,
    },
    /// It was published, or stands in the queue.
    Sent {
        /// When.
        at: Timestamp,
    },
    /// Somebody does it.
    Running {
        /// Which attempt of whom: a number nobody else has.
        attempt: String,
        /// When it may be taken over.
        until: Timestamp,
    },
    /// It succeeded.
    Done {
        /// When.
        at: Timestamp,
        /// What came of it.
        text: String,
    },
    /// It did not, and is not tried again.
    Failed {
        /// When.
        at: Timestamp,
        /// A fixed name, that alarms can match on.
        error: String,
        /// Why.
        text: String,
    },
    /// It was not to be done.
    Skipped {
        /// Why.
        text: String,
    },
}

impl TaskState {
    /// The word, as it stands in the ledger.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending { .. } => "pending",
            Self::Sent { .. } => "sent",
            Self::Running { .. } => "running",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Nothing more happens.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Done { .. } | Self::Failed { .. } | Self::Skipped { .. } => true,
            Self::Waiting | Self::Pending { .. } | Self::Sent { .. } | Self::Running { .. } => {
                false
            }
        }
    }
}

/// A task that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    /// Publish the command to the instance.
    Command,
    /// Put an order for the task with this id into the queue of actions.
    Order(String),
}

impl Send {
    /// The task.
    #[must_use]
    pub fn task(&self) -> &str {
        match self {
            Self::Command => COMMAND,
            Self::Order(task) => task,
        }
    }
}

/// Whether a task may be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// It may, and is written down so.
    Go,
    /// Somebody else does it; look again after this.
    Busy(Duration),
    /// It is over, or not known.
    Over,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// It succeeded.
    Done(String),
    /// It cannot succeed.
    Failed {
        /// A fixed name.
        error: String,
        /// Why.
        text: String,
    },
    /// It may succeed later.
    Again {
        /// A fixed name.
        error: String,
        /// Why.
        text: String,
    },
    /// It succeeded, and is to be done again in a while, as heartbeats are.
    Beaten,
    /// It was not to be done.
    Skipped(String),
}

impl Task {
    pub(super) fn command() -> Self {
        Self::pending(COMMAND, What::Command)
    }

    pub(super) fn heartbeat(drill: bool) -> Self {
        let mut task = Self::pending(HEARTBEAT, What::Heartbeat);
        if drill {
            task.state = TaskState::Skipped { text: DRILL.to_owned() };
        }
        task
    }

    pub(super) fn operators() -> Self {
        let (policy, name) = (None, ActionName::Notify.as_str().to_owned());
        let config = Map::new();
        Self::pending(OPERATORS, What::Action { policy, name, on_outcome: false, config })
    }

    /// What it writes, whoever does it knows: functions that do not know this task must still be
    /// able to read it.
    fn running() -> Self {
        let (policy, name) = (None, ActionName::Tag.as_str().to_owned());
        let config = Map::new();
        Self::pending(RUNNING, What::Action { policy, name, on_outcome: false, config })
    }

    fn pending(id: impl Into<String>, what: What) -> Self {
        let state = TaskState::Pending { since: None };
        Self { id: id.into(), what, state, attempts: 0, error: String::new() }
    }

    /// The action it does, with its parameters.
    #[must_use]
    pub fn action(&self) -> Option<(ActionName, &Map<String, Value>)> {
        match &self.what {
            What::Action { name, config, .. } => Some((ActionName::of(name)?, config)),
            What::Command | What::Heartbeat => None,
        }
    }

    /// Whether it stops or ends the instance.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.action().is_some_and(|(name, _)| name.stops())
    }

    /// When it is done.
    #[must_use]
    pub fn when(&self) -> When {
        match &self.what {
            What::Action { on_outcome: true, .. } => When::Outcome,
            What::Action { .. } | What::Command | What::Heartbeat => When::Now,
        }
    }

    /// It is not done any more, unless it was.
    pub(super) fn give_up(&mut self) {
        if !self.state.is_over() {
            self.state = TaskState::Skipped { text: OVER.to_owned() };
        }
    }

    /// Nobody does it at this moment, as far as is known.
    pub(super) fn may_be_taken(&self, now: Timestamp) -> bool {
        match self.state {
            TaskState::Sent { .. } => true,
            TaskState::Running { until, .. } => until <= now,
            TaskState::Waiting
            | TaskState::Pending { .. }
            | TaskState::Done { .. }
            | TaskState::Failed { .. }
            | TaskState::Skipped { .. } => false,
        }
    }

    /// The outcome it waited for is there. What takes the instance away is done only after all
    /// that was to be saved is.
    pub(super) fn release(&mut self, good: bool, now: Timestamp) {
        if self.state != TaskState::Waiting {
            return;
        }
        let takes_away = self.action().is_some_and(|(name, _)| name.takes_away());
        self.state = match takes_away && !good {
            true => TaskState::Skipped { text: "not everything was saved".to_owned() },
            false => TaskState::Pending { since: Some(now) },
        };
    }
}

/// The text of a task whose incident ended before it.
const OVER: &str = "it is over";

const DRILL: &str = "a drill";
/// The text of what was told already.
const TOLD: &str = "told before, of the same idleness";

/// Adds the tasks of the actions of policies. Where the instance `saves_first`, what takes it away
/// waits for the outcome, whatever the policy says.
pub(super) fn add_of_policies(
    tasks: &mut Vec<Task>,
    selected: &[&Policy],
    drill: bool,
    saves_first: bool,
) {
    let mut counts: BTreeMap<(&PolicyName, ActionName), usize> = BTreeMap::new();
    for policy in selected {
        for action in &policy.actions {
            let name = [policy.name.as_str(), "/", action.name.as_str()].concat();
            let count = counts.entry((&policy.name, action.name)).or_default();
            *count += 1;
            let id = if *count == 1 { name } else { format!("{name}#{count}") };
            let waits = action.when == When::Outcome || (saves_first && action.name.takes_away());
            tasks.push(of_action(id, policy, action, drill, waits));
        }
    }
}

fn of_action(id: String, policy: &Policy, action: &Action, drill: bool, waits: bool) -> Task {
    let what = What::Action {
        policy: Some(policy.name.as_str().to_owned()),
        name: action.name.as_str().to_owned(),
        on_outcome: waits,
        config: action.config.clone(),
    };
    let mut task = Task::pending(id, what);
    if drill && !action.name.only_tells() {
        task.state = TaskState::Skipped { text: DRILL.to_owned() };
    } else if waits {
        task.state = TaskState::Waiting;
    }
    task
}

impl Incident {
    /// The same idleness had an incident before, which told whoever is to be told of it.
    pub fn repeats(&mut self) {
        for task in &mut self.tasks {
            let tells = task.action().is_some_and(|(name, _)| name.only_tells());
            if tells && matches!(task.state, TaskState::Pending { .. }) {
                task.state = TaskState::Skipped { text: TOLD.to_owned() };
            }
        }
    }

    /// The instance that we stopped says hello in another boot: its tags no longer say that it is
    /// stopped.
    pub fn greeted(&mut self) {
        if self.back_at().is_some() && self.task(RUNNING).is_none() {
            self.tasks.push(Task::running());
        }
    }

    /// What is to be sent now. Asked again after [`Incident::sent`], it names only the rest.
    #[must_use]
    pub fn due(&self) -> Vec<Send> {
        let pending = |task: &&Task| matches!(task.state, TaskState::Pending { .. });
        let send = |task: &Task| match task.what {
            What::Command => Send::Command,
            What::Heartbeat | What::Action { .. } => Send::Order(task.id.clone()),
        };
        self.tasks.iter().filter(pending).map(send).collect()
    }

    /// A task was published or put into the queue. The command has no more to do than that.
    pub fn sent(&mut self, task: &str, now: Timestamp) {
        if let Some(task) = self.tasks.iter_mut().find(|known| known.id == task)
            && matches!(task.state, TaskState::Pending { .. })
        {
            task.state = match task.what {
                What::Command => TaskState::Done { at: now, text: String::new() },
                What::Heartbeat | What::Action { .. } => TaskState::Sent { at: now },
            };
        }
        if task == COMMAND {
            self.hops.entry("commanded".to_owned()).or_insert(now);
        }
    }

    /// Takes a task, for an attempt that bears a number nobody else has.
    pub fn take(&mut self, task: &str, attempt: &str, now: Timestamp) -> Take {
        let Some(task) = self.tasks.iter_mut().find(|known| known.id == task) else {
            return Take::Over;
        };
        match &task.state {
            TaskState::Done { .. }
            | TaskState::Failed { .. }
            | TaskState::Skipped { .. }
            | TaskState::Waiting => return Take::Over,
            TaskState::Running { attempt: holder, .. } if holder == attempt => return Take::Go,
            TaskState::Running { until, .. } if *until > now => {
                let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                return Take::Busy(left);
            }
            TaskState::Running { .. } | TaskState::Pending { .. } | TaskState::Sent { .. } => {}
        }
        let until = now.checked_add(LEASE).unwrap_or(now);
        task.state = TaskState::Running { attempt: attempt.to_owned(), until };
        task.attempts = task.attempts.saturating_add(1);
        Take::Go
    }

    /// Writes down how the attempt that holds a task ended. An attempt that was taken over
    /// changes nothing, unless it succeeded.
    pub fn finish(&mut self, task: &str, attempt: &str, finish: Finish, now: Timestamp) {
        let Some(task) = self.tasks.iter_mut().find(|known| known.id == task) else { return };
        if finish == Finish::Beaten
            && let Some(hook) = &mut self.hook
        {
            hook.beat_at = Some(now);
        }
        let is_holder =
            matches!(&task.state, TaskState::Running { attempt: holder, .. } if holder == attempt);
        let has_succeeded = matches!(finish, Finish::Done(_)) && !task.state.is_over();
        if !is_holder && !has_succeeded {
            return;
        }
        task.state = match finish {
            Finish::Done(text) => TaskState::Done { at: now, text },
            Finish::Failed { error, text } => TaskState::Failed { at: now, error, text },
            Finish::Skipped(text) => TaskState::Skipped { text },
            Finish::Beaten => TaskState::Sent { at: now },
            Finish::Again { error, text } => {
                task.error = format!("{error}: {text}");
                TaskState::Sent { at: now }
            }
        };
        let is_told = task.what == What::Command && matches!(task.state, TaskState::Done { .. });
        if is_told {
            self.hops.entry("commanded".to_owned()).or_insert(now);
        }
    }
}
