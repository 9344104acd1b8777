//! Plugins from archives: signatures, approvals, versions. The archives and keys in
//! `samples/plugins` were made with `tar` and `minisign`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::snooze::{Run, snooze};

struct World {
    folder: TempDir,
}

impl World {
    fn new(keys: &[&str]) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["keys", "plugins"] {
            fs::create_dir(world.path(folder)).unwrap();
            fs::set_permissions(world.path(folder), Permissions::from_mode(0o755)).unwrap();
        }
        for key in keys {
            fs::copy(sample(key), world.path("keys").join(key)).unwrap();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `snooze plugin VERB FILE`, with the directories of this world.
    fn run(&self, verb: &str, file: &Path, more: &[&str]) -> Run {
        let (keys, plugins) = (self.path("keys"), self.path("plugins"));
        let mut args = vec!["plugin", verb, file.to_str().unwrap()];
        args.extend(["--keys", keys.to_str().unwrap(), "--directory", plugins.to_str().unwrap()]);
        args.extend(more);
        snooze(&args)
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.path("plugins")).unwrap().next().is_none()
    }
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/plugins").join(name)
}

#[test]
fn i3_a_signed_plugin_is_installed_with_what_was_approved() {
    let world = World::new(&["other.pub", "team.pub"]);
    let ended = world.run("install", &sample("backup-1.0.0.tar.gz"), &["--approve"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let start = "backup 1.0.0 by A Team\n  Saves the date of each Spot notice\n  signed by \
                 team.pub\n  it may use: network\ninstalled ";
    assert!(ended.out.starts_with(start), "{}", ended.out);
    let file = world.path("plugins/backup.sh");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o755);
    let record = fs::read_to_string(world.path("plugins/.backup.approved.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(
        (&record["signer"], &record["permissions"]),
        (&json!("team.pub"), &json!(["network"]))
    );

    let again = world.run("install", &sample("backup-1.0.0.tar.gz"), &["--approve"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("`snooze plugin update` replaces it"), "{}", again.err);

    let plugins = world.path("plugins");
    let gone = snooze(["plugin", "uninstall", "backup", "--directory", plugins.to_str().unwrap()]);
    assert_eq!(gone.code, 0, "{}", gone.err);
    assert!(world.is_empty());
}

#[test]
fn i3_what_nobody_signed_whose_key_is_here_is_not_installed() {
    let world = World::new(&["other.pub"]);
    let ended = world.run("install", &sample("backup-1.0.0.tar.gz"), &["--approve"]);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("none of the keys in"), "{}", ended.err);

    let world = World::new(&["team.pub"]);
    let changed = world.path("changed.tar.gz");
    let mut bytes = fs::read(sample("backup-1.0.0.tar.gz")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&changed, bytes).unwrap();
    let signature = sample("backup-1.0.0.tar.gz.minisig");
    let by = ["--approve", "--signature", signature.to_str().unwrap()];
    let ended = world.run("install", &changed, &by);
    assert!(ended.err.contains("none of the keys in"), "{}", ended.err);
    // A signature that is there counts, also where none is asked for.
    let ended = world.run("install", &changed, &[&by[..], &["--unsigned", "backup"]].concat());
    assert_eq!(ended.code, 3);

    let key = world.path("keys/team.pub");
    fs::set_permissions(&key, Permissions::from_mode(0o666)).unwrap();
    let ended = world.run("install", &sample("backup-1.0.0.tar.gz"), &["--approve"]);
    assert!(ended.err.contains("key `team.pub`: it can be written by others"), "{}", ended.err);
    assert!(world.is_empty());
}

#[test]
fn i3_without_a_signature_a_plugin_is_taken_only_by_its_name() {
    let world = World::new(&[]);
    let archive = world.path("backup.tar.gz");
    fs::copy(sample("backup-1.0.0.tar.gz"), &archive).unwrap();
    let ended = world.run("install", &archive, &["--approve"]);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("--unsigned NAME takes a plugin without one"), "{}", ended.err);
    let ended = world.run("install", &archive, &["--approve", "--unsigned", "other"]);
    assert!(ended.err.contains("it is the plugin `backup`, not `other`"), "{}", ended.err);
    let ended = world.run("install", &archive, &["--approve", "--sha256", &"00".repeat(32)]);
    assert!(ended.err.contains("its sha256 is "), "{}", ended.err);
    assert!(world.is_empty());
    let ended = world.run("install", &archive, &["--approve", "--unsigned", "backup", "--json"]);
    assert_eq!((ended.code, &ended.json()["signer"]), (0, &json!(null)));
}

#[test]
fn the_first_plugin_makes_the_directory_and_an_unreadable_signature_is_not_taken_for_none() {
    let world = World::new(&["team.pub"]);
    fs::remove_dir(world.path("plugins")).unwrap();
    let archive = world.path("backup.tar.gz");
    fs::copy(sample("backup-1.0.0.tar.gz"), &archive).unwrap();
    fs::create_dir(world.path("backup.tar.gz.minisig")).unwrap();
    let unsigned = ["--approve", "--unsigned", "backup"];
    let ended = world.run("install", &archive, &unsigned);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("backup.tar.gz.minisig"), "{}", ended.err);
    fs::remove_dir(world.path("backup.tar.gz.minisig")).unwrap();
    let ended = world.run("install", &archive, &unsigned);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(world.path("plugins/backup.sh").is_file());
}

#[test]
fn nothing_is_approved_where_nobody_can_be_asked() {
    let world = World::new(&["team.pub"]);
    let ended = world.run("install", &sample("backup-1.0.0.tar.gz"), &[]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("it may use: network"), "{}", ended.err);
    assert!(ended.err.contains("--approve approves what stands above"), "{}", ended.err);
    assert!(world.is_empty());
}

#[test]
fn an_update_shows_new_permissions_and_never_goes_back_unasked() {
    let world = World::new(&["team.pub"]);
    let (old, new) = (sample("backup-1.0.0.tar.gz"), sample("backup-1.1.0.tar.gz"));
    let ended = world.run("update", &old, &["--approve"]);
    assert!(ended.err.contains("`snooze plugin install` puts it there"), "{}", ended.err);
    assert_eq!(world.run("install", &old, &["--approve"]).code, 0);
    let ended = world.run("update", &new, &["--approve"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("it may use: network\n"), "{}", ended.out);
    let added = "it may use: write:/var/backups, which it did not have\n";
    assert!(ended.out.contains(added), "{}", ended.out);
    let ended = world.run("update", &old, &["--approve"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("is older than 1.1.0, which is installed"), "{}", ended.err);
    assert_eq!(world.run("update", &old, &["--approve", "--downgrade"]).code, 0);
}
