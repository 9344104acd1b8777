//! The instance of a story: the daemon's own watch, hearing, telling, inbox and journal lines; a
//! disk, plugins and a metadata service as they may be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use snooze_event::{BootId, wire};
use snooze_imds::SignalPath;
use snoozed::clock::milliseconds;
use snoozed::cloud::Inbox;
use snoozed::journal;
use snoozed::record::{Ending, Entry, StepOutcome};
use snoozed::sources::{Hearing, Telling};
use snoozed::watch::{Channel, Effect, Input, Limits, Start, Watch};

use super::checks::Book;
use super::moves::{Act, Move};
use super::policies::{CANARY, in_force, known};
use super::promises::{Flaw, Kept, Promise};
use super::world::{Happening, World};

/// How long after its end systemd starts the daemon again.
pub(super) const RESTART: u64 = 200;
/// How long a machine needs to boot.
const BOOT: u64 = 3000;
/// How long a machine that was shut down is away.
const SHUTDOWN: u64 = 20_000;
/// A notice is heard within one poll and acted on within one second.
pub(super) const HEARD: u64 = 2300;
/// So many turns of one second are a loop that spins.
const TURNS: u32 = 300;

/// A step of an incident.
pub(super) type Key = (String, String);

#[derive(Debug)]
pub(super) struct Running {
    pub(super) key: Key,
    pub(super) how: &'static str,
    /// When it would end by itself.
    pub(super) by_itself: u64,
    /// When its time is over.
    pub(super) limit: u64,
    pub(super) grace: u64,
}

impl Running {
    fn end(&self) -> (u64, Ending) {
        let over = |extra| (self.limit + extra, Ending::TimedOut);
        let kind = match self.how {
            "hangs" => return over(self.grace),
            "late" => return over(self.grace / 2),
            "stuck" => return (self.limit + self.grace + 1000, Ending::Unkillable),
            "degraded" => Ending::Degraded,
            "fails" => Ending::Failed,
            "not-handled" => Ending::NotHandled,
            "dies" => Ending::Died,
            _ => Ending::Done,
        };
        if self.by_itself > self.limit { over(0) } else { (self.by_itself, kind) }
    }
}

pub(super) struct Daemon {
    pub(super) watch: Watch,
    pub(super) hearing: Hearing,
    pub(super) telling: Telling,
    pub(super) inbox: Inbox,
    /// The metadata service said who we are.
    pub(super) is_known: bool,
    /// It was asked to end: with the whole machine, or alone.
    pub(super) stopping: Option<bool>,
    pub(super) is_deaf: bool,
    pub(super) sending: BTreeSet<String>,
}

pub(super) struct Instance {
    pub(super) daemon: Option<Daemon>,
    pub(super) taken: bool,
    pub(super) booted: u64,
    /// Milliseconds by which the wall clock is ahead.
    pub(super) skew: i64,
    pub(super) network: bool,
    pub(super) life: u64,
    pub(super) boots: u64,
    pub(super) disk: Vec<u8>,
    pub(super) waiting: Vec<u8>,
    pub(super) full: bool,
    pub(super) flips: Vec<usize>,
    pub(super) twice: bool,
    pub(super) mask: usize,
    pub(super) kill_in: Option<(u64, usize)>,
    pub(super) habits: VecDeque<(&'static str, u64)>,
    pub(super) running: BTreeMap<(u64, u64), Running>,
    pub(super) stands: BTreeMap<SignalPath, String>,
    /// Of what stands.
    pub(super) version: u64,
    pub(super) trouble: Option<(&'static str, i64)>,
    pub(super) disturbed: u64,
    pub(super) died: Option<u64>,
    pub(super) numbers: (u64, u64, u64),
    /// The turns of this second.
    pub(super) turns: (u64, u32),
    pub(super) book: Book,
    pub(super) done: BTreeSet<Key>,
    pub(super) durable: BTreeSet<Key>,
}

impl Instance {
    pub(super) fn new() -> Self {
        Self {
            daemon: None,
            taken: false,
            booted: 0,
            skew: 0,
            network: true,
            life: 0,
            boots: 0,
            disk: Vec::new(),
            waiting: Vec::new(),
            full: false,
            flips: Vec::new(),
            twice: false,
            mask: 0b1011,
            kill_in: None,
            habits: VecDeque::new(),
            running: BTreeMap::new(),
            stands: BTreeMap::new(),
            version: 0,
            trouble: None,
            disturbed: 0,
            died: None,
            numbers: (0, 0, 0),
            turns: (0, 0),
            book: Book::default(),
            done: BTreeSet::new(),
            durable: BTreeSet::new(),
        }
    }

    pub(super) fn boot(&self) -> BootId {
        let text = format!("{:08}-2222-3333-4444-555555555555", self.boots);
        text.parse().expect("a boot id")
    }
}

impl World {
    /// What befalls the instance.
    pub(super) fn befall(&mut self, one: &Move) -> Kept {
        match one.act {
            Act::Spot => {
                let body = self.spot_body(one);
                self.stand(SignalPath::SpotInstanceAction, Some(body));
                self.instance.version += 1;
                self.after(HEARD, Happening::MustBeHeard(self.instance.version));
            }
            Act::Rebalance => {
                let body = json!({ "noticeTime": self.aws().to_string() }).to_string();
                self.stand(SignalPath::Rebalance, Some(body));
            }
            Act::State => {
                self.stand(SignalPath::TargetLifecycleState, Some(one.word(0).to_owned()));
            }
            Act::Maintenance => {
                let state = if one.word(1) == "on" { "canceled" } else { "active" };
                let begins = self.aws() + SignedDuration::from_secs(one.number(0));
                let body = json!([{ "Code": "system-reboot", "EventId": "instance-event-1",
                    "State": state, "Description": "scheduled", "NotBefore": begins.to_string() }]);
                self.stand(SignalPath::MaintenanceScheduled, Some(body.to_string()));
            }
            Act::Quiet => {
                let path = match one.word(0) {
                    "spot" => SignalPath::SpotInstanceAction,
                    "rebalance" => SignalPath::Rebalance,
                    "state" => SignalPath::TargetLifecycleState,
                    _ => SignalPath::MaintenanceScheduled,
                };
                self.stand(path, None);
            }
            Act::Trouble => {
                self.instance.trouble = Some((one.word(0), one.number(1)));
                self.poll_soon();
            }
            Act::Handle => return self.handle(one),
            Act::Taken => {
                self.end_life();
                self.instance.running.clear();
                self.instance.taken = true;
            }
            Act::Kill => self.kill(),
            Act::KillIn => {
                let effects = u64::try_from(one.number(0)).unwrap_or_default();
                self.instance.kill_in = Some((effects, one.index(1)));
            }
            Act::Reboot => self.reboot(BOOT),
            Act::Sleep => {
                let slept = u64::try_from(one.number(0)).unwrap_or_default() * 1000;
                for running in self.instance.running.values_mut() {
                    running.by_itself += slept;
                    running.limit += slept;
                }
                self.freeze(slept);
                self.instance.disturbed = self.now + slept;
                self.instance.died = self.instance.died.map(|died| died + slept);
            }
            Act::Clock => self.instance.skew += one.number(0) * 1000,
            Act::Stop => {
                let shutdown = one.word(0) == "on";
                if let Some(daemon) = &mut self.instance.daemon {
                    daemon.stopping = Some(shutdown || daemon.stopping == Some(true));
                }
                return self.turn(Input::Stop { shutdown });
            }
            Act::Disk => self.instance.full = one.word(0) == "on",
            Act::Flip => self.instance.flips.push(one.index(0)),
            Act::Twice => self.instance.twice = true,
            Act::Plugin => {
                let milliseconds = u64::try_from(one.number(1)).unwrap_or_default();
                self.instance.habits.push_back((one.word(0), milliseconds));
            }
            Act::Policies => {
                self.instance.mask = one.index(0);
                let policies = in_force(one.index(0), self.flaw == Some(Flaw::TrustsTheTable));
                return self.turn(Input::Policies(policies));
            }
            Act::Network => self.set_network(one.word(0) == "on"),
            Act::Bridge | Act::Cloud | Act::Fault | Act::Cut => {}
        }
        Ok(())
    }

    fn spot_body(&self, one: &Move) -> String {
        let time = self.aws() + SignedDuration::from_secs(one.number(1));
        let time = match one.word(2) {
            "none" => None,
            "unreadable" => Some("soon".to_owned()),
            "fraction" => Some((time + SignedDuration::from_millis(123)).to_string()),
            "far" => Some((time + SignedDuration::from_hours(5)).to_string()),
            _ => Some(time.to_string()),
        };
        json!({ "action": one.word(0), "time": time }).to_string()
    }

    fn stand(&mut self, path: SignalPath, body: Option<String>) {
        match body {
            Some(body) => drop(self.instance.stands.insert(path, body)),
            None => drop(self.instance.stands.remove(&path)),
        }
        if path == SignalPath::SpotInstanceAction {
            self.instance.version += 1;
        }
        self.poll_soon();
    }

    pub(super) fn set_network(&mut self, is: bool) {
        self.instance.network = is;
        self.tell_cloud();
    }

    /// What a person does over the socket.
    fn handle(&mut self, one: &Move) -> Kept {
        let kind = if one.word(0) == "custom" { "custom.deploy" } else { "cloud.spot.interrupt" };
        let drill = one.word(0) == "drill";
        let told = match kind {
            "custom.deploy" => json!({ "type": kind }),
            _ => json!({ "type": kind, "drill": drill, "deadline_seconds": one.number(1) }),
        };
        let now = self.clocks().wall;
        let id = format!("by-hand-{}", self.now).parse().expect("an id");
        let event = wire::plugin::read_custom(&told, now, id).expect("an event by hand");
        self.turn(Input::Heard { event: Box::new(event), channel: Channel::Command })
    }

    /// The daemon ends, whatever it did.
    fn end_life(&mut self) {
        let life = self.instance.life;
        self.instance.daemon = None;
        if self.flaw != Some(Flaw::LeavesPluginsBehind) {
            self.instance.running.retain(|(of, _), _| *of != life);
        }
        if self.flaw == Some(Flaw::SyncsNothing) {
            let text = String::from_utf8_lossy(&self.instance.disk).into_owned();
            let end = text.rfind("\"record\":\"ended\"").unwrap_or_default();
            let line = text.get(..end).and_then(|before| before.rfind('\n'));
            self.instance.disk.truncate(line.map_or(text.len(), |line| line + 1));
        }
        self.instance.waiting.clear();
        self.instance.life += 1;
        self.instance.disturbed = self.now;
    }

    pub(super) fn kill(&mut self) {
        if self.instance.daemon.is_none() {
            return;
        }
        self.end_life();
        self.instance.died = Some(self.now);
        let slow = self.flaw == Some(Flaw::RestartsSlowly);
        self.start_after(if slow { 5000 } else { RESTART });
    }

    fn reboot(&mut self, wait: u64) {
        if self.instance.taken {
            return;
        }
        self.end_life();
        self.instance.running.clear();
        self.instance.died = None;
        self.instance.boots += 1;
        self.instance.booted = self.now;
        self.start_after(wait);
    }

    fn start_after(&mut self, wait: u64) {
        self.instance.numbers.2 += 1;
        self.after(wait, Happening::Start(self.instance.numbers.2));
    }

    /// The daemon starts: reads what its journal has kept, and goes on.
    pub(super) fn start(&mut self, number: u64) -> Kept {
        if number != self.instance.numbers.2 || self.instance.taken {
            return Ok(());
        }
        self.count.starts += 1;
        self.instance.disturbed = self.now;
        let is_damaged = self.damage();
        let (entries, valid) = journal::decode(&self.instance.disk);
        self.instance.disk.truncate(valid);
        self.instance.book = Book::default();
        for entry in &entries {
            self.instance.book.note(entry);
        }
        if is_damaged {
            self.instance.durable = self.instance.book.ended.clone();
        }
        let policies = in_force(self.instance.mask, self.flaw == Some(Flaw::TrustsTheTable));
        let now = self.watch_clocks();
        let facts = snooze_policy::Facts::default();
        let mut watch = Watch::new(facts, self.instance.boot(), Limits::default());
        watch.on(Input::Policies(policies), now);
        let effects = watch.restore(&entries, now);
        let all = entries.len();
        let kept = watch.compact(entries);
        if kept.len() < all && !self.instance.full {
            self.instance.disk = journal::encode(&kept).expect("entries are JSON");
        }
        let interval = Duration::from_secs(1);
        self.instance.daemon = Some(Daemon {
            watch,
            hearing: Hearing::new(interval),
            telling: Telling::default(),
            inbox: Inbox::new(known().identity.instance.clone()),
            is_known: false,
            stopping: None,
            is_deaf: false,
            sending: BTreeSet::new(),
        });
        self.carry_out(effects)?;
        self.turn(Input::Tick)?;
        self.poll_soon();
        self.check_back()
    }

    /// What the disk did to the journal while nobody looked; says whether what was durable may
    /// be lost.
    fn damage(&mut self) -> bool {
        let disk = &mut self.instance.disk;
        if std::mem::take(&mut self.instance.twice) {
            let start = disk.len().saturating_sub(1);
            let lines = disk.get(..start).unwrap_or_default();
            let last = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let line = disk.get(last..).unwrap_or_default().to_vec();
            disk.extend(line);
        }
        let flips = std::mem::take(&mut self.instance.flips);
        for back in &flips {
            let place = disk.len().checked_sub(1 + back / 8);
            if let Some(byte) = place.and_then(|place| disk.get_mut(place)) {
                *byte ^= 1 << (back % 8);
            }
        }
        !flips.is_empty()
    }

    /// The clocks that the watch is given.
    fn watch_clocks(&self) -> snoozed::clock::Now {
        let mut now = self.clocks();
        if self.flaw == Some(Flaw::StopsTheClock) {
            now.boot = now.boot.saturating_sub(Duration::from_secs(20));
        }
        now
    }

    pub(super) fn turn(&mut self, input: Input) -> Kept {
        let now = self.watch_clocks();
        let second = self.now / 1000;
        let Some(daemon) = &mut self.instance.daemon else { return Ok(()) };
        let (known, turns) = self.instance.turns;
        self.instance.turns = (second, if known == second { turns + 1 } else { 1 });
        if turns > TURNS && known == second {
            return Err(self.broken(Promise::Bounds, "the loop turns without a pause"));
        }
        let effects = daemon.watch.on(input, now);
        self.carry_out(effects)
    }

    /// Writes and syncs first, then does; may be killed in between.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Kept {
        let entries: Vec<Entry> = effects.iter().filter_map(Effect::written).cloned().collect();
        for entry in &entries {
            self.check_entry(entry)?;
            self.instance.book.note(entry);
        }
        let bytes = journal::encode(&entries).expect("entries are JSON");
        self.check_silence("the journal", &String::from_utf8_lossy(&bytes))?;
        let kill = if entries.is_empty() { None } else { self.instance.kill_in.take() };
        if let Some((0, percent)) = kill {
            let written = bytes.len() * percent / 100;
            if !self.instance.full {
                self.instance.disk.extend(bytes.get(..written).unwrap_or_default());
            }
            self.kill();
            return Ok(());
        }
        self.instance.waiting.extend(bytes);
        if !self.instance.full {
            let waiting = std::mem::take(&mut self.instance.waiting);
            self.instance.disk.extend(waiting);
            self.instance.durable.extend(self.instance.book.ended.iter().cloned());
        }
        let life = self.instance.life;
        let is_act = |effect: &Effect| effect.written().is_none();
        for (number, effect) in (1..).zip(effects.into_iter().filter(is_act)) {
            if kill.is_some_and(|(after, _)| after <= number) {
                self.kill();
                return Ok(());
            }
            self.effect(effect)?;
            if self.instance.life != life {
                return Ok(());
            }
        }
        if kill.is_some() {
            self.kill();
            return Ok(());
        }
        self.tell_phases(&entries)?;
        self.tell_cloud();
        self.tick_later();
        self.check_bounds()
    }

    fn effect(&mut self, effect: Effect) -> Kept {
        match effect {
            Effect::Start(start) => self.begin(&start)?,
            Effect::Shorten { run, left } => {
                let (life, now) = (self.instance.life, self.now);
                let limit = now + milliseconds(left);
                if let Some(running) = self.instance.running.get_mut(&(life, run)) {
                    running.limit = running.limit.min(limit);
                    let (at, _) = running.end();
                    self.after(at.saturating_sub(now), Happening::Ended { life, run });
                }
            }
            Effect::Exit => {
                let stopping = self.instance.daemon.as_ref().and_then(|daemon| daemon.stopping);
                if !self.instance.running.is_empty() && self.flaw.is_none() {
                    return Err(self.broken(Promise::OneRun, "the daemon left running steps"));
                }
                if stopping == Some(true) {
                    self.reboot(SHUTDOWN);
                } else {
                    self.end_life();
                    self.instance.died = None;
                    self.start_after(RESTART);
                }
            }
            Effect::Write(_) | Effect::Ignored { .. } => {}
        }
        Ok(())
    }

    /// A plugin begins.
    fn begin(&mut self, start: &Start) -> Kept {
        let key: Key = (start.incident.to_string(), start.step.to_string());
        self.check_start(start, &key)?;
        self.check_silence("an event of a plugin", &start.event.to_string())?;
        self.count.runs += 1;
        if self.flaw == Some(Flaw::WaitsForTheCloud) && !self.instance.network {
            return Ok(());
        }
        let (how, takes) = self.instance.habits.pop_front().unwrap_or(("done", 800));
        let running = Running {
            key,
            how,
            by_itself: self.now + takes,
            limit: self.now + milliseconds(start.budget),
            grace: milliseconds(start.grace),
        };
        let (life, run) = (self.instance.life, start.run);
        let (at, _) = running.end();
        self.instance.running.insert((life, run), running);
        self.after(at.saturating_sub(self.now), Happening::Ended { life, run });
        Ok(())
    }

    /// A plugin ends, or had more time than was thought.
    pub(super) fn plugin_ended(&mut self, life: u64, run: u64) -> Kept {
        let Some(running) = self.instance.running.get(&(life, run)) else { return Ok(()) };
        let (at, mut kind) = running.end();
        if at > self.now {
            return Ok(());
        }
        let key = running.key.clone();
        self.instance.running.remove(&(life, run));
        if kind == Ending::Done {
            self.instance.done.insert(key);
        }
        if life != self.instance.life {
            return Ok(());
        }
        if kind == Ending::TimedOut && self.flaw == Some(Flaw::CallsLateDone) {
            kind = Ending::Done;
        }
        let text = if self.flaw == Some(Flaw::HidesNothing) { CANARY } else { "" };
        let outcome = Box::new(StepOutcome::plain(kind, text));
        self.turn(Input::Ended { run, outcome })
    }

    fn tick_later(&mut self) {
        let now = self.clocks();
        let Some(daemon) = &self.instance.daemon else { return };
        let waits = |known: &snoozed::incident::Incident| {
            known.closed.is_none() || (known.is_loss() && !known.survived)
        };
        let wake = daemon.watch.wake(now).map_or(30_000, milliseconds).clamp(5, 30_000);
        let wake = if self.flaw == Some(Flaw::TurnsWithoutPause) { 1 } else { wake };
        if daemon.watch.incidents().any(waits) {
            self.instance.numbers.1 += 1;
            self.after(wake, Happening::Tick(self.instance.numbers.1));
        }
    }

    pub(super) fn tick(&mut self, number: u64) -> Kept {
        if number != self.instance.numbers.1 {
            return Ok(());
        }
        self.turn(Input::Tick)
    }

    /// What hinders the instance itself is over.
    pub(super) fn mend_instance(&mut self) -> Kept {
        self.instance.full = false;
        self.instance.trouble = None;
        self.instance.flips.clear();
        self.instance.kill_in = None;
        self.poll_soon();
        self.turn(Input::Tick)
    }

    /// Nothing is open, and nothing is still to come of what is closed.
    pub(super) fn instance_is_quiet(&self) -> bool {
        if self.instance.taken {
            return true;
        }
        let now = self.clocks().boot;
        let Some(daemon) = &self.instance.daemon else { return false };
        let all_over = daemon.watch.incidents().all(|known| {
            let is_past = known.due.is_none_or(|due| now > due + Duration::from_secs(95));
            let is_old = !known.key.as_str().contains(self.instance.boot().as_str());
            known.closed.is_some() && (is_past || is_old || !known.is_loss() || known.survived)
        });
        daemon.is_known && all_over
    }
}
