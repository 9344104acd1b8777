//! From what was gathered to what is wrong, and how it is mended.

use std::time::Duration;

use snoozed::run::SYSTEMD;

use super::{Facts, Metadata, Unit};
use crate::fleet::findings::{Finding, Severity};
use crate::text;

/// A clock that is off by more makes deadlines wrong by more than the reserve of a policy.
const CLOCK: Duration = Duration::from_secs(5);
/// What the journal, the spool and the snapshot need at most, and as much again.
const ROOM: u64 = 256 << 20;
/// A daemon that is away for longer may miss much of a notice.
const RESTART: Duration = Duration::from_secs(1);

/// Every finding: its part, and how bad it is.
pub(crate) const ALL: [(&str, Severity); 31] = [
    ("settings", Severity::Error),
    ("local-policies", Severity::Error),
    ("plugin-file", Severity::Error),
    ("plugin-missing", Severity::Error),
    ("plugin-not-allowed", Severity::Error),
    ("signatures", Severity::Note),
    ("signing-keys", Severity::Error),
    ("secret-files", Severity::Error),
    ("secret-key", Severity::Error),
    ("credentials", Severity::Error),
    ("socket", Severity::Error),
    ("systemd", Severity::Note),
    ("unit", Severity::Error),
    ("unit-enabled", Severity::Error),
    ("unit-active", Severity::Error),
    ("unit-type", Severity::Warning),
    ("unit-restart", Severity::Error),
    ("unit-restart-limit", Severity::Warning),
    ("unit-watchdog", Severity::Warning),
    ("unit-stop", Severity::Error),
    ("metadata-silent", Severity::Error),
    ("metadata-token", Severity::Error),
    ("metadata-version", Severity::Warning),
    ("clock", Severity::Error),
    ("role", Severity::Error),
    ("state-missing", Severity::Error),
    ("state-read-only", Severity::Error),
    ("state-shared", Severity::Error),
    ("state-space", Severity::Error),
    ("core-dumps", Severity::Warning),
    ("kernel", Severity::Warning),
];

/// All that is wrong.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Found::default();
    files(facts, &mut found);
    trust(facts, &mut found);
    daemon(facts, &mut found);
    match &facts.unit {
        Some(unit) => unit_of(unit, facts.shutdown_budget, &mut found),
        None => found.add("systemd", "`systemctl` does not answer: the unit was not looked at", ""),
    }
    metadata(&facts.metadata, &mut found);
    state(facts, &mut found);
    kernel(facts, &mut found);
    found.0
}

#[derive(Debug, Default)]
struct Found(Vec<Finding>);

impl Found {
    /// A finding of [`ALL`].
    fn add(&mut self, part: &str, what: impl Into<String>, mend: impl Into<String>) {
        let listed = ALL.iter().find(|(known, _)| *known == part);
        let severity = listed.map_or(Severity::Error, |(_, severity)| *severity);
        self.0.push(Finding::new(severity, part, what, mend));
    }

    fn each(&mut self, part: &str, all: &[String], mend: &str) {
        for what in all {
            self.add(part, text::shown(what), mend);
        }
    }
}

fn files(facts: &Facts, found: &mut Found) {
    found.each("settings", &facts.settings, "`snooze config check` tells all; mend the file");
    let mend = "mend it, then `systemctl reload snoozed`";
    found.each("local-policies", &facts.policies, mend);
    found.each("plugin-file", &facts.refused, "`snooze plugin doctor` tells what to do");
    let mend = "put its file into one of `plugins.directories`, or mend the policy";
    found.each("plugin-missing", &facts.missing, mend);
    let mend = "name it in `plugins.allowed`, or mend the policy";
    found.each("plugin-not-allowed", &facts.not_allowed, mend);
}

fn trust(facts: &Facts, found: &mut Found) {
    if facts.signatures == Some(false) {
        found.add(
            "signatures",
            "policies of the table need no signature: whoever can write it chooses what runs here",
            "`snooze policy sign`, then `\"policy_signatures\": { \"required\": true }`",
        );
    }
    let mend = "put the public key there, a file `*.pub` that only root can write";
    found.each("signing-keys", &facts.keys, mend);
    for (path, mode) in &facts.open_secrets {
        let path = path.display();
        let what = format!("`{path}` can be read by others: mode {mode:04o}");
        found.add("secret-files", text::shown(&what), format!("`chmod go= {path}`"));
    }
    for path in &facts.secret_keys {
        let what =
            format!("`{}` is a secret key: whoever takes the instance signs", path.display());
        let mend = "remove it from here, keep it where policies are signed, and revoke it";
        found.add("secret-key", text::shown(&what), mend);
    }
    let mend = "give it to the unit with `LoadCredential=`, then `systemctl restart snoozed`";
    found.each("credentials", &facts.credentials, mend);
}

fn daemon(facts: &Facts, found: &mut Found) {
    if let Some(why) = &facts.unanswered {
        found.add("socket", why.clone(), "`systemctl start snoozed`, or ask as one who may");
    }
    if facts.core_limit.is_some_and(|limit| limit > 0) {
        found.add(
            "core-dumps",
            "a crash of the daemon would write its memory, with secrets, to the disk",
            "`LimitCORE=0` in the unit",
        );
    }
}

fn unit_of(unit: &Unit, shutdown_budget: Duration, found: &mut Found) {
    if !unit.is_there {
        found.add("unit", "there is no unit `snoozed.service`", "install the package");
        return;
    }
    if !unit.is_enabled {
        let mend = "`systemctl enable snoozed`";
        found.add("unit-enabled", "the daemon is not started at boot", mend);
    }
    if !unit.is_active {
        let mend = "`systemctl start snoozed`; `journalctl -u snoozed` tells why it ended";
        found.add("unit-active", "the daemon does not run", mend);
    }
    if !unit.is_notify {
        let what = "systemd does not wait until the daemon is ready";
        found.add("unit-type", what, "`Type=notify` in the unit");
    }
    let is_late = unit.restart_after.is_none_or(|after| after > RESTART);
    if !unit.is_restarted || is_late {
        let what = "a daemon that died would not be back within a second";
        found.add("unit-restart", what, "`Restart=always` and `RestartSec=200ms` in the unit");
    }
    if !unit.is_unlimited {
        let what = "a daemon that dies often is given up";
        found.add("unit-restart-limit", what, "`StartLimitIntervalSec=0` in the unit");
    }
    if unit.watchdog.is_none() {
        let what = "a daemon that hangs is not noticed";
        found.add("unit-watchdog", what, "`WatchdogSec=10` in the unit");
    }
    let needed = shutdown_budget.saturating_add(SYSTEMD);
    if unit.stop.is_some_and(|stop| stop < needed) {
        let what = "systemd kills the daemon before the handlers of a shutdown have had their time";
        let mend = format!("`TimeoutStopSec={}` or more in the unit", needed.as_secs_f64().ceil());
        found.add("unit-stop", what, &mend);
    }
}

fn metadata(metadata: &Metadata, found: &mut Found) {
    let options = "`aws ec2 modify-instance-metadata-options --instance-id ID`";
    match metadata {
        Metadata::Off => {}
        Metadata::Silent => found.add(
            "metadata-silent",
            "nothing answers where the metadata service should: no notice would be heard",
            format!(
                "{options} `--http-endpoint enabled`; look at firewall rules and routes for \
                 169.254.169.254"
            ),
        ),
        Metadata::NoToken => found.add(
            "metadata-token",
            "the metadata service answers and gives no token: its answers do not come so far, as \
             into a container",
            format!("{options} `--http-put-response-hop-limit 2`"),
        ),
        Metadata::Works { is_open, ahead, has_role, needs_role } => {
            if *is_open {
                found.add(
                    "metadata-version",
                    "the metadata service answers without a token: a web server that can be made \
                     to fetch addresses gives the role away",
                    format!("{options} `--http-tokens required`"),
                );
            }
            let off = ahead.map(|ahead| ahead.unsigned_abs()).filter(|off| *off > CLOCK);
            if let Some(off) = off {
                let what = format!("the clock is {} off: so are deadlines", text::took(off));
                found.add("clock", what, "let chrony or systemd-timesyncd set it");
            }
            if *needs_role && *has_role == Some(false) {
                found.add(
                    "role",
                    "the instance has no role: no part of the cloud side works",
                    "`snooze iam-policy instance` prints what its role needs; attach an instance \
                     profile with that",
                );
            }
        }
    }
}

fn state(facts: &Facts, found: &mut Found) {
    if facts.is_stateless {
        let mend = "start the daemon, which makes it, or mend `state_directory`";
        found.add("state-missing", "the state directory is missing", mend);
    }
    let Some(state) = &facts.state else { return };
    let path = state.path.display();
    if state.is_read_only {
        let what = format!("nothing can be written to `{path}`");
        found.add("state-read-only", what, "mount it so that it can be written to");
    }
    if state.is_shared {
        let what = format!("others than its owner may write to `{path}`");
        found.add("state-shared", what, format!("`chmod go-w {path}`"));
    }
    if state.free < ROOM {
        let what = format!("{} MiB are free in `{path}`", state.free >> 20);
        found.add("state-space", what, "make room: 256 MiB are enough");
    }
}

fn kernel(facts: &Facts, found: &mut Found) {
    let lacks = [
        (facts.landlock == 0, "Landlock (paths of plugins are not confined)"),
        (!facts.seccomp, "seccomp (system calls of plugins are not filtered)"),
        (!facts.cgroup2, "control groups of version 2 (units of plugins have no common limit)"),
    ];
    let lacks: Vec<&str> =
        lacks.iter().filter(|(lacks, _)| *lacks).map(|(_, what)| *what).collect();
    if !lacks.is_empty() {
        let what = format!("the kernel lacks {}", lacks.join(", "));
        let mend = "use a kernel from 6.7 on; `snooze plugin info` tells what is in force";
        found.add("kernel", what, mend);
    }
}

#[cfg(test)]
mod tests;
