//! One run of a script, which is over in time whatever it does.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout_at};

/// The most bytes of output that are kept: the last ones, since there stands what went wrong.
/// Escaped to the full they still fit a reply line.
const KEPT: usize = 8 * 1024;

/// How long a script has to end by itself once it was told to, at most.
const GRACE: Duration = Duration::from_secs(2);

/// How long the rest of the output is waited for when the script has ended. Something that it left
/// in the background may hold the pipe open for ever.
const DRAIN: Duration = Duration::from_millis(100);

/// How a script ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Why it was no success.
    pub(super) error: Option<String>,
    /// What it said on stdout and stderr, at most the last 8 KiB.
    pub(super) output: String,
}

/// Runs a program without a shell in a process group of its own. `limit` is for everything: shortly
/// before its end the group is told to end, at its end it is killed.
pub(super) fn run(
    script: &Path,
    environment: &[(&'static str, String)],
    limit: Duration,
) -> io::Result<Ended> {
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let end = Instant::now() + limit;
        let (output, writer) = io::pipe()?;
        let mut command = Command::new(script);
        command
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        // The command holds the pipe too, and would keep it open.
        drop(command);
        let mut output = Output { pipe: Receiver::from_owned_fd(output.into())?, kept: Vec::new() };
        let error = watch(&mut child, &mut output, limit, end).await?;
        drop(timeout_at(Instant::now() + DRAIN, output.read_on()).await);
        Ok(Ended { error, output: output.text() })
    })
}

/// Waits for the script, telling and then making it end; why it was no success.
async fn watch(
    child: &mut Child,
    output: &mut Output,
    limit: Duration,
    end: Instant,
) -> io::Result<Option<String>> {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let last_call = end - GRACE.min(limit / 4);
    if let Some(status) = wait(child, output, last_call).await? {
        return Ok(failure(status));
    }
    let mut error = format!("the script did not end within {} s", limit.as_secs_f64());
    signal(group, Signal::TERM);
    if wait(child, output, end).await?.is_none() {
        error.push_str(" and was killed");
    }
    signal(group, Signal::KILL);
    Ok(Some(error))
}

/// Waits until the script ends or the time is over, which is `None`, and reads what it says.
async fn wait(
    child: &mut Child,
    output: &mut Output,
    until: Instant,
) -> io::Result<Option<ExitStatus>> {
    let ended = async {
        tokio::select! {
            status = child.wait() => status,
            () = output.read_for_ever() => Err(io::Error::other("the output has no end")),
        }
    };
    timeout_at(until, ended).await.map_or(Ok(None), |status| status.map(Some))
}

fn failure(status: ExitStatus) -> Option<String> {
    (!status.success()).then(|| format!("the script ended with {status}"))
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // A group that is gone needs no signal.
        kill_process_group(group, signal).ok();
    }
}

struct Output {
    pipe: Receiver,
    kept: Vec<u8>,
}

impl Output {
    /// Reads until there is no writer left.
    async fn read_on(&mut self) {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = self.pipe.read(&mut chunk).await {
            self.kept.extend(chunk.iter().take(read));
            let surplus = self.kept.len().saturating_sub(KEPT);
            self.kept.drain(..surplus);
        }
    }

    /// As [`Output::read_on`], and then waits, so that only the end of the script counts.
    async fn read_for_ever(&mut self) {
        self.read_on().await;
        std::future::pending().await
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}
