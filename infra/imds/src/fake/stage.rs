//! What the fake knows: its script, its tokens and its counts.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::{ROLE_PATH, Reply, Role};
use crate::{Path, SignalPath, TOKEN_PATH};

/// The instance that the fake is, unless its script says otherwise.
pub const INSTANCE_ID: &str = "i-0a1b2c3d4e5f60718";

const TAGS: [(&str, &str); 2] = [("Name", "orders-db-1"), ("role", "orders-db")];

/// What the fake does and what it has seen. A clone is the same stage.
#[derive(Debug, Clone)]
pub struct Stage {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

/// A Spot notice as the fake shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `terminate`, `stop`, `hibernate`, or any other word.
    pub action: String,
    /// When it is said to happen.
    pub time: NoticeTime,
}

/// When the action of a notice is said to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeTime {
    /// The same in each answer.
    Pinned(Timestamp),
    /// So far ahead of each answer, which a real service has been seen to do.
    Sliding(Duration),
}

impl Notice {
    /// A notice whose time is pinned, so far from now.
    #[must_use]
    pub fn ahead(action: &str, ahead: Duration) -> Self {
        Self { action: action.to_owned(), time: NoticeTime::Pinned(from_now(ahead)) }
    }

    fn body(&self) -> String {
        let time = match self.time {
            NoticeTime::Pinned(time) => time,
            NoticeTime::Sliding(ahead) => from_now(ahead),
        };
        json!({ "action": self.action, "time": seconds(time) }).to_string()
    }
}

#[derive(Debug)]
struct Inner {
    scripts: BTreeMap<String, VecDeque<Reply>>,
    spot: Option<Notice>,
    role: Option<Role>,
    role_asked: u64,
    tokens: BTreeMap<String, Instant>,
    tokens_made: u64,
    token_life: Duration,
    down: bool,
    counts: BTreeMap<String, u64>,
    in_flight: usize,
    most_in_flight: usize,
}

impl Stage {
    pub(super) fn new(address: SocketAddr) -> Self {
        let inner = Inner {
            scripts: facts(),
            spot: None,
            role: None,
            role_asked: 0,
            tokens: BTreeMap::new(),
            tokens_made: 0,
            token_life: Duration::from_secs(21_600),
            down: false,
            counts: BTreeMap::new(),
            in_flight: 0,
            most_in_flight: 0,
        };
        Self { address, inner: Arc::new(Mutex::new(inner)) }
    }

    /// The base address, for [`Settings::endpoints`](crate::Settings::endpoints).
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers a path from this list, in order; the last one stays. An empty list clears the
    /// path. A script for [`TOKEN_PATH`] takes the place of the making of tokens.
    pub fn set(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        let replies = VecDeque::from_iter(replies);
        let mut inner = self.lock();
        if replies.is_empty() {
            inner.scripts.remove(path);
        } else {
            inner.scripts.insert(path.to_owned(), replies);
        }
    }

    /// Takes back whatever is said of a path: 404, or the usual for [`TOKEN_PATH`].
    pub fn clear(&self, path: &str) {
        let mut inner = self.lock();
        inner.scripts.remove(path);
        if path == SignalPath::SpotInstanceAction.as_str() {
            inner.spot = None;
        }
    }

    /// Takes back all signals.
    pub fn clear_signals(&self) {
        for path in SignalPath::ALL {
            self.clear(path.as_str());
        }
    }

    /// Shows a Spot notice, in place of a script of the same path.
    pub fn spot(&self, notice: Notice) {
        let mut inner = self.lock();
        inner.scripts.remove(SignalPath::SpotInstanceAction.as_str());
        inner.spot = Some(notice);
    }

    /// Shows a rebalance recommendation of this moment.
    pub fn rebalance(&self) {
        let body = json!({ "noticeTime": seconds(Timestamp::now()) }).to_string();
        self.set(SignalPath::Rebalance.as_str(), [Reply::ok(body)]);
    }

    /// Shows the state that Auto Scaling moves the instance to.
    pub fn lifecycle(&self, state: &str) {
        self.set(SignalPath::TargetLifecycleState.as_str(), [Reply::ok(state)]);
    }

    /// Shows a list of scheduled maintenance, JSON.
    pub fn maintenance(&self, list: &str) {
        self.set(SignalPath::MaintenanceScheduled.as_str(), [Reply::ok(list)]);
    }

    /// Attaches a role, or detaches it. A script of one of its paths comes before it: with
    /// [`ROLE_PATH`] the role can be made to fail.
    pub fn role(&self, role: Option<Role>) {
        self.lock().role = role;
    }

    /// From the next request on, each connection is reset.
    pub fn down(&self) {
        self.lock().down = true;
    }

    /// Ends [`Stage::down`].
    pub fn up(&self) {
        self.lock().down = false;
    }

    /// The longest life that a new token gets; told in whole seconds, kept to the letter.
    pub fn token_life(&self, life: Duration) {
        self.lock().token_life = life;
    }

    /// Forgets all tokens, as a stop and start of the instance does.
    pub fn forget_tokens(&self) {
        self.lock().tokens.clear();
    }

    /// How often a path was asked, those times included at which the token was refused.
    #[must_use]
    pub fn asked(&self, path: &str) -> u64 {
        self.lock().counts.get(path).copied().unwrap_or(0)
    }

    /// How often a token was asked for.
    #[must_use]
    pub fn puts(&self) -> u64 {
        self.asked(TOKEN_PATH)
    }

    /// How often each path was asked.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    /// How many requests at most were being answered at one moment.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        self.lock().most_in_flight
    }

    pub(super) fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Counts a request as being answered until the guard is dropped.
    pub(super) fn begin(&self, path: &str) -> InFlight {
        let mut inner = self.lock();
        let count = inner.counts.entry(path.to_owned()).or_default();
        *count = count.saturating_add(1);
        inner.in_flight = inner.in_flight.saturating_add(1);
        inner.most_in_flight = inner.most_in_flight.max(inner.in_flight);
        InFlight(self.clone())
    }

    /// The answer to a GET whose token is valid.
    pub(super) fn next(&self, path: &str) -> Reply {
        let mut inner = self.lock();
        if let Some(reply) = inner.scripted(path) {
            return reply;
        }
        if let Some(reply) = inner.credentials(path) {
            return reply;
        }
        match &inner.spot {
            Some(notice) if path == SignalPath::SpotInstanceAction.as_str() => {
                Reply::ok(notice.body())
            }
            Some(_) | None => Reply::status(404),
        }
    }

    /// The answer to a PUT for a token whose head is in order.
    pub(super) fn make_token(&self, wanted: u32) -> Reply {
        let mut inner = self.lock();
        let life = inner.token_life.min(Duration::from_secs(u64::from(wanted)));
        if let Some(reply) = inner.scripted(TOKEN_PATH) {
            if reply.status == 200 {
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                inner.tokens.insert(text, Instant::now() + life);
            }
            return reply;
        }
        inner.tokens_made = inner.tokens_made.saturating_add(1);
        let text = format!("fake-token-{}-{}", self.address.port(), inner.tokens_made);
        inner.tokens.insert(text.clone(), Instant::now() + life);
        Reply::ok(text).header("X-aws-ec2-metadata-token-ttl-seconds", &life.as_secs().to_string())
    }

    /// Whether a token was made here and still lives.
    pub(super) fn knows_token(&self, text: &str) -> bool {
        self.lock().tokens.get(text).is_some_and(|end| Instant::now() < *end)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The next answer of a script; the last one stays.
    fn scripted(&mut self, path: &str) -> Option<Reply> {
        let replies = self.scripts.get_mut(path)?;
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    }

    /// What the role has to say to a path.
    fn credentials(&mut self, path: &str) -> Option<Reply> {
        let count = self.role_asked.saturating_add(1);
        let reply = self.role.as_ref()?.answer(path, count)?;
        if path.trim_end_matches('/').len() > ROLE_PATH.len() {
            self.role_asked = count;
        }
        Some(reply)
    }
}

/// A request that is being answered.
pub(super) struct InFlight(Stage);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.in_flight = inner.in_flight.saturating_sub(1);
    }
}

/// The facts that are served unless the script says otherwise.
fn facts() -> BTreeMap<String, VecDeque<Reply>> {
    let identity = json!({
        "accountId": "123456789012",
        "architecture": "x86_64",
        "availabilityZone": "us-east-1b",
        "billingProducts": null,
        "devpayProductCodes": null,
        "imageId": "ami-0123456789abcdef0",
        "instanceId": INSTANCE_ID,
        "instanceType": "m6i.large",
        "kernelId": null,
        "marketplaceProductCodes": null,
        "pendingTime": "2026-03-14T08:00:11Z",
        "privateIp": "10.158.112.84",
        "ramdiskId": null,
        "region": "us-east-1",
        "version": "2017-09-30",
    });
    let mut facts = BTreeMap::new();
    let mut say = |path: &str, body: &str| {
        facts.insert(path.to_owned(), VecDeque::from([Reply::ok(body)]));
    };
    say(&Path::Identity.as_str(), &identity.to_string());
    say(&Path::LifeCycle.as_str(), "spot");
    say("/latest/meta-data/instance-id", INSTANCE_ID);
    say("/latest/meta-data/instance-type", "m6i.large");
    say("/latest/meta-data/placement/region", "us-east-1");
    say("/latest/meta-data/placement/availability-zone", "us-east-1b");
    say("/latest/meta-data/placement/availability-zone-id", "use1-az2");
    say(&Path::TagKeys.as_str(), &TAGS.map(|(key, _)| key).join("\n"));
    for (key, value) in TAGS {
        say(&format!("{}{key}", Path::TagKeys.as_str()), value);
    }
    facts
}

/// A moment so far from now; saturates at the end of time.
pub(super) fn from_now(ahead: Duration) -> Timestamp {
    Timestamp::now().checked_add(ahead).unwrap_or(Timestamp::MAX)
}

/// A moment as the service writes it: UTC, whole seconds.
pub(super) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
