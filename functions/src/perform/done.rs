//! How an attempt ended, and what follows from it. Pure.

use std::time::Duration;

use jiff::Timestamp;
use snooze_cloud::{CloudError, Kind};
use snooze_policy::ledger::Finish;

/// The longest delay between two attempts.
const LONGEST: Duration = Duration::from_secs(30);

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    /// It succeeded.
    Done(String),
    /// It was not to be done.
    Skipped(String),
    /// It cannot succeed.
    Failed {
        /// A fixed name.
        error: &'static str,
        /// Why.
        text: String,
    },
    /// It may succeed later.
    Later {
        /// A fixed name.
        error: &'static str,
        /// Why.
        text: String,
        /// Not before this has passed.
        least: Duration,
    },
    /// The hook waits on; the next heartbeat is due after this.
    Beat(Duration),
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A call failed.
    Cloud(CloudError),
    /// What the policy says cannot be used. The text shows no value of it.
    Config(String),
    /// The breaker of the destination is open for so long.
    Open(Duration),
}

impl From<CloudError> for Trouble {
    fn from(error: CloudError) -> Self {
        Self::Cloud(error)
    }
}

impl From<Trouble> for Did {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Cloud(error) => of_error(&error),
            Trouble::Config(text) => Self::Failed { error: "BadConfig", text },
            Trouble::Open(least) => {
                let text = "the destination failed time and again, and is left alone for a while";
                Self::Later { error: "BreakerOpen", text: text.to_owned(), least }
            }
        }
    }
}

fn of_error(error: &CloudError) -> Did {
    let failed = |name, text| Did::Failed { error: name, text };
    let later = |name| Did::Later { error: name, text: error.to_string(), least: Duration::ZERO };
    match error.kind {
        Kind::Denied if error.code.starts_with("KMS") => failed("KeyUnusable", error.to_string()),
        Kind::Denied => {
            let permission = permission(error);
            let text = format!("the role of this function needs `{permission}` ({})", error.code);
            failed("AccessDenied", text)
        }
        Kind::Missing => failed("NotFound", error.to_string()),
        Kind::Conflict => failed("WrongState", error.to_string()),
        Kind::Invalid => failed("Refused", error.to_string()),
        Kind::Later => later("Unavailable"),
        Kind::Unreachable => later("Unreachable"),
    }
}

/// Whether a failed call speaks against its destination: that it asks for patience with one
/// resource, or refuses what we ask, does not.
pub(super) fn is_unwell(error: &CloudError) -> bool {
    let is_busy = ["ResourceContention", "ScalingActivityInProgress"]
        .iter()
        .any(|code| error.code.starts_with(code));
    error.again() && !is_busy
}

/// The permission that a call lacked: AWS mostly says which, as `… to perform: ec2:CreateTags on
/// …`; else it goes by the name of the call.
fn permission(error: &CloudError) -> String {
    let said = error.text.split("to perform: ").nth(1).and_then(|rest| {
        let word = rest.split(|c: char| !c.is_ascii_alphanumeric() && !":-".contains(c)).next()?;
        word.contains(':').then(|| word.to_owned())
    });
    said.unwrap_or_else(|| match error.operation {
        "Publish" => "sns:Publish".to_owned(),
        "PutEvents" => "events:PutEvents".to_owned(),
        "Invoke" => "lambda:InvokeFunction".to_owned(),
        "GetParameter" => "ssm:GetParameter".to_owned(),
        "GetSecretValue" => "secretsmanager:GetSecretValue".to_owned(),
        "DeregisterTargets" => "elasticloadbalancing:DeregisterTargets".to_owned(),
        "CreateTags" | "StopInstances" | "StartInstances" | "DescribeInstances"
        | "CreateSnapshots" | "DescribeSnapshots" => format!("ec2:{}", error.operation),
        "CompleteLifecycleAction"
        | "RecordLifecycleActionHeartbeat"
        | "TerminateInstanceInAutoScalingGroup"
        | "SetDesiredCapacity"
        | "DescribeAutoScalingGroups"
        | "DescribeAutoScalingInstances" => format!("autoscaling:{}", error.operation),
        operation => operation.to_owned(),
    })
}

/// What is written down, and after which delay the order is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is written down.
    pub finish: Finish,
    /// After which delay the order is sent again.
    pub again: Option<Duration>,
}

/// What follows from an attempt, the `attempts`th, after which the order is worth something until
/// `until`; `most` bounds the delay of the next.
#[must_use]
pub fn verdict(
    did: Did,
    attempts: u32,
    attempt: &str,
    most: Duration,
    now: Timestamp,
    until: Timestamp,
) -> Verdict {
    let over = |finish| Verdict { finish, again: None };
    match did {
        Did::Done(text) => over(Finish::Done(text)),
        Did::Skipped(text) => over(Finish::Skipped(text)),
        Did::Failed { error, text } => over(Finish::Failed { error: error.to_owned(), text }),
        Did::Beat(next) => Verdict { finish: Finish::Beaten, again: Some(next) },
        Did::Later { error, text, least } => {
            let delay = backoff(attempts, attempt).min(most).max(least);
            let error = error.to_owned();
            if now.checked_add(delay).is_ok_and(|next| next < until) {
                let finish = Finish::Again { error, text };
                return Verdict { finish, again: Some(delay) };
            }
            let text = format!("given up after {attempts} attempts, the time is over: {text}");
            over(Finish::Failed { error, text })
        }
    }
}

/// 1, 2, 4 and up to 30 seconds after an attempt, each up to a quarter more or less, so that what
/// failed together does not come back together. The jitter follows from the attempt's id, so
/// that the same attempt always waits as long.
fn backoff(attempts: u32, attempt: &str) -> Duration {
    let doubled = 1_u64.checked_shl(attempts.saturating_sub(1).min(8)).unwrap_or(u64::MAX);
    let base = Duration::from_secs(doubled).min(LONGEST);
    // FNV-1a: any spread will do.
    let hash = attempt.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let share = u32::try_from(hash % 501).unwrap_or(250) + 750;
    (base * share / 1000).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_1_2_4_and_up_to_30_seconds_apart() {
        for (attempts, base) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (99, 30)]
        {
            for attempt in ["a", "b", "c2f1", "00000000-0000-4000-8000-000000000000"] {
                let (delay, base) = (backoff(attempts, attempt), Duration::from_secs(base));
                assert!(delay >= base * 3 / 4 && delay <= (base * 5 / 4).min(LONGEST), "{delay:?}");
                assert_eq!(delay, backoff(attempts, attempt));
            }
        }
        let spread: std::collections::BTreeSet<_> =
            (0..100).map(|n| backoff(6, &n.to_string())).collect();
        assert!(spread.len() > 20, "{}", spread.len());
    }

    #[test]
    fn what_may_work_later_is_tried_until_the_order_expires() {
        let later = || Did::Later {
            error: "Unavailable",
            text: "slow down".to_owned(),
            least: Duration::ZERO,
        };
        let verdict = |left: i64| {
            let now = Timestamp::from_second(1_000_000).unwrap();
            let until = Timestamp::from_second(1_000_000 + left).unwrap();
            verdict(later(), 6, "a", LONGEST, now, until)
        };
        assert!(matches!(verdict(60).finish, Finish::Again { .. }));
        assert!(verdict(60).again.is_some());
        let Verdict { finish: Finish::Failed { error, text }, again: None } = verdict(10) else {
            panic!("{:?}", verdict(10));
        };
        assert_eq!(error, "Unavailable");
        assert_eq!(text, "given up after 6 attempts, the time is over: slow down");
    }

    #[test]
    fn d16_a_missing_permission_is_named() {
        let denied = |operation, text: &str| {
            let error = CloudError::new(operation, Kind::Denied, "AccessDenied", text);
            let did = Did::from(Trouble::Cloud(error));
            let Did::Failed { error: "AccessDenied", text } = did else { panic!("{did:?}") };
            text
        };
        assert_eq!(
            denied("StopInstances", "You are not authorized to perform this operation."),
            "the role of this function needs `ec2:StopInstances` (AccessDenied)"
        );
        let said = "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: \
                    kms:GenerateDataKey on resource: arn:aws:kms:x";
        assert_eq!(
            denied("Publish", said),
            "the role of this function needs `kms:GenerateDataKey` (AccessDenied)"
        );
    }
}
