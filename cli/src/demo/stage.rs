//! All that the demo starts, and its end.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use snooze_imds::fake::{Notice, Server};
use snoozed::exit;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::http;
use super::receiver::{Message, Receiver};
use super::scene::{Places, SECRET};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::text::{cell, list};
use crate::{fleet, incident, text};

/// How long the shop and the daemon have to be ready.
const START: Duration = Duration::from_secs(20);
/// How long the daemon has to end.
const END: Duration = Duration::from_secs(8);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// The longest path of a directory in which a socket can be bound.
const LONGEST: usize = 60;
/// How many lines of the log are shown.
const LOG_LINES: usize = 12;

/// All that the demo starts. The children are killed when it is dropped.
#[derive(Debug)]
pub(super) struct Stage {
    poll: Duration,
    metadata: Server,
    receiver: Option<Receiver>,
    shop: Option<(Child, SocketAddr)>,
    daemon: Option<Child>,
    places: Places,
    context: Context,
    /// Dropped last, when nobody writes there any more.
    _directory: TempDir,
}

impl Stage {
    /// Makes the directory and starts the fake metadata service.
    pub(super) fn set(poll: Duration, python: Option<&str>) -> Result<Self, Failure> {
        let failed = |source| Failure::system("make a directory for the demo", &source);
        let usual = std::env::temp_dir();
        let parent = match usual.as_os_str().len() > LONGEST {
            true => Path::new("/tmp"),
            false => usual.as_path(),
        };
        let directory =
            tempfile::Builder::new().prefix("snooze-demo-").tempdir_in(parent).map_err(failed)?;
        let places = Places::furnish(directory.path(), python).map_err(failed)?;
        let metadata = Server::spawn()
            .map_err(|source| Failure::system("start the fake metadata service", &source))?;
        let context =
            Context { socket: places.socket(), json: false, fleet: fleet::Options::default() };
        let (receiver, shop, daemon) = (None, None, None);
        Ok(Self { poll, metadata, receiver, shop, daemon, places, context, _directory: directory })
    }

    /// Starts the shop and the receiver of the webhook.
    pub(super) async fn open_shop(&mut self) -> Result<(), Failure> {
        let failed = |source| Failure::system("start the shop", &source);
        let receiver = Receiver::start().await;
        self.receiver = Some(
            receiver.map_err(|source| Failure::system("start the webhook receiver", &source))?,
        );
        let own = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(own)
            .arg("demo-app")
            .arg(self.places.orders())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let mut said = BufReader::new(stdout).lines();
        let line = timeout(START, said.next_line()).await;
        let line = line.unwrap_or_else(|late| Err(late.into())).map_err(failed)?;
        let address = line.unwrap_or_default().parse();
        let address = address.map_err(|fault| failed(io::Error::other(fault)))?;
        self.shop = Some((child, address));
        Ok(())
    }

    /// Who is there, for people.
    pub(super) fn told(&self) -> String {
        let shop = self.shop.as_ref().map(|(_, address)| address.to_string()).unwrap_or_default();
        let webhook = self.receiver.as_ref().map(|receiver| receiver.address.to_string());
        let python = match self.places.python {
            true => "",
            false => "  (no python3 here, so its plugin is left out)\n",
        };
        format!(
            "  metadata    {} (fake, version 2 only)\n  \
             shop        http://{shop}, takes 200 orders a second, in memory only\n  \
             webhook     http://{}\n{python}",
            self.metadata.url(),
            webhook.unwrap_or_default()
        )
    }

    /// Starts the daemon.
    pub(super) fn start_daemon(&mut self, snoozed: &Path) -> Result<(), Failure> {
        let failed =
            |source| Failure::system(format!("start the daemon `{}`", snoozed.display()), &source);
        let (Some((_, shop)), Some(receiver)) = (&self.shop, &self.receiver) else {
            return Err(failed(io::Error::other("the shop is closed")));
        };
        let shop = format!("http://{shop}/checkpoint");
        let webhook = format!("http://{}/", receiver.address);
        self.places
            .set_up(&self.metadata.url(), &shop, &webhook, self.poll)
            .map_err(|source| Failure::system("write the daemon's settings", &source))?;
        let log = File::create(self.places.log()).map_err(failed)?;
        let child = Command::new(snoozed)
            .arg("--config")
            .arg(self.places.settings())
            .env(SECRET, &receiver.secret)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        self.daemon = Some(child);
        Ok(())
    }

    /// Waits until the daemon knows the instance and every plugin waits for events.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        let looked = timeout(START, async {
            while !self.is_ready() {
                self.check_daemon()?;
                sleep(LOOK).await;
            }
            Ok(())
        });
        looked.await.unwrap_or_else(|_late| {
            let text = format!("the daemon is not ready after {}", text::took(START));
            Err(Failure::new(exit::NO, text))
        })
    }

    fn is_ready(&self) -> bool {
        let ask = |command| self.context.ask(command, json!({}));
        let (Ok(status), Ok(plugins)) = (ask("STATUS"), ask("PLUGINS_LIST")) else { return false };
        let running = list(&plugins, "running");
        let wait = |entry: &Value| cell(entry, "state") == "ready";
        cell(&status, "metadata") == "on" && !running.is_empty() && running.iter().all(wait)
    }

    fn check_daemon(&mut self) -> Result<(), Failure> {
        match self.daemon.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                Err(Failure::new(exit::NO, format!("the daemon ended before its time: {status}")))
            }
            Some(Ok(None) | Err(_)) | None => Ok(()),
        }
    }

    /// How many orders are in memory only.
    pub(super) async fn unsaved(&self) -> Result<usize, Failure> {
        let failed = |source| Failure::system("ask the shop", &source);
        let Some((_, address)) = &self.shop else { return Ok(0) };
        let orders = http::get(*address, "/orders").await.map_err(failed)?;
        let unsaved = orders.get("unsaved").and_then(Value::as_u64);
        let unsaved = unsaved.and_then(|unsaved| usize::try_from(unsaved).ok());
        unsaved.ok_or_else(|| failed(io::Error::other("it does not say how many are unsaved")))
    }

    /// EC2 takes the instance back.
    pub(super) fn give_notice(&self, ahead: Duration) {
        self.metadata.spot(Notice::ahead("terminate", ahead));
    }

    /// The incident of the notice; null before there is one.
    pub(super) fn incident(&mut self) -> Result<Value, Failure> {
        self.check_daemon()?;
        let history = self.context.ask("HISTORY", json!({}))?;
        let known = history.as_array().into_iter().flatten();
        let mut losses = known.filter(|known| !incident::flag(known, "drill"));
        Ok(losses.next().cloned().unwrap_or_default())
    }

    /// The places of the files.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// What the webhook received.
    pub(super) fn messages(&self) -> Vec<Message> {
        self.receiver.as_ref().map(Receiver::messages).unwrap_or_default()
    }

    /// Ends all that was started: the daemon is asked first, so that it ends its plugins.
    pub(super) async fn clear(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = daemon.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
            if let Some(pid) = pid {
                // It may have ended already.
                let _ = kill_process(pid, Signal::TERM);
            }
            if timeout(END, daemon.wait()).await.is_err() {
                let _ = daemon.kill().await;
            }
        }
        if let Some((mut shop, _)) = self.shop.take() {
            let _ = shop.kill().await;
        }
    }

    /// The last lines of the daemon's log.
    pub(super) fn log(&self) -> String {
        let log = fs::read(self.places.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let skip = log.lines().count().saturating_sub(LOG_LINES);
        log.lines().skip(skip).map(|line| format!("{}\n", text::cut(line, 300))).collect()
    }
}
