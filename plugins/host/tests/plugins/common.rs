//! What the tests of all plugins here need.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use snooze_plugin::wire::{Answer, Method, read_reply, request_line};
use snooze_plugin::{Handled, Plugin, PluginEvent};

/// How long anything may take on a machine that is slow and busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A Spot notice of two minutes.
pub(crate) fn notice() -> PluginEvent {
    event("cloud.spot.interrupt", json!({ "timeRemaining": 120 }))
}

pub(crate) fn event(kind: &str, data: Value) -> PluginEvent {
    PluginEvent::read(json!({ "type": kind, "data": data }))
}

/// Configures the plugin and hands it the event; the text of an error is a failure. It has nearly
/// the whole notice where the configuration does not say otherwise, for machines that are slow.
pub(crate) fn handle(plugin: &mut impl Plugin, config: &Value, event: &PluginEvent) -> Handled {
    let mut config = config.as_object().unwrap().clone();
    config.entry("timeout_seconds").or_insert(json!(110));
    plugin.configure(&config).unwrap_or_else(|error| panic!("{error}"));
    let handled = snooze_plugin::handle(plugin, event);
    handled.unwrap_or_else(|error| Handled::failed(error.to_string()))
}

/// Looks again and again until there is something to see.
#[expect(clippy::disallowed_methods, reason = "a poll with a limit")]
pub(crate) fn await_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn await_that(what: &str, mut look: impl FnMut() -> bool) {
    await_some(what, || look().then_some(()));
}

/// Writes a program. Somebody else has the file open for writing, since a process that is forked
/// meanwhile would inherit that, and the program would be "busy".
pub(crate) fn script(path: &Path, text: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A process that is reaped when it ends, and killed with the value.
pub(crate) struct Running {
    pub(crate) pid: i32,
    descriptor: OwnedFd,
    ended: mpsc::Receiver<()>,
}

impl Running {
    /// A shell that says by the file `ready` that its traps are set.
    pub(crate) fn shell(folder: &Path, text: &str) -> Self {
        let ready = folder.join("ready");
        let _ = fs::remove_file(&ready);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{text}\n: > ready\nwhile :; do sleep 0.05; done")]);
        let running = Self::start(command.current_dir(folder));
        await_that("the shell is ready", || ready.exists());
        running
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let descriptor = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let (send, ended) = mpsc::channel();
        thread::spawn(move || {
            child.wait().unwrap();
            let _ = send.send(());
        });
        Self { pid, descriptor, ended }
    }

    pub(crate) fn is_alive(&self) -> bool {
        PathBuf::from(format!("/proc/{}", self.pid)).exists()
    }

    /// Waits until it has ended and was reaped.
    pub(crate) fn wait(&self) {
        self.ended.recv_timeout(PATIENCE).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is no failure.
        let _ = pidfd_send_signal(&self.descriptor, Signal::KILL);
    }
}

/// Kills the children of a process.
pub(crate) fn kill_below(parent: i32) {
    let parent = format!("-P{parent}");
    let _ = Command::new("pkill").args(["-KILL", &parent]).status().unwrap();
}

/// What a program answers to `Info`.
pub(crate) fn info_of(program: &str) -> Value {
    let mut child =
        Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let request = request_line(Method::Info, serde_json::Map::new(), 1, false);
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap().stdout;
    match read_reply(said.trim_ascii_end()).unwrap().answer {
        Answer::Result(info) => info,
        other @ (Answer::Failed(_) | Answer::NotSupported) => panic!("{other:?}"),
    }
}
