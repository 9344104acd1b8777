//! Where plugins are put to the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions};
use serde_json::{Map, Value, json};
use snooze_plugin::Vote;
use snooze_tests::place;
use snoozed::launch::children_of;
use snoozed::plugins::{
    Entry, Host, HostSettings, Limits, PluginState, PluginStatus, Report, Run, SecretStore,
    StepOutcome,
};
use snoozed::sandbox::{Abilities, Sandboxes};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::LONG;

/// One test at a time: children and descriptors belong to the whole process.
static ONE: Mutex<()> = Mutex::new(());

pub(crate) struct Bench {
    pub(crate) dir: PathBuf,
    pub(crate) settings: HostSettings,
    pub(crate) host: Host,
    pub(crate) reports: mpsc::Receiver<Report>,
    /// Reports that were read while waiting for others.
    pub(crate) kept: Vec<Report>,
    pub(crate) last_run: u64,
}

/// Runs `body` with a host of these plugins: modes of `hostile`, or files with an extension.
pub(crate) fn check(plugins: &[&str], body: impl AsyncFnOnce(&mut Bench)) {
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // What the runtime opens once and for all is open before we count.
    in_runtime(async {
        drop(tokio::process::Command::new("true").status().await);
    });
    let files = open_files();
    // Not among what cargo makes: a checkout may stand where a group can write.
    let dir = tempfile::tempdir().unwrap();
    for folder in ["plugins", "run"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        fs::set_permissions(dir.path().join(folder), Permissions::from_mode(0o755)).unwrap();
    }
    let names: Vec<&str> = plugins.iter().map(|plugin| install(dir.path(), plugin)).collect();
    in_runtime(async {
        let mut bench = Bench::new(dir.path());
        bench.host.set_entries(names.iter().map(|name| bench_entry(name)).collect());
        body(&mut bench).await;
        bench.host.stop(ms(200)).await;
        bench.reaches(LONG, |bench| bench.traces().is_empty()).await;
    });
    assert!(children_of(rustix::process::getpid()).is_empty(), "children are left");
    assert_eq!(open_files(), files, "descriptors are left");
}

/// Waits for what a daemon left that was killed: where this process is the reaper of orphans, that
/// is ours.
pub(crate) fn reap() {
    let end = Instant::now() + LONG;
    while !children_of(rustix::process::getpid()).is_empty() {
        assert!(Instant::now() < end, "children are left");
        let _ = rustix::process::wait(WaitOptions::NOHANG);
        snooze_tests::wait::pause(ms(5));
    }
}

pub(crate) fn in_runtime(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

/// Puts a plugin into the directory. Returns the id of its entry.
pub(crate) fn install<'a>(dir: &Path, plugin: &'a str) -> &'a str {
    let plugins = dir.join("plugins");
    if let Some((name, _)) = plugin.split_once('.') {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
        place::install(&scripts.join(plugin), &plugins.join(plugin), None);
        return name;
    }
    let hostile = dir.join("hostile");
    if !hostile.exists() {
        place::install(env!("CARGO_BIN_EXE_hostile").as_ref(), &hostile, None);
    }
    fs::hard_link(hostile, plugins.join(format!("hostile-{plugin}"))).unwrap();
    plugin
}

/// The entry `name`, which runs `hostile-NAME` unless the name is that of a plugin itself.
pub(crate) fn bench_entry(name: &str) -> Entry {
    const PLUGINS: [&str; 8] =
        ["voter", "once", "busy", "empty", "plain", "lost", "open", "my-plugin"];
    let is_plugin = PLUGINS.contains(&name) || name.starts_with("hostile-") || name == "missing";
    let plugin = if is_plugin { name.to_owned() } else { format!("hostile-{name}") };
    Entry {
        id: name.to_owned(),
        plugin: plugin.parse().unwrap(),
        config: if name.starts_with("hostile-leak") {
            Map::from_iter([("dsn".to_owned(), json!("env:DSN"))])
        } else {
            Map::new()
        },
    }
}

impl Bench {
    pub(crate) fn new(dir: &Path) -> Self {
        let settings = HostSettings {
            program: env!("CARGO_BIN_EXE_launcher").into(),
            builtins: Vec::new(),
            directories: vec![dir.join("plugins")],
            allowed: None,
            pins: BTreeMap::new(),
            unsigned: None,
            run_directory: dir.join("run"),
            secrets: SecretStore::default(),
            limits: Limits {
                call: LONG,
                health_period: ms(1500),
                backoff: ms(10),
                ..Limits::default()
            },
            sandboxes: Sandboxes { abilities: Abilities::probe(), ..Sandboxes::default() },
        };
        let (sender, reports) = mpsc::channel(1024);
        let host = Host::new(settings.clone(), sender);
        Self { dir: dir.join("plugins"), settings, host, reports, kept: Vec::new(), last_run: 0 }
    }

    /// The host once more, with the settings as they are now.
    pub(crate) async fn restart(&mut self, names: &[&str]) {
        self.host.stop(ms(300)).await;
        let (sender, reports) = mpsc::channel(1024);
        self.host = Host::new(self.settings.clone(), sender);
        (self.reports, self.kept) = (reports, Vec::new());
        self.host.set_entries(names.iter().map(|name| bench_entry(name)).collect());
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.dir.clone()
    }

    pub(crate) fn run_directory(&self) -> PathBuf {
        self.settings.run_directory.clone()
    }

    pub(crate) fn start(
        &mut self,
        name: &str,
        event: Value,
        budget: Duration,
        grace: Duration,
    ) -> u64 {
        self.last_run += 1;
        let run = Run { run_id: self.last_run, entry_id: name.to_owned(), event, budget, grace };
        self.host.handle(run);
        self.last_run
    }

    pub(crate) async fn run(&mut self, name: &str, budget: Duration) -> StepOutcome {
        self.hand(name, event(), budget).await
    }

    pub(crate) async fn hand(&mut self, name: &str, event: Value, budget: Duration) -> StepOutcome {
        let run = self.start(name, event, budget, ms(350));
        self.outcome(run).await
    }

    pub(crate) async fn report(&mut self) -> Report {
        timeout(2 * LONG, self.reports.recv()).await.expect("a report in time").unwrap()
    }

    /// The first report that `pick` takes, kept ones first.
    pub(crate) async fn first<T>(&mut self, mut pick: impl FnMut(&Report) -> Option<T>) -> T {
        let found = self.kept.iter().enumerate().find_map(|(at, report)| Some((at, pick(report)?)));
        if let Some((at, found)) = found {
            self.kept.remove(at);
            return found;
        }
        loop {
            let report = self.report().await;
            match pick(&report) {
                Some(found) => return found,
                None => self.kept.push(report),
            }
        }
    }

    pub(crate) async fn outcome(&mut self, run: u64) -> StepOutcome {
        self.first(|report| match report {
            Report::Ended { run_id, outcome } if *run_id == run => Some(outcome.clone()),
            Report::Ended { .. }
            | Report::Started { .. }
            | Report::State { .. }
            | Report::Vote { .. } => None,
        })
        .await
    }

    pub(crate) async fn vote(&mut self) -> Option<Vote> {
        self.first(|report| match report {
            Report::Vote { vote, .. } => Some(vote.clone()),
            Report::Ended { .. } | Report::Started { .. } | Report::State { .. } => None,
        })
        .await
    }

    pub(crate) async fn until(&mut self, wanted: PluginState, name: &str) {
        self.first(|report| match report {
            Report::State { entry_id, state } if entry_id == name && *state == wanted => Some(()),
            Report::Ended { .. }
            | Report::Started { .. }
            | Report::State { .. }
            | Report::Vote { .. } => None,
        })
        .await;
    }

    pub(crate) fn status(&self, name: &str) -> PluginStatus {
        self.host.status().into_iter().find(|status| status.id == name).unwrap()
    }

    pub(crate) fn keeper(&self, name: &str) -> Pid {
        Pid::from_raw(self.status(name).pid.unwrap().try_into().unwrap()).unwrap()
    }

    /// Waits, with the host at work, until something is so.
    pub(crate) async fn reaches(&mut self, limit: Duration, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + limit;
        while !is_so(self) {
            assert!(Instant::now() < end, "not within {limit:?}; left: {:?}", self.commands());
            tokio::time::sleep(ms(5)).await;
        }
    }

    pub(crate) async fn gone(&mut self, keeper: Pid, limit: Duration) {
        self.reaches(limit, |_| rustix::process::test_kill_process(keeper).is_err()).await;
    }

    /// How many processes of this test have this in their command line.
    pub(crate) fn named(&self, text: &str) -> usize {
        self.commands().iter().filter(|command| command.contains(text)).count()
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.traces().into_iter().map(command_line).collect()
    }

    /// The processes that carry the directory of this test in their command line.
    pub(crate) fn traces(&self) -> Vec<i32> {
        let dir = self.dir.to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| command_line(*pid).contains(dir)).collect()
    }
}

pub(crate) fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

pub(crate) fn open_files() -> BTreeSet<String> {
    let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let files = files.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some(format!("{} {}", entry.file_name().display(), target.display()))
    });
    files.collect()
}

pub(crate) fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

pub(crate) fn event() -> Value {
    json!({ "type": "cloud.spot.interrupt", "id": "e-1", "data": { "timeRemaining": 100.5 } })
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Puts one and the other file into the place of the plugin, 10,000 times at least.
pub(crate) fn swap(dir: &Path, is_over: &AtomicBool) {
    let mut rounds = 0;
    while rounds < 10_000 || !is_over.load(Ordering::Relaxed) {
        for from in ["evil", "good"] {
            fs::hard_link(dir.join(from), dir.join("next")).unwrap();
            fs::rename(dir.join("next"), dir.join("plugin")).unwrap();
            // Where both are the same file the rename did nothing.
            drop(fs::remove_file(dir.join("next")));
        }
        rounds += 2;
    }
}
