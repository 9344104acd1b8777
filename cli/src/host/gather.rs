//! Asks files, kernel, systemd and the metadata service; decides nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{StatVfsMountFlags, statvfs};
use serde_json::{Map, Value};
use snooze_policy::{Handler, Policy, SecretRef, secret_reference};
use snoozed::cloud::Trust;
use snoozed::plugins::discover;
use snoozed::sandbox::Abilities;
use snoozed::settings::{self, Environment, Settings};
use snoozed::watch::Limits;

use super::unit::PROPERTIES;
use super::{Facts, State, Unit, imds, pid};

/// Where secrets lie that the unit hands to the daemon.
const SECRETS: &str = "/etc/cloudsnooze/credentials";
/// Where systemd puts them.
const CREDENTIALS: &str = "/run/credentials/snoozed.service";
/// What the first line of a secret key of minisign holds.
const SECRET_KEY: &str = "secret key";

/// Looks at the instance; `None` on a machine that is none: without settings, unit and daemon.
pub(crate) fn gather(
    file: Option<&Path>,
    status: Option<&Value>,
    unanswered: Option<String>,
) -> Option<Facts> {
    let unit = unit();
    let is_instance = file.is_some()
        || status.is_some()
        || Path::new(settings::FILE).exists()
        || unit.as_ref().is_some_and(|unit| unit.is_there);
    if !is_instance {
        return None;
    }
    let abilities = Abilities::probe();
    let mut facts = Facts {
        unanswered,
        unit,
        core_limit: pid(status).and_then(core_limit),
        landlock: abilities.landlock,
        seccomp: abilities.seccomp,
        cgroup2: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        open_secrets: open_secrets(Path::new(SECRETS)),
        shutdown_budget: Limits::default().shutdown_budget,
        ..Facts::default()
    };
    match settings::read(file) {
        Ok(settings) => by_settings(&settings, status.is_some(), &mut facts),
        Err(faults) => facts.settings = faults.iter().map(ToString::to_string).collect(),
    }
    Some(facts)
}

fn by_settings(settings: &Settings, is_running: bool, facts: &mut Facts) {
    facts.shutdown_budget = settings.limits.shutdown_budget;
    let (policies, faults) = settings.policies();
    facts.policies = faults;
    plugins(settings, &policies, facts);
    if settings.cloud.as_ref().is_some_and(|cloud| cloud.parts.policies) {
        facts.signatures = Some(settings.signatures.required);
    }
    if settings.signatures.required {
        facts.keys = Trust::read(&settings.signatures.keys, None).faults;
    }
    facts.secret_keys = secret_keys(&settings.signatures.keys);
    // Where systemd keeps them is open to root and the daemon alone.
    let handed = Path::new(CREDENTIALS);
    if is_running && fs::read_dir("/run/credentials").is_ok() {
        let missing = credentials(&policies).into_iter().filter(|name| !handed.join(name).exists());
        facts.credentials = missing
            .map(|name| format!("a policy names `credential:{name}`, which is not there"))
            .collect();
    }
    if settings.sources.imds_enabled {
        facts.metadata = imds::ask(&settings.sources.imds_endpoints, settings.cloud.is_some());
    }
    facts.state = state(&settings.state_directory);
    facts.is_stateless = facts.state.is_none();
}

fn plugins(settings: &Settings, policies: &[Policy], facts: &mut Facts) {
    let (found, refused) = discover(&settings.host(&Environment::default()));
    facts.refused = refused
        .into_iter()
        .map(|refused| format!("`{}`: {}", refused.path.display(), refused.reason))
        .collect();
    for (policy, handler) in handlers(policies) {
        let plugin = &handler.plugin;
        if settings.allowed().is_some_and(|allowed| !allowed.contains(plugin)) {
            facts
                .not_allowed
                .push(format!("`{plugin}`, which `{}` names, may not run", policy.name));
        } else if !found.iter().any(|found| found.name == *plugin) {
            facts.missing.push(format!("`{plugin}`, which `{}` names, is nowhere", policy.name));
        }
    }
}

fn handlers(policies: &[Policy]) -> impl Iterator<Item = (&Policy, &Handler)> {
    let enabled = policies.iter().filter(|policy| policy.enabled);
    enabled.flat_map(|policy| {
        policy.handlers.iter().chain(&policy.undo).map(move |handler| (policy, handler))
    })
}

/// The names of the credentials that handlers refer to.
fn credentials(policies: &[Policy]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, handler) in handlers(policies) {
        collect(&handler.config, &mut names);
    }
    names
}

fn collect(members: &Map<String, Value>, names: &mut BTreeSet<String>) {
    let mut left: Vec<&Value> = members.values().collect();
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) => {
                if let Some(SecretRef::Credential(name)) = secret_reference(text) {
                    names.insert(name);
                }
            }
            Value::Array(items) => left.extend(items),
            Value::Object(members) => left.extend(members.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Files of the directory that others than their owner may read.
fn open_secrets(directory: &Path) -> Vec<(PathBuf, u32)> {
    let modes = paths(directory).into_iter().filter_map(|path| {
        let mode = fs::metadata(&path).ok()?.mode() & 0o777;
        (mode & 0o077 != 0).then_some((path, mode))
    });
    modes.collect()
}

/// Files of the directory that say that they are secret keys.
fn secret_keys(directory: &Path) -> Vec<PathBuf> {
    let is_secret = |path: &PathBuf| {
        let is_small =
            fs::metadata(path).is_ok_and(|status| status.is_file() && status.len() < 4096);
        let text = is_small.then(|| fs::read_to_string(path).ok()).flatten();
        text.is_some_and(|text| text.lines().next().is_some_and(|first| first.contains(SECRET_KEY)))
    };
    let ends = |path: &PathBuf| path.extension().is_none_or(|kind| kind != "minisig");
    paths(directory).into_iter().filter(ends).filter(is_secret).collect()
}

fn paths(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn unit() -> Option<Unit> {
    let output = Command::new("systemctl")
        .args(["show", "snoozed.service", "--no-pager", "--property", PROPERTIES])
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(Unit::read(&String::from_utf8_lossy(&output.stdout)))
}

/// The soft limit of the core dumps of a process; the largest number for none.
fn core_limit(pid: u64) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"))?;
    let soft = line.split_whitespace().next()?;
    Some(soft.parse().unwrap_or(u64::MAX))
}

fn state(path: &Path) -> Option<State> {
    let status = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
    let space = statvfs(path).ok()?;
    Some(State {
        path: path.to_owned(),
        is_read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
        is_shared: status.mode() & 0o022 != 0,
        free: space.f_bavail.saturating_mul(space.f_frsize),
    })
}
