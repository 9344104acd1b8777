//! Which plugins there are.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use snooze_event::PluginName;

use super::{Approval, HostSettings};
use crate::launch::{Refusal, Target, inspect};
use crate::sandbox::{NotAPermission, Permission};

/// A plugin that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: PluginName,
    /// Where it is.
    pub kind: Kind,
    /// What an operator approved that it may do, when it was installed.
    pub approved: Option<BTreeSet<Permission>>,
}

/// What a launcher needs to start a plugin, and what is known of it.
pub(super) struct Startable {
    pub(super) target: Target,
    pub(super) kind: Kind,
    pub(super) approved: Option<BTreeSet<Permission>>,
}

/// What has to be so with a file, and what was approved of it.
#[derive(Debug, Default)]
struct Trusted {
    /// The sha256 that it must have.
    pin: Option<String>,
    approved: Option<BTreeSet<Permission>>,
}

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It is part of the daemon's program.
    Builtin,
    /// It is this file.
    External(PathBuf),
}

/// Something in a plugin directory, or such a directory, that will not be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The file or directory.
    pub path: PathBuf,
    /// Why, for people.
    pub reason: String,
}

/// Looks all plugins over that the settings lead to, built-in ones first, then by directory and
/// name.
///
/// A file `NAME` or `NAME.EXTENSION` is the plugin `NAME`. A file whose name starts with a full
/// stop is passed over; so is a directory that does not exist.
#[must_use]
pub fn discover(settings: &HostSettings) -> (Vec<Found>, Vec<Refused>) {
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    for name in &settings.builtins {
        if is_allowed(settings, name) {
            found.push(Found { name: name.clone(), kind: Kind::Builtin, approved: None });
        }
    }
    for (path, named) in files(settings, &mut refused) {
        let Some(name) = named else { continue };
        let earlier = found.iter().any(|other| other.name == name);
        match look(settings, &path, &name, earlier) {
            Ok(approved) => found.push(Found { name, kind: Kind::External(path), approved }),
            Err(reason) => refused.push(Refused { path, reason }),
        }
    }
    (found, refused)
}

/// What a launcher needs to start `name`, and where it comes from. The file itself is checked by
/// the launcher.
///
/// # Errors
/// Why there is nothing to start.
pub(super) fn target(settings: &HostSettings, name: &PluginName) -> Result<Startable, Refusal> {
    if !is_allowed(settings, name) {
        let text = format!("`{name}` is not among the allowed plugins of this instance");
        return Err(Refusal::Untrusted(text));
    }
    if settings.builtins.contains(name) {
        let target = Target::Builtin(name.to_string());
        return Ok(Startable { target, kind: Kind::Builtin, approved: None });
    }
    let path = files(settings, &mut Vec::new())
        .into_iter()
        .find(|(_, named)| named.as_ref() == Some(name))
        .map(|(path, _)| path)
        .ok_or_else(|| Refusal::CannotStart(format!("there is no plugin `{name}`")))?;
    let (Some(directory), Some(file)) = (path.parent(), path.file_name()) else {
        return Err(Refusal::CannotStart(format!("there is no plugin `{name}`")));
    };
    let Trusted { pin, approved } = trusted(settings, directory, name)?;
    let target = Target::File { directory: directory.to_owned(), file: file.to_owned(), pin };
    Ok(Startable { target, kind: Kind::External(path), approved })
}

fn is_allowed(settings: &HostSettings, name: &PluginName) -> bool {
    settings.allowed.as_ref().is_none_or(|allowed| allowed.contains(name))
}

fn look(
    settings: &HostSettings,
    path: &Path,
    name: &PluginName,
    earlier: bool,
) -> Result<Option<BTreeSet<Permission>>, String> {
    if earlier {
        return Err(format!("another plugin has the name `{name}`"));
    }
    if !is_allowed(settings, name) {
        return Err(format!("`{name}` is not among the allowed plugins of this instance"));
    }
    let (Some(directory), Some(file)) = (path.parent(), path.file_name()) else {
        return Err("it is no file in a directory".to_owned());
    };
    trusted(settings, directory, name)
        .and_then(|trusted| {
            inspect(directory, file, trusted.pin.as_deref()).map(|()| trusted.approved)
        })
        .map_err(|refusal| refusal.to_string())
}

/// The sum that the plugin's file must have: that of the settings, else that of its approval.
/// Without either it runs only where the settings name it.
fn trusted(
    settings: &HostSettings,
    directory: &Path,
    name: &PluginName,
) -> Result<Trusted, Refusal> {
    if let Some(sum) = settings.pins.get(name) {
        return Ok(Trusted { pin: Some(sum.clone()), approved: None });
    }
    if let Some(approval) = Approval::read(directory, name)? {
        let permissions = approval.permissions.iter().map(|text| text.parse());
        let approved: Result<_, NotAPermission> = permissions.collect();
        let approved =
            approved.map_err(|fault| Refusal::Untrusted(format!("its approval: {fault}")))?;
        return Ok(Trusted { pin: Some(approval.sha256), approved: Some(approved) });
    }
    let is_allowed = settings.allowed.as_ref().is_some_and(|names| names.contains(name));
    if is_allowed || settings.unsigned.as_ref().is_none_or(|names| names.contains(name)) {
        return Ok(Trusted::default());
    }
    Err(Refusal::Untrusted(format!(
        "nobody approved `{name}`: install it by `snooze plugin install`, or name it in \
         `plugins.unsigned`"
    )))
}

/// The entries of all directories in order, with the plugin name of each that has one.
fn files(
    settings: &HostSettings,
    refused: &mut Vec<Refused>,
) -> Vec<(PathBuf, Option<PluginName>)> {
    let mut files = Vec::new();
    for directory in &settings.directories {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => {
                refused.push(Refused { path: directory.clone(), reason: source.to_string() });
                continue;
            }
        };
        let names: BTreeMap<OsString, Option<PluginName>> = entries
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
            .map(|name| (name.clone(), plugin_name(&name)))
            .collect();
        for (file, name) in names {
            let path = directory.join(file);
            if name.is_none() {
                let reason = "its name is not that of a plugin".to_owned();
                refused.push(Refused { path: path.clone(), reason });
            }
            files.push((path, name));
        }
    }
    files
}

fn plugin_name(file: &std::ffi::OsStr) -> Option<PluginName> {
    let text = file.to_str()?;
    text.split_once('.').map_or(text, |(name, _)| name).parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::plugins::{Limits, SecretStore};
    use crate::sandbox::Sandboxes;

    /// S3-10, S1-06, S1-88
    #[test]
    fn plugins_are_found_by_name_and_the_rest_is_refused_with_a_reason() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (dir, name, mode) in [
            (&one, "flush.py", 0o755),
            (&one, "open", 0o777),
            (&one, "Shout", 0o755),
            (&one, "webhook-notifier", 0o755),
            (&one, ".hidden", 0o755),
            (&one, "pinned", 0o755),
            (&two, "flush", 0o755),
            (&two, "stranger", 0o755),
        ] {
            fs::write(dir.path().join(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
        }
        symlink("/bin/sh", two.path().join("link")).unwrap();
        let names = ["flush", "open", "webhook-notifier", "pinned", "link"];
        let mut settings = settings(vec![one.path().into(), two.path().into()]);
        settings.allowed = Some(names.map(|name| name.parse().unwrap()).to_vec());
        settings.pins = [("pinned".parse().unwrap(), "00".repeat(32))].into();

        let (found, refused) = discover(&settings);
        let found: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(found, ["webhook-notifier", "flush"]);
        let lines: Vec<String> = refused
            .iter()
            .map(|refused| {
                let file = refused.path.file_name().unwrap().to_str().unwrap();
                format!("{file}: {}", refused.reason.split(" is ").next().unwrap())
            })
            .collect();
        expect_test::expect![[r#"
            Shout: its name
            link: it
            open: it can be written by others: mode 0777
            pinned: its sha256
            webhook-notifier: another plugin has the name `webhook-notifier`
            flush: another plugin has the name `flush`
            stranger: `stranger`"#]]
        .assert_eq(&sorted_by_folder(lines));
    }

    #[test]
    fn i3_a_plugin_runs_that_is_approved_or_named_and_only_as_it_was_approved() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let put = |name: &str, text: &str, mode| {
            fs::write(folder.path().join(name), text).unwrap();
            fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
        };
        put("flush.sh", "#!/bin/sh\n", 0o755);
        let name: PluginName = "flush".parse().unwrap();
        let mut settings = settings(vec![folder.path().into()]);
        let reason = |settings: &HostSettings| {
            let (found, refused) = discover(settings);
            let found = found.iter().any(|found| found.name == name);
            assert_eq!(found, refused.is_empty());
            assert_eq!(
                target(settings, &name).is_ok(),
                found || refused[0].reason.contains("sha256")
            );
            refused.first().map(|refused| refused.reason.clone()).unwrap_or_default()
        };
        assert!(reason(&settings).starts_with("nobody approved `flush`"));
        settings.unsigned = Some(vec![name.clone()]);
        assert_eq!(reason(&settings), "");
        settings.unsigned = Some(Vec::new());
        settings.allowed = Some(vec![name.clone()]);
        assert_eq!(reason(&settings), "");
        settings.allowed = None;

        let sum = "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf";
        let record = serde_json::json!({ "sha256": sum, "permissions": [], "signer": "a.pub",
            "approved_at": "2026-01-01T00:00:00Z", "manifest": { "name": "flush" } });
        put(&Approval::file_name(&name), &record.to_string(), 0o644);
        assert_eq!(reason(&settings), "");
        // S1-85
        for (permissions, told) in [
            (serde_json::json!([]), Ok(BTreeSet::new())),
            (serde_json::json!(["signal"]), Ok(BTreeSet::from([Permission::Signal]))),
            (serde_json::json!(["docker"]), Err("its approval: `docker` is no permission")),
        ] {
            let mut record = record.clone();
            record["permissions"] = permissions;
            put(&Approval::file_name(&name), &record.to_string(), 0o644);
            match (target(&settings, &name), told) {
                (Ok(found), Ok(told)) => assert_eq!(found.approved, Some(told)),
                (Err(fault), Err(told)) => assert!(fault.to_string().starts_with(told), "{fault}"),
                (found, _) => panic!("{:?}", found.map(|found| found.approved)),
            }
        }
        put(&Approval::file_name(&name), &record.to_string(), 0o644);
        put("flush.sh", "#!/bin/sh\necho other\n", 0o755);
        assert!(reason(&settings).starts_with("its sha256 is "));
        put(&Approval::file_name(&name), &record.to_string(), 0o666);
        assert!(reason(&settings).starts_with("it can be written by others"));
        put(&Approval::file_name(&name), "{", 0o644);
        assert!(
            reason(&settings).starts_with("its approval `.flush.approved.json` cannot be read")
        );
    }

    /// Names without one come while the directories are read, the others after.
    fn sorted_by_folder(mut lines: Vec<String>) -> String {
        if let Some(link) = lines.iter().position(|line| line.starts_with("link")) {
            let link = lines.remove(link);
            lines.insert(1, link);
        }
        lines.join("\n")
    }

    fn settings(directories: Vec<PathBuf>) -> HostSettings {
        HostSettings {
            program: "/proc/self/exe".into(),
            builtins: vec!["webhook-notifier".parse().unwrap()],
            directories,
            allowed: None,
            pins: BTreeMap::new(),
            unsigned: Some(Vec::new()),
            run_directory: "/nonexistent".into(),
            secrets: SecretStore::default(),
            limits: Limits::default(),
            sandboxes: Sandboxes::default(),
        }
    }
}
