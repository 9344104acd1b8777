//! News in our own words, with ids that stay the same while the news does: pure.

use jiff::Timestamp;
use serde_json::Value;
use snooze_event::wire::imds::{self, Identity, LifecycleState, SpotNotice};
use snooze_event::{Event, EventId, LossAction};
use snooze_imds::SignalPath;

use super::super::Heard;
use super::hearing::News;

/// The longest id there may be, in characters.
const LONGEST_ID: usize = 256;

/// Stands for an instance that is not known yet, where a reader asks for one; never told.
const NOBODY: &str = "i-00000000";

/// Turns news into events.
///
/// An id says what the news says, so that the same news has the same id at every poll, and after
/// a restart, too. What has no time of its own is counted: a state that comes back after it was
/// gone is another event.
#[derive(Debug, Default)]
pub struct Telling {
    /// The Spot notice that stands: its action, and its time when it was first seen. The time of
    /// a notice may slide from answer to answer, and makes no other notice.
    spot: Option<(LossAction, Option<Timestamp>)>,
    /// The lifecycle state seen last, and how many there were before it.
    state: Option<LifecycleState>,
    states: u64,
}

impl Telling {
    /// What to tell of the news of a path. An event whose instance is unknown names none.
    pub fn tell(
        &mut self,
        path: SignalPath,
        news: &News,
        identity: Option<&Identity>,
        now: Timestamp,
    ) -> Vec<Heard> {
        let nobody = nobody();
        let who = identity.unwrap_or(&nobody);
        let name = identity.map_or("unknown", |identity| identity.instance.as_str());
        let id = |what: String| id(&format!("imds-{name}-{what}"));
        let events = match news {
            News::Gone => {
                self.forget(path);
                return vec![Heard::Gone(path)];
            }
            News::Spot(notice) => {
                let what = self.name_of_spot(notice);
                vec![imds::spot_event(notice, who, now, id(what))]
            }
            News::Rebalance(notice) => {
                let id = id(format!("rebalance-{}", moment(notice.time)));
                vec![imds::rebalance_event(notice, who, now, id)]
            }
            News::Lifecycle(state) => {
                let what = self.name_of_state(state);
                imds::lifecycle_event(state, who, now, id(what)).into_iter().collect()
            }
            News::Maintenance(entries) => entries
                .iter()
                .map(|entry| {
                    let named = entry.event_id.as_deref().unwrap_or(&entry.code);
                    let id = id(format!("maintenance-{named}-{}", entry.state));
                    imds::maintenance_event(entry, who, now, id)
                })
                .collect(),
        };
        let told = events.into_iter().map(|event| match identity {
            Some(_) => event,
            None => unnamed(event),
        });
        told.map(|event| Heard::Event(Box::new(event))).collect()
    }

    fn forget(&mut self, path: SignalPath) {
        match path {
            SignalPath::SpotInstanceAction => self.spot = None,
            SignalPath::TargetLifecycleState => self.state = None,
            SignalPath::Rebalance | SignalPath::MaintenanceScheduled => {}
        }
    }

    fn name_of_spot(&mut self, notice: &SpotNotice) -> String {
        let time = match &self.spot {
            Some((action, time)) if *action == notice.action => *time,
            Some(_) | None => notice.time,
        };
        self.spot = Some((notice.action.clone(), time));
        format!("spot-{}-{}", notice.action.as_str(), moment(time))
    }

    fn name_of_state(&mut self, state: &LifecycleState) -> String {
        if self.state.as_ref() != Some(state) {
            self.state = Some(state.clone());
            self.states = self.states.saturating_add(1);
        }
        format!("lifecycle-{}-{}", state.as_str(), self.states)
    }
}

fn moment(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "untimed".to_owned(), |time| time.to_string())
}

/// An id of this text, of which parts come from outside.
#[expect(
    clippy::expect_used,
    reason = "what an id cannot hold has been replaced, and it is never empty"
)]
fn id(text: &str) -> EventId {
    let fit: String =
        text.chars().take(LONGEST_ID).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    fit.parse().expect("1 to 256 printable characters")
}

#[expect(clippy::expect_used, reason = "the constant is an instance id")]
fn nobody() -> Identity {
    Identity {
        instance: NOBODY.parse().expect("an instance id"),
        instance_type: None,
        region: None,
        zone: None,
        account: None,
        image: None,
        architecture: None,
    }
}

fn unnamed(mut event: Event) -> Event {
    event.instance = None;
    if let Some(instance) = event.data.get_mut("instanceID") {
        *instance = Value::String(String::new());
    }
    event
}

#[cfg(test)]
mod tests;
