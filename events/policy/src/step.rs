//! Steps: one handler of one selected policy each, in the order in which they go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use snooze_event::{Event, PluginName};

use crate::policy::Keys;
use crate::{Dispatch, Drill, Handler, Policy, PolicyName, Why};

/// What a step is called in the journal, in plans and in outcomes: `POLICY/PLUGIN`, for the
/// second handler of the same plugin `POLICY/PLUGIN#2`, for an undo handler
/// `POLICY/undo/PLUGIN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(Arc<str>);

impl StepId {
    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An id read back from where one was stored.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One handler of one selected policy.
#[derive(Clone, PartialEq)]
pub struct Step {
    /// What it is called.
    pub id: StepId,
    /// The policy it comes from.
    pub policy: PolicyName,
    /// The plugin that does it.
    pub plugin: PluginName,
    /// Larger goes first; equal ones run side by side.
    pub priority: i64,
    /// The longest it may take.
    pub timeout: Duration,
    /// With less than this it is not started.
    pub minimum: Duration,
    /// What stays free before the deadline when it ends.
    pub reserve: Duration,
    /// Running it twice does no harm.
    pub repeatable: bool,
    /// It is started when there is no time left at all.
    pub instant: bool,
    /// Its policy ends with the first handler that handled the event.
    pub first_handled: bool,
    /// It is reported and does not run: the event is a drill and the policy holds back in one.
    pub rehearse: bool,
    /// Its parameters.
    pub config: Map<String, Value>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("id", &self.id)
            .field("policy", &self.policy)
            .field("plugin", &self.plugin)
            .field("priority", &self.priority)
            .field("timeout", &self.timeout)
            .field("minimum", &self.minimum)
            .field("reserve", &self.reserve)
            .field("repeatable", &self.repeatable)
            .field("instant", &self.instant)
            .field("first_handled", &self.first_handled)
            .field("rehearse", &self.rehearse)
            .field("config", &Keys(&self.config))
            .finish()
    }
}

/// The steps of the handlers of the selected policies: by priority, the largest first, then in
/// the order in which they stand.
#[must_use]
pub fn steps(selected: &[&Policy], event: &Event) -> Vec<Step> {
    all(selected, event.drill, "", |policy| &policy.handlers)
}

/// The steps that undo what was done for a loss that did not come true, in the same order.
#[must_use]
pub fn undo_steps(selected: &[&Policy], event: &Event) -> Vec<Step> {
    all(selected, event.drill, "undo/", |policy| &policy.undo)
}

/// The steps of all handlers of a policy, those that undo among them, whatever the event: what
/// plugins have to be ready for.
#[must_use]
pub fn all_steps(policy: &Policy) -> Vec<Step> {
    let of = |part, handlers| all(&[policy], false, part, handlers);
    let mut steps = of("", |policy: &Policy| &policy.handlers);
    steps.extend(of("undo/", |policy: &Policy| &policy.undo));
    steps
}

fn all(
    selected: &[&Policy],
    drill: bool,
    part: &str,
    handlers: fn(&Policy) -> &Vec<Handler>,
) -> Vec<Step> {
    let mut counts: BTreeMap<(&PolicyName, &PluginName), usize> = BTreeMap::new();
    let mut steps = Vec::new();
    for policy in selected {
        for handler in handlers(policy) {
            let count = counts.entry((&policy.name, &handler.plugin)).or_default();
            *count += 1;
            let name = [policy.name.as_str(), "/", part, handler.plugin.as_str()].concat();
            let id = match *count {
                1 => name,
                count => format!("{name}#{count}"),
            };
            let id = StepId(id.into());
            steps.push(step(id, policy, handler, drill));
        }
    }
    by_priority(&mut steps);
    steps
}

fn step(id: StepId, policy: &Policy, handler: &Handler, drill: bool) -> Step {
    Step {
        id,
        policy: policy.name.clone(),
        plugin: handler.plugin.clone(),
        priority: handler.priority,
        timeout: handler.timeout,
        minimum: handler.minimum,
        reserve: policy.reserve,
        repeatable: handler.repeatable,
        instant: handler.instant,
        first_handled: policy.dispatch == Dispatch::FirstHandled,
        rehearse: drill && policy.drill == Drill::Rehearse,
        config: handler.config.clone(),
    }
}

/// The order of steps; equal ones keep theirs.
fn by_priority(steps: &mut [Step]) {
    steps.sort_by_key(|step| Reverse(step.priority));
}

/// Adds the steps that a second event of the same incident brings. A step that is there already,
/// pending, running or ended, is not there twice.
pub fn merge(steps: &mut Vec<Step>, more: Vec<Step>) {
    let mut known: BTreeSet<StepId> = steps.iter().map(|step| step.id.clone()).collect();
    steps.extend(more.into_iter().filter(|step| known.insert(step.id.clone())));
    by_priority(steps);
}

/// The pending steps that are dropped because the step `by` reported that it handled the event:
/// those of its policy, where that ends with the first one.
#[must_use]
pub fn handled(pending: &[Step], by: &Step) -> Vec<(StepId, Why)> {
    pending
        .iter()
        .filter(|step| by.first_handled && step.policy == by.policy && step.id != by.id)
        .map(|step| (step.id.clone(), Why::HandledBefore(by.id.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{ORDERS_DB, policy, seconds, spot};

    // S0-10, S1-43
    #[test]
    fn steps_go_by_priority_and_then_in_the_order_they_stand() {
        let one = of("one", "all", &[("a", 10), ("b", 100), ("c", 10)]);
        let two = of("two", "all", &[("d", 100), ("e", 50)]);
        let steps = steps(&[&one, &two], &spot());
        assert_eq!(ids(&steps), ["one/b", "two/d", "two/e", "one/a", "one/c"]);
    }

    #[test]
    fn a_second_handler_of_the_same_plugin_has_an_id_of_its_own() {
        let policy = of("p", "all", &[("script", 1), ("script", 2), ("script", 1)]);
        assert_eq!(ids(&steps(&[&policy], &spot())), ["p/script#2", "p/script", "p/script#3"]);
    }

    #[test]
    fn a_step_carries_all_that_its_handler_and_policy_say() {
        let policy = policy(ORDERS_DB);
        let steps = steps(&[&policy], &spot());
        assert_eq!(ids(&steps)[0], "orders-db/postgres-flusher");
        assert_eq!((steps[0].timeout, steps[0].reserve), (seconds(30), seconds(5)));
        assert!(steps[0].repeatable && !steps[0].instant && !steps[0].first_handled);
        assert_eq!(steps[0].config["connection_string"], "credential:orders-dsn");
        assert!(!format!("{steps:?}").contains("orders-dsn"));
    }

    #[test]
    fn a_policy_rehearses_only_in_a_drill_and_only_when_it_says_so() {
        let run = of("p", "all", &[("a", 1)]);
        let held = Policy { drill: Drill::Rehearse, ..run.clone() };
        let drill = Event { drill: true, ..spot() };
        let rehearses = |policy: &Policy, event: &Event| steps(&[policy], event)[0].rehearse;
        assert!(rehearses(&held, &drill));
        assert!(!rehearses(&held, &spot()) && !rehearses(&run, &drill));
    }

    #[test]
    fn undo_steps_have_ids_of_their_own() {
        let mut policy = of("p", "all", &[("script", 1)]);
        policy.undo = policy.handlers.clone();
        assert_eq!(ids(&undo_steps(&[&policy], &spot())), ["p/undo/script"]);
    }

    #[test]
    fn a_second_event_adds_only_what_is_not_there() {
        let hook = of("hook", "all", &[("flush", 100), ("notify", 10)]);
        let spot_only = of("spot", "all", &[("detach", 50)]);
        let mut known = steps(&[&hook], &spot());
        merge(&mut known, steps(&[&hook, &spot_only], &spot()));
        assert_eq!(ids(&known), ["hook/flush", "spot/detach", "hook/notify"]);
        let before = known.clone();
        merge(&mut known, before.clone());
        assert_eq!(known, before);
    }

    // S1-44, D-1
    #[test]
    fn the_first_that_handled_ends_its_own_policy_and_no_other() {
        let first = of("first", "first_handled", &[("a", 3), ("b", 2)]);
        let other = of("other", "all", &[("c", 1)]);
        let mut pending = steps(&[&first, &other], &spot());
        let by = pending.remove(0);
        let dropped: Vec<_> =
            handled(&pending, &by).iter().map(|(id, why)| format!("{id}: {why}")).collect();
        assert_eq!(dropped, ["first/b: first/a handled the event"]);
        let by = pending.remove(1);
        assert_eq!(handled(&pending, &by), []);
    }

    fn of(name: &str, dispatch: &str, handlers: &[(&str, i64)]) -> Policy {
        let handlers: Vec<_> = handlers
            .iter()
            .map(|(plugin, priority)| format!(r#"{{"plugin":"{plugin}","priority":{priority}}}"#))
            .collect();
        policy(&format!(
            r#"{{"name":"{name}","match":{{"type":["custom"]}},"dispatch":"{dispatch}",
                "handlers":[{}]}}"#,
            handlers.join(",")
        ))
    }

    fn ids(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.id.as_str()).collect()
    }
}
