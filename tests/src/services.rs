//! AWS for a daemon: the services on the loopback, a key that stands for that of SNS, and what an
//! operator would do.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use snooze_cloud::envelope::Signer;
use snooze_cloud::fake::Server;
use snooze_cloud::policies::Policies;
use snooze_event::wire::command::{self, Command, Kind};
use snooze_event::{Event, IncidentKey};
use tokio::sync::oneshot;

use crate::setup::{Daemon, Setup};
use crate::wait;

/// The instance, account and Region of the fake metadata service.
pub const INSTANCE: &str = "i-0a1b2c3d4e5f60718";
const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";
const STACK: &str = "cloudsnooze";

/// The services, in a thread of their own. They end when this is dropped.
#[derive(Debug)]
pub struct Cloud {
    server: Arc<Server>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    signer: Signer,
    messages: AtomicU32,
}

impl Cloud {
    /// Starts the services.
    ///
    /// # Panics
    /// When they cannot be started.
    #[must_use]
    pub fn start() -> Self {
        let (started, start) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            block_on(async {
                let server = Arc::new(Server::start().await.expect("a port is free"));
                started.send(Arc::clone(&server)).expect("somebody waits");
                // Either way the owner is gone.
                let _ = stopped.await;
            });
        });
        let server = start.recv().expect("the services start");
        let signer = Signer::new(REGION, Timestamp::now()).expect("a key can be made");
        let messages = AtomicU32::new(0);
        Self { server, stop: Some(stop), thread: Some(thread), signer, messages }
    }

    /// Lets daemons of this setup work with these services.
    ///
    /// # Panics
    /// When the certificate cannot be written.
    pub fn serve(&self, setup: &mut Setup) {
        let url = self.server.url().to_owned();
        self.serve_at(setup, &url);
    }

    /// The same at another address.
    ///
    /// # Panics
    /// When the certificate cannot be written.
    pub fn serve_at(&self, setup: &mut Setup, url: &str) {
        let certificates = setup.path("certificates");
        std::fs::create_dir_all(&certificates).expect("a folder can be made");
        self.signer.pin(&certificates).expect("a file can be written");
        setup.set(
            "cloud",
            json!({ "signing_certificates": certificates, "startup_jitter_seconds": 0 }),
        );
        for (name, value) in [
            ("AWS_ENDPOINT_URL", url),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ] {
            setup.environment.insert(name.to_owned(), value.into());
        }
    }

    /// The name of the instance's queue.
    #[must_use]
    pub fn queue() -> String {
        format!("{STACK}-instance-{INSTANCE}")
    }

    /// Puts a policy into the table, and answers with the new version.
    ///
    /// # Panics
    /// When it is none.
    pub fn policy(&self, name: &str, plugin: &str) -> u64 {
        let kind = "cloud.spot.interrupt";
        let text = json!({ "name": name, "match": { "type": [kind] },
            "handlers": [{ "plugin": plugin, "priority": 50 }] });
        self.document(&text.to_string(), None)
    }

    /// Puts a document into the table with its signature, and answers with the new version.
    ///
    /// # Panics
    /// When it is no policy.
    pub fn document(&self, text: &str, signature: Option<&str>) -> u64 {
        block_on(async {
            let table = Policies::new(&self.server.aws().await, &format!("{STACK}-policies"));
            let put = table.put_signed(text, signature, "a test", Timestamp::now()).await;
            put.expect("the policy is good")
        })
    }

    /// A command to handle an event, as the cloud side makes it.
    #[must_use]
    pub fn handle(incident: &str, event: &Event, policies: Option<u64>) -> Command {
        let now = Timestamp::now();
        Command {
            id: format!("{incident}#command"),
            kind: Kind::Handle(Box::new(event.clone())),
            instance: event.instance.clone(),
            issued_at: now,
            expires_at: now + 120.seconds(),
            policies,
            correlation: Some(IncidentKey::stored(incident)),
        }
    }

    /// Sends a command through the topic to the instance; answers with the message.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn send(&self, command: &Command) -> String {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let topic = format!("arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-commands");
        let text = command::write(command).to_string();
        let id = format!("message-{number}");
        let body = self.signer.notification(&topic, &id, &text, Timestamp::now());
        let body = body.expect("the key signs");
        self.server.put_message(&Self::queue(), &body);
        body
    }

    /// The details of what the bus has of a type, in order.
    #[must_use]
    pub fn told(&self, detail_type: &str) -> Vec<Value> {
        let entries = self.server.entries().into_iter();
        let wanted = entries.filter(|entry| entry.detail_type == detail_type);
        wanted.filter_map(|entry| serde_json::from_str(&entry.detail).ok()).collect()
    }

    /// Waits until the bus has so many of a type.
    ///
    /// # Panics
    /// When it does not get them.
    pub fn wait_for(&self, detail_type: &str, times: usize) -> Vec<Value> {
        wait::until_or(
            || format!("{times} of {detail_type}, not {:#?}", self.server.entries()),
            || Some(self.told(detail_type)).filter(|told| told.len() >= times),
        )
    }
}

impl Deref for Cloud {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already.
            let _ = thread.join();
        }
    }
}

/// Waits until a part of the daemon's cloud side is in this state, and answers with its detail.
///
/// # Panics
/// When it never is.
pub fn part(daemon: &Daemon, name: &str, state: &str) -> String {
    let shown = || daemon.ask("STATUS", json!({})).get("cloud").cloned().unwrap_or_default();
    let missed = || format!("{name} to be {state}: {:#}", shown());
    wait::until_or(missed, || {
        let shown = shown();
        let word = |part: &Value, key: &str| part.get(key)?.as_str().map(str::to_owned);
        let parts = shown.get("parts")?.as_array()?;
        let part = parts.iter().find(|part| word(part, "part").as_deref() == Some(name))?;
        let detail = word(part, "detail").unwrap_or_default();
        (word(part, "state").as_deref() == Some(state)).then_some(detail)
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(future)
}
