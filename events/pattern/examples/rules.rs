//! A set of rules against events, from files, so that other engines can run the same ones.
//!
//! - `rules --generate N DIRECTORY` writes `rules-N.jsonl`, a pattern a line, and `events.jsonl`,
//!   an event a line;
//! - `rules RULES EVENTS [SECONDS]` matches the events over and over on one thread, for 2 seconds
//!   unless told otherwise, and prints a line: events a second when they are parsed beforehand,
//!   events a second from text, the matches of one round, bytes of memory for each rule, and
//!   the milliseconds in which the rules were compiled.
//!
//! `ruler/Ruler.java` is the same for another engine; `cargo xtask patterns` runs both.
//!
//! The rules are such as one has for many instances, groups and applications: nearly all ask for
//! `aws.ec2` and a few states, and tell instances apart by id, name or tag; some have a `$or`, a
//! prefix, a wildcard, a range or an absence.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snooze_pattern::{Pattern, PatternSet};

const EVENTS: usize = 1000;
/// Ids, names and tags of events go up to this; rules for others match nothing.
const FLEET: usize = 10_000;
const STATES: [&str; 6] =
    ["pending", "running", "stopping", "stopped", "shutting-down", "terminated"];
const KIND: &str = "EC2 Instance State-change Notification";

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--generate", count, directory] => generate(count.parse()?, Path::new(directory)),
        [rules, events] => measure(rules, events, Duration::from_secs(2)),
        [rules, events, seconds] => {
            measure(rules, events, Duration::try_from_secs_f64(seconds.parse()?)?)
        }
        _ => Err("usage: rules RULES EVENTS [SECONDS], or rules --generate N DIRECTORY".into()),
    }
}

fn measure(rules: &str, events: &str, time: Duration) -> Done {
    let (rules, texts) = (fs::read_to_string(rules)?, fs::read_to_string(events)?);
    let events = texts.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let before = resident()?;
    let start = Instant::now();
    let patterns = rules.lines().map(Pattern::compile).collect::<Result<Vec<_>, _>>()?;
    let count = patterns.len();
    let set: PatternSet<usize> = patterns.into_iter().enumerate().collect();
    // The first event has the index made.
    let _none = events.first().map(|event| set.matches(event).count());
    let (compiled, bytes) = (start.elapsed(), resident()?.saturating_sub(before));
    let parsed = || Ok(events.iter().map(|event| set.matches(event).count()).sum());
    let text = || {
        let mut matches = 0_usize;
        for line in texts.lines() {
            matches = matches.saturating_add(set.matches(&serde_json::from_str(line)?).count());
        }
        Ok(matches)
    };
    let matches: usize = parsed()?;
    let many = f64::from(u32::try_from(events.len())?);
    writeln!(
        std::io::stdout(),
        "{:.0} {:.0} {matches} {} {}",
        many * rounds(&parsed, matches, time)?,
        many * rounds(&text, matches, time)?,
        bytes.checked_div(count).unwrap_or_default(),
        compiled.as_millis(),
    )?;
    Ok(())
}

/// How many rounds fit into a second.
fn rounds(
    round: &dyn Fn() -> Result<usize, Box<dyn Error>>,
    matches: usize,
    time: Duration,
) -> Result<f64, Box<dyn Error>> {
    let (start, mut rounds) = (Instant::now(), 0_u32);
    while start.elapsed() < time {
        if round()? != matches {
            return Err("two rounds differ".into());
        }
        rounds = rounds.saturating_add(1);
    }
    Ok(f64::from(rounds) / start.elapsed().as_secs_f64())
}

/// The memory of this process, in bytes.
fn resident() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()).ok_or("no VmRSS")?;
    Ok(kilobytes.parse::<usize>()?.saturating_mul(1024))
}

fn generate(count: usize, directory: &Path) -> Done {
    let lines = |values: &mut dyn Iterator<Item = Value>| -> String {
        values.map(|value| value.to_string() + "\n").collect()
    };
    fs::write(directory.join(format!("rules-{count}.jsonl")), lines(&mut (0..count).map(rule)))?;
    fs::write(directory.join("events.jsonl"), lines(&mut (0..EVENTS).map(event)))?;
    Ok(())
}

/// The number of something in the fleet, always the same for the same `n`.
fn scattered(n: usize) -> usize {
    n.wrapping_mul(2_654_435_761) % FLEET
}

fn rule(n: usize) -> Value {
    let states: Vec<&str> = STATES.iter().skip(n % 4).take(2).copied().collect();
    let (own, other) = (scattered(n), scattered(n.wrapping_add(7)));
    let detail = match n % 20 {
        0..10 => json!({ "state": states, "instance-id": [format!("i-{own:017x}")] }),
        10..14 => json!({ "state": states, "tags": { "role": [format!("role-{own}")] } }),
        14 => json!({ "name": [{ "prefix": format!("app-{own:05}") }] }),
        15 => json!({ "name": [{ "wildcard": format!("app-{own:05}-*") }], "state": states }),
        16 => json!({ "$or": [{ "instance-id": [format!("i-{own:017x}")] },
                              { "tags": { "role": [format!("role-{other}")] } }] }),
        17 => json!({ "number": [{ "numeric": [">=", own, "<", own.saturating_add(5)] }] }),
        18 => json!({ "name": [format!("app-{own:05}-a")], "drill": [{ "exists": false }] }),
        _ => json!({ "tags": { "role": [{ "equals-ignore-case": format!("ROLE-{own}") }] },
                     "state": [{ "anything-but": ["pending"] }] }),
    };
    json!({ "source": ["aws.ec2"], "detail-type": [KIND], "detail": detail })
}

fn event(n: usize) -> Value {
    let own = scattered(n);
    let instance = format!("i-{own:017x}");
    let state = STATES.get(n % STATES.len());
    json!({
        "version": "0",
        "id": format!("7bf73129-1428-4cd3-a780-{n:012x}"),
        "detail-type": KIND,
        "source": "aws.ec2",
        "account": "123456789012",
        "time": "2026-03-14T09:26:53Z",
        "region": "us-east-1",
        "resources": [format!("arn:aws:ec2:us-east-1:123456789012:instance/{instance}")],
        "detail": {
            "instance-id": instance,
            "state": state,
            "name": format!("app-{own:05}-a"),
            "number": own,
            "tags": { "role": format!("role-{own}"), "team": format!("team-{}", own % 50) },
        },
    })
}
