//! What can be asked of the metadata service.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Where a token is made, with PUT. Only the path of the latest version works.
pub const TOKEN_PATH: &str = "/latest/api/token";

/// What can be asked of the metadata service.
///
/// `spot/termination-time` is missing on purpose: it says nothing of stop and hibernate, and may
/// keep a time in the past. So is everything below `iam/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// One of the paths on which news appears.
    Signal(SignalPath),
    /// The identity document, JSON.
    Identity,
    /// How the instance was bought: `on-demand`, `spot`, `scheduled` and others.
    LifeCycle,
    /// The keys of the instance's tags, one to a line; absent when tags are not shown here.
    TagKeys,
    /// The value of one tag.
    Tag(TagKey),
}

impl Path {
    /// The path below the endpoint.
    #[must_use]
    pub fn as_str(&self) -> Cow<'static, str> {
        match self {
            Self::Signal(path) => Cow::Borrowed(path.as_str()),
            Self::Identity => Cow::Borrowed("/latest/dynamic/instance-identity/document"),
            Self::LifeCycle => Cow::Borrowed("/latest/meta-data/instance-life-cycle"),
            Self::TagKeys => Cow::Borrowed("/latest/meta-data/tags/instance/"),
            Self::Tag(key) => Cow::Owned(format!("/latest/meta-data/tags/instance/{key}")),
        }
    }
}

impl From<SignalPath> for Path {
    fn from(path: SignalPath) -> Self {
        Self::Signal(path)
    }
}

/// A path on which news appears, and 404 means that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignalPath {
    /// EC2 takes this Spot instance back: the action and about when.
    SpotInstanceAction,
    /// The risk that EC2 takes it back has risen.
    Rebalance,
    /// The state that Auto Scaling moves the instance to; plain text.
    TargetLifecycleState,
    /// Maintenance that AWS has scheduled: a list, which may be empty.
    MaintenanceScheduled,
}

impl SignalPath {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [
        Self::SpotInstanceAction,
        Self::Rebalance,
        Self::TargetLifecycleState,
        Self::MaintenanceScheduled,
    ];

    /// The path below the endpoint.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpotInstanceAction => "/latest/meta-data/spot/instance-action",
            Self::Rebalance => "/latest/meta-data/events/recommendations/rebalance",
            Self::TargetLifecycleState => "/latest/meta-data/autoscaling/target-lifecycle-state",
            Self::MaintenanceScheduled => "/latest/meta-data/events/maintenance/scheduled",
        }
    }
}

impl fmt::Display for SignalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str().trim_start_matches("/latest/meta-data/"))
    }
}

/// The key of a tag as the metadata service can show it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagKey(String);

impl TagKey {
    /// The text of the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not the key of a tag that the metadata service can show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a tag key: expected 1 to 128 letters, digits and `+-=.,_:@`")]
pub struct NotATagKey(String);

impl FromStr for TagKey {
    type Err = NotATagKey;

    /// The rules are those of the EC2 User Guide, "View tags for your EC2 instances using
    /// instance metadata", checked 2026-11: no space, no `/`, and not `.`, `..` or `_index`.
    fn from_str(text: &str) -> Result<Self, NotATagKey> {
        let fine = |c: u8| c.is_ascii_alphanumeric() || b"+-=.,_:@".contains(&c);
        let reserved = matches!(text, "." | ".." | "_index");
        if (1..=128).contains(&text.len()) && text.bytes().all(fine) && !reserved {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotATagKey(text.chars().take(64).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_key_can_never_leave_its_folder() {
        for bad in ["", ".", "..", "_index", "a/b", "a b", "a?b", "a#b", "%2e", "ä"] {
            assert!(bad.parse::<TagKey>().is_err(), "{bad:?}");
        }
        for fine in ["role", "aws:autoscaling:groupName", "a+b=c", "...", "x@y.z,_-"] {
            assert_eq!(fine.parse::<TagKey>().unwrap().as_str(), fine);
        }
    }

    #[test]
    fn no_path_leads_to_the_termination_time_or_to_credentials() {
        let paths = SignalPath::ALL.map(SignalPath::as_str);
        assert!(paths.iter().all(|path| !path.contains("termination-time")));
        assert!(paths.iter().all(|path| !path.contains("iam/")));
    }
}
