//! The road of an author: a new plugin, its own test, the contract.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use expect_test::expect;
use serde_json::json;

use crate::snooze::{Place, snooze};

#[test]
fn plugin_new_writes_a_project_that_carries_the_name() {
    let place = Place::new();
    let folder = place.path("made/here").display().to_string();
    let run = snooze(["plugin", "new", "backup", "--lang", "sh", "--dir", &folder]);
    assert_eq!(run.code, 0, "{run:?}");
    expect![[r#"
        wrote FOLDER: README.md, backup.sh, test.sh
        next:
          cd FOLDER
          sh test.sh
          snooze plugin test ./backup.sh
    "#]]
    .assert_eq(&run.out.replace(&folder, "FOLDER"));
    for (file, mode) in [("backup.sh", 0o111), ("test.sh", 0o111), ("README.md", 0)] {
        let path = Path::new(&folder).join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("backup") && !text.contains("my-plugin"), "{file}");
        let is = fs::metadata(&path).unwrap().mode();
        assert_eq!((is & 0o022, is & 0o100), (0, mode & 0o100), "{file}: {is:o}");
    }
}

#[test]
fn plugin_new_writes_over_nothing() {
    let place = Place::new();
    let folder = place.directory("mine", &[("notes", "mine")]);
    let run = snooze(["plugin", "new", "backup", "--lang", "go", "--dir", &folder]);
    assert_eq!((run.code, run.out.as_str()), (3, ""), "{run:?}");
    assert!(run.err.contains("there is something in it already"), "{}", run.err);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let file = place.file("file", "mine");
    assert_eq!(snooze(["plugin", "new", "backup", "--lang", "go", "--dir", &file]).code, 3);
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn plugin_new_refuses_what_the_daemon_would_not_run() {
    let place = Place::new();
    let folder = place.path("new").display().to_string();
    for (name, why) in [
        ("Backup", "is not a plugin name: expected a lower-case letter"),
        ("back_up", "is not a plugin name"),
        ("../up", "is not a plugin name"),
        ("webhook-notifier", "is the name of a built-in plugin"),
    ] {
        let run = snooze(["plugin", "new", name, "--lang", "sh", "--dir", &folder]);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.err.contains(why), "{}", run.err);
    }
    let run = snooze(["plugin", "new", "backup", "--lang", "rust", "--dir", &folder, "--sdk", "/"]);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.err.contains("`/`: is not the folder of `snooze-plugin`"), "{}", run.err);
    assert!(!place.path("new").exists());
}

#[test]
fn plugin_new_tells_machines_what_it_wrote_and_what_comes_next() {
    let place = Place::new();
    let folder = place.path("new").display().to_string();
    let new = ["--json", "plugin", "new", "backup", "--lang", "rust", "--dir", &folder];
    let run = snooze(new.into_iter().chain(["--sdk", "plugins/sdk"]));
    assert_eq!(run.code, 0, "{run:?}");
    let expected = json!({
        "name": "backup", "directory": folder,
        "files": [".gitignore", "Cargo.toml", "README.md", "src/main.rs", "tests/plugin.rs"],
        "next": ["cargo test", "snooze plugin test ./target/debug/backup"],
    });
    assert_eq!(run.json(), expected);
    let manifest = fs::read_to_string(place.path("new/Cargo.toml")).unwrap();
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/sdk").canonicalize().unwrap();
    let line = format!("snooze-plugin = {{ path = {} }}", json!(sdk));
    assert!(manifest.contains(&line), "{manifest}");
}
