//! AWS, as a foreign client speaks to it, and the process that keeps the emulator.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The account that the emulator is, as the fake metadata service says it.
pub const ACCOUNT: &str = "123456789012";
/// Its Region.
pub const REGION: &str = "us-east-1";

/// No call takes longer on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(90);

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code of the service: `ResourceNotFoundException`.
    pub code: String,
    /// All of it.
    pub text: String,
}

type Answer = Result<Value, Refused>;
type Waiting = Arc<Mutex<BTreeMap<u64, Sender<Answer>>>>;

/// A running emulator, and a client of it. Both end with this process, however that ends.
#[derive(Debug)]
pub struct Aws {
    stdin: Mutex<ChildStdin>,
    waiting: Waiting,
    numbers: AtomicU64,
    _keeper: Child,
}

impl Aws {
    /// Starts the emulator; `endpoint` is what functions are told.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(python: &Path, folder: &Path, port: u16, endpoint: &str, log: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cloud/keeper.py");
        let mut command = Command::new(python);
        command.arg(script).arg(folder).arg(port.to_string()).arg(endpoint).arg(log);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().expect("Python can be started");
        let stdin = keeper.stdin.take().expect("stdin is a pipe");
        let stdout = BufReader::new(keeper.stdout.take().expect("stdout is a pipe"));
        let waiting = Waiting::default();
        let answers = Arc::clone(&waiting);
        // Ends with the keeper; whoever waits then is told by the end of its channel.
        let _reader = thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str::<Value>(&line) else { continue };
                let id = answer.get("id").and_then(Value::as_u64).unwrap_or_default();
                let asker = lock(&answers).remove(&id);
                if let Some(asker) = asker {
                    // Who asked may have given up.
                    let _told = asker.send(read(&answer));
                }
            }
            lock(&answers).clear();
        });
        let numbers = AtomicU64::new(1);
        Self { stdin: Mutex::new(stdin), waiting, numbers, _keeper: keeper }
    }

    /// Does a call, as boto3 names it, that succeeds.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn call(&self, service: &str, call: &str, args: Value) -> Value {
        let answer = self.ask(service, call, args.clone(), None);
        answer.unwrap_or_else(|refused| panic!("{service} {call} {args}: {}", refused.text))
    }

    /// Does a call, with other keys than those of the account where they are given.
    ///
    /// # Errors
    /// What the service says.
    ///
    /// # Panics
    /// When nothing answers.
    pub fn ask(&self, service: &str, call: &str, args: Value, keys: Option<&Value>) -> Answer {
        let id = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = mpsc::channel();
        lock(&self.waiting).insert(id, asker);
        let request =
            json!({ "id": id, "service": service, "call": call, "args": args, "as": keys });
        {
            let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
            stdin.write_all(format!("{request}\n").as_bytes()).expect("the keeper listens");
        }
        match answer.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => panic!("{service} {call}: no answer in {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("{service} {call}: the keeper ended"),
        }
    }
}

fn read(answer: &Value) -> Answer {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    match text("error") {
        Some(code) => Err(Refused { code, text: text("text").unwrap_or_default() }),
        None => Ok(answer.get("value").cloned().unwrap_or_default()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
