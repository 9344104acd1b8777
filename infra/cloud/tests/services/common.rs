//! What the tests tell of.

use std::time::Duration;

use jiff::Timestamp;
use snooze_event::{Cause, Event, EventType, InstanceId, LossAction};
use snooze_policy::Facts;
use snooze_policy::ledger::{self, Claim, Incident, Opening, Shelf};

/// So many seconds after the Spot notice.
pub(crate) fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

pub(crate) fn instance() -> InstanceId {
    "i-0123456789abcdef0".parse().unwrap()
}

/// A Spot notice.
pub(crate) fn spot() -> Event {
    let id = "e-1".parse().unwrap();
    Event {
        instance: Some(instance()),
        deadline: Some(moment(120)),
        cause: Some(Cause::Spot),
        action: Some(LossAction::Terminate),
        ..Event::new(EventType::SpotInterrupt, "aws.ec2", moment(0), id)
    }
}

pub(crate) fn claim() -> Claim {
    ledger::claim(&spot())
}

/// The incident of the Spot notice.
pub(crate) fn incident(id: &str) -> Incident {
    let facts = Facts { id: Some(instance()), ..Facts::default() };
    let opening = Opening {
        event: &spot(),
        facts: Some(&facts),
        shelf: &Shelf { version: Some(3), ..Shelf::default() },
        hook_timeout: None,
        lifecycle_budget: Duration::from_secs(120),
    };
    Incident::open(id, opening, moment(1))
}
