//! What a plugin in Rust implements.

use std::error::Error;
use std::fmt;

use serde_json::{Map, Value};

use crate::{Handled, Info, Metrics, PluginEvent, Vote};

/// A plugin. Only [`Plugin::info`] has to be written; what is left out is answered as "not
/// supported", or as done where there is nothing to do.
///
/// The host calls `info`, `configure`, `initialize` and `supported_events` when it starts, long
/// before any notice; then `health` now and then, and `check_idle` or `handle_event` when they are
/// wanted; `shutdown` at the end. One call at a time.
pub trait Plugin {
    /// Who the plugin is.
    fn info(&self) -> Info;

    /// The types of events it handles, where `*` at an end stands for anything; `None` leaves
    /// that to the policies. An event of another type never comes to [`Plugin::handle_event`].
    fn supported_events(&self) -> Option<Vec<String>> {
        None
    }

    /// Takes its configuration; may come again at any time.
    ///
    /// # Errors
    /// When a setting cannot be used; the text names it and what was expected.
    fn configure(&mut self, _config: &Map<String, Value>) -> Result<(), PluginError> {
        Ok(())
    }

    /// Gets ready, once. The place for what is slow, since no notice waits for it here.
    ///
    /// # Errors
    /// When it cannot work as it is configured.
    fn initialize(&mut self) -> Result<(), PluginError> {
        Ok(())
    }

    /// Votes whether the instance is idle.
    ///
    /// # Errors
    /// When it could not find out; the host takes that as an unknown vote.
    fn check_idle(&mut self, _metrics: &Metrics) -> Result<Vote, PluginError> {
        Err(PluginError::not_supported())
    }

    /// Does its step.
    ///
    /// # Errors
    /// When the step failed; [`Handled::failed`] says the same and can carry more keys.
    fn handle_event(&mut self, _event: &PluginEvent) -> Result<Handled, PluginError> {
        Err(PluginError::not_supported())
    }

    /// Says whether it could do its step if it had to.
    ///
    /// # Errors
    /// When it could not.
    fn health(&mut self) -> Result<(), PluginError> {
        Ok(())
    }

    /// Cleans up; nothing is asked after that.
    ///
    /// # Errors
    /// When something is left behind.
    fn shutdown(&mut self) -> Result<(), PluginError> {
        Ok(())
    }
}

/// Why a plugin could not do what it was asked.
///
/// Any error becomes one by `?`, with the texts of its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginError(Option<String>);

impl PluginError {
    /// It failed, because. Say what failed, on what, and what to do about it; no secrets.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Some(text.into()))
    }

    /// The plugin does not do that at all, which is no failure.
    #[must_use]
    pub fn not_supported() -> Self {
        Self(None)
    }

    /// Whether the plugin does not do that at all.
    #[must_use]
    pub fn is_not_supported(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("not supported"))
    }
}

// `PluginError` itself is no `std::error::Error`, so that this covers every error there is.
impl<E: Error> From<E> for PluginError {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let said = cause.to_string();
            // Some errors say themselves what their source says.
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            source = cause.source();
        }
        Self::new(text)
    }
}
