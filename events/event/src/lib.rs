//! The words of CloudSnooze: what happened ([`Event`]), to whom ([`InstanceId`]), how bad
//! ([`Severity`]), until when ([`Event::deadline`]), and which loss it belongs to
//! ([`IncidentKey`]).
//!
//! [`wire`] holds one module for each outside payload; each reads that payload once and
//! hands over our own words, which carry no serde.
//!
//! Invariants: no I/O, no clock, no async. Nothing here panics on any input.

mod event;
mod ids;
mod incident;
pub mod wire;

pub use event::{Event, EventType, Foreign, Home, LossAction, NotAnEventType, Severity};
pub use ids::{
    BootId, EventId, IncidentKey, InstanceId, NotABootId, NotAPluginName, NotAnEventId,
    NotAnInstanceId, PluginName,
};
pub use incident::{Cause, MINIMUM_BUDGET, SPOT_NOTICE, budget};
