//! `cargo xtask fuzz`: looks for bytes that break a reader, with libFuzzer.
//!
//! It starts from the inputs in `tests/corpus/`, and keeps what it learns beside the compiled
//! program, so that a later run goes on from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::report;
use crate::workplace::{Workplace, done};

/// What makes the compiler tell libFuzzer which way the program went; the same as `cargo fuzz`
/// gives it.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0";

/// What libFuzzer holds a target to: memory in megabytes, seconds for one input, and how long an
/// input it tries.
const LIMITS: [&str; 3] = ["-rss_limit_mb=512", "-timeout=10", "-max_len=16384"];

/// The targets that need the daemon: their program takes many minutes to compile, so that it is
/// made for them alone.
const DAEMON: [&str; 6] = ["approval", "envelope", "journal", "launcher", "settings", "socket"];

/// Runs each of these targets, or all, for so long.
pub(crate) fn run(workplace: &Workplace, seconds: u64, targets: &[String]) -> Result<ExitCode> {
    let corpus = workplace.root.join("tests/corpus");
    let known = names(&corpus)?;
    if let Some(unknown) = targets.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{unknown}`: expected one of {}", known.join(", "));
    }
    let chosen = if targets.is_empty() { &known } else { targets };
    let (of_daemon, thinking): (Vec<&String>, Vec<&String>) =
        chosen.iter().partition(|name| DAEMON.contains(&name.as_str()));
    let mut broken = Vec::new();
    for (names, features) in [(thinking, None), (of_daemon, Some("daemon"))] {
        if !names.is_empty() {
            let program = build(workplace, features)?;
            broken.extend(feed(workplace, &program, seconds, &names)?);
        }
    }
    if broken.is_empty() {
        report::say(&format!("{} targets, none broken", chosen.len()));
        return Ok(ExitCode::SUCCESS);
    }
    report::complain(&format!(
        "broken: {}; put the input into `tests/corpus`, where every run of the tests tries it",
        broken.join("; ")
    ));
    Ok(ExitCode::FAILURE)
}

/// Runs each of these targets, and says which are broken.
fn feed(
    workplace: &Workplace,
    program: &Path,
    seconds: u64,
    names: &[&String],
) -> Result<Vec<String>> {
    let corpus = workplace.root.join("tests/corpus");
    let mut broken = Vec::new();
    for name in names {
        report::progress(&format!("{name}, for {seconds} s"));
        let learnt = workplace.built("fuzz/corpus", name);
        let found = workplace.built("fuzz/found", name);
        for folder in [&learnt, &found] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make `{}`", folder.display()))?;
        }
        let mut fuzzer = workplace.command(program);
        fuzzer.env("SNOOZE_TARGET", name).args(LIMITS);
        fuzzer.arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
        fuzzer.arg(format!("-artifact_prefix={}/", found.display()));
        fuzzer.arg(learnt).arg(corpus.join(name));
        let status = fuzzer.status().context("cannot start the fuzzer")?;
        if !status.success() {
            broken.push(format!("{name}: see {}", found.display()));
        }
    }
    Ok(broken)
}

/// The folders in this one.
fn names(corpus: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(corpus).with_context(|| format!("cannot read `{}`", corpus.display()))?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Builds the program that holds the targets, for libFuzzer.
fn build(workplace: &Workplace, features: Option<&str>) -> Result<PathBuf> {
    // The toolchain of the workspace, which this process was started with, must not decide here.
    let rustc = || {
        let mut rustup = workplace.command("rustup");
        rustup.args(["run", "nightly", "rustc", "-vV"]).env_remove("RUSTUP_TOOLCHAIN");
        rustup.output().ok().filter(|output| output.status.success())
    };
    let about = rustc().context(
        "libFuzzer needs a nightly compiler: install it by `rustup toolchain install nightly \
         --profile minimal`",
    )?;
    let about = String::from_utf8_lossy(&about.stdout).into_owned();
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("the nightly compiler does not say what it compiles for")?;
    if workplace.which("c++").is_none() {
        bail!("libFuzzer is compiled from C++: install a compiler, as with `apt-get install g++`");
    }
    // The same versions as in the workspace; what is missing cargo adds.
    let fuzz = workplace.root.join("tests/fuzz");
    fs::copy(workplace.root.join("Cargo.lock"), fuzz.join("Cargo.lock"))
        .context("cannot copy Cargo.lock")?;
    report::progress("building the fuzzer, which takes some minutes the first time");
    let target = workplace.built("fuzz", "build");
    let mut cargo: Command = workplace.command("rustup");
    cargo.args(["run", "nightly", "cargo", "build", "--release", "--target", host]);
    cargo.arg("--manifest-path").arg(fuzz.join("Cargo.toml"));
    cargo.args(features.map(|features| format!("--features={features}")));
    cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    cargo.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", FLAGS);
    done(&mut cargo)?;
    Ok(target.join(host).join("release/snooze-fuzz"))
}
