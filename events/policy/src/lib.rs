//! Policies: what operators store, checked, selected for an event and scheduled into a plan.
//!
//! The way of an event through this crate: [`document`] makes the JSON that patterns see,
//! [`select`] finds the policies that match it (or a [`PolicySet`], for many events), [`steps`] makes one step of each of their
//! handlers, and [`next`] says, as often as it is asked, which steps start with what budget and
//! which are dropped and why. [`schedule`] asks `next` until nothing is pending, as if every
//! step used its whole budget: the worst case, as a value that prints.
//!
//! Policies come in by [`check`] (strict: for a person who can mend the text), [`read_all`]
//! (tolerant: one bad policy never stops the others) or [`from_settings`] (the two layouts of a
//! configuration file).
//! [`signed`] says who signed one, and whether that counts here.
//!
//! Invariants: no I/O, no clock, no async; time is handed over as what is left. Nothing here
//! panics on any text. No value of a handler's `config` stands in a fault or in debug output,
//! since secrets may stand there.

mod action;
mod check;
#[cfg(test)]
mod documents;
mod fault;
mod fields;
pub mod idle;
mod json;
pub mod ledger;
mod policy;
#[cfg(test)]
mod samples;
mod schedule;
mod secret;
mod select;
mod set;
mod settings;
pub mod signed;
mod step;

/// Objects of a JSON document read strictly, with all faults at once; settings are read with it
/// as policies are.
pub mod strict {
    pub use crate::fields::{Fields, Unknown};
    pub use crate::json::parse;
}

pub use action::{ActionKey, Form, cloud_secret, tags_of};
pub use check::{check, read_all};
pub use fault::Fault;
pub use json::{DEPTH, SIZE};
pub use policy::{
    Action, ActionName, Band, DEFAULT_MINIMUM, DEFAULT_PRIORITY, DEFAULT_RESERVE, Dispatch, Drill,
    Handler, LONGEST, NotAPolicyName, Policy, PolicyName, When,
};
pub use schedule::{INSTANT_BUDGET, Plan, PlannedStep, Turn, Why, misfits, next, schedule};
pub use secret::{SecretRef, secret_reference};
pub use select::{Facts, document, select};
pub use set::PolicySet;
pub use settings::from_settings;
pub use step::{Step, StepId, all_steps, handled, merge, steps, undo_steps};
