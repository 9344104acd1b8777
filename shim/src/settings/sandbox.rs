//! `plugins.limits` and `plugins.sandbox`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};
use snooze_event::PluginName;
use snooze_policy::Fault;
use snooze_policy::strict::{Fields, Unknown};

use crate::builtins;
use crate::sandbox::{Abilities, Amounts, NotAPermission, Permission, Sandbox, Sandboxes, User};

/// What the settings say of sandboxes.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    amounts: Amounts,
    each: BTreeMap<PluginName, Sandbox>,
    /// Those with the permissions `"all"`.
    free: BTreeSet<PluginName>,
}

/// What a plugin has that has all rights of its user.
const ALL: &str = "all";

/// The limits with their bounds: what is less, no program can start with.
const BOUNDS: [(&str, u64, u64); 4] = [
    ("processes", 1, 1_000_000),
    ("memory_mb", 16, 1 << 24),
    ("file_size_mb", 1, 1 << 24),
    ("open_files", 16, 1 << 20),
];

pub(super) fn read(plugins: &Fields<'_>, faults: &mut Vec<Fault>) -> Wanted {
    let amounts = amounts(plugins, Amounts::default(), faults);
    let mut each: BTreeMap<PluginName, Sandbox> = declared(amounts);
    let mut free = BTreeSet::new();
    let Some(sandboxes) = plugins.object("sandbox", faults) else {
        return Wanted { amounts, each, free };
    };
    for (key, _) in sandboxes.members() {
        let name: PluginName = match key.parse() {
            Ok(name) => name,
            Err(error) => {
                let error: snooze_event::NotAPluginName = error;
                faults.push(Fault::new("$.plugins.sandbox", error.to_string()));
                continue;
            }
        };
        let Some(fields) = sandboxes.object(key, faults) else { continue };
        let usual = each.remove(&name).and_then(|sandbox| sandbox.permissions);
        let sandbox = sandbox(&fields, amounts, usual, faults);
        if fields.get("permissions").and_then(Value::as_str) == Some(ALL) {
            free.insert(name.clone());
        }
        each.insert(name, sandbox);
    }
    Wanted { amounts, each, free }
}

/// Built-in plugins that say what they need get no more, unless the settings say so.
fn declared(amounts: Amounts) -> BTreeMap<PluginName, Sandbox> {
    let built_in = builtins::NAMES.into_iter().filter_map(|name| {
        let permissions = builtins::find(name)?.info().permissions;
        let permissions = permissions.iter().filter_map(|text| text.parse().ok()).collect();
        let sandbox = Sandbox { amounts, user: None, permissions: Some(permissions) };
        Some((name.parse().ok()?, sandbox))
    });
    let says = |sandbox: &Sandbox| sandbox.permissions.as_ref().is_some_and(|all| !all.is_empty());
    built_in.filter(|(_, sandbox)| says(sandbox)).collect()
}

fn sandbox(
    fields: &Fields<'_>,
    amounts: Amounts,
    usual: Option<BTreeSet<Permission>>,
    faults: &mut Vec<Fault>,
) -> Sandbox {
    fields.expect(&["user", "permissions", "limits"], Unknown::Refuse, faults);
    let user = fields.text("user", faults).and_then(|name| {
        let found = user(name);
        if found.is_none() {
            faults.push(fields.fault("user", "no such user on this machine"));
        }
        found
    });
    let mut permissions = usual;
    if fields.get("permissions").and_then(Value::as_str) == Some(ALL) {
        permissions = None;
    } else if fields.get("permissions").is_some() {
        let mut named = BTreeSet::new();
        for (path, value) in fields.list("permissions", faults) {
            match value.as_str().map(str::parse) {
                Some(Ok(permission)) => drop(named.insert(permission)),
                Some(Err(error)) => {
                    let error: NotAPermission = error;
                    faults.push(Fault::new(&path, error.to_string()));
                }
                None => faults.push(Fault::new(&path, "expected a text")),
            }
        }
        permissions = Some(named);
    }
    let is_root = permissions.as_ref().is_some_and(|all| all.contains(&Permission::Root));
    if is_root && user.as_ref().is_some_and(|user| user.uid != 0) {
        faults.push(fields.fault("permissions", "`root` needs no other `user`"));
    }
    Sandbox { amounts: self::amounts(fields, amounts, faults), user, permissions }
}

fn user(name: &str) -> Option<User> {
    let lines = |path| fs::read_to_string(path).unwrap_or_default();
    User::find(name, &lines("/etc/passwd"), &lines("/etc/group"))
}

/// The limits of an object; those that it does not name are the usual ones.
fn amounts(owner: &Fields<'_>, usual: Amounts, faults: &mut Vec<Fault>) -> Amounts {
    let Some(fields) = owner.object("limits", faults) else { return usual };
    fields.expect(&BOUNDS.map(|(key, _, _)| key), Unknown::Refuse, faults);
    let mut amount = |(key, least, most), usual| match fields.get(key).map(Value::as_u64) {
        None => usual,
        Some(Some(0)) => None,
        Some(Some(number)) if (least..=most).contains(&number) => Some(number),
        Some(_) => {
            let text = format!("expected a whole number from {least} to {most}, or 0 for no limit");
            faults.push(fields.fault(key, &text));
            usual
        }
    };
    let [processes, memory, file_size, open_files] = BOUNDS;
    Amounts {
        processes: amount(processes, usual.processes),
        memory_mb: amount(memory, usual.memory_mb),
        file_size_mb: amount(file_size, usual.file_size_mb),
        open_files: amount(open_files, usual.open_files),
    }
}

impl Default for Wanted {
    fn default() -> Self {
        let amounts = Amounts::default();
        Self { amounts, each: declared(amounts), free: BTreeSet::new() }
    }
}

impl Wanted {
    /// With what can be put on here.
    pub(super) fn with(&self, abilities: Abilities) -> Sandboxes {
        let (each, free) = (self.each.clone(), self.free.clone());
        Sandboxes { amounts: self.amounts, each, free, abilities }
    }

    /// As it stands in the settings.
    pub(super) fn shown(&self) -> (Value, Value) {
        let each = self.each.iter().map(|(name, sandbox)| (name.to_string(), shown(sandbox)));
        (limits(&self.amounts), each.collect())
    }
}

/// A sandbox as it stands in the settings.
pub(crate) fn shown(sandbox: &Sandbox) -> Value {
    let permissions = sandbox.permissions.as_ref().map_or_else(
        || json!(ALL),
        |all| all.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
    );
    json!({
        "user": sandbox.user.as_ref().map(|user| user.name.as_str()),
        "permissions": permissions,
        "limits": limits(&sandbox.amounts),
    })
}

fn limits(amounts: &Amounts) -> Value {
    json!({
        "processes": amounts.processes.unwrap_or(0),
        "memory_mb": amounts.memory_mb.unwrap_or(0),
        "file_size_mb": amounts.file_size_mb.unwrap_or(0),
        "open_files": amounts.open_files.unwrap_or(0),
    })
}
