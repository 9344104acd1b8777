//! Settings: read as JSON, checked as a whole, so that every fault is told at once.
//!
//! Everything has a default, so that the daemon runs without a file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use snooze_event::PluginName;
use snooze_policy::strict::{Fields, Unknown, parse};
use snooze_policy::{Fault, Policy, idle};

use crate::builtins;
use crate::cloud;
use crate::idle::alarms::AlarmSettings;
use crate::metrics;
use crate::plugins::{self as host, HostSettings, SecretStore};
use crate::sandbox::{Abilities, Sandboxes};
use crate::traces;
use crate::watch::Limits;

mod plugins;
pub(crate) mod sandbox;
mod shown;

pub use plugins::USUAL_DIRECTORIES;

/// Where policies are read from when the settings do not say.
const POLICIES: &str = "/etc/cloudsnooze/policies.d";
/// Where settings are read from when no file is named.
pub const FILE: &str = "/etc/cloudsnooze/snoozed.json";
/// The shortest and the longest poll interval: below, the metadata service throttles; above,
/// half of a Spot notice is lost.
const POLL: (f64, f64) = (0.2, 60.0);

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file they come from, `None` for the defaults.
    pub file: Option<PathBuf>,
    /// Where the journal is.
    pub state_directory: PathBuf,
    /// Where sockets and locks are, gone after a reboot.
    pub run_directory: PathBuf,
    /// The local socket.
    pub socket: Socket,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log_level: String,
    /// Where news comes from.
    pub sources: Sources,
    /// Times that the watch needs.
    pub limits: Limits,
    /// How it works with the cloud side; `None` when it does not.
    pub cloud: Option<cloud::Settings>,
    /// Whose signatures policies of the table need.
    pub signatures: cloud::Signatures,
    plugins: plugins::Plugins,
    policies_directory: PathBuf,
    inline_policies: Vec<Value>,
    event_handlers: Option<Value>,
    /// How metrics are shown.
    pub metrics: metrics::Settings,
    /// Where traces are sent; `None` for nowhere.
    pub traces: Option<String>,
    /// When the instance is idle.
    pub idle: idle::Settings,
    /// When the system's alarms are raised.
    pub alarms: AlarmSettings,
    /// What is done with an idle instance that has no cloud side.
    pub local_action: Option<LocalAction>,
}

/// What is done with an idle instance that has no cloud side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalAction {
    /// The machine is powered off, which stops an instance where EC2 is told so.
    PowerOff,
    /// EC2 is asked to stop it, which its role has to allow.
    StopInstance,
    /// A program is run.
    Script(PathBuf),
}

/// The local socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// The mode of its file.
    pub mode: u32,
    /// The group that owns it; `None` leaves it to the daemon's own.
    pub group: Option<u32>,
}

/// Where news comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Sources {
    /// Whether the metadata service is asked.
    pub imds_enabled: bool,
    /// Its addresses, asked in this order.
    pub imds_endpoints: Vec<String>,
    /// How often it is asked.
    pub polling_interval: Duration,
}

/// What the daemon takes from its environment, read once in `main`.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// All variables.
    pub variables: BTreeMap<String, String>,
}

/// The settings of a file, or the defaults where none is named and the usual one is missing.
///
/// # Errors
/// All faults of the file.
pub fn read(file: Option<&Path>) -> Result<Settings, Vec<Fault>> {
    let path = file.unwrap_or(Path::new(FILE));
    match fs::metadata(path) {
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return check("{}");
        }
        Ok(_) | Err(_) => {}
    }
    let text = trusted_text(path).map_err(|error| vec![file_fault(path, error)])?;
    let mut settings = check(&text)?;
    settings.file = Some(path.to_owned());
    Ok(settings)
}

/// The text of a file that not everybody can write to.
fn trusted_text(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.mode() & 0o002 != 0 {
        let text = "everybody can write to it; take that away with `chmod o-w`";
        return Err(std::io::Error::other(text));
    }
    fs::read_to_string(path)
}

fn file_fault(path: &Path, text: impl ToString) -> Fault {
    Fault::new(&path.display().to_string(), text.to_string())
}

const KEYS: [&str; 21] = [
    "polling_interval_seconds",
    "state_directory",
    "run_directory",
    "log_level",
    "socket",
    "sources",
    "policies_directory",
    "policies",
    "policy_signatures",
    "event_handlers",
    "plugins",
    "cloud",
    "metrics",
    "traces",
    "maintenance_lead_seconds",
    "lifecycle_budget_seconds",
    "shutdown_budget_seconds",
    "version",
    "idle",
    "system_events",
    "local_action",
];

/// What has to stand in the settings before an instance may stop itself.
const CONFIRM: &str = "stop this instance when it is idle";

/// Whether a settings file may have this member at its root.
#[must_use]
pub fn knows(key: &str) -> bool {
    KEYS.contains(&key) || idle::TOP_KEYS.contains(&key)
}

/// Checks the text of a settings file.
///
/// # Errors
/// All its faults.
pub fn check(text: &str) -> Result<Settings, Vec<Fault>> {
    let value = parse(text).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let settings = settings(&value, &mut faults);
    match settings {
        Some(settings) if faults.is_empty() => Ok(settings),
        Some(_) | None => Err(faults),
    }
}

fn settings(value: &Value, faults: &mut Vec<Fault>) -> Option<Settings> {
    let root = Fields::of("$", value, faults)?;
    let known: Vec<&str> = KEYS.into_iter().chain(idle::TOP_KEYS).collect();
    root.expect(&known, Unknown::Refuse, faults);
    let run_directory = directory(&root, "run_directory", "/run/cloudsnooze", faults);
    let mut inline = Vec::new();
    for (path, policy) in root.list("policies", faults) {
        if let Err(more) = snooze_policy::check(&policy.to_string()) {
            faults.extend(more.into_iter().map(|fault| fault.below(&path)));
        }
        inline.push(policy.clone());
    }
    let event_handlers = root.get("event_handlers").cloned();
    let plugins = plugins::read(&root, faults);
    let (_, more) = snooze_policy::from_settings(event_handlers.as_ref(), plugins.configs.as_ref());
    faults.extend(more);
    let mut seconds = |key: &str, default: Duration| {
        root.seconds(key, Duration::from_secs(1), faults).unwrap_or(default)
    };
    let usual = Limits::default();
    let limits = Limits {
        maintenance_lead: seconds("maintenance_lead_seconds", usual.maintenance_lead),
        lifecycle_budget: seconds("lifecycle_budget_seconds", usual.lifecycle_budget),
        shutdown_budget: seconds("shutdown_budget_seconds", usual.shutdown_budget),
    };
    Some(Settings {
        file: None,
        state_directory: directory(&root, "state_directory", "/var/lib/cloudsnooze", faults),
        socket: socket(&root, &run_directory, faults),
        run_directory,
        log_level: log_level(&root, faults),
        sources: sources(&root, event_handlers.as_ref(), faults),
        limits,
        cloud: cloud::read(&root, faults),
        signatures: cloud::Signatures::read(&root, faults),
        plugins,
        policies_directory: directory(&root, "policies_directory", POLICIES, faults),
        inline_policies: inline,
        event_handlers,
        metrics: metrics::read(&root, faults),
        traces: traces::read(&root, faults),
        idle: idle::Settings::read(&root, faults),
        alarms: root
            .object("system_events", faults)
            .map(|fields| AlarmSettings::read(&fields, faults))
            .unwrap_or_default(),
        local_action: local_action(&root, faults),
    })
}

fn directory(fields: &Fields<'_>, key: &str, usual: &str, faults: &mut Vec<Fault>) -> PathBuf {
    let text = fields.text(key, faults).unwrap_or(usual);
    if !text.starts_with('/') {
        faults.push(fields.fault(key, "expected an absolute path"));
    }
    PathBuf::from(text)
}

fn log_level(root: &Fields<'_>, faults: &mut Vec<Fault>) -> String {
    let levels = ["error", "warn", "info", "debug", "trace"].map(|level| (level, level));
    root.word("log_level", &levels, faults).unwrap_or("info").to_owned()
}

fn socket(root: &Fields<'_>, run_directory: &Path, faults: &mut Vec<Fault>) -> Socket {
    let usual = Socket { path: run_directory.join("snoozed.sock"), mode: 0o660, group: None };
    let Some(fields) = root.object("socket", faults) else { return usual };
    fields.expect(&["path", "mode", "group"], Unknown::Refuse, faults);
    let usual_path = usual.path.display().to_string();
    let mode = fields.text("mode", faults).map_or(Some(usual.mode), |text| {
        u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o777 == 0 && mode & 0o002 == 0)
    });
    if mode.is_none() {
        faults.push(fields.fault("mode", "expected an octal mode as \"0660\", not open to all"));
    }
    let group = fields.text("group", faults).and_then(|name| {
        let found = group_id(name);
        if found.is_none() {
            faults.push(fields.fault("group", "no such group on this machine"));
        }
        found
    });
    Socket {
        path: directory(&fields, "path", &usual_path, faults),
        mode: mode.unwrap_or(usual.mode),
        group,
    }
}

fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(name)).then(|| parts.nth(1)?.parse().ok())?
    })
}

fn sources(root: &Fields<'_>, handlers: Option<&Value>, faults: &mut Vec<Fault>) -> Sources {
    let mut imds_enabled = true;
    let mut imds_endpoints = snooze_imds::Settings::default().endpoints;
    if let Some(sources) = root.object("sources", faults) {
        sources.expect(&["imds"], Unknown::Refuse, faults);
        if let Some(imds) = sources.object("imds", faults) {
            imds.expect(&["enabled", "endpoints"], Unknown::Refuse, faults);
            imds_enabled = imds.flag("enabled", true, faults);
            let named: Vec<String> = endpoints(&imds, faults);
            if !named.is_empty() {
                imds_endpoints = named;
            }
        }
    }
    let polling_interval = root.number("polling_interval_seconds", POLL, faults);
    let in_handlers = handlers
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(_, entry)| entry.get("polling_interval_seconds")?.as_f64());
    // The source documents put it beside the handlers; the shortest one serves all.
    let shortest = in_handlers.chain(polling_interval).reduce(f64::min).unwrap_or(1.0);
    let polling_interval = Duration::from_secs_f64(shortest.clamp(POLL.0, POLL.1));
    Sources { imds_enabled, imds_endpoints, polling_interval }
}

fn endpoints(imds: &Fields<'_>, faults: &mut Vec<Fault>) -> Vec<String> {
    let mut named = Vec::new();
    for (path, value) in imds.list("endpoints", faults) {
        match value.as_str().filter(|text| text.starts_with("http://")) {
            Some(text) => named.push(text.trim_end_matches('/').to_owned()),
            None => faults.push(Fault::new(&path, "expected an address with `http://`")),
        }
    }
    named
}

fn local_action(root: &Fields<'_>, faults: &mut Vec<Fault>) -> Option<LocalAction> {
    let fields = root.object("local_action", faults)?;
    fields.expect(&["do", "script", "confirm"], Unknown::Refuse, faults);
    if root.get("cloud").is_some() {
        let text = "the cloud side decides what becomes of an idle instance: leave out one of both";
        faults.push(root.fault("local_action", text));
    }
    if fields.text("confirm", faults) != Some(CONFIRM) {
        let text = format!("to let an instance stop itself, write `{CONFIRM}` here");
        faults.push(fields.fault("confirm", &text));
    }
    let script = fields.text("script", faults).map(PathBuf::from);
    let (off, stop) = (LocalAction::PowerOff, LocalAction::StopInstance);
    let words = [("poweroff", Some(&off)), ("stop-instance", Some(&stop)), ("script", None)];
    match (fields.word("do", &words, faults), script) {
        (Some(Some(action)), None) => Some(action.clone()),
        (Some(None), Some(script)) if script.is_absolute() => Some(LocalAction::Script(script)),
        (None, _) => {
            let text = "expected `poweroff`, `stop-instance` or `script`";
            faults.push(fields.fault("do", text));
            None
        }
        (Some(None), _) => {
            faults.push(fields.fault("script", "expected the absolute path of a program"));
            None
        }
        (Some(Some(_)), Some(_)) => {
            faults.push(fields.fault("script", "it goes with `\"do\": \"script\"` only"));
            None
        }
    }
}

impl Settings {
    /// All policies: those of the file, those of its two older layouts, and the directory's; and
    /// what is wrong with those that were left out.
    #[must_use]
    pub fn policies(&self) -> (Vec<Policy>, Vec<String>) {
        let (mut documents, mut faults) = self.documents();
        for (index, policy) in self.inline_policies.iter().enumerate() {
            documents.push((format!("policies[{index}]"), policy.to_string()));
        }
        let texts = documents.iter().map(|(origin, text)| (origin.as_str(), text.as_str()));
        let (mut policies, wrong) = snooze_policy::read_all(texts);
        faults.extend(wrong.into_iter().map(|(origin, fault)| format!("{origin}: {fault}")));
        let (local, wrong) = snooze_policy::from_settings(
            self.event_handlers.as_ref(),
            self.plugins.configs.as_ref(),
        );
        policies.extend(local);
        faults.extend(wrong.iter().map(ToString::to_string));
        if !self.plugins.enabled {
            policies.clear();
        }
        (policies, faults)
    }

    /// The texts of the policies directory, in the order of their names.
    fn documents(&self) -> (Vec<(String, String)>, Vec<String>) {
        let mut faults = Vec::new();
        let mut documents = Vec::new();
        let directory = match fs::read_dir(&self.policies_directory) {
            Ok(directory) => directory,
            // The usual one may be missing; one that was named is a slip.
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound
                    && self.policies_directory == Path::new(POLICIES) =>
            {
                return (documents, faults);
            }
            Err(error) => {
                faults.push(format!("{}: {error}", self.policies_directory.display()));
                return (documents, faults);
            }
        };
        let paths = directory.filter_map(|entry| Some(entry.ok()?.path()));
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
        paths.sort();
        for path in paths {
            match trusted_text(&path) {
                Ok(text) => documents.push((path.display().to_string(), text)),
                Err(error) => faults.push(format!("{}: {error}", path.display())),
            }
        }
        (documents, faults)
    }

    /// Takes over the policies of newer settings; what only a restart can change stays.
    pub fn replace_policies(&mut self, newer: Self) {
        self.inline_policies = newer.inline_policies;
        self.event_handlers = newer.event_handlers;
        self.plugins.configs = newer.plugins.configs;
        self.policies_directory = newer.policies_directory;
        self.idle = newer.idle;
    }

    /// The plugins that the settings name as those that may run; `None` when they name none.
    #[must_use]
    pub fn allowed(&self) -> Option<&[PluginName]> {
        self.plugins.allowed.as_deref()
    }

    /// Whether policies run plugins at all.
    #[must_use]
    pub fn runs_plugins(&self) -> bool {
        self.plugins.enabled
    }

    /// What the plugin host needs.
    #[must_use]
    pub fn host(&self, environment: &Environment) -> HostSettings {
        HostSettings {
            program: PathBuf::from("/proc/self/exe"),
            builtins: builtins::NAMES.iter().filter_map(|name| name.parse().ok()).collect(),
            directories: self.plugins.directories.clone(),
            allowed: self.plugins.allowed.clone(),
            pins: self.plugins.sha256.clone(),
            unsigned: Some(self.plugins.unsigned.clone()),
            run_directory: self.run_directory.clone(),
            secrets: SecretStore {
                credentials_directory: environment
                    .variables
                    .get("CREDENTIALS_DIRECTORY")
                    .map(PathBuf::from),
                environment: environment.variables.clone(),
                fetched: host::Fetched::default(),
            },
            limits: host::Limits::default(),
            sandboxes: self.sandboxes(),
        }
    }

    /// What plugins may use and touch, with what can be put on them here.
    #[must_use]
    pub fn sandboxes(&self) -> Sandboxes {
        self.plugins.sandbox.with(Abilities::probe())
    }

    /// The first address of the metadata service, where it is not the usual one.
    #[must_use]
    pub fn unusual_metadata(&self) -> Option<String> {
        let usual = snooze_imds::Settings::default().endpoints;
        let first = self.sources.imds_endpoints.first()?;
        (usual.first() != Some(first)).then(|| first.clone())
    }

    /// Where the metadata service is.
    #[must_use]
    pub fn metadata(&self) -> snooze_imds::Settings {
        let endpoints = self.sources.imds_endpoints.clone();
        snooze_imds::Settings { endpoints, ..snooze_imds::Settings::default() }
    }

    /// Plugins that have a configuration and no events: they only vote whether the instance is
    /// idle.
    #[must_use]
    pub fn voters(&self) -> Vec<host::Entry> {
        let configs = self.plugins.configs.as_ref().and_then(Value::as_object);
        let voters = configs.into_iter().flatten().filter_map(|(name, config)| {
            let config = config.as_object()?;
            if config.contains_key("events") {
                return None;
            }
            let plugin = name.parse().ok()?;
            Some(host::Entry { id: format!("idle/{name}"), plugin, config: config.clone() })
        });
        voters.collect()
    }
}

#[cfg(test)]
mod tests;
