//! The packages, made of small stand-ins for the programs: what is in them, and that the same
//! files give the same bytes. `cargo xtask package --test` installs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use snooze_tests::{place, programs};
use tempfile::TempDir;

use super::official;

/// Stands for any program; the manual is asked of the true one.
const STAND_IN: &str = "#!/bin/sh\nexit 0\n";

#[test]
fn i11_packages_made_twice_at_two_places_are_the_same_to_the_byte() {
    if !place::has("rpmbuild") || !place::has("dpkg-deb") {
        return;
    }
    let (first, second) = (Packages::make("022"), Packages::make("077"));
    let sums = first.sums();
    assert_eq!(sums, second.sums());
    // Eight packages of each kind, the archive and the bill of materials.
    assert_eq!(sums.lines().count(), 18, "{sums}");
    let check = Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(first.folder())
        .status();
    assert!(check.unwrap().success());

    let bill = fs::read_to_string(first.folder().join("cloudsnooze-0.1.0.cdx.json")).unwrap();
    let bill: Value = serde_json::from_str(&bill).unwrap();
    let named: BTreeSet<&str> =
        bill["components"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    for part in ["snoozed", "tokio", "rustls", "aws-lc-rs", "aws-sdk-dynamodb"] {
        assert!(named.contains(part), "the bill lacks {part}");
    }
    assert!(!named.contains("expect-test"), "the bill holds what only tests need");

    for place in [
        "etc/cloudsnooze/snoozed.json",
        "usr/lib/systemd/system/snoozed.service",
        "usr/share/man/man1/snooze-status.1",
        "usr/share/bash-completion/completions/snooze",
        "usr/share/doc/cloudsnooze-plugins-mysql/THIRD-PARTY-LICENCES",
    ] {
        let listed = Command::new("tar")
            .args(["-tf", "cloudsnooze-0.1.0-linux-x86_64.tar.gz"])
            .arg(format!("cloudsnooze-0.1.0-linux-x86_64/{place}"))
            .current_dir(first.folder())
            .output();
        assert!(listed.unwrap().status.success(), "the archive lacks {place}");
    }
}

#[test]
fn every_official_plugin_is_in_a_package_and_the_settings_that_come_along_stop_nothing() {
    let description = description();
    let packaged: BTreeSet<String> = description["packages"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|package| package["programs"].as_object().unwrap().keys().cloned())
        .collect();
    for name in official::names() {
        let is_built_in = snoozed::builtins::NAMES.contains(&name.as_str());
        assert!(is_built_in || packaged.contains(&name), "{name} is in no package");
    }
    let settings = place::root().join("infra/packaging/snoozed.json");
    let settings = snoozed::settings::check(&fs::read_to_string(settings).unwrap()).unwrap();
    assert_eq!(settings.policies().0.len(), 0, "the default settings have a policy");
}

fn description() -> Value {
    let path = place::root().join("infra/packaging/packages.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What `cargo xtask package` made in a folder of its own.
struct Packages {
    folder: TempDir,
}

impl Packages {
    /// Makes them as a user with this umask would.
    fn make(umask: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let own = folder.path().join("programs");
        for package in description()["packages"].as_array().unwrap() {
            for name in package["programs"].as_object().unwrap().keys() {
                place::install(Path::new("/dev/stdin"), &own.join(name), Some(STAND_IN));
            }
        }
        let snooze = programs::path("snooze");
        let text = format!("#!/bin/sh\nexec '{}' \"$@\"\n", snooze.display());
        // The same bytes in both, wherever the workspace is built.
        place::install(Path::new("/dev/stdin"), &own.join("snooze"), Some(&text));
        let made = Command::new("sh")
            .args(["-c", "umask \"$0\"; exec \"$@\"", umask])
            .arg(programs::path("xtask"))
            .args(["package", "--arch", "x86_64", "--programs"])
            .arg(&own)
            .arg("--out")
            .arg(folder.path().join("out"))
            .env("CARGO_MANIFEST_DIR", place::root().join("xtask"))
            .env("SOURCE_DATE_EPOCH", "1767225600")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join("out")
    }

    fn sums(&self) -> String {
        fs::read_to_string(self.folder().join("SHA256SUMS")).unwrap()
    }
}
