//! `snooze policy sign`. The secret key never comes here: minisign reads it, and asks for its
//! password.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use snooze_policy::Fault;
use snooze_policy::signed::Statement;
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::{files, screen};

const SECONDS_A_DAY: i64 = 86_400;

/// Sign policies with minisign, so that instances which require that take them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: snooze policy sign orders.json --key-file team.key --scope '{\"account\":[\"123456789012\"]}'

The signature is written beside the file as `FILE.minisig`; `snooze policy put` stores both.
`minisign -G` makes a pair of keys; the public one goes to the instances.")]
pub(crate) struct Args {
    /// Files with a policy each
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The secret key of minisign, readable by nobody else
    #[arg(long, value_name = "KEY")]
    key_file: PathBuf,
    /// The version of the policy, which instances let only rise [default: the time in seconds]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    version: Option<u64>,
    /// Until when instances may take it: days from now, a day or a moment
    #[arg(long, value_name = "90d|DATE|MOMENT", default_value = "90d")]
    expires: String,
    /// The instances it is for, as a pattern over what `instance` holds in policies
    #[arg(long, value_name = "JSON")]
    scope: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let now = Timestamp::now();
    let comment = comment(args, now)?;
    check_mode(&args.key_file)?;
    let mut signed = Vec::new();
    for path in &args.files {
        let text = files::read(path)?;
        if let Err(faults) = snooze_policy::check(&text) {
            return Err(Failure::file(path.display(), listed(&faults)));
        }
        let signature = files::signature_path(path);
        minisign(path, &signature, &args.key_file, &comment)?;
        signed.push(signature.display().to_string());
    }
    let said: Value = serde_json::from_str(&comment).unwrap_or_default();
    let data = json!({ "signatures": signed, "says": said });
    screen::show(context.json, &data, |_| {
        let lines: String = signed.iter().map(|path| format!("wrote {path}\n")).collect();
        format!("{lines}signed: {comment}\n")
    })?;
    Ok(exit::OK)
}

/// What is signed beside the document.
fn comment(args: &Args, now: Timestamp) -> Result<String, Failure> {
    let expires = expiry(&args.expires, now).ok_or_else(|| {
        let text = "`--expires`: expected a time to come, as `90d`, `2027-03-01` or \
                    `2027-03-01T12:00:00Z`";
        Failure::usage(text)
    })?;
    let scope: Option<Value> = args
        .scope
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|source| Failure::usage(format!("`--scope` is not JSON: {source}")))?;
    let seconds = u64::try_from(now.as_second()).unwrap_or(1);
    let comment = Statement::comment(args.version.unwrap_or(seconds), expires, scope.as_ref());
    match Statement::read(&comment) {
        Ok(_) => Ok(comment),
        Err(faults) => Err(Failure::usage(listed(&faults))),
    }
}

/// A moment to come: so many days from now, the start of a day in UTC, or itself.
fn expiry(text: &str, now: Timestamp) -> Option<Timestamp> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let expires = match days {
        Some(days) => {
            let seconds = i64::from(days).checked_mul(SECONDS_A_DAY)?;
            // Whole seconds are enough, and shorter.
            let start = Timestamp::from_second(now.as_second()).ok()?;
            start.checked_add(SignedDuration::from_secs(seconds)).ok()?
        }
        None => match text.parse::<Timestamp>() {
            Ok(moment) => moment,
            Err(_no_moment) => {
                let day: Date = text.parse().ok()?;
                day.to_zoned(TimeZone::UTC).ok()?.timestamp()
            }
        },
    };
    (expires > now).then_some(expires)
}

/// A secret key that others can read is none.
fn check_mode(key: &Path) -> Result<(), Failure> {
    let status = fs::metadata(key).map_err(|source| Failure::file(key.display(), source))?;
    let mode = status.mode() & 0o777;
    if mode & 0o077 != 0 {
        let shown = key.display();
        let text = format!("others may read it: mode {mode:04o}; `chmod 600 {shown}` mends that");
        return Err(Failure::file(shown, text));
    }
    Ok(())
}

fn minisign(path: &Path, signature: &Path, key: &Path, comment: &str) -> Result<(), Failure> {
    // What it says is not our output, which may be JSON.
    let talk = io::stderr().as_fd().try_clone_to_owned();
    let talk = talk.map_err(|source| Failure::system("open the output", &source))?;
    let mut command = Command::new("minisign");
    command.args(["-S", "-t", comment, "-s"]).arg(key);
    command.arg("-m").arg(path).arg("-x").arg(signature).stdout(Stdio::from(talk));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let text = format!("minisign did not sign `{}` ({status})", path.display());
            Err(Failure::new(exit::SYSTEM, text))
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            let text = "`minisign` is not installed; packages of that name bring it";
            Err(Failure::new(exit::SYSTEM, text))
        }
        Err(source) => Err(Failure::system("run `minisign`", &source)),
    }
}

fn listed(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
    faults.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_days_a_day_or_a_moment_to_come() {
        let at = |moment: &str| moment.parse::<Timestamp>().unwrap();
        let now = at("2026-11-21T10:00:00.5Z");
        for (text, expected) in [
            ("90d", Some("2027-02-19T10:00:00Z")),
            ("2027-03-01", Some("2027-03-01T00:00:00Z")),
            ("2027-03-01T12:00:00Z", Some("2027-03-01T12:00:00Z")),
            ("2026-11-21T10:00:00Z", None),
            ("2026-01-01", None),
            ("0d", None),
            ("-1d", None),
            ("99999999999d", None),
            ("soon", None),
        ] {
            assert_eq!(expiry(text, now), expected.map(at), "{text}");
        }
    }
}
