//! How long lifecycle hooks wait, which their events do not say: asked of Auto Scaling and kept.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use snooze_cloud::groups::Groups;
use snooze_event::Event;
use snooze_policy::{ActionName, Policy};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::failure::{Failure, Name};

/// How long an answer counts: operators seldom change a hook.
const FRESH: Duration = Duration::from_secs(300);
/// How long Auto Scaling may take.
const CALL: Duration = Duration::from_millis(1500);
/// How many hooks are kept.
const HOOKS: usize = 256;

/// The time-outs of hooks, by group and name.
#[derive(Debug)]
pub struct Hooks {
    groups: Groups,
    known: Mutex<BTreeMap<(String, String), Known>>,
}

/// A time-out, and until when it counts; `None` for a hook that is gone.
type Known = (Option<Duration>, Timestamp);

impl Hooks {
    /// The hooks of these groups.
    #[must_use]
    pub fn new(groups: Groups) -> Self {
        Self { groups, known: Mutex::default() }
    }

    /// How long the hook of an event waits without a heartbeat, where a policy answers it.
    ///
    /// # Errors
    /// Auto Scaling did not say.
    pub async fn timeout(
        &self,
        event: &Event,
        selected: &[&Policy],
        clock: Clock,
    ) -> Result<Option<Duration>, Failure> {
        let text = |key: &str| event.data.get(key).and_then(Value::as_str).map(str::to_owned);
        let answers = |policy: &&&Policy| {
            let names = policy.actions.iter().map(|action| action.name);
            names
                .into_iter()
                .any(|name| matches!(name, ActionName::CompleteLifecycle | ActionName::Heartbeat))
        };
        let (Some(group), Some(hook)) = (text("AutoScalingGroupName"), text("LifecycleHookName"))
        else {
            return Ok(None);
        };
        if event.drill || !selected.iter().any(|policy| answers(&policy)) {
            return Ok(None);
        }
        let now = clock.now();
        let mut known = self.known.lock().await;
        let key = (group, hook);
        if let Some((timeout, _)) = known.get(&key).filter(|(_, until)| now < *until) {
            return Ok(*timeout);
        }
        let call = self.groups.hook_timeout(&key.0, &key.1);
        let timeout = clock.within(CALL, "DescribeLifecycleHooks", call).await;
        let timeout = timeout.map_err(|error| Failure::of(Name::GroupUnavailable, &error))?;
        if known.len() >= HOOKS {
            known.clear();
        }
        known.insert(key, (timeout, now.checked_add(FRESH).unwrap_or(now)));
        Ok(timeout)
    }
}
