//! A loss as bars on a time axis.
//!
//! Handlers take milliseconds and a notice two minutes, so the axis has two parts: the seconds in
//! use to scale, then, behind a break, the rest up to the deadline, not to scale.

use std::fmt;
use std::time::Duration;

use crate::text;

/// The columns of the part to scale.
const WIDE: usize = 36;
/// The columns of the rest.
const REST: usize = 10;
/// Where the part to scale may end, in seconds.
const SPANS: [f64; 16] =
    [0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0, 3.0, 4.0, 8.0, 20.0, 40.0, 80.0, 120.0];

/// A loss, in seconds since the notice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timeline {
    /// The daemon heard of it.
    pub(super) heard: f64,
    /// Its handlers.
    pub(super) rows: Vec<Row>,
    /// All handlers had ended.
    pub(super) closed: f64,
    /// The instance goes.
    pub(super) deadline: f64,
    /// How it ended.
    pub(super) outcome: String,
}

/// One handler.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Its name.
    pub(super) name: String,
    /// Its priority.
    pub(super) priority: String,
    /// When it began, in seconds since the notice, if it did.
    pub(super) start: Option<f64>,
    /// How long it took, in seconds.
    pub(super) took: f64,
    /// How it ended.
    pub(super) outcome: String,
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.span();
        let name = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(8);
        let mut line = |label: &str, priority: &str, wide: &str, rest: &str, facts: &str| {
            let text = format!("  {label:name$} {priority:>4} │{wide:WIDE$}┊{rest:REST$}┃ {facts}");
            writeln!(f, "{}", text.trim_end())
        };
        let deadline = format!("{:.1} s", self.deadline);
        let heads = format!("{:>8}  {:>6}  OUTCOME", "START", "TOOK");
        line("", "prio", &scale(span), &format!("{deadline:>REST$}"), &heads)?;
        line("notice", "", "◆", "", &facts(Some(0.0), None, ""))?;
        let wait = bar(0.0, self.heard, span, '·', Some('◆'));
        line("heard", "", &wait, "", &facts(Some(self.heard), None, ""))?;
        for row in &self.rows {
            let bar = row.start.map(|start| bar(start, start + row.took, span, '█', None));
            let took = row.start.map(|_| row.took);
            let facts = facts(row.start, took, &row.outcome);
            line(&row.name, &row.priority, &bar.unwrap_or_default(), "", &facts)?;
        }
        let end = cell(self.closed, span);
        let margin = (self.deadline - self.closed).max(0.0);
        let wide = format!("{:end$}◆{}", "", "─".repeat(WIDE.saturating_sub(end + 1)));
        let facts = facts(Some(self.closed), None, &self.outcome);
        line("closed", "", &wide, &"─".repeat(REST), &facts)?;
        let margin = format!("{margin:.1} s");
        writeln!(f, "\n  {margin} to spare before the deadline ┃ (behind ┊ the axis is cut)")
    }
}

impl Timeline {
    /// How many seconds the part to scale shows.
    fn span(&self) -> f64 {
        let used = self.closed.max(self.heard);
        SPANS.into_iter().find(|span| *span > used).unwrap_or(used * 1.1)
    }
}

/// Marks at the start, the quarters and the end.
fn scale(span: f64) -> String {
    let quarter = WIDE / 4;
    let mark = |part: f64| format!("{:<quarter$}", format!("╵{}", number(span * part)));
    [0.0, 0.25, 0.5, 0.75].map(mark).concat()
}

/// A number of seconds without needless digits.
fn number(seconds: f64) -> String {
    let text = format!("{seconds:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A bar over every column that it touches; at least one. `last` stands in the last one.
fn bar(start: f64, end: f64, span: f64, ink: char, last: Option<char>) -> String {
    let (first, until) = (cell(start, span), cell(end, span));
    let mut bar = " ".repeat(first);
    bar.extend(std::iter::repeat_n(ink, until.saturating_sub(first)));
    bar.push(last.unwrap_or(ink));
    bar
}

/// The column of a moment.
fn cell(seconds: f64, span: f64) -> usize {
    let width = u32::try_from(WIDE).unwrap_or(u32::MAX);
    let edges = (1..width).map(|edge| span * f64::from(edge) / f64::from(width));
    edges.take_while(|edge| *edge <= seconds).count()
}

fn facts(start: Option<f64>, took: Option<f64>, outcome: &str) -> String {
    let start = start.map_or_else(|| "-".to_owned(), |start| format!("{start:.3} s"));
    let took = took.and_then(|took| Duration::try_from_secs_f64(took).ok()).map(text::took);
    let took = took.unwrap_or_default();
    format!("{start:>8}  {took:>6}  {outcome}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn row(name: &str, priority: i64, start: Option<f64>, took: f64, outcome: &str) -> Row {
        let (name, outcome) = (name.to_owned(), outcome.to_owned());
        Row { name, priority: priority.to_string(), start, took, outcome }
    }

    fn check(timeline: &Timeline, expected: Expect) {
        expected.assert_eq(&format!("timeline\n{timeline}"));
    }

    #[test]
    fn bars_stand_where_the_time_was_spent() {
        let timeline = Timeline {
            heard: 0.512,
            rows: vec![
                row("app-checkpointer", 100, Some(0.516), 0.012, "done"),
                row("checkpoint", 80, Some(0.53), 0.09, "done"),
                row("webhook-notifier", 10, Some(0.63), 0.21, "failed"),
                row("image", 5, None, 0.0, "dropped"),
            ],
            closed: 0.84,
            deadline: 119.7,
            outcome: "partial".to_owned(),
        };
        check(
            &timeline,
            expect![[r#"
                timeline
                                   prio │╵0       ╵0.25    ╵0.5     ╵0.75    ┊   119.7 s┃    START    TOOK  OUTCOME
                  notice                │◆                                   ┊          ┃  0.000 s
                  heard                 │··················◆                 ┊          ┃  0.512 s
                  app-checkpointer  100 │                  ██                ┊          ┃  0.516 s   12 ms  done
                  checkpoint         80 │                   ████             ┊          ┃  0.530 s   90 ms  done
                  webhook-notifier   10 │                      █████████     ┊          ┃  0.630 s  210 ms  failed
                  image               5 │                                    ┊          ┃        -          dropped
                  closed                │                              ◆─────┊──────────┃  0.840 s          partial

                  118.9 s to spare before the deadline ┃ (behind ┊ the axis is cut)
            "#]],
        );
    }

    #[test]
    fn a_loss_that_took_long_is_on_the_axis_too() {
        let timeline = Timeline {
            heard: 1.0,
            rows: vec![row("slow", 50, Some(1.0), 89.0, "timed_out")],
            closed: 90.0,
            deadline: 120.0,
            outcome: "failed".to_owned(),
        };
        check(
            &timeline,
            expect![[r#"
                timeline
                           prio │╵0       ╵30      ╵60      ╵90      ┊   120.0 s┃    START    TOOK  OUTCOME
                  notice        │◆                                   ┊          ┃  0.000 s
                  heard         │◆                                   ┊          ┃  1.000 s
                  slow       50 │████████████████████████████        ┊          ┃  1.000 s  1 min 29 s  timed_out
                  closed        │                           ◆────────┊──────────┃ 90.000 s          failed

                  30.0 s to spare before the deadline ┃ (behind ┊ the axis is cut)
            "#]],
        );
    }
}
