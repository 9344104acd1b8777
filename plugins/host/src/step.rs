//! The time of one step, and what all plugins here have in common.

use std::time::{Duration, Instant};

use snooze_plugin::{Handled, PluginEvent};

/// What a step leaves of its time for its answer, at most.
const ANSWER: Duration = Duration::from_millis(250);

/// A step that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    begun: Instant,
    /// When it must be over.
    pub(crate) until: Instant,
}

impl Step {
    /// Begins a step that may take `most`, or what is left before the deadline if that is less.
    pub(crate) fn begin(event: &PluginEvent, most: Duration) -> Self {
        let begun = Instant::now();
        let budget = event.budget(most);
        Self { begun, until: begun + budget.saturating_sub(ANSWER.min(budget / 10)) }
    }

    /// When one of `parts` things that are still to be done must be over, so that each has its
    /// share.
    pub(crate) fn share(&self, parts: usize) -> Instant {
        let parts = u32::try_from(parts.max(1)).unwrap_or(u32::MAX);
        Instant::now() + crate::wait::left(self.until) / parts
    }

    /// The same step with something kept back of its time, to look at what became of it.
    pub(crate) fn less(&self, kept: Duration) -> Self {
        let kept = kept.min(crate::wait::left(self.until) / 4);
        Self { until: self.until.checked_sub(kept).unwrap_or(self.until), ..*self }
    }

    /// The same answer with how long it took.
    pub(crate) fn end(&self, handled: Handled) -> Handled {
        handled.and("seconds", self.begun.elapsed().as_secs_f64())
    }
}
