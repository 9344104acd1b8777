//! Logs and metrics of the functions.
//!
//! A log line is a JSON object on stdout; the span of an invocation carries the request, the span
//! of an incident its key as `correlationid`. Metrics are lines of the embedded metric format
//! (CloudWatch Logs makes metrics of them), with dimensions that have few values: never an
//! instance, never a group. Where they are switched on, traces are lines of OTLP in JSON: a
//! subscription of the log group hands them to a collector, and no function waits for one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snooze_event::Cause;
use snooze_policy::ActionName;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "CloudSnooze";
/// The most values of one metric in one line (CloudWatch, embedded metric format).
const VALUES: usize = 100;
/// The most traces that one invocation writes.
const TRACES: usize = 100;
/// How much of a text from outside a log line shows, in characters.
const SHOWN: usize = 200;

/// Begins to log, as the variables `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL` say.
pub fn begin() {
    lambda_runtime::tracing::init_default_subscriber();
}

/// What a log shows of a text from outside that could not be read.
#[must_use]
pub fn excerpt(text: &str) -> String {
    text.chars().take(SHOWN).collect::<String>().escape_debug().to_string()
}

/// What is measured. The names are those of alarms and dashboards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names and their meaning stand in `METRICS`")]
pub enum Metric {
    Notices,
    Stale,
    Foreign,
    Unknown,
    Unreadable,
    Unprotected,
    Incidents,
    Commands,
    Orders,
    NoticeToCommand,
    Outcomes,
    Overdue,
    Handlers,
    HandlerFailures,
    Actions,
    ActionFailures,
    Stops,
    StopsRefused,
    Mended,
    QueuesRemoved,
    DrillAge,
}

/// Name, unit and meaning of each metric.
pub const METRICS: [(Metric, &str, &str, &str); 21] = [
    (Metric::Notices, "Notices", "Count", "losses that were announced to us"),
    (Metric::Stale, "Stale", "Count", "events that came too late, or were replayed"),
    (Metric::Foreign, "Foreign", "Count", "events of another account or Region"),
    (Metric::Unknown, "Unknown", "Count", "events of kinds that we do nothing with"),
    (Metric::Unreadable, "Unreadable", "Count", "events and orders that could not be read"),
    (Metric::Unprotected, "Unprotected", "Count", "losses of instances that never said hello"),
    (Metric::Incidents, "Incidents", "Count", "incidents that were opened"),
    (Metric::Commands, "Commands", "Count", "commands that were published"),
    (Metric::Orders, "Orders", "Count", "orders that were put into the queue"),
    (
        Metric::NoticeToCommand,
        "NoticeToCommand",
        "Milliseconds",
        "from the time of a notice to its command",
    ),
    (Metric::Outcomes, "Outcomes", "Count", "incidents that ended, by outcome"),
    (Metric::Overdue, "Overdue", "Count", "incidents of which no instance told how they ended"),
    (Metric::Handlers, "Handlers", "Count", "steps that instances told of"),
    (Metric::HandlerFailures, "HandlerFailures", "Count", "steps among them that failed"),
    (Metric::Actions, "Actions", "Count", "tasks that were done by the cloud side"),
    (Metric::ActionFailures, "ActionFailures", "Count", "attempts at tasks that failed"),
    (Metric::Stops, "Stops", "Count", "instances that were stopped or ended by a policy"),
    (Metric::StopsRefused, "StopsRefused", "Count", "stops that a limit held back"),
    (Metric::Mended, "Mended", "Count", "incidents in which the sweep mended something"),
    (Metric::QueuesRemoved, "QueuesRemoved", "Count", "queues of instances that are gone"),
    (Metric::DrillAge, "DrillAge", "Seconds", "since the last drill that ended well"),
];

impl Metric {
    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        METRICS.iter().find(|(metric, ..)| *metric == self).map_or("", |(_, name, ..)| name)
    }

    fn unit(self) -> &'static str {
        METRICS.iter().find(|(metric, ..)| *metric == self).map_or("None", |(_, _, unit, _)| unit)
    }
}

/// What a figure is told apart by, beside the stack and the function: one of few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct By(&'static str, &'static str);

impl By {
    /// By nothing more.
    pub const ALL: Self = Self("", "");

    /// By the cause of a loss.
    #[must_use]
    pub fn cause(cause: Option<Cause>) -> Self {
        Self("Cause", cause.map_or("none", Cause::as_str))
    }

    /// By an action.
    #[must_use]
    pub fn action(action: ActionName) -> Self {
        Self("Action", action.as_str())
    }

    /// By the outcome of an incident.
    #[must_use]
    pub fn outcome(word: &str) -> Self {
        const WORDS: [&str; 6] = ["done", "partial", "failed", "expired", "cancelled", "unknown"];
        let known = WORDS.into_iter().find(|known| *known == word);
        Self("Outcome", known.unwrap_or("other"))
    }

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.1
    }
}

/// Gathers figures, until they are written as lines.
#[derive(Debug)]
pub struct Meter {
    stack: String,
    function: &'static str,
    figures: Mutex<BTreeMap<By, BTreeMap<Metric, Figure>>>,
    traces: Mutex<Vec<Value>>,
}

#[derive(Debug, Clone)]
enum Figure {
    Sum(u64),
    Values(Vec<u64>),
}

impl Meter {
    /// The figures of one function of a stack.
    #[must_use]
    pub fn new(stack: &str, function: &'static str) -> Self {
        Self {
            stack: stack.to_owned(),
            function,
            figures: Mutex::default(),
            traces: Mutex::default(),
        }
    }

    /// Adds to a count.
    pub fn count(&self, metric: Metric, by: By, count: u64) {
        self.change(metric, by, |figure| match figure {
            Figure::Sum(sum) => *sum = sum.saturating_add(count),
            Figure::Values(values) => values.push(count),
        });
    }

    /// Notes one value. What is more than a line holds is left out.
    pub fn value(&self, metric: Metric, by: By, value: u64) {
        self.change(metric, by, |figure| match figure {
            Figure::Values(values) if values.len() < VALUES => values.push(value),
            Figure::Values(_) => {}
            Figure::Sum(_) => *figure = Figure::Values(vec![value]),
        });
    }

    /// Notes a duration, in milliseconds.
    pub fn milliseconds(&self, metric: Metric, by: By, time: Duration) {
        self.value(metric, by, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    /// Notes a trace; what is more than one invocation may write is left out.
    pub fn trace(&self, trace: Value) {
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        if traces.len() < TRACES {
            traces.push(trace);
        }
    }

    /// The traces so far, which begin anew.
    #[must_use]
    pub fn traces(&self) -> Vec<Value> {
        std::mem::take(&mut *self.traces.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was counted so far, for all words together.
    #[must_use]
    pub fn total(&self, metric: Metric) -> u64 {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |figure: &Figure| match figure {
            Figure::Sum(sum) => *sum,
            Figure::Values(values) => values.iter().sum(),
        };
        figures.values().filter_map(|metrics| metrics.get(&metric)).map(of).sum()
    }

    /// The lines of all figures, which begin anew.
    #[must_use]
    pub fn lines(&self, now: Timestamp) -> Vec<String> {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = std::mem::take(&mut *figures);
        figures.iter().map(|(by, metrics)| self.line(*by, metrics, now).to_string()).collect()
    }

    /// Writes the lines of all figures and traces to stdout. A reader that is gone takes nothing from the
    /// work.
    pub fn write(&self, now: Timestamp) {
        let mut out = std::io::stdout().lock();
        for line in self.lines(now) {
            let _ = writeln!(out, "{line}");
        }
        for trace in self.traces() {
            let _ = writeln!(out, "{trace}");
        }
        let _ = out.flush();
    }

    fn change(&self, metric: Metric, by: By, change: impl FnOnce(&mut Figure)) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let figure = figures.entry(by).or_default().entry(metric);
        change(figure.or_insert(Figure::Sum(0)));
    }

    fn line(&self, by: By, metrics: &BTreeMap<Metric, Figure>, now: Timestamp) -> Value {
        let By(dimension, word) = by;
        let mut dimensions = vec![json!(["Stack", "Function"])];
        let mut members = Map::from_iter([
            ("Stack".to_owned(), json!(self.stack)),
            ("Function".to_owned(), json!(self.function)),
        ]);
        if !dimension.is_empty() {
            dimensions.push(json!(["Stack", "Function", dimension]));
            members.insert(dimension.to_owned(), json!(word));
        }
        let names: Vec<Value> = metrics
            .keys()
            .map(|metric| json!({ "Name": metric.name(), "Unit": metric.unit() }))
            .collect();
        for (metric, figure) in metrics {
            let value = match figure {
                Figure::Sum(sum) => json!(sum),
                Figure::Values(values) => json!(values),
            };
            members.insert(metric.name().to_owned(), value);
        }
        let directive =
            json!({ "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": names });
        let about = json!({ "Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive] });
        members.insert("_aws".to_owned(), about);
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn figures_become_one_line_for_each_word() {
        let meter = Meter::new("cloudsnooze", "dispatch");
        meter.count(Metric::Notices, By::cause(Some(Cause::Spot)), 2);
        meter.count(Metric::Notices, By::cause(Some(Cause::Spot)), 1);
        meter.milliseconds(Metric::NoticeToCommand, By::ALL, Duration::from_millis(840));
        meter.milliseconds(Metric::NoticeToCommand, By::ALL, Duration::from_millis(91));
        meter.count(Metric::Commands, By::ALL, 1);
        assert_eq!(meter.total(Metric::Notices), 3);
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        expect_test::expect![[r#"
            {"Commands":1,"Function":"dispatch","NoticeToCommand":[840,91],"Stack":"cloudsnooze","_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stack","Function"]],"Metrics":[{"Name":"Commands","Unit":"Count"},{"Name":"NoticeToCommand","Unit":"Milliseconds"}],"Namespace":"CloudSnooze"}],"Timestamp":1795255200000}}
            {"Cause":"spot","Function":"dispatch","Notices":3,"Stack":"cloudsnooze","_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stack","Function"],["Stack","Function","Cause"]],"Metrics":[{"Name":"Notices","Unit":"Count"}],"Namespace":"CloudSnooze"}],"Timestamp":1795255200000}}"#]]
        .assert_eq(&meter.lines(now).join("\n"));
        assert_eq!(meter.lines(now), Vec::<String>::new());
    }

    #[test]
    fn every_metric_has_one_name() {
        let names: BTreeSet<_> = METRICS.iter().map(|(_, name, ..)| *name).collect();
        assert_eq!(names.len(), METRICS.len());
        assert_eq!(Metric::DrillAge.name(), "DrillAge");
    }

    #[test]
    fn a_line_holds_a_bounded_number_of_values() {
        let meter = Meter::new("s", "sweep");
        for value in 0..1000 {
            meter.value(Metric::DrillAge, By::ALL, value);
        }
        let line: Value = serde_json::from_str(&meter.lines(Timestamp::now())[0]).unwrap();
        assert_eq!(line["DrillAge"].as_array().unwrap().len(), VALUES);
    }

    #[test]
    fn words_from_outside_become_few() {
        assert_eq!(By::outcome("done").word(), "done");
        assert_eq!(By::outcome("i-0123456789abcdef0").word(), "other");
    }

    #[test]
    fn c11_an_excerpt_shows_no_control_characters() {
        assert_eq!(excerpt("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(excerpt(&"x".repeat(5000)).len(), 200);
    }
}
