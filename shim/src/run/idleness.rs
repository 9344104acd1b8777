//! What the loop has to do with idleness.
//!
//! ```text
//!  each turn --> look (a thread) --> figures --> votes of plugins --> Idle::on --> tell, warn, act
//! ```

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use snooze_event::{Event, EventId, EventType};
use snooze_policy::Facts;
use snooze_policy::idle::{Effect, Settings as IdleSettings, kept_awake};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::Daemon;
use super::stop::{Stop, StopError};
use crate::clock::Now;
use crate::idle::alarms::Alarms;
use crate::idle::look::{Ask, Look, Looked};
use crate::idle::monitor::Monitor;
use crate::plugins::Helper;
use crate::record::Outcome;
use crate::settings::{LocalAction, Settings};
use crate::watch::{Channel, Input};

/// How often the system is looked at for its alarms.
const SYSTEM: Duration = Duration::from_secs(15);
/// How long telling the users may take.
const TELLING: Duration = Duration::from_secs(5);
/// How long the program of a local action may take.
const ACTING: Duration = Duration::from_secs(300);
/// A start that was ordered so long before or after the kernel came up is that of this boot.
const BOOTING: Duration = Duration::from_secs(300);
/// Who tells of idleness: this instance.
const SHIM: &str = "cloudsnooze.shim";
/// Who holds a lock on it keeps the instance up: `flock /run/cloudsnooze/keep-awake COMMAND`.
const LOCK: &str = "keep-awake";

/// The parts that see idleness, for the loop.
#[derive(Debug)]
pub(crate) struct Idleness {
    pub(crate) monitor: Monitor,
    /// `None` where no thread could be started.
    look: Option<Look>,
    alarms: Option<Alarms>,
    system_at: Duration,
    lock: PathBuf,
    local: Local,
    errands: JoinSet<()>,
    /// The tags of the start are read.
    is_known: bool,
}

/// How far the local action of this idle spell is.
#[derive(Debug, PartialEq, Eq)]
enum Local {
    /// Nothing is to be done.
    Nothing,
    /// The handlers of the event run first.
    Handling(EventId),
    /// It was tried: once for each spell.
    Over,
}

impl Idleness {
    pub(super) fn new(settings: &Settings, boot: &str, now: Now) -> (Self, mpsc::Receiver<Looked>) {
        let directory = &settings.state_directory;
        let monitor = Monitor::new(settings.idle.clone(), boot, directory, now);
        let (look, looked) = match Look::start(Path::new("/")) {
            Ok((look, looked)) => (Some(look), looked),
            Err(error) => {
                error!(%error, "idleness cannot be measured");
                (None, mpsc::channel(1).1)
            }
        };
        let lock = settings.run_directory.join(LOCK);
        if let Err(error) = make_lock(&lock) {
            warn!(%error, file = %lock.display(), "no lock file to keep the instance up with");
        }
        let alarms = &settings.alarms;
        let idleness = Self {
            monitor,
            look,
            alarms: alarms.any_enabled().then(|| Alarms::new(alarms.clone())),
            system_at: Duration::ZERO,
            lock,
            local: Local::Nothing,
            errands: JoinSet::new(),
            is_known: false,
        };
        (idleness, looked)
    }

    /// Asks for what is due.
    fn ask(&mut self, now: Now) {
        while self.errands.try_join_next().is_some() {}
        let Some(look) = &self.look else { return };
        let system = self.alarms.is_some() && now.boot >= self.system_at;
        let wanted = self.monitor.begins(now);
        if !system && !wanted {
            return;
        }
        let wanted = wanted.then(|| self.monitor.idle().settings().wanted.clone());
        if look.ask(Ask { at: now.boot, wanted, system }) && system {
            self.system_at = now.boot + SYSTEM;
        }
    }

    /// Tells whoever is logged in.
    fn tell_users(&mut self, text: String) {
        let mut wall = Command::new("wall");
        wall.arg(text).stdout(Stdio::null()).stderr(Stdio::null());
        self.run("telling the users", wall, TELLING);
    }

    /// Runs a program that nothing waits for.
    fn run(&mut self, what: &'static str, mut command: Command, limit: Duration) {
        command.stdin(Stdio::null()).kill_on_drop(true);
        let (mut child, helper) = match Helper::start(|| command.spawn(), Child::id) {
            Ok(started) => started,
            Err(error) => {
                error!(%error, "{what}: the program did not start");
                return;
            }
        };
        self.errands.spawn(async move {
            match timeout(limit, child.wait()).await {
                Ok(Ok(status)) if status.success() => info!("{what}: done"),
                Ok(Ok(status)) => error!(%status, "{what}: the program failed"),
                Ok(Err(error)) => error!(%error, "{what}: the program was lost"),
                Err(_elapsed) => error!(?limit, "{what}: the program takes too long"),
            }
            drop(helper);
        });
    }

    fn stop(&mut self, stop: Result<Stop, StopError>) {
        self.errands.spawn(async move {
            let stopped = async { stop?.run().await };
            match timeout(ACTING, Box::pin(stopped)).await {
                Ok(Ok(())) => info!("local action: EC2 stops this instance"),
                Ok(Err(error)) => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    error!(error, "local action: this instance is not stopped");
                }
                Err(_elapsed) => error!(limit = ?ACTING, "local action: EC2 does not answer"),
            }
        });
    }

    fn act(&mut self, action: &LocalAction, stop: impl FnOnce() -> Result<Stop, StopError>) {
        let command = match action {
            LocalAction::StopInstance => return self.stop(stop()),
            LocalAction::PowerOff => {
                let mut command = Command::new("systemctl");
                command.arg("poweroff");
                command
            }
            LocalAction::Script(script) => {
                if let Err(text) = is_trusted(script) {
                    error!(script = %script.display(), text, "local action refused");
                    return;
                }
                Command::new(script)
            }
        };
        self.run("local action", command, ACTING);
    }
}

impl Daemon {
    /// Looks when it is time, and acts on what is known.
    pub(super) fn watch_idleness(&mut self) {
        let now = Now::read();
        self.learn_of_restart();
        self.idleness.ask(now);
        let holds = self.holds(now);
        let effects = self.idleness.monitor.judge(holds, now);
        for effect in effects {
            self.tell_idleness(effect, now);
        }
        self.act_locally();
    }

    /// What the thread saw.
    pub(super) fn looked(&mut self, looked: Looked) {
        let now = Now::read();
        if let Some(readings) = looked.readings {
            let (entries, metrics) = self.idleness.monitor.measured(readings, now);
            for entry in entries {
                self.host.check_idle(&entry, &metrics);
            }
        }
        let alarms = self.idleness.alarms.as_mut().zip(looked.system);
        for event in alarms.map(|(alarms, system)| alarms.on(&system, now)).unwrap_or_default() {
            let event = self.own(event);
            let data = Value::Object(event.data.clone());
            warn!(kind = %event.kind, %data, "system event");
            self.tally.alarm(&event);
            if let Some(cloud) = &self.cloud {
                cloud.tell(&event);
            }
            self.hear_own(event);
        }
    }

    /// What nobody handles is logged, and opens no incident.
    fn hear_own(&mut self, event: Event) {
        if self.watch.is_handled(&event) {
            self.turn(Input::Heard { event: Box::new(event), channel: Channel::Own });
        }
    }

    /// What keeps the instance up, beside what is measured.
    fn holds(&self, now: Now) -> Vec<String> {
        let mut holds = Vec::new();
        if let Some(until) = self.idleness.monitor.awake_until(now) {
            holds.push(format!("`snooze wake` keeps it up until {until}"));
        }
        let prefix = &self.idleness.monitor.idle().settings().tag_prefix;
        holds.extend(kept_awake(&self.watch.facts().tags, prefix, now.wall));
        if is_locked(&self.idleness.lock) {
            holds.push(format!("a program holds a lock on {}", self.idleness.lock.display()));
        }
        let is_other = |kind: &EventType| *kind != EventType::InstanceIdle;
        let open = self.watch.incidents().filter(|known| known.closed.is_none());
        if let Some(known) = open.into_iter().find(|known| is_other(&known.event.kind)) {
            holds.push(format!("the incident `{}` is open", known.key));
        }
        holds
    }

    fn tell_idleness(&mut self, effect: Effect, now: Now) {
        let naptime = self.idleness.monitor.idle().settings().naptime.as_secs() / 60;
        match effect {
            Effect::Warn { left } => {
                let left = left.as_secs();
                info!(left_seconds = left, "idle for the naptime; users are warned");
                self.idleness.tell_users(format!(
                    "CloudSnooze: nothing has gone on here for {naptime} minutes. In {left} \
                     seconds this instance counts as idle and may be stopped. Any activity, or \
                     `snooze wake 2h`, keeps it up."
                ));
            }
            Effect::CalledOff { reason } => {
                info!(reason, "called off: the instance is in use");
                let text = "CloudSnooze: this instance is in use and stays up.";
                self.idleness.tell_users(text.to_owned());
            }
            Effect::Idle { heartbeat } => {
                let report = self.idleness.monitor.report();
                if !heartbeat {
                    let reason = report.get("reason").and_then(Value::as_str);
                    info!(reason, "instance idle");
                }
                self.put_idleness(EventType::InstanceIdle, report.clone(), now);
                if !heartbeat && self.settings.local_action.is_some() {
                    self.begin_local_action(report, now);
                }
            }
            Effect::Active { reason } => {
                info!(reason, "instance active");
                let report = self.idleness.monitor.report();
                self.put_idleness(EventType::InstanceActive, report, now);
                self.idleness.local = Local::Nothing;
            }
        }
    }

    fn put_idleness(&self, kind: EventType, data: Map<String, Value>, now: Now) {
        if let Some(cloud) = &self.cloud {
            cloud.tell_idleness(kind, now.wall, data);
        }
    }

    /// The handlers of local policies run before the action; it needs them to succeed.
    fn begin_local_action(&mut self, data: Map<String, Value>, now: Now) {
        let Ok(id) = uuid::Uuid::new_v4().to_string().parse::<EventId>() else { return };
        let event = Event::new(EventType::InstanceIdle, SHIM, now.wall, id.clone());
        let event = self.own(Event { data, ..event });
        self.idleness.local = Local::Handling(id);
        self.hear_own(event);
    }

    fn act_locally(&mut self) {
        let Local::Handling(id) = &self.idleness.local else { return };
        let known = self.watch.incidents().find(|known| known.event.id == *id);
        let outcome = match known.map(|known| &known.closed) {
            Some(None) => return,
            Some(Some(closed)) => Some(closed.outcome),
            None => None,
        };
        self.idleness.local = Local::Over;
        if outcome.is_some_and(|outcome| outcome != Outcome::Done) {
            warn!("local action left out: a handler of `instance.idle` did not succeed");
            return;
        }
        if !self.idleness.monitor.idle().is_idle() {
            info!("local action left out: the instance is in use again");
            return;
        }
        let Some(action) = self.settings.local_action.clone() else { return };
        info!(?action, "local action: the instance is idle");
        let stop = || {
            let settings = &self.settings;
            Stop::of(self.watch.facts(), settings.metadata(), settings.unusual_metadata())
        };
        self.idleness.act(&action, stop);
    }

    /// Whether a command of the cloud side is about an idleness that is over.
    pub(super) fn is_awake_again(&self, event: &Event) -> bool {
        event.kind == EventType::InstanceIdle
            && !event.drill
            && !self.idleness.monitor.idle().is_idle()
    }

    /// The settings of idleness changed.
    pub(super) fn set_idleness(&mut self, settings: IdleSettings) {
        if *self.idleness.monitor.idle().settings() != settings {
            self.idleness.monitor.set(settings);
        }
    }

    /// An instance that was stopped for being idle, and started again, is left alone for longer.
    fn learn_of_restart(&mut self) {
        let facts = self.watch.facts();
        if self.idleness.is_known || facts.id.is_none() {
            return;
        }
        self.idleness.is_known = true;
        let prefix = &self.idleness.monitor.idle().settings().tag_prefix;
        let tag = |name: &str| facts.tags.get(&format!("{prefix}:{name}"));
        // Whoever started it may have set the tags right before this daemon came up.
        let restarted = tag("RestartTimestamp").and_then(|at| at.parse().ok());
        let is_stopped = tag("Status").is_some_and(|word| word.eq_ignore_ascii_case("stopped"));
        if is_stopped || restarted.is_some_and(|at| is_of_this_boot(at, Now::read())) {
            let stopped_at = tag("StopTimestamp").cloned().unwrap_or_default();
            let reason = tag("StopReason").cloned().unwrap_or_default();
            info!(stopped_at, reason, "started again after it was stopped for being idle");
            self.idleness.monitor.restarted();
        }
    }

    /// An event that this instance tells of itself.
    fn own(&self, event: Event) -> Event {
        let Facts { id, account, region, .. } = self.watch.facts().clone();
        Event { instance: id, account, region, ..event }
    }
}

/// Whether an instance that was started at this moment is in the boot of that start.
fn is_of_this_boot(started: Timestamp, now: Now) -> bool {
    let up = now.wall.checked_sub(now.boot).unwrap_or(now.wall);
    up.duration_since(started).unsigned_abs() <= BOOTING
}

/// The lock is everybody's: whoever may run a program here keeps the instance up with it.
fn make_lock(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o666).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o666))
}

fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let taken = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    taken == Err(rustix::io::Errno::WOULDBLOCK)
}

/// A program that others can change does not run as the daemon.
fn is_trusted(script: &Path) -> Result<(), String> {
    let facts = std::fs::metadata(script).map_err(|error| error.to_string())?;
    let own = rustix::process::geteuid().as_raw();
    if facts.mode() & 0o022 != 0 {
        return Err("others can write to it; take that away with `chmod go-w`".to_owned());
    }
    if facts.uid() != 0 && facts.uid() != own {
        return Err("it belongs to another user".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_somebody_holds_keeps_an_instance_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LOCK);
        assert!(!is_locked(&path), "there is no file");
        make_lock(&path).unwrap();
        assert!(!is_locked(&path));
        let file = File::open(&path).unwrap();
        for kind in
            [rustix::fs::FlockOperation::LockShared, rustix::fs::FlockOperation::LockExclusive]
        {
            rustix::fs::flock(&file, kind).unwrap();
            assert!(is_locked(&path));
        }
        drop(file);
        // A child of another test may have it too, until it is the program that it is to be.
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while is_locked(&path) {
            assert!(std::time::Instant::now() < end, "still locked");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_start_is_of_this_boot_where_the_kernel_came_up_a_moment_later() {
        let now = |boot| Now { boot: Duration::from_secs(boot), ..Now::read() };
        let started = now(0).wall - jiff::SignedDuration::from_mins(20);
        assert!(is_of_this_boot(started, now(19 * 60)));
        assert!(!is_of_this_boot(started, now(10 * 60)), "it was booted again later");
        assert!(!is_of_this_boot(started, now(60 * 60)), "it has run for longer");
    }

    #[test]
    fn a_program_that_others_can_change_is_no_local_action() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stop");
        assert!(is_trusted(&path).is_err());
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
        mode(0o755).unwrap();
        assert_eq!(is_trusted(&path), Ok(()));
        mode(0o775).unwrap();
        assert!(is_trusted(&path).is_err());
    }
}
