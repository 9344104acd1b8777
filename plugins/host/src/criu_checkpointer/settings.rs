//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

use crate::target::Target;

/// What is missing when nothing says what is to be written.
pub(super) const NOTHING: &str = "nothing says what is to be saved: give `pid_file` or `process`";

/// Where images go when nobody says otherwise.
const DEFAULT_DIRECTORY: &str = "/var/lib/cloudsnooze/criu";

/// Half of a Spot notice.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The words for what becomes of connections.
const CLOSE: &str = "close";
const ESTABLISHED: &str = "established";

/// The checked configuration.
pub(super) struct Settings {
    pub(super) target: Target,
    pub(super) directory: PathBuf,
    pub(super) leave_running: bool,
    /// Connections are kept, for the same address; else they are closed when it starts again.
    pub(super) keeps_connections: bool,
    pub(super) shell_job: bool,
    pub(super) timeout: Duration,
    pub(super) dry_run: bool,
}

/// All settings.
pub(super) fn all() -> Vec<Setting> {
    let mut all: Vec<Setting> = Target::settings().into();
    all.extend([
        Setting::text("images_directory", "where the images go").default(DEFAULT_DIRECTORY),
        Setting::flag("leave_running", "the process goes on after that").default(false),
        Setting::choice("tcp", &[CLOSE, ESTABLISHED], "what becomes of connections").default(CLOSE),
        Setting::flag("shell_job", "the process was started from a terminal").default(false),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]);
    all
}

impl Settings {
    pub(super) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let target = Target::read(&mut config);
        if target.is_none() {
            config.fault("process", NOTHING);
        }
        let directory = config.path("images_directory");
        let leave_running = config.flag("leave_running");
        let keeps_connections = config.text("tcp").as_deref() == Some(ESTABLISHED);
        let shell_job = config.flag("shell_job");
        let timeout = config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT);
        let dry_run = config.flag("dry_run");
        config.finish()?;
        let target = target.ok_or_else(|| PluginError::new(NOTHING))?;
        let directory = directory.unwrap_or_else(|| DEFAULT_DIRECTORY.into());
        Ok(Self {
            target,
            directory,
            leave_running,
            keeps_connections,
            shell_job,
            timeout,
            dry_run,
        })
    }
}
