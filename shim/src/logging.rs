//! Logs: one JSON object a line on standard error, with `time`, `level`, `msg` and the fields.
//! Where that is the journal of systemd, the priority of the level stands before each
//! (sd-daemon(3)), and the journal takes it off.
//!
//! A thread of its own writes them, so that a reader of the log that stands still never holds the
//! daemon up. What it does not take is dropped, and the next line says how many there were.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, debug, info};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::record::{Entry, Record};

/// How many lines may wait for the reader of the log.
const WAITING: usize = 1000;
/// How long the last lines have when the daemon ends.
const LAST: Duration = Duration::from_millis(500);

/// Lines that wait, and how many were dropped.
#[derive(Debug, Clone)]
struct Lines {
    waiting: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

enum Line {
    Text(Vec<u8>),
    /// All before it was written when this is dropped.
    End(#[expect(dead_code, reason = "its drop is the message")] SyncSender<()>),
}

/// What is held while logs are written; when it goes, the last lines are waited for.
#[derive(Debug)]
pub struct Log(Option<SyncSender<Line>>);

impl Drop for Log {
    fn drop(&mut self) {
        let Some(waiting) = &self.0 else { return };
        let (end, written) = mpsc::sync_channel(0);
        if waiting.try_send(Line::End(end)).is_ok() {
            // It ends with the time-out, or when `end` is dropped: there is never a message.
            let _ = written.recv_timeout(LAST);
        }
    }
}

/// Sends all logs of this process to standard error, until what it returns goes.
///
/// `level` is one of `error`, `warn`, `info`, `debug`, `trace`; `journal` is the variable
/// `JOURNAL_STREAM`. Does nothing when logs go somewhere already.
#[must_use]
pub fn start(level: &str, journal: Option<&str>) -> Log {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("snoozed", level);
    let (waiting, lines) = mpsc::sync_channel(WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    if thread::Builder::new().name("log".to_owned()).spawn(move || write(&lines)).is_err() {
        return Log(None);
    }
    let writer = Lines { waiting: waiting.clone(), dropped: Arc::clone(&dropped) };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || writer.clone())
        .event_format(Json { dropped, has_priority: journal.is_some_and(is_journal) });
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Log(Some(waiting))
}

fn write(lines: &Receiver<Line>) {
    for line in lines {
        if let Line::Text(text) = line {
            // There is nowhere to tell that the log is gone.
            let _ = io::stderr().write_all(&text);
        }
    }
}

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.waiting.try_send(Line::Text(text.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells a change of an incident's state, with the event that opened the incident.
pub fn tell(entry: &Entry, event: Option<&snooze_event::Event>) {
    let incident = entry.incident.as_str();
    let event_id = event.map(|event| event.id.as_str());
    let event_type = event.map(|event| event.kind.as_str());
    let left = |due: &Option<u64>| due.map(|due| due.saturating_sub(entry.clock_ms));
    macro_rules! told {
        ($($field:tt)*) => { info!(incident, event_id, event_type, $($field)*) };
    }
    match &entry.record {
        Record::Opened { due_ms, steps, .. } => {
            told!(left_ms = left(due_ms), steps = steps.len(), "incident opened");
        }
        Record::Joined { key, due_ms, steps } => {
            let signal = key.as_str();
            told!(signal, left_ms = left(due_ms), steps = steps.len(), "another signal joined");
        }
        Record::Seen => debug!(incident, event_id, event_type, "notice still stands"),
        Record::Started { step, attempt, budget_ms } => {
            told!(step = step.as_str(), attempt, budget_ms, "step started");
        }
        Record::Ended { step, outcome } => told!(
            step = step.as_str(),
            outcome = outcome.kind.as_str(),
            text = outcome.text.as_str(),
            milliseconds = outcome.milliseconds,
            "step ended"
        ),
        Record::Cancelled => told!("loss called off"),
        Record::Closed { outcome, text } => {
            told!(outcome = outcome.as_str(), text = text.as_str(), "incident closed");
        }
        Record::Survived => told!("instance outlived the loss"),
        Record::Told { by } => told!(by = by.as_str(), "told by a command"),
        Record::Reported { told } => told!(told, "outcome reported"),
    }
}

/// Whether standard error is the stream that `JOURNAL_STREAM` names by device and inode
/// (systemd.exec(5)): it may lead elsewhere by now.
fn is_journal(stream: &str) -> bool {
    rustix::fs::fstat(io::stderr())
        .is_ok_and(|found| stream == format!("{}:{}", found.st_dev, found.st_ino))
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[derive(Debug, Default)]
struct Json {
    /// How many lines were dropped since the last one.
    dropped: Arc<AtomicU64>,
    /// Whether lines begin with the priority of their level.
    has_priority: bool,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut line = Map::new();
        line.insert("time".to_owned(), Timestamp::now().to_string().into());
        line.insert("level".to_owned(), level.into());
        event.record(&mut Fields(&mut line));
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            line.insert("dropped".to_owned(), dropped.into());
        }
        if self.has_priority {
            write!(writer, "<{}>", priority(*event.metadata().level()))?;
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Puts the fields of a log event into a JSON object; JSON escapes what is hostile in them.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::record::{Ending, StepOutcome};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_journal_is_told_the_priority_of_each_line() {
        let lines = Kept::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .event_format(Json { has_priority: true, ..Json::default() })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!("one");
            tracing::warn!("two");
            info!("three");
            debug!("four");
        });
        let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let starts: Vec<&str> = written.lines().filter_map(|line| line.get(..4)).collect();
        assert_eq!(starts, ["<3>{", "<4>{", "<6>{", "<7>{"]);
    }

    // S4-47, C11
    #[test]
    fn a_line_is_one_json_object_with_the_event_whatever_stands_in_its_fields() {
        let lines = Kept::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(Json::default())
            .finish();
        let at: Timestamp = "2026-03-14T09:26:53Z".parse().unwrap();
        let hostile = "two\nlines, \u{1b}[31m, \"quotes\" and ${jndi:ldap}";
        let entry = Entry {
            at,
            clock_ms: 0,
            boot: "boot".to_owned(),
            incident: "i/boot/spot/terminate".to_owned(),
            record: Record::Ended {
                step: "orders/flush".to_owned(),
                outcome: StepOutcome::plain(Ending::Failed, hostile),
            },
        };
        let kind = snooze_event::EventType::SpotInterrupt;
        let event = snooze_event::Event::new(kind, "test", at, "one".parse().unwrap());
        tracing::subscriber::with_default(subscriber, || tell(&entry, Some(&event)));
        let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(!written.contains('\u{1b}'), "{written}");
        let line: Value = serde_json::from_str(&written).unwrap();
        for (key, value) in [
            ("level", "info"),
            ("msg", "step ended"),
            ("event_id", "one"),
            ("event_type", "cloud.spot.interrupt"),
            ("incident", "i/boot/spot/terminate"),
            ("step", "orders/flush"),
            ("outcome", "failed"),
            ("text", hostile),
        ] {
            assert_eq!(line[key], value, "{key}");
        }
    }
}
