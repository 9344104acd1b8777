//! The settings of the cloud side.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use snooze_policy::Fault;
use snooze_policy::strict::{Fields, Unknown};

use super::Part;

/// The stack when the settings do not name one.
const STACK: &str = "cloudsnooze";
/// The name of a queue has at most 80 characters (SQS Developer Guide, "Quotas", checked
/// 2026-11), of which `-instance-` and the id of the instance take 29.
const LONGEST_STACK: usize = 51;
/// A fleet that starts at once spreads its first calls over this time.
const JITTER: Duration = Duration::from_secs(10);

/// How the daemon works with the cloud side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The stack, from which all names derive.
    pub stack: String,
    /// The Region that is called; `None` for the instance's own.
    pub region: Option<String>,
    /// The parts that are on.
    pub parts: Parts,
    /// The directory of the certificates that commands may be signed with; `None` fetches them.
    pub signing_certificates: Option<PathBuf>,
    /// The first calls come within this time of the start.
    pub startup_jitter: Duration,
}

/// Which parts are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Tells of this instance.
    pub hello: bool,
    /// Reads the table of policies.
    pub policies: bool,
    /// Takes commands.
    pub commands: bool,
    /// Reports outcomes.
    pub reports: bool,
    /// Fetches the secrets that policies name.
    pub secrets: bool,
}

impl Settings {
    /// As they stand in the file.
    #[must_use]
    pub fn shown(&self) -> Value {
        let parts: Map<String, Value> = Part::ALL
            .into_iter()
            .map(|part| (part.as_str().to_owned(), self.parts.has(part).into()))
            .collect();
        json!({
            "stack": self.stack,
            "region": self.region,
            "parts": parts,
            "signing_certificates": self.signing_certificates,
            "startup_jitter_seconds": self.startup_jitter.as_secs_f64(),
        })
    }
}

impl Parts {
    /// Whether a part is on.
    #[must_use]
    pub fn has(self, part: Part) -> bool {
        match part {
            Part::Hello => self.hello,
            Part::Policies => self.policies,
            Part::Commands => self.commands,
            Part::Reports => self.reports,
            Part::Secrets => self.secrets,
        }
    }
}

/// The settings under `cloud`; `None` without any.
pub fn read(root: &Fields<'_>, faults: &mut Vec<Fault>) -> Option<Settings> {
    let fields = root.object("cloud", faults)?;
    let known = ["stack", "region", "parts", "signing_certificates", "startup_jitter_seconds"];
    fields.expect(&known, Unknown::Refuse, faults);
    let stack = fields.text("stack", faults).unwrap_or(STACK);
    if !is_stack(stack) {
        let text = "expected a letter, then letters, digits and hyphens, 51 together at most";
        faults.push(fields.fault("stack", text));
    }
    let region = fields.text("region", faults);
    let fine = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if region.is_some_and(|region| region.is_empty() || !region.bytes().all(fine)) {
        faults.push(fields.fault("region", "expected a Region as `eu-west-1`"));
    }
    let certificates = fields.text("signing_certificates", faults);
    if certificates.is_some_and(|path| !path.starts_with('/')) {
        faults.push(fields.fault("signing_certificates", "expected an absolute path"));
    }
    let jitter = fields.number("startup_jitter_seconds", (0.0, 300.0), faults);
    Some(Settings {
        stack: stack.to_owned(),
        region: region.map(str::to_owned),
        parts: parts(&fields, faults),
        signing_certificates: certificates.map(PathBuf::from),
        startup_jitter: jitter.map_or(JITTER, Duration::from_secs_f64),
    })
}

fn parts(cloud: &Fields<'_>, faults: &mut Vec<Fault>) -> Parts {
    let Some(fields) = cloud.object("parts", faults) else {
        return Parts { hello: true, policies: true, commands: true, reports: true, secrets: true };
    };
    fields.expect(&Part::ALL.map(Part::as_str), Unknown::Refuse, faults);
    let mut is_on = |part: Part| fields.flag(part.as_str(), true, faults);
    Parts {
        hello: is_on(Part::Hello),
        policies: is_on(Part::Policies),
        commands: is_on(Part::Commands),
        reports: is_on(Part::Reports),
        secrets: is_on(Part::Secrets),
    }
}

fn is_stack(name: &str) -> bool {
    name.len() <= LONGEST_STACK
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}
