//! What the whole suite needs beside a Rust toolchain, and how it gets here.
//!
//! System packages come from `apt-get` where that is there and allowed; all else goes to `.local`
//! in the checkout.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::functions::Arch;
use crate::report;
use crate::workplace::{Workplace, done};

/// The version of the checker of dependencies.
const CARGO_DENY: &str = "cargo-deny@0.20.2";
/// The Redis client that the Python plugin of the contract is written for.
const PYTHON_REDIS: &str = "redis==5.2.1";

/// A linker that knows the symbols of old C libraries.
const ZIG: &str = include_str!("../zig-requirements.txt");

/// The Debian in which packages are tried out.
const DEBIAN: &str = "bookworm";

/// The emulator of AWS and its clients.
const CLOUD: &str = include_str!("../cloud-requirements.txt");

/// A program and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 9] = [
    ("redis-server", "redis-server"),
    // The server itself is on no search path; this comes with it.
    ("pg_ctlcluster", "postgresql"),
    ("mariadbd", "mariadb-server"),
    ("faketime", "faketime"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("go", "golang-go"),
    ("systemd-analyze", "systemd"),
    ("rpmbuild", "rpm"),
];

/// Brings everything that is missing.
pub(crate) fn install(workplace: &Workplace) -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| workplace.which(program).is_none());
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    system_packages(workplace, &packages)?;
    python_redis(workplace)?;
    install_cloud(workplace)?;
    cargo_deny(workplace)?;
    Ok(())
}

/// Brings what `cargo xtask bench` measures with.
pub(crate) fn install_measures(workplace: &Workplace) -> Result<()> {
    let programs = [("valgrind", "valgrind"), ("python3", "python3")];
    let missing = programs.iter().filter(|(program, _)| workplace.which(program).is_none());
    system_packages(workplace, &missing.map(|(_, package)| *package).collect::<Vec<_>>())
}

/// Brings the libraries of event-ruler, as `events/pattern/ruler/pom.xml` names them.
pub(crate) fn install_ruler(workplace: &Workplace, folder: &Path) -> Result<()> {
    let programs = [("java", "default-jdk-headless"), ("mvn", "maven")];
    let missing = programs.iter().filter(|(program, _)| workplace.which(program).is_none());
    system_packages(workplace, &missing.map(|(_, package)| *package).collect::<Vec<_>>())?;
    if folder.is_dir() {
        return Ok(());
    }
    report::progress("fetching event-ruler into .local/ruler");
    let mut maven = workplace.command("mvn");
    maven.args(["--quiet", "--batch-mode", "--file", "events/pattern/ruler/pom.xml"]);
    maven.arg("dependency:copy-dependencies");
    let mut to = OsString::from("-DoutputDirectory=");
    to.push(folder);
    done(maven.arg(to))
}

/// The checker of dependencies.
pub(crate) fn cargo_deny(workplace: &Workplace) -> Result<PathBuf> {
    if let Some(found) = workplace.which("cargo-deny") {
        return Ok(found);
    }
    report::progress(&format!("installing {CARGO_DENY} in .local, which takes some minutes"));
    let root = workplace.local();
    let mut cargo = workplace.cargo();
    cargo.env_remove("CARGO_TARGET_DIR");
    // It works for a second: what an optimised build would save, its compilation costs many times.
    let options = ["install", "--debug", "--locked", "--no-default-features", CARGO_DENY, "--root"];
    cargo.args(options).arg(&root);
    done(&mut cargo)?;
    workplace.which("cargo-deny").context("cargo-deny was installed, but is not in `.local/bin`")
}

/// Brings the emulator of AWS and its clients.
pub(crate) fn install_cloud(workplace: &Workplace) -> Result<()> {
    python(workplace, "cloud", "xtask/cloud-requirements.txt", CLOUD).map(drop)
}

/// Brings what writes packages.
pub(crate) fn install_packagers(workplace: &Workplace) -> Result<()> {
    let programs = [("dpkg-deb", "dpkg"), ("rpmbuild", "rpm"), ("readelf", "binutils")];
    let missing = programs.iter().filter(|(program, _)| workplace.which(program).is_none());
    system_packages(workplace, &missing.map(|(_, package)| *package).collect::<Vec<_>>())
}

/// Brings `cargo zigbuild`; the folder that it lies in.
pub(crate) fn zig(workplace: &Workplace) -> Result<PathBuf> {
    Ok(python(workplace, "zig", "xtask/zig-requirements.txt", ZIG)?.join("bin"))
}

/// A small Debian as an archive; it is fetched once.
pub(crate) fn debian(workplace: &Workplace) -> Result<PathBuf> {
    let path = workplace.local().join(format!("debian/{DEBIAN}.tar"));
    if path.is_file() {
        return Ok(path);
    }
    if workplace.which("mmdebstrap").is_none() {
        system_packages(workplace, &["mmdebstrap", "debian-archive-keyring"])?;
    }
    report::progress(&format!("fetching a small Debian into {}", path.display()));
    fs::create_dir_all(workplace.local().join("debian"))?;
    let part = path.with_extension("part.tar");
    let mut fetch = workplace.command("mmdebstrap");
    fetch.args(["--variant=essential", "--include=passwd", "--quiet", DEBIAN]).arg(&part);
    // A machine that is a Debian knows where its packages come from.
    let own = ["/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources"];
    let is_ours = |path: &&&str| fs::read_to_string(path).is_ok_and(|text| text.contains(DEBIAN));
    fetch.args(own.iter().filter(is_ours));
    done(&mut fetch).context("packages are tried out by root, in a Debian that is fetched")?;
    fs::rename(&part, &path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// A Python environment in `.local` with what `file` asks for, which is `content`.
pub(crate) fn python(
    workplace: &Workplace,
    name: &str,
    file: &str,
    content: &str,
) -> Result<PathBuf> {
    let folder = workplace.local().join(name);
    let installed = folder.join("requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == content) {
        return Ok(folder);
    }
    report::progress(&format!("installing {file} in .local/{name}"));
    let make = || {
        let mut venv = workplace.command("python3");
        done(venv.args(["-m", "venv", "--clear"]).arg(&folder))
    };
    // Debian parts what makes environments from Python itself.
    make().or_else(|_| system_packages(workplace, &["python3-venv"]).and_then(|()| make()))?;
    let mut pip = workplace.command(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    done(pip.arg(workplace.root.join(file)))?;
    fs::write(&installed, content)
        .with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(folder)
}

/// The program that takes out of a binary what is only for debugging.
pub(crate) fn strip(workplace: &Workplace, arch: Arch) -> PathBuf {
    let own = format!("{}-strip", arch.prefix());
    workplace.which(&own).unwrap_or_else(|| PathBuf::from("strip"))
}

/// Brings packages of the system.
pub(crate) fn system_packages(workplace: &Workplace, packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    let by_hand =
        format!("the tests need {names}: install them, as with `apt-get install {names}`");
    let root = workplace.command("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let Some(apt) = workplace.which("apt-get").filter(|_| root) else { bail!(by_hand) };
    report::progress(&format!("installing {names}"));
    let run = |args: &[&str]| {
        let mut command = workplace.command(&apt);
        done(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    // The lists of a fresh machine are empty, so that a first try may fail.
    run(&install).or_else(|_| run(&["update"]).and_then(|()| run(&install))).context(by_hand)
}

fn python_redis(workplace: &Workplace) -> Result<()> {
    let folder = workplace.local().join("python");
    if folder.join("redis/__init__.py").is_file() {
        return Ok(());
    }
    let pip = |args: &[&str]| {
        let mut command = workplace.command("python3");
        command.args(["-m", "pip"]).args(args);
        command
    };
    if !pip(&["--version"]).output().is_ok_and(|output| output.status.success()) {
        system_packages(workplace, &["python3-pip"])?;
    }
    report::progress(&format!("installing {PYTHON_REDIS} in .local/python"));
    let options = ["install", "--quiet", "--disable-pip-version-check", "--target"];
    done(pip(&options).arg(&folder).arg(PYTHON_REDIS))
}
