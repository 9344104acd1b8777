//! The one loop: inputs to the [`Watch`], its effects to the journal, the plugins and the log.
//!
//! ```text
//!  metadata service --+                            +--> journal (synced first)
//!  local socket ------+--> Input --> Watch::on --> +--> plugin host --> Input::Ended
//!  signals, time -----+                            +--> log, sd_notify, exit
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use snooze_event::{BootId, Cause};
use snooze_imds::{Client, SignalPath};
use snooze_policy::Facts;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info, warn};

use crate::answer;
use crate::clock::Now;
use crate::cloud::{self, Cloud, News};
use crate::idle::look::Looked;
use crate::journal::Journal;
use crate::logging;
use crate::metrics::{self, Tally};
use crate::notify::Notify;
use crate::plugins::{self, Helper, Host};
use crate::record::Entry;
use crate::sandbox::Groups;
use crate::settings::{self, Environment, Settings};
use crate::socket::{self, Asked};
use crate::sources::{Heard, ImdsSource, Polls};
use crate::traces::Traces;
use crate::watch::{Channel, Effect, Input, Watch};
use cloud_side::{Outbox, Shelf};
use idleness::Idleness;

/// How many signals may wait for the loop.
const QUEUE: usize = 100;
/// The loop turns at least this often, so that deadlines, expiries and the watchdog are seen to.
const TURN: Duration = Duration::from_secs(1);
/// How long plugins have to end when the daemon does.
const PLUGIN_GRACE: Duration = Duration::from_secs(2);

/// A journal smaller than this is not worth compacting.
const SMALL_JOURNAL: u64 = 1 << 20;

/// How long the lock of a killed daemon may still be held.
const LOCK_LIMIT: Duration = Duration::from_millis(500);

/// The daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another daemon holds the lock of the state directory.
    #[error("another snoozed ({0}) runs with the state directory `{1}`")]
    SecondInstance(String, PathBuf),
    /// A directory or file that the daemon lives on cannot be used.
    #[error("cannot use `{0}`")]
    Place(PathBuf, #[source] io::Error),
    /// The metadata client cannot be made.
    #[error("no client for the metadata service can be made")]
    Metadata(#[source] snooze_imds::SettingsError),
    /// The system refused what every daemon needs.
    #[error("cannot {0}")]
    System(&'static str, #[source] io::Error),
}

/// Runs the daemon until it is asked to end.
///
/// # Errors
/// When it cannot start. Once it is ready, nothing but a signal ends it.
pub async fn run(settings: Settings, environment: Environment) -> Result<(), RunError> {
    let _lock = lock(&settings.state_directory).await?;
    // Members of the socket's group have to come through to it; they need not list it.
    make_directory(&settings.run_directory, 0o711)?;
    let (asked, questions) = mpsc::channel(QUEUE);
    let path = &settings.socket.path;
    let group = settings.socket.group;
    let listener = socket::bind(path, settings.socket.mode, group)
        .map_err(|source| RunError::Place(path.clone(), source))?;
    let system = |what| move |source| RunError::System(what, source);
    let signals = Signals::listen().map_err(system("listen to signals"))?;
    plugins::adopt_orphans().map_err(system("become the reaper of plugins' children"))?;
    if let Err(source) = plugins::go_first() {
        info!(%source, "the daemon stands in line with all other processes");
    }
    match Groups::enter() {
        Ok(is_delegated) => debug!(is_delegated, "control group"),
        Err(error) => warn!(%error, "plugins get no control groups"),
    }
    let (reports, reported) = mpsc::channel(QUEUE);
    let (heard, hearing) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    let mut deaf = None;
    if let Some(address) = settings.metrics.address {
        match metrics::serve::bind(address).await {
            Ok(listener) => {
                let address = listener.local_addr().ok().map(tracing::field::display);
                info!(address, "metrics are served");
                tasks.spawn(metrics::serve::serve(listener, asked.clone()));
            }
            // What saves data does not hang on who watches it.
            Err(error) => {
                error!(%address, %error, "metrics are not served");
                deaf = Some(("metrics".to_owned(), format!("`{address}`: {error}")));
            }
        }
    }
    tasks.spawn(socket::serve(listener, asked));
    let mut polls = Arc::default();
    if settings.sources.imds_enabled {
        let client = Client::new(settings.metadata()).map_err(RunError::Metadata)?;
        let source = ImdsSource::new(client, settings.sources.polling_interval);
        polls = source.polls();
        tasks.spawn(source.run(heard));
    }
    let host = Host::new(settings.host(&environment), reports);
    // Without the setting, nobody tells anything here.
    let mut news = mpsc::channel(1).1;
    let cloud = settings.cloud.clone().map(|wanted| {
        let metadata = settings.unusual_metadata();
        let directory = settings.state_directory.clone();
        let signatures = settings.signatures.clone();
        let (cloud, link, told) =
            Cloud::new(wanted, metadata, directory, signatures, host.fetched(), Now::read().wall);
        news = told;
        tasks.spawn(cloud::run(link));
        cloud
    });
    let (idleness, mut looked) = Idleness::new(&settings, boot_id()?.as_str(), Now::read());
    let mut daemon = Daemon::restore(settings, environment, host, cloud, idleness)?;
    daemon.polls = polls;
    daemon.health.extend(deaf);
    daemon.set_entries();
    daemon.turn(Input::Tick);
    daemon.notify.ready();
    info!(
        instance = daemon.watch.facts().id.as_ref().map(tracing::field::display),
        policies = daemon.watch.policies().len(),
        "ready"
    );
    daemon.listen(signals, hearing, reported, questions, &mut looked, &mut news).await;
    daemon.notify.stopping();
    daemon.idleness.monitor.keep(Now::read());
    daemon.farewell(&mut news).await;
    daemon.host.stop(PLUGIN_GRACE).await;
    tasks.shutdown().await;
    daemon.traces.end();
    let _ = fs::remove_file(&daemon.settings.socket.path);
    info!("ended");
    Ok(())
}

/// The daemon's parts, for the loop and for answers.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) settings: Settings,
    pub(crate) environment: Environment,
    pub(crate) watch: Watch,
    pub(crate) host: Host,
    pub(crate) health: Vec<(String, String)>,
    /// What is wrong with policies and settings: what was left out at the start, and why the
    /// last reload was refused.
    pub(crate) refused: Vec<String>,
    pub(crate) durable: bool,
    /// What is counted of incidents and steps.
    pub(crate) tally: Tally,
    traces: Traces,
    /// What is counted of the metadata service.
    pub(crate) polls: Arc<Polls>,
    pub(crate) started: Now,
    /// The cloud side; `None` when it is off.
    pub(crate) cloud: Option<Cloud>,
    pub(crate) shelf: Shelf,
    pub(crate) idleness: Idleness,
    /// Secrets whose new values wait for the end of an incident: its handlers must not go in the
    /// middle of it.
    renewed: BTreeSet<String>,
    notify: Notify,
    journal: Option<Journal>,
    /// The length of the journal at which it is compacted.
    compact_at: u64,
    exit: bool,
    /// The whole machine goes down.
    shutdown: bool,
    outbox: Outbox,
}

struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    /// These would end it, and mean nothing here.
    _unheard: [Signal; 3],
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            _unheard: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
                signal(SignalKind::alarm())?,
            ],
        })
    }
}

impl Daemon {
    /// Reads policies and journal; goes on with what an earlier run left open.
    fn restore(
        settings: Settings,
        environment: Environment,
        host: Host,
        cloud: Option<Cloud>,
        idleness: Idleness,
    ) -> Result<Self, RunError> {
        let now = Now::read();
        let mut watch = Watch::new(Facts::default(), boot_id()?, settings.limits);
        let (policies, faults) = settings.policies();
        for fault in &faults {
            error!(%fault, "policy left out");
        }
        let kept = settings.cloud.as_ref().filter(|cloud| cloud.parts.policies);
        let table = kept.and_then(|cloud| {
            cloud::load(&settings.state_directory, &cloud.stack, &settings.signatures)
        });
        let mut shelf = Shelf::new(policies, table);
        watch.on(Input::Policies(shelf.policies(&settings, watch.facts(), now.wall)), now);
        let (journal, entries) = match Journal::open(&settings.state_directory) {
            Ok((journal, recovered)) => {
                if recovered.dropped_bytes > 0 {
                    warn!(bytes = recovered.dropped_bytes, "torn end of the journal dropped");
                }
                (Some(journal), recovered.entries)
            }
            Err(error) => {
                error!(%error, "journal cannot be opened; going on without");
                (None, Vec::new())
            }
        };
        let effects = watch.restore(&entries, now);
        let mut daemon = Self {
            durable: journal.is_some(),
            tally: Tally::default(),
            traces: Traces::to(settings.traces.as_deref()),
            polls: Arc::default(),
            settings,
            notify: Notify::to(environment.variables.get("NOTIFY_SOCKET").map(String::as_str)),
            environment,
            watch,
            host,
            health: Vec::new(),
            refused: faults,
            started: now,
            cloud,
            shelf,
            idleness,
            renewed: BTreeSet::new(),
            journal,
            compact_at: SMALL_JOURNAL,
            exit: false,
            shutdown: false,
            outbox: Outbox::default(),
        };
        daemon.compact(entries);
        daemon.carry_out(effects);
        Ok(daemon)
    }

    fn compact(&mut self, entries: Vec<Entry>) {
        let before = entries.len();
        let kept = self.watch.compact(entries);
        let Some(journal) = &mut self.journal else { return };
        if kept.len() < before
            && let Err(error) = journal.replace(&kept)
        {
            warn!(%error, "journal not compacted");
        }
        self.compact_at = journal.length().saturating_mul(2).max(SMALL_JOURNAL);
    }

    /// Compacts a journal that has grown, when nothing is urgent.
    fn compact_when_large(&mut self) {
        let Some(journal) = &self.journal else { return };
        let is_busy = self.watch.incidents().any(|incident| incident.closed.is_none());
        if is_busy || journal.length() < self.compact_at {
            return;
        }
        match journal.entries() {
            Ok(entries) => self.compact(entries),
            Err(error) => {
                warn!(%error, "journal not compacted");
                self.compact_at = self.compact_at.saturating_mul(2);
            }
        }
    }

    /// One process for each handler of each policy that is on.
    fn entries(&self) -> Vec<plugins::Entry> {
        let policies = self.watch.policies().iter().filter(|policy| policy.enabled);
        let steps = policies.flat_map(snooze_policy::all_steps);
        let entry = |step: snooze_policy::Step| plugins::Entry {
            id: step.id.to_string(),
            plugin: step.plugin,
            config: step.config,
        };
        let voters = self.settings.voters().into_iter();
        steps.map(entry).chain(voters).collect()
    }

    async fn listen(
        &mut self,
        mut signals: Signals,
        mut heard: mpsc::Receiver<Heard>,
        mut reported: mpsc::Receiver<plugins::Report>,
        mut questions: mpsc::Receiver<Asked>,
        looked: &mut mpsc::Receiver<Looked>,
        news: &mut mpsc::Receiver<News>,
    ) {
        let mut turned = Instant::now();
        let mut asked = JoinSet::new();
        while !self.exit {
            let wait = self.watch.wake(Now::read()).map_or(TURN, |wake| wake.clamp(MOMENT, TURN));
            let due = (Instant::now() + wait).min(turned + TURN);
            tokio::select! {
                biased;
                Some(report) = reported.recv() => self.reported(report),
                Some(told) = heard.recv() => self.hear(told),
                Some(shutdown) = asked.join_next() => self.stop(shutdown.unwrap_or(false)),
                // Beside the loop, which may have a notice to hear meanwhile.
                _ = signals.term.recv(), if asked.is_empty() => drop(asked.spawn(shutting_down())),
                _ = signals.int.recv(), if asked.is_empty() => drop(asked.spawn(shutting_down())),
                _ = signals.hup.recv() => self.reload(),
                // Before the questions: however many there are, time goes on.
                () = tokio::time::sleep_until(due) => {
                    self.turn(Input::Tick);
                    self.compact_when_large();
                    plugins::reap_strays().await;
                    turned = Instant::now();
                }
                Some(told) = news.recv() => self.learn(told),
                Some(seen) = looked.recv() => self.looked(seen),
                Some(question) = questions.recv() => self.answer(question),
            }
            self.watch_idleness();
            self.tell_cloud();
            self.notify.alive(Now::read().boot);
        }
    }

    /// One input through the watch, and what follows from it.
    pub(crate) fn turn(&mut self, input: Input) {
        let effects = self.watch.on(input, Now::read());
        self.carry_out(effects);
    }

    /// Writes and syncs first: no step begins of which a restart would not know.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        let entries: Vec<Entry> = effects.iter().filter_map(Effect::written).cloned().collect();
        self.write(&entries);
        for effect in effects {
            self.act(effect);
        }
        if self.cloud.is_some() {
            self.outbox.note(&entries);
        }
        for entry in &entries {
            let known = self.watch.incidents().find(|known| known.key.as_str() == entry.incident);
            if let Some(known) = known {
                self.tally.note(entry, known);
                let facts = self.watch.facts();
                self.traces.note(entry, known, facts, self.cloud.is_some());
            }
            logging::tell(entry, known.map(|known| &known.event));
        }
    }

    /// How long the journal is; `None` where there is none.
    pub(crate) fn journal_length(&self) -> Option<u64> {
        self.journal.as_ref().map(Journal::length)
    }

    fn write(&mut self, entries: &[Entry]) {
        let Some(journal) = &mut self.journal else { return };
        let written = journal.append(entries);
        if let Err(error) = &written
            && self.durable
        {
            error!(%error, "journal cannot be written; going on without");
        }
        self.durable = written.is_ok();
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Write(_) => {}
            Effect::Start(start) => self.host.handle(plugins::Run {
                run_id: start.run,
                entry_id: start.step.to_string(),
                event: start.event,
                budget: start.budget,
                grace: start.grace,
            }),
            Effect::Shorten { run, left } => self.host.shorten(run, left),
            Effect::Ignored { event, why } => {
                info!(event_id = %event, why, "event ignored");
            }
            Effect::Exit => self.exit = true,
        }
    }

    fn reported(&mut self, report: plugins::Report) {
        match report {
            plugins::Report::Ended { run_id, outcome } => {
                self.turn(Input::Ended { run: run_id, outcome: Box::new(outcome.into()) });
            }
            plugins::Report::State { entry_id, state } => {
                debug!(step = entry_id, state = state.as_str(), "plugin");
            }
            plugins::Report::Vote { entry_id, vote } => self.idleness.monitor.voted(entry_id, vote),
            plugins::Report::Started { .. } => {}
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Event(event) => {
                self.turn(Input::Heard { event, channel: Channel::Metadata });
            }
            Heard::Gone(path) => {
                if let Some(cause) = cause_of(path) {
                    self.turn(Input::Gone(cause));
                }
            }
            Heard::Health { source, ok, detail } => self.note_health(source, ok, detail),
            Heard::Facts(facts) => {
                self.turn(Input::Facts(Box::new(known(*facts))));
                self.know();
            }
        }
    }

    fn note_health(&mut self, source: &str, ok: bool, detail: String) {
        self.health.retain(|(known, _)| known != source);
        if ok {
            info!(source, "source works");
        } else {
            warn!(source, %detail, "source does not work");
            self.health.push((source.to_owned(), detail));
        }
    }

    fn stop(&mut self, shutdown: bool) {
        info!(shutdown, "asked to end");
        self.shutdown |= shutdown;
        self.turn(Input::Stop { shutdown });
    }

    /// Takes new policies up, all or none: one that went bad leaves the good one in force.
    fn reload(&mut self) {
        let taken_up = settings::read(self.settings.file.as_deref())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
            .and_then(|new| match new.policies() {
                (policies, faults) if faults.is_empty() => Ok((new, policies)),
                (_, faults) => Err(faults),
            });
        match taken_up {
            Ok((new, policies)) => {
                self.settings.replace_policies(new);
                self.set_idleness(self.settings.idle.clone());
                self.shelf.local = policies;
                self.take_policies_up();
                info!(policies = self.watch.policies().len(), "policies read again");
                self.refused.clear();
            }
            Err(faults) => {
                let faults: Vec<String> = faults;
                for fault in &faults {
                    error!(%fault, "settings not taken up; those in force stay");
                }
                let told = faults.into_iter().map(|fault| format!("reload refused: {fault}"));
                self.refused = told.collect();
            }
        }
    }

    fn answer(&mut self, asked: Asked) {
        let reply = answer::answer(self, asked.request);
        // A client that went away meanwhile needs no reply.
        let _ = asked.reply.send(reply);
    }
}

/// The cause of the notices that stand at a path.
fn cause_of(path: SignalPath) -> Option<Cause> {
    match path {
        SignalPath::SpotInstanceAction => Some(Cause::Spot),
        SignalPath::TargetLifecycleState => Some(Cause::Lifecycle),
        SignalPath::MaintenanceScheduled => Some(Cause::Maintenance),
        SignalPath::Rebalance => None,
    }
}

/// What policies may ask of the instance.
fn known(facts: snooze_imds::Facts) -> Facts {
    let tags = facts.tags.unwrap_or_default();
    Facts {
        id: Some(facts.identity.instance),
        kind: facts.identity.instance_type,
        zone: facts.identity.zone,
        region: facts.identity.region,
        account: facts.identity.account,
        lifecycle: facts.life_cycle,
        asg: tags.get("aws:autoscaling:groupName").cloned(),
        tags,
    }
}

/// How long systemd may take to say whether the machine goes down: it is busy then, and with what
/// a shutdown leaves the handlers it fits into the unit's `TimeoutStopSec=`.
pub const SYSTEMD: Duration = Duration::from_secs(20);
/// The shortest wait of the loop.
const MOMENT: Duration = Duration::from_millis(5);

/// Whether the whole machine goes down; systemd knows.
async fn shutting_down() -> bool {
    let mut systemctl = Command::new("systemctl");
    systemctl.arg("is-system-running").kill_on_drop(true);
    systemctl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let answer = match Helper::start(|| systemctl.spawn(), Child::id) {
        Ok((child, helper)) => {
            let answer = timeout(SYSTEMD, child.wait_with_output()).await;
            drop(helper);
            answer.ok().and_then(Result::ok).map(|output| output.stdout)
        }
        // There is no systemd.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        Err(_) => None,
    };
    match answer.as_deref().map(<[u8]>::trim_ascii) {
        None | Some(b"" | b"unknown") => {
            warn!("systemd does not say whether the machine goes down: taken for a restart");
            false
        }
        Some(state) => state == b"stopping",
    }
}

fn boot_id() -> Result<BootId, RunError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let place = |source| RunError::Place(path.to_owned(), source);
    let text = fs::read_to_string(path).map_err(place)?;
    text.trim().parse().map_err(|source| place(io::Error::other(source)))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), RunError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| RunError::Place(path.to_owned(), source))
}

/// Makes sure that no other daemon works with the same state. The directory itself is locked, so
/// that a disk that cannot be written does not matter; the file `lock` in it says who holds it.
///
/// A daemon that was killed while it started a plugin leaves the lock behind for as long as the
/// plugin's keeper needs to notice.
async fn lock(directory: &Path) -> Result<File, RunError> {
    make_directory(directory, 0o700)?;
    let place = |source| RunError::Place(directory.to_owned(), source);
    let file = File::open(directory).map_err(place)?;
    let name = directory.join("lock");
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    let end = Instant::now() + LOCK_LIMIT;
    while rustix::fs::flock(&file, exclusive).is_err() {
        if Instant::now() < end {
            tokio::time::sleep(MOMENT).await;
            continue;
        }
        let mut holder = String::new();
        let _ = File::open(&name).and_then(|file| file.take(64).read_to_string(&mut holder));
        let holder = format!("process {}", holder.trim());
        return Err(RunError::SecondInstance(holder, directory.to_owned()));
    }
    if let Err(error) = tell_holder(&name) {
        warn!(%error, "the lock does not say who holds it");
    }
    Ok(file)
}

fn tell_holder(name: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(name)?;
    writeln!(file, "{}", std::process::id())
}

mod cloud_side;
mod idleness;
mod stop;
#[cfg(test)]
mod tests;
