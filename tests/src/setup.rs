//! A daemon with a place of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Map, Value, json};
use snooze_imds::SignalPath;
use snooze_imds::fake::Server;
use snoozed::exit;
use snoozed::socket::{self, Reply, Request};
use tempfile::TempDir;

use crate::{place, programs, wait};

/// Between two polls of the metadata service: the shortest that may be set.
pub const POLL: Duration = Duration::from_millis(200);

/// What systemd waits before it starts a daemon again (`RestartSec`).
pub const RESTART: Duration = Duration::from_millis(200);

/// The folder, the settings and the metadata service of one daemon after the other.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    /// The metadata service.
    pub fake: Server,
    /// What is written to the settings file at each start.
    pub settings: Value,
    /// Variables of the daemon beside `PATH`.
    pub environment: BTreeMap<String, OsString>,
    program: PathBuf,
    starts: AtomicU32,
}

impl Setup {
    /// A place for the daemon of this workspace.
    #[must_use]
    pub fn new() -> Self {
        Self::of(programs::path("snoozed"))
    }

    /// A place for a daemon elsewhere.
    ///
    /// # Panics
    /// When the folder or the metadata service cannot be made.
    #[must_use]
    pub fn of(program: PathBuf) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let fake = Server::spawn().expect("the fake can be started");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let settings = json!({
            "state_directory": path("state"),
            "run_directory": path("run"),
            "policies_directory": path("policies.d"),
            "polling_interval_seconds": POLL.as_secs_f64(),
            "sources": { "imds": { "endpoints": [fake.url()] } },
            "plugins": { "directories": [path("plugins")] },
            "policies": [],
            // How full and how busy this machine is must not decide a test.
            "system_events": {
                "disk_low": { "enabled": false },
                "cpu_high": { "enabled": false },
                "memory_pressure": { "enabled": false },
                "memory_used": { "enabled": false },
                "network_down": { "enabled": false },
            },
        });
        let starts = AtomicU32::new(0);
        let setup = Self { folder, fake, settings, environment: BTreeMap::new(), program, starts };
        setup.script("bin/systemctl", "#!/bin/sh\necho running\n");
        for directory in ["plugins", "policies.d"] {
            fs::create_dir(setup.path(directory)).expect("a folder can be made");
        }
        setup
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a program; those in `bin` come first on the daemon's search path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        place::install("/dev/stdin".as_ref(), &path, Some(text));
    }

    /// Lets a script start the daemon from now on: in it, `"$@"` is the daemon with its arguments.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn wrap(&mut self, script: &str) {
        let text =
            format!("#!/bin/sh\nset -e\nset -- '{}' \"$@\"\n{script}\n", self.program.display());
        self.script("wrapped", &text);
        self.program = self.path("wrapped");
    }

    /// A member of the settings, to be changed.
    ///
    /// # Panics
    /// When the settings are no object.
    pub fn set(&mut self, key: &str, value: Value) {
        let members = self.settings.as_object_mut().expect("settings are an object");
        members.insert(key.to_owned(), value);
    }

    /// Adds a policy for Spot notices, with these handlers.
    ///
    /// # Panics
    /// When the policies of the settings are no list.
    pub fn policy(&mut self, name: &str, handlers: Value) {
        let kind = "cloud.spot.interrupt";
        let policy = json!({ "name": name, "match": { "type": [kind] }, "handlers": handlers });
        let policies = self.settings.get_mut("policies").and_then(Value::as_array_mut);
        policies.expect("the settings hold policies").push(policy);
    }

    /// Writes the settings file and names it. The plugins that are there run without an approval,
    /// unless the settings say which do.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_settings(&self) -> PathBuf {
        let path = self.path("snoozed.json");
        let mut settings = self.settings.clone();
        if let Some(plugins) = settings.get_mut("plugins").and_then(Value::as_object_mut) {
            plugins.entry("unsigned").or_insert_with(|| self.plugins().into());
        }
        fs::write(&path, settings.to_string()).expect("the settings can be written");
        path
    }

    fn plugins(&self) -> Vec<String> {
        let files = fs::read_dir(self.path("plugins")).into_iter().flatten().flatten();
        let stem = |name: String| name.split('.').next().map(str::to_owned);
        let names = files.filter_map(|file| stem(file.file_name().into_string().ok()?));
        names.filter(|name| !name.is_empty()).collect()
    }

    /// The daemon as a command, with the settings file as it is.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let path = place::variable("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.path("bin").display());
        command.arg("--config").arg(self.path("snoozed.json"));
        command.env_clear().env("PATH", path).envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts the daemon until it is ready, as systemd does: the lock of one that was killed may be
    /// held for a moment by a child that it was about to start.
    ///
    /// # Panics
    /// When it ends for another reason.
    #[must_use]
    pub fn start(&self) -> Daemon {
        loop {
            let mut daemon = self.spawn();
            let is_ready = wait::until("the daemon to be ready", || {
                let is_ready = daemon.told("READY=1") > 0;
                (is_ready || !daemon.running()).then_some(is_ready)
            });
            if is_ready {
                return daemon;
            }
            let code = daemon.ended().code();
            assert_eq!(code, Some(i32::from(exit::SECOND_INSTANCE)), "{}", self.log());
            wait::pause(RESTART);
        }
    }

    /// Starts the daemon.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(&self) -> Daemon {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let told = self.path(&format!("notify-{number}"));
        let service = Service::listen(&told);
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true).open(self.path("log")).expect("a log can be made");
        self.write_settings();
        let mut command = self.command();
        command.env("NOTIFY_SOCKET", &told).stderr(log);
        let child = command.spawn().expect("the daemon can be started");
        Daemon { child, service, folder: self.folder.path().to_owned() }
    }

    /// All that daemons of this setup have logged.
    ///
    /// # Panics
    /// When none was started.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.path("log"))
    }

    /// Waits until daemons of this setup have logged this.
    ///
    /// # Panics
    /// When they do not.
    pub fn wait_for_log(&self, text: &str) {
        wait::until(&format!("the log to say {text}"), || self.log().contains(text).then_some(()));
    }

    /// Waits until the Spot notice was asked for so many times, and once more for the answer to be
    /// taken in.
    ///
    /// # Panics
    /// When it is not.
    pub fn wait_for_polls(&self, times: u64) {
        let asked = || self.fake.asked(SignalPath::SpotInstanceAction.as_str());
        let enough = asked() + times + 1;
        wait::until("polls", || (asked() >= enough).then_some(()));
    }

    /// The lines of a file that plugins append to, none when there is none.
    #[must_use]
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// The whole records of the journal, in order.
    #[must_use]
    pub fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("state/journal")).unwrap_or_default();
        let json = |line: &str| serde_json::from_str(line.get(9..)?).ok();
        text.lines().filter_map(json).collect()
    }

    /// The command lines of all processes that have to do with this setup.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
        let own = self.folder.path().display().to_string();
        let lines = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
            let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        lines.filter(|line| line.contains(&own)).collect()
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// A running daemon. It is killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    service: Service,
    folder: PathBuf,
}

impl Daemon {
    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How often it has told systemd this.
    ///
    /// # Panics
    /// When whoever counts has panicked.
    #[must_use]
    pub fn told(&self, state: &str) -> usize {
        let told = self.service.told.lock().expect("nobody panics with the notes");
        told.get(state).copied().unwrap_or(0)
    }

    /// When it was ready.
    ///
    /// # Panics
    /// When it never was.
    #[must_use]
    pub fn ready_at(&self) -> Instant {
        let ready = self.service.ready.lock().expect("nobody panics with the time");
        ready.expect("it was ready")
    }

    /// Waits until it has told systemd this so many times.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_until_told(&self, state: &str, times: usize) {
        let missed = || format!("{state}: {}", read(&self.folder.join("log")));
        wait::until_or(missed, || (self.told(state) >= times).then_some(()));
    }

    /// Asks it over its socket.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn call(&self, command: &str, params: Value) -> Reply {
        let params: Map<String, Value> = params.as_object().cloned().unwrap_or_default();
        let request = Request { command: command.to_owned(), params };
        let path = self.folder.join("run/snoozed.sock");
        socket::call(&path, &request).expect("the daemon answers")
    }

    /// The answer to a command that works.
    ///
    /// # Panics
    /// When it does not work.
    #[must_use]
    pub fn ask(&self, command: &str, params: Value) -> Value {
        let reply = self.call(command, params);
        assert!(reply.success, "{command}: {reply:?}");
        reply.data
    }

    /// All incidents, the newest first.
    #[must_use]
    pub fn history(&self) -> Vec<Value> {
        self.ask("HISTORY", json!({ "limit": 100 })).as_array().cloned().unwrap_or_default()
    }

    /// The only incident, once it is closed.
    #[must_use]
    pub fn closed(&self) -> Value {
        wait::until("the incident to close", || {
            let history = self.history();
            assert!(history.len() < 2, "one incident, not {history:#?}");
            history.into_iter().find(|incident| !incident["closed"].is_null())
        })
    }

    /// Asks it to end.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to read its policies again.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a process has a number");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(mut self) {
        self.child.kill().expect("our child can be killed");
        self.child.wait().expect("our child can be waited for");
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    /// When the kernel does not know it.
    pub fn running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Waits until it ended by itself.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn ended(&mut self) -> ExitStatus {
        wait::until("the daemon to end", || self.child.try_wait().expect("our child"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stands for systemd: counts what it is told.
#[derive(Debug)]
struct Service {
    told: Arc<Mutex<BTreeMap<String, usize>>>,
    ready: Arc<Mutex<Option<Instant>>>,
    path: PathBuf,
    listener: Option<JoinHandle<()>>,
}

/// What ends the listening; systemd knows no such state.
const ENOUGH: &[u8] = b"ENOUGH=1";

impl Service {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket can be bound");
        let told: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let notes = Arc::clone(&told);
        let ready: Arc<Mutex<Option<Instant>>> = Arc::default();
        let first = Arc::clone(&ready);
        let listener = thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok(length) = socket.recv(&mut buffer) {
                let now = Instant::now();
                let heard = buffer.get(..length).unwrap_or_default();
                if heard == ENOUGH {
                    return;
                }
                if heard.starts_with(b"READY=1") {
                    first.lock().expect("nobody panics with the time").get_or_insert(now);
                }
                let mut notes = notes.lock().expect("nobody panics with the notes");
                for state in String::from_utf8_lossy(heard).lines() {
                    *notes.entry(state.to_owned()).or_default() += 1;
                }
            }
        });
        Self { told, ready, path: path.to_owned(), listener: Some(listener) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(ENOUGH, &self.path));
        if let (Ok(_), Some(listener)) = (sent, self.listener.take()) {
            // A panic in there has been printed already.
            let _ = listener.join();
        }
    }
}

fn read(path: &Path) -> String {
    let mut text = Vec::new();
    let file = fs::File::open(path).and_then(|mut file| file.read_to_end(&mut text));
    file.map(|_| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}
