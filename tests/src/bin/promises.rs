//! Measures the promises of the README:
//! `promises SNOOZED [--functions FOLDER] [--planning PROGRAM] [--json]`.
//!
//! Each is a row with its bar; the exit code is 1 when one is missed. What is measured: the process
//! of the daemon alone, without its plugins and their keepers, which are as many as the policies
//! name.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use snooze_tests::setup::Setup;
use snooze_tests::{functions, promises, wait};

/// How many events are sent for the first promise.
const EVENTS: usize = 300;
/// How often the other times are taken.
const TIMES: usize = 20;
/// Thousands of instructions that a slow core runs in 5 ms.
const FIVE_MILLISECONDS: f64 = 10_000.0;
/// How long the daemon does nothing.
const IDLE: Duration = Duration::from_secs(60);

/// A promise and what came of it.
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    bar: f64,
}

fn main() -> ExitCode {
    let (mut program, mut functions, mut planning, mut json) = (None, None, None, false);
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--json") => json = true,
            Some("--functions") => functions = args.next().map(PathBuf::from),
            Some("--planning") => planning = args.next().map(PathBuf::from),
            Some(_) | None => program = Some(PathBuf::from(arg)),
        }
    }
    let Some(program) = program else {
        say("usage: promises SNOOZED [--functions FOLDER] [--planning PROGRAM] [--json]");
        return ExitCode::from(2);
    };
    let mut rows = to_handlers(&program);
    rows.push(size(&program));
    rows.extend(idle(&program));
    rows.extend(ready(&program));
    for name in functions::FUNCTIONS {
        rows.extend(functions.iter().flat_map(|folder| function(name, &folder.join(name))));
    }
    for (policies, bar) in [(100, 50.0), (10_000, FIVE_MILLISECONDS)] {
        rows.extend(planning.as_deref().map(|planning| thinking(planning, policies, bar)));
    }
    say(&if json { as_json(&rows) } else { as_table(&rows) });
    if rows.iter().all(Row::is_kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn to_handlers(program: &Path) -> Vec<Row> {
    let mut setup = Setup::of(program.to_owned());
    promises::stamps(&mut setup, "one", 1);
    promises::stamps(&mut setup, "ten", 10);
    promises::stamps(&mut setup, "hundred", 100);
    let daemon = setup.start();
    promises::wait_until_warm(&daemon);
    let take = |name: &str, times: usize| -> Vec<Duration> {
        (0..times).map(|_| promises::to_handlers(&daemon, name)).collect()
    };
    let one = take("one", EVENTS);
    let ten = promises::percentile(take("ten", TIMES), 50);
    let hundred = promises::percentile(take("hundred", TIMES), 50);
    let (median, worst) = (promises::percentile(one.clone(), 50), promises::percentile(one, 99));
    vec![
        milliseconds("signal to first handler byte, median", median, 10.0),
        milliseconds("signal to first handler byte, p99", worst, 50.0),
        milliseconds("10 handlers of one priority started", ten, 25.0),
        milliseconds("100 handlers of one priority started", hundred, 300.0),
    ]
}

fn size(program: &Path) -> Row {
    let bytes = std::fs::metadata(program).map_or(u64::MAX, |file| file.len());
    megabytes("release file", bytes, 8.0)
}

fn idle(program: &Path) -> [Row; 2] {
    let mut setup = usual(program);
    setup.set("polling_interval_seconds", json!(1));
    let daemon = setup.start();
    promises::wait_until_warm(&daemon);
    let before = promises::processor_time(daemon.id());
    wait::pause(IDLE);
    let spent = promises::processor_time(daemon.id()).saturating_sub(before);
    let hour = spent.as_secs_f64() * 3600.0 / IDLE.as_secs_f64();
    let cpu =
        Row { name: "CPU per hour at 1 s polls".to_owned(), value: hour, unit: "s", bar: 3.6 };
    [megabytes("resident after 60 s idle", promises::resident(daemon.id()), 10.0), cpu]
}

fn ready(program: &Path) -> [Row; 2] {
    let first = (0..TIMES).map(|_| promises::to_ready(&usual(program))).collect();
    let setup = usual(program);
    let again = (0..TIMES).map(|_| promises::to_ready_again(&setup)).collect();
    let again = promises::percentile(again, 50);
    [
        milliseconds("start to ready", promises::percentile(first, 50), 50.0),
        milliseconds("SIGKILL to ready again, 200 ms of it systemd's", again, 1000.0),
    ]
}

fn function(name: &str, program: &Path) -> [Row; 2] {
    let times = (0..TIMES).map(|_| functions::to_next(program)).collect();
    let next = promises::percentile(times, 50);
    [
        megabytes(format!("{name}: deployment package"), functions::zipped(program), 5.0),
        milliseconds(format!("{name}: start to asking for its first event"), next, 20.0),
    ]
}

#[expect(clippy::as_conversions, reason = "there are fewer than 2^53 instructions")]
#[expect(clippy::cast_precision_loss, reason = "as above")]
fn thinking(planning: &Path, policies: u32, bar: f64) -> Row {
    let value = functions::instructions(planning, policies) as f64 / 1000.0;
    let name = format!("dispatch: an event against {policies} policies, planned");
    Row { name, value, unit: "ki", bar }
}

/// A daemon as most have it: a policy with three handlers.
fn usual(program: &Path) -> Setup {
    let mut setup = Setup::of(program.to_owned());
    promises::stamps(&mut setup, "usual", 3);
    setup
}

fn milliseconds(name: impl Into<String>, time: Duration, bar: f64) -> Row {
    Row { name: name.into(), value: time.as_secs_f64() * 1000.0, unit: "ms", bar }
}

#[expect(clippy::as_conversions, reason = "a file is smaller than 2^53 bytes")]
#[expect(clippy::cast_precision_loss, reason = "as above")]
fn megabytes(name: impl Into<String>, bytes: u64, bar: f64) -> Row {
    Row { name: name.into(), value: bytes as f64 / 1e6, unit: "MB", bar }
}

impl Row {
    fn is_kept(&self) -> bool {
        self.value <= self.bar
    }

    fn verdict(&self) -> &'static str {
        if self.is_kept() { "kept" } else { "missed" }
    }
}

fn as_table(rows: &[Row]) -> String {
    let mut text = format!("{:48} {:>9} {:>9}\n", "promise", "value", "bar");
    for row in rows {
        let Row { name, value, unit, bar } = row;
        text.push_str(&format!(
            "{name:48} {value:>6.2} {unit:2} {bar:>6} {unit:2} {}\n",
            row.verdict()
        ));
    }
    text.push_str(&machine());
    text
}

fn as_json(rows: &[Row]) -> String {
    let row = |row: &Row| {
        json!({
            "name": row.name,
            "value": (row.value * 1000.0).round() / 1000.0,
            "unit": row.unit,
            "bar": row.bar,
            "verdict": row.verdict(),
        })
    };
    let rows: Vec<Value> = rows.iter().map(row).collect();
    format!("{:#}", json!({ "machine": machine(), "rows": rows }))
}

/// What it was measured on.
fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unnamed processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = rustix::system::uname();
    format!("{cores} cores of {model}, Linux {}", kernel.release().to_string_lossy())
}

fn say(text: &str) {
    // Whoever closed our output does not want it.
    let _ = writeln!(std::io::stdout(), "{text}");
}
