//! AWS on this machine, for whole tests of the cloud side: an emulator that is none of ours, with
//! `template.yaml` deployed in it, its functions the real programs, its roles enforced.
//!
//! ```text
//!   daemon --- relay, signs as SNS does --+
//!   functions --- relay, writes down -----+--> emulator (starts the functions, checks their roles)
//!   `snooze` --- relay -------------------+
//!   `aws`, the tests ---------------------+
//! ```
//!
//! One emulator serves a whole test program. It ends with it, however it ends.

#![expect(clippy::indexing_slicing, reason = "JSON is null where it has nothing")]

pub mod aws;
pub mod events;
pub mod http;
pub mod instance;
pub mod relay;
pub mod stack;
pub mod throttle;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use snooze_cloud::envelope::Signer;
use tempfile::TempDir;

use crate::{place, programs, wait};
use aws::{Aws, REGION};
use relay::{Call, Relay, Stand};

/// The programs that it takes, in the folder that `cargo xtask test` makes.
const TOOLS: &str = ".local/cloud/bin";

/// The emulator, and the stack in it.
#[derive(Debug)]
pub struct Cloud {
    /// A client with the keys of the account.
    pub aws: Aws,
    /// What the functions speak to.
    pub functions: Relay,
    operators: Relay,
    /// Signs in the place of SNS.
    pub signer: Signer,
    folder: PathBuf,
    address: SocketAddr,
    turns: RwLock<()>,
    stands: Mutex<()>,
}

/// The cloud of this test program with the stack in it; the first call deploys it. `None` where
/// the emulator is not installed and tests may be skipped.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn cloud() -> Option<&'static Cloud> {
    static DEPLOYED: OnceLock<()> = OnceLock::new();
    let cloud = emulator()?;
    DEPLOYED.get_or_init(|| cloud.deploy());
    Some(cloud)
}

/// The same without a stack, for what needs none; the first call starts the emulator.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn emulator() -> Option<&'static Cloud> {
    static CLOUD: OnceLock<Option<Cloud>> = OnceLock::new();
    CLOUD
        .get_or_init(|| place::there("ministack", tool("ministack").is_file()).then(Cloud::start))
        .as_ref()
}

/// A program that was installed for this.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    place::root().join(TOOLS).join(name)
}

impl Cloud {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder can be made").keep();
        // The keeper removes it when all is over.
        let address = free();
        let functions = Relay::start(address, Some(Box::new(open_queue)));
        let operators = Relay::start(address, None);
        let log = log();
        let aws = Aws::start(&tool("python"), &folder, address.port(), &functions.url(), &log);
        let signer = Signer::new(REGION, Timestamp::now()).expect("a key can be made");
        let pins = folder.join("certificates");
        std::fs::create_dir(&pins).expect("a folder can be made");
        let _path = signer.pin(&pins).expect("a certificate can be written");
        let turns = RwLock::new(());
        let stands = Mutex::new(());
        Self { aws, functions, operators, signer, folder, address, turns, stands }
    }

    /// A turn among others, who do not mind.
    pub fn turn(&self) -> RwLockReadGuard<'_, ()> {
        self.turns.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn alone, for what others would feel.
    pub fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.turns.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory with the certificate that stands for SNS's.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.folder.join("certificates")
    }

    /// A folder for what belongs to the deployment.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A foreign or own program that goes past all relays: `aws`, which sends large files.
    #[must_use]
    pub fn foreign(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.operator(program);
        command.env("AWS_ENDPOINT_URL", self.url());
        command
    }

    /// A foreign or own program, with the keys of the account, as an operator has them.
    #[must_use]
    pub fn operator(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", place::variable("PATH").unwrap_or_default());
        command.env("HOME", &self.folder).current_dir(&self.folder);
        command.env("AWS_ENDPOINT_URL", self.operators.url()).env("AWS_PAGER", "");
        command.env("AWS_REGION", REGION).env("AWS_DEFAULT_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    /// What `snooze` says to an operator, who wants JSON.
    ///
    /// # Panics
    /// When it fails or says something else.
    #[must_use]
    pub fn snooze(&self, arguments: &[&str]) -> Value {
        let mut command = self.operator(programs::path("snooze"));
        let text = place::output(command.args(arguments).arg("--json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// The processes of a function, by its name.
    #[must_use]
    pub fn processes(&self, function: &str) -> Vec<Pid> {
        let all = self.aws.call("keeper", "functions", json!({}));
        let all = all.as_object().into_iter().flatten();
        let of = all.filter(|(_, name)| name.as_str() == Some(function));
        of.filter_map(|(number, _)| Pid::from_raw(number.parse().ok()?)).collect()
    }

    /// Kills all processes of a function; how many there were.
    pub fn kill(&self, function: &str) -> usize {
        let found = self.processes(function).into_iter();
        // One may have ended meanwhile.
        found.filter(|pid| rustix::process::kill_process(*pid, Signal::KILL).is_ok()).count()
    }

    /// The process of the emulator.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn emulator(&self) -> Pid {
        let id = self.aws.call("keeper", "emulator_id", json!({}));
        id.as_i64().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).expect("it runs")
    }

    /// While the answer lives, some calls of functions are answered here.
    #[must_use]
    pub fn stand(&self, stand: Stand) -> Standing<'_> {
        let turn = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        self.functions.stand(Some(stand));
        Standing { cloud: self, _turn: turn }
    }

    /// What a function has logged, line by line, where it speaks of this.
    #[must_use]
    pub fn logged(&self, function: &str, text: &str) -> Vec<String> {
        let group = format!("/aws/lambda/{function}");
        let args = json!({ "logGroupName": group });
        // There is no group before the function has run.
        let Ok(found) = self.aws.ask("logs", "filter_log_events", args, None) else {
            return Vec::new();
        };
        let events = found["events"].as_array().cloned().unwrap_or_default();
        let lines = events.iter().filter_map(|event| event["message"].as_str());
        let lines = lines.flat_map(str::lines).filter(|line| line.contains(text));
        lines.map(ToOwned::to_owned).collect()
    }

    /// Waits until a function has logged this.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn wait_for_log(&self, function: &str, text: &str) -> String {
        let missed = || format!("{function} to log {text}: {:#?}", self.logged(function, ""));
        wait::until_or(missed, || self.logged(function, text).into_iter().next())
    }
}

/// Some calls of functions are answered by a test until this is dropped.
#[derive(Debug)]
pub struct Standing<'a> {
    cloud: &'a Cloud,
    _turn: std::sync::MutexGuard<'a, ()>,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.cloud.functions.stand(None);
    }
}

/// A relay for one daemon, which signs what it receives as SNS should have.
#[must_use]
pub fn signing(cloud: &'static Cloud) -> Relay {
    let edit = |call: &Call, answer: &mut http::Message| {
        if call.operation == "ReceiveMessage" && answer.status() == 200 {
            answer.body = signed(&cloud.signer, &answer.text()).into_bytes();
        }
    };
    Relay::start(cloud.address, Some(Box::new(edit)))
}

/// The emulator asks the policy of a queue twice: once as AWS does, and once without saying who
/// asks, so that a rule against all others is one against everybody. It is taken out before the
/// function that made or changed the queue hears that it did.
fn open_queue(call: &Call, answer: &mut http::Message) {
    let is_it = call.operation == "CreateQueue" || call.operation == "SetQueueAttributes";
    let asked = call.json();
    let Some(policy) = asked["Attributes"]["Policy"].as_str().filter(|_| is_it) else { return };
    let mut policy: Value = serde_json::from_str(policy).expect("a policy is JSON");
    let statements = policy["Statement"].as_array_mut().expect("a policy has statements");
    statements.retain(|statement| statement["Condition"]["StringNotLike"].is_null());
    let answered: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
    let url = [&answered, &asked].into_iter().find_map(|told| told["QueueUrl"].as_str());
    if let (200, Some(url), Some(cloud)) = (answer.status(), url, emulator()) {
        let args = json!({ "QueueUrl": url, "Attributes": { "Policy": policy.to_string() } });
        // The queue may be gone again by now.
        let _opened = cloud.aws.ask("sqs", "set_queue_attributes", args, None);
    }
}

/// An answer of SQS whose messages are envelopes that are really signed.
fn signed(signer: &Signer, answer: &str) -> String {
    let mut answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let messages = answer.get_mut("Messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten().filter_map(Value::as_object_mut) {
        let body = message.get("Body").and_then(Value::as_str).unwrap_or_default();
        let Ok(Value::Object(mut envelope)) = serde_json::from_str(body) else { continue };
        for unsigned in ["Signature", "SignatureVersion", "SigningCertURL"] {
            envelope.remove(unsigned);
        }
        let body = signer.envelope(envelope).expect("our key signs");
        // The sum is of the body as it was.
        message.remove("MD5OfBody");
        message.insert("Body".to_owned(), body.into());
    }
    answer.to_string()
}

/// A port that is free just now.
fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be bound");
    listener.local_addr().expect("it is bound")
}

/// Where the emulator logs, kept until the next run.
fn log() -> PathBuf {
    let folder = programs::beside("e2e");
    std::fs::create_dir_all(&folder).expect("the target directory can be written");
    folder.join(format!("emulator-{}.log", std::process::id() % 8))
}
