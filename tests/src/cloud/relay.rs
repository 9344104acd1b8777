//! A relay in front of the emulator: it passes requests on, writes them down, signs what SNS should
//! have signed, and is cut, deaf or wrong when a test says so.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::http::Message;
use crate::wait;

/// Changes an answer on its way.
pub type Edit = Box<dyn Fn(&Call, &mut Message) + Send + Sync>;
/// Answers in the place of the emulator, where it likes.
pub type Stand = Box<dyn Fn(&Call) -> Option<Message> + Send + Sync>;

/// How a connection to the emulator goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// As it should.
    Open,
    /// Everything is taken, nothing is ever answered.
    Deaf,
    /// Connections are ended as soon as they come.
    Cut,
}

/// A request, in our words.
#[derive(Debug, Clone)]
pub struct Call {
    /// When it came.
    pub at: Timestamp,
    /// The service, as signatures name it: `dynamodb`.
    pub service: String,
    /// The operation: `GetItem`, or the method and path where there is none.
    pub operation: String,
    /// The key that signed it.
    pub key: String,
    /// Its body: JSON, or text.
    pub body: String,
    /// The status of the answer; 0 when it was not passed on.
    pub status: u16,
}

impl Call {
    fn of(request: &Message) -> Self {
        let signed = request.header("authorization").unwrap_or_default();
        let scope = signed.split("Credential=").nth(1).unwrap_or_default();
        let mut scope = scope.split([',', ' ']).next().unwrap_or_default().split('/');
        let key = scope.next().unwrap_or_default().to_owned();
        let service = scope.nth(2).unwrap_or_default().to_owned();
        let body = request.text();
        let target =
            request.header("x-amz-target").and_then(|target| target.split('.').next_back());
        let form = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
        let line = request.start.rsplit_once(' ').map_or(request.start.as_str(), |(line, _)| line);
        let operation = target.or(form).unwrap_or(line).to_owned();
        Self { at: Timestamp::now(), service, operation, key, body, status: 0 }
    }

    /// A parameter of a form, decoded.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        let mut pairs = self.body.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(value))
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// A relay. It ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: SocketAddr,
    edit: Option<Edit>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    road: Road,
    ended: bool,
    /// Connections that are not over.
    open: usize,
    calls: Vec<Call>,
    stand: Option<Arc<Stand>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Relay {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When no port can be bound.
    #[must_use]
    pub fn start(to: SocketAddr, edit: Option<Edit>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be bound");
        let address = listener.local_addr().expect("it is bound");
        let (road, calls) = (Road::Open, Vec::new());
        let inner = Inner { road, ended: false, open: 0, calls, stand: None };
        let (inner, changed) = (Mutex::new(inner), Condvar::new());
        let shared = Arc::new(Shared { to, edit, inner, changed });
        let relay = Self { address, shared: Arc::clone(&shared) };
        // Both kinds of threads end with the relay: the listener is woken, the streams run dry.
        let _listener = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.inner().ended {
                    return;
                }
                let shared = Arc::clone(&shared);
                shared.inner().open += 1;
                let _connection = thread::spawn(move || {
                    // How a connection ends is the client's business.
                    let _ended = shared.converse(stream);
                    shared.inner().open -= 1;
                });
            }
        });
        relay
    }

    /// Its address, for `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens or closes the road, for the connections that are there too.
    pub fn road(&self, road: Road) {
        self.shared.inner().road = road;
        self.shared.changed.notify_all();
    }

    /// Ends all connections and waits until nothing of them is under way any more.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn drain(&self) {
        self.road(Road::Cut);
        wait::until("the connections to end", || (self.shared.inner().open == 0).then_some(()));
    }

    /// Answers in the place of the emulator, until it is told otherwise.
    pub fn stand(&self, stand: Option<Stand>) {
        self.shared.inner().stand = stand.map(Arc::new);
    }

    /// All calls that came until now.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.inner().calls.clone()
    }

    /// The calls of an operation that speak of this.
    #[must_use]
    pub fn about(&self, operation: &str, text: &str) -> Vec<Call> {
        let inner = self.shared.inner();
        let wanted = |call: &&Call| {
            call.operation == operation
                && (call.body.contains(text) || decoded(&call.body).contains(text))
        };
        inner.calls.iter().filter(wanted).cloned().collect()
    }

    /// Waits for the first call of an operation that speaks of this.
    ///
    /// # Panics
    /// When none comes.
    #[must_use]
    pub fn wait_for(&self, operation: &str, text: &str) -> Call {
        let missed = || {
            let calls = self.calls();
            let calls: Vec<_> = calls.iter().map(|call| (&call.operation, call.status)).collect();
            format!("{operation} about {text}; there were {calls:?}")
        };
        wait::until_or(missed, || self.about(operation, text).into_iter().next())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.inner().ended = true;
        self.shared.changed.notify_all();
        // Wakes the listener; when that fails, it is not there any more.
        let _woken = TcpStream::connect(self.address);
    }
}

/// How often an open connection looks whether the road is still open.
const LOOK: Duration = Duration::from_millis(50);

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn converse(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut server: Option<TcpStream> = None;
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        while let Some(mut request) = Message::read(&mut client, &mut asked)? {
            let mut call = Call::of(&request);
            let is_head = request.start.starts_with("HEAD ");
            let number = self.note(call.clone());
            if !self.is_open() {
                return client.shutdown(Shutdown::Both);
            }
            // It may take its time, in which others are not held up.
            let stand = self.inner().stand.clone();
            let stand = stand.and_then(|stand| stand(&call));
            let mut answer = match stand {
                Some(answer) => answer,
                None => {
                    if server.is_none() {
                        server = Some(TcpStream::connect(self.to)?);
                    }
                    let Some(server) = server.as_mut() else { return Ok(()) };
                    server.set_nodelay(true)?;
                    // Resource policies ask for TLS, which this stands for.
                    let tls = ("x-forwarded-proto".to_owned(), "https".to_owned());
                    request.headers.push(tls);
                    request.write(server)?;
                    let answer = match is_head {
                        true => Message::read_head(server, &mut answered)?,
                        false => Message::read(server, &mut answered)?,
                    };
                    match answer {
                        Some(answer) => answer,
                        None => return client.shutdown(Shutdown::Both),
                    }
                }
            };
            call.status = answer.status();
            if let Some(known) = self.inner().calls.get_mut(number) {
                known.status = call.status;
            }
            if let Some(edit) = &self.edit {
                edit(&call, &mut answer);
            }
            // What was asked while the road was open is not answered once it is closed.
            if !self.is_open() {
                return client.shutdown(Shutdown::Both);
            }
            match is_head {
                true => answer.write_head(&mut client)?,
                false => answer.write(&mut client)?,
            }
        }
        Ok(())
    }

    fn note(&self, call: Call) -> usize {
        let mut inner = self.inner();
        inner.calls.push(call);
        inner.calls.len() - 1
    }

    /// Whether a message may pass; while the road is deaf, it waits.
    fn is_open(&self) -> bool {
        let mut inner = self.inner();
        let was_deaf = inner.road == Road::Deaf;
        while inner.road == Road::Deaf && !inner.ended {
            let waited = self.changed.wait_timeout(inner, LOOK);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !was_deaf && inner.road == Road::Open && !inner.ended
    }
}

/// Text of a form.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
