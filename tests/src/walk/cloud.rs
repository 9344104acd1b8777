//! The cloud side of a story. What decides is real: `snooze_policy::ledger`, and what `dispatch`,
//! `perform`, `record` and the sweep decide. What lies between their calls is told again here,
//! without AWS: the table, the topic, the queue and Auto Scaling are maps.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snooze_event::Event;
use snooze_event::wire::{command, eventbridge};
use snooze_functions::dispatch::judge::{self, Way};
use snooze_functions::fan;
use snooze_policy::Facts;
use snooze_policy::ledger::{COMMAND, Claim, Incident, Opening, Send, Shelf, claim};

use super::moves::{Fault, Move};
use super::policies::{ACCOUNT, INSTANCE, REGION, known};
use super::promises::{Broken, Kept, Promise};
use super::world::{Happening, World};

/// How long the hook of the story waits without a heartbeat.
pub(super) const HOOK: Duration = Duration::from_secs(60);
/// Lambda tries an event again after one minute and after two more.
pub(super) const AGAIN: [u64; 2] = [60_000, 120_000];
/// A call takes this long.
pub(super) const CALL: u64 = 20;
/// A message on its way, and one that is late.
pub(super) const WAY: u64 = 60;
pub(super) const LATE: u64 = 45_000;
/// Signals and incidents within this time belong together, as in `dispatch` and `record`.
const TOGETHER: Duration = Duration::from_secs(600);

/// A lifecycle hook, as Auto Scaling has it.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    /// It waits until then.
    pub(super) until: Timestamp,
    pub(super) answer: Option<bool>,
}

pub(super) struct CloudSide {
    pub(super) is_up: bool,
    pub(super) rows: BTreeMap<String, Incident>,
    pub(super) claims: BTreeMap<String, (String, Timestamp)>,
    pub(super) hooks: BTreeMap<String, Hook>,
    pub(super) armed: BTreeMap<Fault, i64>,
    /// After how many calls a function is killed.
    pub(super) cuts: BTreeMap<&'static str, i64>,
    pub(super) is_sweeping: bool,
    pub(super) attempts: u64,
    /// How often each task succeeded, and how often that may be without harm.
    pub(super) effects: BTreeMap<(String, String), (u32, u32)>,
    /// The word of the instance, by incident.
    pub(super) words: BTreeMap<String, String>,
}

/// Why a function did not end well.
pub(super) enum Cut {
    /// It was killed, or could not go on; its event comes again.
    Again,
    Broken(Broken),
}

impl From<Broken> for Cut {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl CloudSide {
    pub(super) fn new() -> Self {
        Self {
            is_up: true,
            rows: BTreeMap::new(),
            claims: BTreeMap::new(),
            hooks: BTreeMap::new(),
            armed: BTreeMap::new(),
            cuts: BTreeMap::new(),
            is_sweeping: false,
            attempts: 0,
            effects: BTreeMap::new(),
            words: BTreeMap::new(),
        }
    }

    pub(super) fn arm(&mut self, fault: usize, times: i64) {
        if let Some(fault) = Fault::ALL.get(fault) {
            *self.armed.entry(*fault).or_default() += times;
        }
    }

    /// Whether a fault is met now.
    pub(super) fn meets(&mut self, fault: Fault) -> bool {
        match self.armed.get_mut(&fault) {
            Some(times) if *times > 0 => {
                *times -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(super) fn mend(&mut self) {
        self.is_up = true;
        self.armed.clear();
        self.cuts.clear();
    }

    /// A function makes a call; it may be killed before it.
    pub(super) fn call(&mut self, function: &'static str) -> Result<(), Cut> {
        let Some(left) = self.cuts.get_mut(function) else { return Ok(()) };
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        self.cuts.remove(function);
        Err(Cut::Again)
    }

    /// A write or a read of the ledger.
    pub(super) fn ledger(&mut self) -> Result<(), Cut> {
        if self.meets(Fault::LedgerDown) { Err(Cut::Again) } else { Ok(()) }
    }

    /// The incidents of the instance since a moment, the latest first.
    fn since(&self, since: Timestamp) -> Vec<&Incident> {
        let mut found: Vec<&Incident> =
            self.rows.values().filter(|row| row.opened_at >= since).collect();
        found.sort_by_key(|row| std::cmp::Reverse(row.opened_at));
        found
    }

    /// Claims, as `Incidents::claim` does: `true` when the incident was opened.
    pub(super) fn claim(
        &mut self,
        claim: &Claim,
        open: impl FnOnce(&str) -> Incident,
        now: Timestamp,
    ) -> (String, bool) {
        if let Some((target, at)) = self.claims.get(&claim.key)
            && *at >= claim.over_before(now)
        {
            return (target.clone(), false);
        }
        let incident = open(&claim.id(now));
        let id = incident.id.clone();
        self.claims.insert(claim.key.clone(), (id.clone(), now));
        self.rows.insert(id.clone(), incident);
        (id, true)
    }
}

impl World {
    /// EventBridge delivers an event of EC2 or Auto Scaling.
    pub(super) fn bridge(&mut self, one: &Move) -> Kept {
        let time = self.aws() - SignedDuration::from_secs(one.number(2));
        let number = one.number(1);
        let (source, kind, detail) = match one.word(0) {
            "spot" => (
                "aws.ec2",
                "EC2 Spot Instance Interruption Warning",
                json!({ "instance-id": INSTANCE, "instance-action": one.word(3) }),
            ),
            "rebalance" => (
                "aws.ec2",
                "EC2 Instance Rebalance Recommendation",
                json!({ "instance-id": INSTANCE }),
            ),
            "hook" => {
                let token = format!("00000000-0000-4000-8000-00000000000{number}");
                let until = time + HOOK;
                self.cloud.hooks.entry(token.clone()).or_insert(Hook { until, answer: None });
                (
                    "aws.autoscaling",
                    "EC2 Instance-terminate Lifecycle Action",
                    json!({ "LifecycleActionToken": token, "AutoScalingGroupName": "workers",
                        "LifecycleHookName": "save", "EC2InstanceId": INSTANCE,
                        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING" }),
                )
            }
            state => (
                "aws.ec2",
                "EC2 Instance State-change Notification",
                json!({ "instance-id": INSTANCE, "state": state }),
            ),
        };
        let id = format!("00000000-0000-4000-9000-{:011}{number}", one.index(0));
        let arn = format!("arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{INSTANCE}");
        let text = envelope(&id, source, kind, time, &json!([arn]), &detail);
        self.after(1, Happening::Dispatch { text, tries: 0 });
        Ok(())
    }

    pub(super) fn dispatch(&mut self, text: String, tries: u32) -> Kept {
        match self.dispatched(&text) {
            Ok(()) => Ok(()),
            Err(Cut::Broken(broken)) => Err(broken),
            Err(Cut::Again) => {
                self.try_again(tries, |tries| Happening::Dispatch { text, tries });
                Ok(())
            }
        }
    }

    fn try_again(&mut self, tries: u32, happening: impl FnOnce(u32) -> Happening) {
        let wait = usize::try_from(tries).ok().and_then(|tries| AGAIN.get(tries));
        if let Some(wait) = wait {
            self.after(*wait, happening(tries + 1));
        }
    }

    fn dispatched(&mut self, text: &str) -> Result<(), Cut> {
        if !self.cloud.is_up {
            return Err(Cut::Again);
        }
        let Ok(events) = eventbridge::read(text) else { return Ok(()) };
        for event in events {
            match judge::way(&event, self.aws()) {
                Way::Nothing | Way::Refresh | Way::Back => {}
                Way::Late => self.late(&event)?,
                Way::Fate { gone } => {
                    self.cloud.ledger()?;
                    let near = self.near(&event);
                    let at = event.time;
                    let state = judge::state(&event).unwrap_or_default();
                    for id in &near {
                        self.change(id, |incident| incident.fated(state, at))?;
                    }
                    if near.is_empty() && !gone {
                        self.incident(&event)?;
                    }
                }
                Way::Incident => self.incident(&event)?,
            }
        }
        Ok(())
    }

    /// The incidents that an event may belong to, the latest first.
    fn near(&mut self, event: &Event) -> Vec<String> {
        let now = self.aws();
        if self.cloud.meets(Fault::IndexLate) {
            return Vec::new();
        }
        let since = now.checked_sub(TOGETHER).unwrap_or(now);
        let found = self.cloud.since(since).into_iter();
        found.filter(|row| judge::is_near(row, event, now)).map(|row| row.id.clone()).collect()
    }

    fn late(&mut self, event: &Event) -> Result<(), Cut> {
        self.cloud.ledger()?;
        let now = self.aws();
        let told = |row: &Incident| row.signals.iter().any(|signal| signal.id == event.id.as_str());
        if self.cloud.rows.values().any(told) {
            return Ok(());
        }
        let key = format!("{INSTANCE}/late/{}", event.id);
        let claim = Claim { key, window: Duration::from_secs(24 * 3600) };
        let shelf = Shelf::default();
        let opening = opening(event, Some(&known().facts), &shelf);
        let (id, is_new) = self.cloud.claim(&claim, |id| Incident::open(id, opening, now), now);
        if is_new && self.cloud.rows.get(&id).is_some_and(|row| !row.due().is_empty()) {
            let text = format!("something is sent for `{id}`, which came too late");
            return Err(self.broken(Promise::Time, text).into());
        }
        Ok(())
    }

    fn incident(&mut self, event: &Event) -> Result<(), Cut> {
        let near = self.near(event);
        let blind = Shelf::default();
        let unknown = Facts { id: event.instance.clone(), ..Facts::default() };
        let (no_facts, no_policies) =
            (self.cloud.meets(Fault::FactsDown), self.cloud.meets(Fault::PoliciesDown));
        let facts = if no_facts { &unknown } else { &known().facts };
        let shelf = if no_facts || no_policies { &blind } else { &known().shelf };
        let is_loss = event.cause.is_some();
        if !is_loss && shelf.version.is_some() && shelf.policies.select(event, facts).is_empty() {
            return Ok(());
        }
        let now = self.aws();
        let opening = opening(event, Some(facts), shelf);
        let others = near.iter().filter_map(|id| self.cloud.rows.get(id));
        let heard = judge::heard(event, others);
        let open = |id: &str| {
            let mut incident = Incident::open(id, opening, now);
            if let Some(report) = &heard {
                incident.report(report, now);
            }
            incident
        };
        self.cloud.call("dispatch")?;
        let claim = claim(event);
        if let Err(cut) = self.cloud.ledger() {
            // Without the ledger the instance is told all the same.
            let incident = open(&claim.id(event.time));
            if incident.task(COMMAND).is_some() {
                self.publish(&incident)?;
            }
            return Err(cut);
        }
        let (id, is_new) = self.cloud.claim(&claim, open, now);
        if !is_new {
            let planned = open(&id);
            self.change(&id, |incident| {
                incident.join(event, now);
                judge::adopt(incident, &planned, now);
            })?;
        }
        self.ensure_sweep();
        self.settle("dispatch", &id)?;
        // What could not be read is asked for when the event comes again.
        if no_facts || no_policies { Err(Cut::Again) } else { Ok(()) }
    }

    /// Changes an incident, and looks at what that made of it.
    pub(super) fn change<T>(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut Incident) -> T,
    ) -> Result<Option<T>, Broken> {
        let Some(row) = self.cloud.rows.get_mut(id) else { return Ok(None) };
        let answer = change(row);
        let (signals, tasks) = (row.signals.len(), row.tasks.len());
        let word = row.word().map(|word| word.outcome.clone());
        if signals > 20 || tasks > 20 {
            let text = format!("`{id}` has {signals} signals and {tasks} tasks");
            return Err(self.broken(Promise::Bounds, text));
        }
        if let Some(word) = word {
            let first = self.cloud.words.entry(id.to_owned()).or_insert_with(|| word.clone());
            if *first != word {
                let text = format!("`{id}` was `{first}`, and now it is `{word}`");
                return Err(self.broken(Promise::OneEnding, text));
            }
        } else if self.cloud.words.contains_key(id) {
            return Err(self.broken(Promise::OneEnding, format!("`{id}` has lost its word")));
        }
        Ok(Some(answer))
    }

    /// Sends all that is due, and writes it down a moment later.
    pub(super) fn settle(&mut self, function: &'static str, id: &str) -> Result<(), Cut> {
        let Some(incident) = self.cloud.rows.get(id).cloned() else { return Ok(()) };
        let mut tasks = Vec::new();
        for send in incident.due() {
            self.cloud.call(function)?;
            match &send {
                Send::Command => {
                    if self.publish(&incident)? {
                        tasks.push(send.task().to_owned());
                    }
                }
                Send::Order(task) => {
                    let order = fan::order(&incident, task, self.aws());
                    self.push(&order, 0);
                    tasks.push(task.clone());
                }
            }
        }
        self.cloud.call(function)?;
        if !tasks.is_empty() {
            self.after(CALL, Happening::Mark { incident: id.to_owned(), tasks });
        }
        Ok(())
    }

    pub(super) fn mark(&mut self, id: &str, tasks: &[String]) -> Kept {
        if self.cloud.meets(Fault::LedgerDown) {
            return Ok(());
        }
        let now = self.aws();
        let mark = |row: &mut Incident| tasks.iter().for_each(|task| row.sent(task, now));
        self.change(id, mark).map(drop)
    }

    /// Publishes the command of an incident; `false` when it is worth nothing any more.
    pub(super) fn publish(&mut self, incident: &Incident) -> Result<bool, Broken> {
        let Ok(command) = fan::command(incident) else { return Ok(false) };
        if self.aws() >= command.expires_at {
            return Ok(false);
        }
        let text = command::write(&command).to_string();
        self.check_silence("a command", &text)?;
        let lost = self.cloud.meets(Fault::LoseCommand);
        let wait = if self.cloud.meets(Fault::LateCommand) { LATE } else { WAY };
        let copies = if self.cloud.meets(Fault::DoubleCommand) { 2 } else { 1 };
        for copy in 0..copies {
            if !lost {
                let id = format!("message-{}-{}", self.now, command.id);
                let message = Happening::Message { id, text: text.clone(), tries: 0 };
                self.after(wait + copy * 700, message);
            }
        }
        Ok(true)
    }
}

/// An event as EventBridge hands it over.
pub(super) fn envelope(
    id: &str,
    source: &str,
    kind: &str,
    time: Timestamp,
    resources: &Value,
    detail: &Value,
) -> String {
    json!({ "version": "0", "id": id, "detail-type": kind, "source": source, "account": ACCOUNT,
        "time": time.to_string(), "region": REGION, "resources": resources, "detail": detail })
    .to_string()
}

fn opening<'a>(event: &'a Event, facts: Option<&'a Facts>, shelf: &'a Shelf) -> Opening<'a> {
    Opening {
        event,
        facts,
        shelf,
        hook_timeout: event.data.contains_key("LifecycleHookName").then_some(HOOK),
        lifecycle_budget: Duration::from_secs(120),
    }
}
