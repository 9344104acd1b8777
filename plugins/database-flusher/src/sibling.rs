//! The program that does the work.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Map, Value};
use snooze_plugin::wire::{Answer, BrokenReply, MAX_LINE, Method, read_reply, request_line};

/// Why it does not do the work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiblingError {
    #[error("cannot start `{program}`, which must stand in `{directory}` beside this plugin")]
    Start { program: &'static str, directory: String, source: io::Error },
    #[error("cannot talk with `{program}`; its log has the reason")]
    Talk { program: &'static str, source: io::Error },
    #[error("`{program}` has ended; its log has the reason")]
    Ended { program: &'static str },
    #[error("`{program}` answers what is no answer")]
    Broken { program: &'static str, source: BrokenReply },
}

/// A plugin that this one asks. It is killed with the value.
pub(crate) struct Sibling {
    program: &'static str,
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    id: u64,
}

impl Sibling {
    /// Starts the program of this name in this directory. Its log is ours.
    pub(crate) fn start(directory: &Path, program: &'static str) -> Result<Self, SiblingError> {
        let cannot = |source| SiblingError::Start {
            program,
            directory: directory.display().to_string(),
            source,
        };
        let mut child = Command::new(directory.join(program))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (requests, replies) = pipes.ok_or_else(|| cannot(io::Error::other("no pipes")))?;
        Ok(Self { program, child, requests, replies: BufReader::new(replies), id: 0 })
    }

    /// Asks and waits for the answer. How long that may take is the host's to say: it ends both
    /// when the time is over.
    pub(crate) fn ask(
        &mut self,
        method: Method,
        params: Map<String, Value>,
    ) -> Result<Answer, SiblingError> {
        let program = self.program;
        self.id += 1;
        let line = request_line(method, params, self.id, false);
        let sent = self.requests.write_all(line.as_bytes());
        sent.map_err(|source| match source.kind() == io::ErrorKind::BrokenPipe {
            true => SiblingError::Ended { program },
            false => SiblingError::Talk { program, source },
        })?;
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(MAX_LINE + 2).unwrap_or(u64::MAX);
            let read = self.replies.by_ref().take(limit).read_until(b'\n', &mut line);
            if read.map_err(|source| SiblingError::Talk { program, source })? == 0 {
                return Err(SiblingError::Ended { program });
            }
            let reply = read_reply(line.trim_ascii_end());
            let reply = reply.map_err(|source| SiblingError::Broken { program, source })?;
            if reply.id.is_none_or(|id| id == self.id) {
                return Ok(reply.answer);
            }
        }
    }

    /// Waits until it has ended, as it does after a `Shutdown`.
    pub(crate) fn wait(mut self) {
        let _ = self.child.wait();
    }
}

impl Drop for Sibling {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
