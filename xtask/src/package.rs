//! `cargo xtask package`: packages for Debian and RPM, an archive, their checksums and a bill of
//! materials, all from `infra/packaging/packages.json`.
//!
//! Released programs are linked against an old C library, so that they run on Amazon Linux 2023
//! too; the versions of their symbols are looked at before anything is packaged.

mod crates;
mod description;
mod floor;
mod formats;
mod stage;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::functions::Arch;
use crate::workplace::{Workplace, done};
use crate::{report, tools};
use crates::Crates;
use description::Description;
use formats::Release;
use stage::Source;

/// What is packaged, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Package programs for debugging, which run on machines like this one only
    #[arg(long)]
    debug: bool,
    /// Package the programs that lie in this folder; nothing is built
    #[arg(long, conflicts_with = "debug")]
    programs: Option<PathBuf>,
    /// The processor they run on; this machine's where it is not said
    #[arg(long)]
    arch: Option<Arch>,
    /// Where the packages go
    #[arg(long, default_value = "target/package")]
    out: PathBuf,
    /// A secret key of minisign without a password, to sign the checksums with
    #[arg(long)]
    key: Option<PathBuf>,
    /// Install, upgrade and remove the packages in a Debian of its own; needs root
    #[arg(long)]
    test: bool,
}

/// The version of everything here.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds, packages, and tries the packages out if asked to.
pub(crate) fn run(workplace: &Workplace, args: &Args) -> Result<ExitCode> {
    tools::install_packagers(workplace)?;
    let description = Description::read(workplace)?;
    let arch =
        args.arch.or(Arch::own()).context("no packages for this processor: name `--arch`")?;
    let programs = match &args.programs {
        Some(folder) => workplace.root.join(folder),
        None if args.debug => {
            workplace.build_programs()?;
            workplace.built("debug", "")
        }
        None => build(workplace, &description, arch)?,
    };
    let glibc = floor::version(&description.glibc).context("`glibc` is no version")?;
    if !args.debug {
        check_floor(workplace, &description, &programs, glibc)?;
    }
    let out = workplace.root.join(&args.out);
    let made = Making { workplace, description: &description, programs: &programs, arch };
    made.all(&out, VERSION)?;
    if let Some(key) = &args.key {
        let mut sign = workplace.command("minisign");
        sign.args(["-S", "-t", &format!("cloudsnooze {VERSION}"), "-s"]).arg(key);
        done(sign.arg("-m").arg(out.join(SUMS)))?;
    }
    if args.test {
        trial::run(&made, &out)?;
    }
    report::say(&format!("{} holds the packages", out.display()));
    Ok(ExitCode::SUCCESS)
}

/// Makes some of the packages from the programs for debugging, which are built already; where they
/// lie.
pub(crate) fn for_debugging(workplace: &Workplace, names: &[&str]) -> Result<PathBuf> {
    tools::install_packagers(workplace)?;
    let mut description = Description::read(workplace)?;
    description.packages.retain(|package| names.contains(&package.name.as_str()));
    let arch = Arch::own().context("no packages for this processor")?;
    let programs = workplace.built("debug", "");
    let out = workplace.built("boot", "packages");
    Making { workplace, description: &description, programs: &programs, arch }
        .all(&out, VERSION)?;
    Ok(out)
}

/// The file of checksums, which is what is signed.
const SUMS: &str = "SHA256SUMS";

/// Builds the programs as they are released. The daemon is built by itself: together with others it
/// would get the features that those need.
fn build(workplace: &Workplace, description: &Description, arch: Arch) -> Result<PathBuf> {
    let triple = arch.triple();
    let zig = tools::zig(workplace)?;
    let target = format!("{triple}.{}", description.glibc);
    let (daemon, others): (Vec<&str>, Vec<&str>) =
        description.programs().partition(|program| *program == "snoozed");
    for programs in [daemon, others] {
        report::progress(&format!("building {} as released", programs.join(", ")));
        let mut cargo = workplace.cargo_with(&zig);
        cargo.args(["zigbuild", "--release", "--locked", "--target", &target]);
        for package in Crates::read(workplace, triple)?.owners(&programs) {
            cargo.args(["--package", &package]);
        }
        for program in programs {
            cargo.args(["--bin", program]);
        }
        done(&mut cargo)?;
    }
    Ok(workplace.built(&format!("{triple}/release"), ""))
}

/// Fails when a program asks for a newer C library than was promised.
fn check_floor(
    workplace: &Workplace,
    description: &Description,
    programs: &Path,
    promised: floor::Version,
) -> Result<()> {
    for program in description.programs() {
        let asked = floor::of(workplace, &programs.join(program))?;
        if let Some((major, minor)) = asked.filter(|asked| *asked > promised) {
            bail!(
                "`{program}` needs glibc {major}.{minor}: at most {} is promised",
                description.glibc
            );
        }
    }
    Ok(())
}

/// What packages are made from.
#[derive(Debug)]
struct Making<'a> {
    workplace: &'a Workplace,
    description: &'a Description,
    programs: &'a Path,
    arch: Arch,
}

impl Making<'_> {
    /// Makes everything anew in `out`.
    fn all(&self, out: &Path, version: &str) -> Result<()> {
        let workplace = self.workplace;
        match fs::remove_dir_all(out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let crates = Crates::read(workplace, self.arch.triple())?;
        let source =
            Source { workplace, programs: self.programs, arch: self.arch, crates: &crates };
        let epoch = epoch(workplace)?;
        let release = Release {
            workplace,
            description: self.description,
            version,
            arch: self.arch,
            epoch: &epoch,
            out,
        };
        let stage = out.join("stage");
        let whole = stage.join("whole");
        for package in &self.description.packages {
            report::progress(&format!("packing {}", package.name));
            let folder = stage.join(&package.name);
            stage::directory(&folder)?;
            stage::lay_out(&source, package, &folder)?;
            let needs = package.programs.iter().map(|(program, place)| {
                floor::of(workplace, &stage::below(&folder, place).join(program))
            });
            let glibc = needs.collect::<Result<Vec<_>>>()?.into_iter().flatten().max();
            release.deb(package, &folder, glibc)?;
            release.rpm(package, &folder)?;
            stage::directory(&whole)?;
            done(workplace.command("cp").args(["-a"]).arg(folder.join(".")).arg(&whole))?;
        }
        release.archive(&whole)?;
        fs::remove_dir_all(&stage)?;
        let bill = crates.bill(self.description.programs(), version)?;
        let name = format!("{}-{version}.cdx.json", self.description.base());
        stage::write(&out.join(name), bill.as_bytes())?;
        sums(workplace, out)
    }
}

/// The time of everything: that of the commit, or `SOURCE_DATE_EPOCH`.
fn epoch(workplace: &Workplace) -> Result<String> {
    if let Some(epoch) = &workplace.epoch {
        return Ok(epoch.clone());
    }
    let mut git = workplace.command("git");
    let output = git.args(["log", "-1", "--format=%ct"]).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start `git`")?;
    let epoch = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if epoch.is_empty() {
        bail!("no commit tells the time of the packages: set SOURCE_DATE_EPOCH");
    }
    Ok(epoch)
}

fn sums(workplace: &Workplace, out: &Path) -> Result<()> {
    let mut names: Vec<_> = fs::read_dir(out)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    names.sort();
    let output = workplace.command("sha256sum").current_dir(out).args(names).output();
    let output = output.context("cannot start `sha256sum`")?;
    if !output.status.success() {
        bail!("`sha256sum` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    stage::write(&out.join(SUMS), &output.stdout)
}
