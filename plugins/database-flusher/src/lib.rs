//! One name for the flushers of all databases: `db_type` says which of them does the work.
//!
//! It answers `Info` itself, since it learns only from its configuration which database it is. Then
//! it starts the program of that name in its own directory, and hands on what it is asked.
//!
//! Invariants: it starts nothing but the four programs of `target`, and those only from its own
//! directory; the program that it started ends with it.

mod sibling;
mod target;

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use snooze_plugin::wire::{Answer, Method};
use snooze_plugin::{Handled, Info, Plugin, PluginError, PluginEvent, Setting};

use crate::sibling::Sibling;
use crate::target::{Target, settings};

/// Hands its work to the flusher of the database that it is told.
pub struct DatabaseFlusher {
    /// Where the programs are.
    directory: PathBuf,
    target: Option<Target>,
    /// The program that does the work, as long as it runs.
    sibling: Option<Sibling>,
    events: Option<Vec<String>>,
}

impl Plugin for DatabaseFlusher {
    fn info(&self) -> Info {
        Info {
            display_name: "Database Flusher".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Has the flusher of a database do its work, whichever database that is"
                .to_owned(),
            category: "database".to_owned(),
            tags: ["mysql", "postgresql", "redis", "mongodb", "flush"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings()),
            permissions: vec!["network".to_owned()],
            ..Info::new("database-flusher", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        self.events.clone()
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        (self.sibling, self.events) = (None, None);
        self.target = Some(Target::read(config)?);
        self.started().map(drop)?;
        self.events = self.ask(Method::GetSupportedEvents, Map::new())?.supported_events();
        Ok(())
    }

    fn initialize(&mut self) -> Result<(), PluginError> {
        self.ask(Method::Initialize, Map::new())?.done().map_err(PluginError::new)
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let params = Map::from_iter([("event".to_owned(), event.raw.clone())]);
        match self.ask(Method::HandleEvent, params)? {
            Answer::Result(value) => Ok(Handled::read(&value)),
            Answer::Failed(text) => Err(PluginError::new(text)),
            Answer::NotSupported => Err(PluginError::not_supported()),
        }
    }

    fn health(&mut self) -> Result<(), PluginError> {
        self.ask(Method::Health, Map::new())?.done().map_err(PluginError::new)
    }

    fn shutdown(&mut self) -> Result<(), PluginError> {
        let Some(mut sibling) = self.sibling.take() else { return Ok(()) };
        let done = sibling.ask(Method::Shutdown, Map::new())?.done();
        sibling.wait();
        done.map_err(PluginError::new)
    }
}

impl DatabaseFlusher {
    /// One that finds the flushers in this directory.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, target: None, sibling: None, events: None }
    }

    fn ask(&mut self, method: Method, params: Map<String, Value>) -> Result<Answer, PluginError> {
        let answer = self.started()?.ask(method, params);
        if answer.is_err() {
            // It begins anew with the next question.
            self.sibling = None;
        }
        Ok(answer?)
    }

    /// The program, configured.
    fn started(&mut self) -> Result<&mut Sibling, PluginError> {
        let target = self.target.as_ref().ok_or(PluginError::new("it is not configured yet"))?;
        let sibling = match self.sibling.take() {
            Some(sibling) => sibling,
            None => {
                let mut sibling = Sibling::start(&self.directory, target.program)?;
                let config = Map::from_iter([("config".to_owned(), json!(target.config))]);
                let configured = sibling.ask(Method::Configure, config)?;
                configured.done().map_err(PluginError::new)?;
                sibling
            }
        };
        Ok(self.sibling.insert(sibling))
    }
}
