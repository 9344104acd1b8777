//! The packages in a Debian of their own: installed, upgraded, removed, purged; and the same with
//! RPM, as far as that goes without its distribution.
//!
//! It is a directory that `chroot` makes the root: no systemd runs there, which `cargo xtask
//! boot-test` has.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::stage::below;
use super::{Making, VERSION};
use crate::workplace::done;
use crate::{report, tools};

/// The version to which the packages are upgraded.
const NEXT: &str = "999.0.0";

const SETTINGS: &str = "/etc/cloudsnooze/snoozed.json";
const JOURNAL: &str = "/var/lib/cloudsnooze/journal";
/// What an operator wrote.
const OWN: &str = "{ \"polling_interval_seconds\": 2 }\n";

/// Tries the packages in `out` out, and an upgrade from them.
pub(super) fn run(made: &Making<'_>, out: &Path) -> Result<()> {
    let debian = tools::debian(made.workplace)?;
    let work = out.with_extension("trial");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let next = work.join("next");
    made.all(&next, NEXT)?;
    let packagers: [(&str, Packager); 2] = [("deb", deb), ("rpm", rpm)];
    for (kind, packager) in packagers {
        report::progress(&format!("trying the {kind} packages out"));
        let root = work.join(kind);
        fs::create_dir_all(&root)?;
        let mut tar = made.workplace.command("tar");
        done(tar.arg("--extract").arg("--file").arg(&debian).arg("--directory").arg(&root))?;
        packager(&Machine { made, root }, out, &next)?;
    }
    fs::remove_dir_all(&work)?;
    Ok(())
}

type Packager = fn(&Machine<'_>, &Path, &Path) -> Result<()>;

/// A root directory with a Debian.
struct Machine<'a> {
    made: &'a Making<'a>,
    root: PathBuf,
}

fn deb(machine: &Machine<'_>, out: &Path, next: &Path) -> Result<()> {
    let base = machine.made.description.base();
    let names: Vec<&str> =
        machine.made.description.packages.iter().map(|package| package.name.as_str()).collect();

    machine.dpkg("--install", &machine.bring(out, "deb")?)?;
    machine.check_installed(VERSION)?;
    machine.run("dpkg", &["--verify"])?;

    machine.write(SETTINGS, OWN)?;
    machine.write(JOURNAL, "an incident\n")?;
    machine.dpkg("--install", &machine.bring(next, "deb")?)?;
    machine.check_installed(NEXT)?;
    machine.check_text(SETTINGS, Some(OWN))?;
    machine.check_text(JOURNAL, Some("an incident\n"))?;

    machine.dpkg("--remove", &names)?;
    machine.check_gone()?;
    machine.check_text(SETTINGS, Some(OWN))?;
    machine.check_text(JOURNAL, Some("an incident\n"))?;

    machine.dpkg("--purge", &names)?;
    machine.check_text(SETTINGS, None)?;
    machine.check_text(JOURNAL, None)?;
    let left = machine.run("dpkg-query", &["--list"])?;
    ensure!(!left.contains(base), "dpkg still knows it:\n{left}");
    Ok(())
}

fn rpm(machine: &Machine<'_>, out: &Path, next: &Path) -> Result<()> {
    let rpm = |arguments: &[&str], folder: &Path| {
        let files = if arguments.contains(&"--erase") { Vec::new() } else { ends(folder, ".rpm")? };
        let mut rpm = machine.made.workplace.command("rpm");
        rpm.arg("--root").arg(&machine.root).args(["--dbpath", "/var/lib/rpm"]).args(arguments);
        let output = rpm.args(files).output().context("cannot start `rpm`")?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("rpm {arguments:?}: {told}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(told)
    };
    // The packages of Debian that are there are none to RPM.
    rpm(&["--install", "--nodeps"], out)?;
    machine.check_installed(VERSION)?;
    let needs = rpm(&["--query", "--requires", "--package"], out)?;
    ensure!(needs.contains("libc.so.6") || !needs.contains(".so"), "no C library:\n{needs}");

    machine.write(SETTINGS, OWN)?;
    machine.write(JOURNAL, "an incident\n")?;
    rpm(&["--upgrade", "--nodeps"], next)?;
    machine.check_installed(NEXT)?;
    machine.check_text(SETTINGS, Some(OWN))?;
    machine.check_text(JOURNAL, Some("an incident\n"))?;

    let names: Vec<&str> =
        machine.made.description.packages.iter().map(|package| package.name.as_str()).collect();
    rpm(&[&["--erase", "--nodeps"], names.as_slice()].concat(), next)?;
    machine.check_gone()?;
    // RPM keeps what the operator changed under another name.
    machine.check_text(&format!("{SETTINGS}.rpmsave"), Some(OWN))?;
    machine.check_text(JOURNAL, Some("an incident\n"))
}

impl Machine<'_> {
    /// Everything is where it belongs, runs, and was not started or enabled.
    fn check_installed(&self, version: &str) -> Result<()> {
        for package in &self.made.description.packages {
            for (program, place) in &package.programs {
                self.check_there(&format!("{place}/{program}"))?;
            }
            for place in package.files.keys().chain(package.settings.keys()) {
                self.check_there(place)?;
            }
            for place in package.directories.keys() {
                self.check_there(place)?;
            }
            self.check_there(&format!("/usr/share/doc/{}/copyright", package.name))?;
            self.check_there(&format!("/usr/share/doc/{}/THIRD-PARTY-LICENCES", package.name))?;
        }
        self.check_there("/usr/share/man/man1/snooze-status.1")?;
        self.check_there("/usr/share/bash-completion/completions/snooze")?;
        let user = self.run("getent", &["passwd", "cloudsnooze"])?;
        ensure!(user.trim_end().ends_with("nologin"), "the user can log in: {user}");
        self.run("snoozed", &["--check"])?;
        self.run("snooze", &["policy", "--help"])?;
        let links = self.run("find", &["/etc/systemd", "/lib/systemd", "-lname", "*snooze*"])?;
        ensure!(links.is_empty(), "the package {version} enabled something: {links}");
        Ok(())
    }

    /// Nothing is left that could run.
    fn check_gone(&self) -> Result<()> {
        for place in ["/usr/bin/snoozed", "/usr/bin/snooze", "/usr/lib/cloudsnooze"] {
            ensure!(!below(&self.root, place).exists(), "{place} is still there");
        }
        let units = self.run("find", &["/usr/lib/systemd", "-name", "*snooze*"])?;
        ensure!(units.is_empty(), "units are still there: {units}");
        Ok(())
    }

    fn check_there(&self, place: &str) -> Result<()> {
        ensure!(below(&self.root, place).exists(), "{place} is missing");
        Ok(())
    }

    fn check_text(&self, place: &str, expected: Option<&str>) -> Result<()> {
        let found = fs::read_to_string(below(&self.root, place)).ok();
        ensure!(found.as_deref() == expected, "{place} holds {found:?}, not {expected:?}");
        Ok(())
    }

    fn write(&self, place: &str, text: &str) -> Result<()> {
        super::stage::write(&below(&self.root, place), text.as_bytes())
    }

    /// Brings packages in; where they lie there.
    fn bring(&self, from: &Path, ending: &str) -> Result<Vec<String>> {
        let folder = below(&self.root, "/packages");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let copy = |path: PathBuf| {
            let name = path.file_name().unwrap_or_default().to_owned();
            fs::copy(&path, folder.join(&name))?;
            Ok(format!("/packages/{}", name.display()))
        };
        ends(from, &format!(".{ending}"))?.into_iter().map(copy).collect()
    }

    fn dpkg(&self, verb: &str, what: &[impl AsRef<str>]) -> Result<String> {
        let what = what.iter().map(AsRef::as_ref);
        let arguments: Vec<&str> = std::iter::once(verb).chain(what).collect();
        self.run("dpkg", &arguments)
    }

    /// Runs a program there; what it says.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut chroot = self.made.workplace.command("chroot");
        chroot.arg(&self.root).arg(program).args(arguments).env_clear();
        chroot
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive");
        let output = chroot.output().context("cannot start `chroot`")?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        // `find` has no place to look into where nothing was made.
        if !output.status.success() && program != "find" {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("`{program} {}` there: {told}{error}", arguments.join(" "));
        }
        Ok(told)
    }
}

/// The files of a folder with that ending, sorted.
fn ends(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "no {ending} in {}", folder.display());
    Ok(found)
}
