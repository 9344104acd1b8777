//! The command of a container engine. Those of Docker, Podman and containerd (nerdctl) understand
//! the same words as far as they are used here.

use std::time::Instant;

use super::container::Container;
use super::settings::Settings;
use crate::program::{Program, ProgramError, Programs};

/// The commands, in the order in which they are looked for.
pub(super) const ENGINES: [&str; 3] = ["docker", "podman", "nerdctl"];

/// An engine that is installed.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) name: &'static str,
    command: Program,
    /// What stands before every verb.
    options: Vec<String>,
}

/// Why a container is not stopped, or not known to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("no container engine is installed: expected `docker`, `podman` or `nerdctl`")]
    None,
    #[error("`{engine}` gave an answer that cannot be read")]
    Answer { engine: &'static str },
    #[error("it is still {status}")]
    StillRuns { status: String },
    #[error("it did not end within {seconds} s and was killed")]
    Killed { seconds: u64 },
}

impl Engine {
    /// The engine of the settings, or the first that is installed.
    pub(super) fn find(programs: &Programs, settings: &Settings) -> Result<Self, EngineError> {
        let found = |name| programs.find(name).map(|command| (name, command));
        let (name, command) = match settings.engine {
            Some(name) => found(name)?,
            None => {
                ENGINES.into_iter().find_map(|name| found(name).ok()).ok_or(EngineError::None)?
            }
        };
        let socket = settings.socket.as_ref().map(|path| path.display());
        let options = socket.map(|path| match name {
            "docker" => format!("--host=unix://{path}"),
            "podman" => format!("--url=unix://{path}"),
            _ => format!("--address={path}"),
        });
        Ok(Self { name, command, options: options.into_iter().collect() })
    }

    /// The containers with that label which run.
    pub(super) fn running(
        &self,
        label: &str,
        until: Instant,
    ) -> Result<Vec<Container>, EngineError> {
        let filter = format!("--filter=label={label}");
        let ids = self.say(&["ps", "--quiet", "--no-trunc", &filter], until)?;
        let ids: Vec<&str> = ids.split_whitespace().filter(|id| is_id(id)).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = vec!["container", "inspect"];
        args.extend(ids);
        let said = self.say(&args, until)?;
        Container::read_all(&said).ok_or(EngineError::Answer { engine: self.name })
    }

    /// Stops a container, which is killed after so many seconds, and reads back how it ended.
    pub(super) fn stop(
        &self,
        container: &Container,
        seconds: u64,
        until: Instant,
    ) -> Result<(), EngineError> {
        let patience = seconds.to_string();
        match self.say(&["stop", "-t", &patience, &container.id], until) {
            // One that removes itself when it ends may be gone before its engine has answered.
            Err(ProgramError::Failed { said, .. }) if is_missing(&said) => return Ok(()),
            said => said?,
        };
        let inspect = ["container", "inspect", &container.id];
        let said = match self.say(&inspect, until) {
            Err(ProgramError::Failed { said, .. }) if is_missing(&said) => return Ok(()),
            said => said?,
        };
        match Container::read_all(&said).and_then(|mut all| all.pop()) {
            None => Err(EngineError::Answer { engine: self.name }),
            Some(after) if !after.has_ended() => {
                Err(EngineError::StillRuns { status: after.status })
            }
            Some(after) if after.was_killed() => Err(EngineError::Killed { seconds }),
            Some(_) => Ok(()),
        }
    }

    fn say(&self, args: &[&str], until: Instant) -> Result<String, ProgramError> {
        let mut all: Vec<&str> = self.options.iter().map(String::as_str).collect();
        all.extend(args);
        self.command.run(&all, until)
    }
}

/// Whether this is the id of a container, and nothing else.
fn is_id(text: &str) -> bool {
    text.len() >= 12 && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Whether the engine says that there is no such container.
fn is_missing(said: &str) -> bool {
    said.to_ascii_lowercase().contains("no such")
}
