//! How a function fails: with a fixed name, since alarms and retry rules match on it.

use std::fmt;

use lambda_runtime::Diagnostic;
use snooze_cloud::{CloudError, Kind};

/// The names. They never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The role of the function lacks a permission: a person has to give it.
    AccessDenied,
    /// The environment of the function is not what it must be.
    SettingsUnusable,
    /// An event, an order or a report is not readable, today and tomorrow.
    EventUnreadable,
    /// The table Incidents did not answer.
    LedgerUnavailable,
    /// The table Instances did not answer.
    InstancesUnavailable,
    /// The table Policies did not answer, and there was no copy of it.
    PoliciesUnavailable,
    /// The command to the instance could neither be published nor ordered.
    CommandNotSent,
    /// Orders could not be put into the queue.
    OrdersNotSent,
    /// Operators could not be told.
    OperatorsNotTold,
    /// The queue of an instance could not be made or subscribed.
    QueueNotMade,
    /// The queue of an instance, or its subscription, could not be removed.
    QueueNotRemoved,
    /// Auto Scaling did not answer.
    GroupUnavailable,
    /// An action did not succeed.
    ActionFailed,
    /// The work did not end within its limit; what is left comes again.
    OutOfTime,
    /// A fault in our own code.
    Panicked,
}

impl Name {
    /// The name as alarms know it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::SettingsUnusable => "SettingsUnusable",
            Self::EventUnreadable => "EventUnreadable",
            Self::LedgerUnavailable => "LedgerUnavailable",
            Self::InstancesUnavailable => "InstancesUnavailable",
            Self::PoliciesUnavailable => "PoliciesUnavailable",
            Self::CommandNotSent => "CommandNotSent",
            Self::OrdersNotSent => "OrdersNotSent",
            Self::OperatorsNotTold => "OperatorsNotTold",
            Self::QueueNotMade => "QueueNotMade",
            Self::QueueNotRemoved => "QueueNotRemoved",
            Self::GroupUnavailable => "GroupUnavailable",
            Self::ActionFailed => "ActionFailed",
            Self::OutOfTime => "OutOfTime",
            Self::Panicked => "Panicked",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {text}")]
pub struct Failure {
    /// Which.
    pub name: Name,
    /// What failed, on what, for a person.
    pub text: String,
}

impl Failure {
    /// A failure with its reason.
    #[must_use]
    pub fn new(name: Name, text: impl Into<String>) -> Self {
        Self { name, text: text.into() }
    }

    /// A call to AWS that failed. A permission that is missing goes by that name, whatever the
    /// call was for.
    #[must_use]
    pub fn of(name: Name, error: &CloudError) -> Self {
        let name = if error.kind == Kind::Denied { Name::AccessDenied } else { name };
        Self { name, text: error.to_string() }
    }

    /// The one that a function answers with, of several: the first of the names above, with the
    /// texts of all.
    #[must_use]
    pub fn of_all(mut failures: Vec<Self>) -> Option<Self> {
        failures.sort_by_key(|failure| failure.name);
        failures.dedup();
        let first = failures.first()?.name;
        let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
        let text = match &failures[..] {
            [one] => one.text.clone(),
            _ => texts.join("; "),
        };
        Some(Self { name: first, text })
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: failure.name.as_str().to_owned(), error_message: failure.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d16_a_missing_permission_goes_by_that_name() {
        let error = CloudError {
            operation: "Publish",
            code: "AuthorizationError".to_owned(),
            text: "not authorized to perform: SNS:Publish".to_owned(),
            kind: Kind::Denied,
        };
        let diagnostic = Diagnostic::from(Failure::of(Name::CommandNotSent, &error));
        assert_eq!(diagnostic.error_type, "AccessDenied");
        assert!(diagnostic.error_message.contains("`Publish`"), "{}", diagnostic.error_message);
        let later = CloudError { kind: Kind::Later, ..error };
        assert_eq!(Failure::of(Name::CommandNotSent, &later).name, Name::CommandNotSent);
    }

    #[test]
    fn of_several_failures_the_gravest_names_them() {
        let failures = vec![
            Failure::new(Name::OrdersNotSent, "the queue is gone"),
            Failure::new(Name::AccessDenied, "`Publish` failed"),
            Failure::new(Name::OrdersNotSent, "the queue is gone"),
        ];
        let failure = Failure::of_all(failures).unwrap();
        assert_eq!(
            failure.to_string(),
            "AccessDenied: AccessDenied: `Publish` failed; OrdersNotSent: the queue is gone"
        );
        assert_eq!(Failure::of_all(Vec::new()), None);
    }
}
