//! The text that Prometheus reads (format version 0.0.4). Pure.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>, checked 2026-11.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the names of our metrics begin with.
pub const PREFIX: &str = "cloudsnooze_";
/// What the names of the aliases begin with.
pub const ALIAS: &str = "roost_keeper_";
/// What a server says the text is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of figures a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the daemon is started again.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many values lay below each bound, their sum and their number.
    Histogram,
    /// The sum of values and their number.
    Summary,
}

impl Kind {
    /// The word in the text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// One metric with all its label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name, without [`PREFIX`].
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says; one line.
    pub help: &'static str,
    /// Whether it has an alias.
    pub alias: bool,
}

/// Values below bounds, as a histogram shows them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// Bounds, in rising order, with how many values lay at or below each, but above the last.
    buckets: Vec<(f64, u64)>,
    sum: f64,
    count: u64,
}

impl Histogram {
    /// One without values.
    #[must_use]
    pub(super) fn new(bounds: &[f64]) -> Self {
        Self { buckets: bounds.iter().map(|bound| (*bound, 0)).collect(), sum: 0.0, count: 0 }
    }

    /// Takes a value in.
    pub(super) fn observe(&mut self, value: f64) {
        if let Some((_, count)) = self.buckets.iter_mut().find(|(bound, _)| value <= *bound) {
            *count = count.saturating_add(1);
        }
        self.sum += value;
        self.count = self.count.saturating_add(1);
    }
}

/// Collects samples, and writes them family by family.
#[derive(Debug, Default)]
pub(super) struct Page {
    samples: BTreeMap<&'static str, String>,
}

impl Page {
    /// One sample; `values` are those of the family's labels, in their order.
    pub(super) fn put(&mut self, family: &Family, values: &[&str], value: f64) {
        self.sample(family, "", values, None, value);
    }

    /// A sum of values and their number.
    pub(super) fn summary(&mut self, family: &Family, values: &[&str], sum: f64, count: u64) {
        self.sample(family, "_sum", values, None, sum);
        self.sample(family, "_count", values, None, whole(count));
    }

    /// All buckets of a histogram, their sum and their number.
    pub(super) fn histogram(&mut self, family: &Family, histogram: &Histogram) {
        let mut below = 0;
        for (bound, count) in &histogram.buckets {
            below += count;
            let bound = number(*bound);
            self.sample(family, "_bucket", &[], Some(("le", bound.as_str())), whole(below));
        }
        let count = whole(histogram.count);
        self.sample(family, "_bucket", &[], Some(("le", "+Inf")), count);
        self.sample(family, "_sum", &[], None, histogram.sum);
        self.sample(family, "_count", &[], None, count);
    }

    fn sample(
        &mut self,
        family: &Family,
        suffix: &str,
        values: &[&str],
        bound: Option<(&str, &str)>,
        value: f64,
    ) {
        let named = family.labels.iter().copied().zip(values.iter().copied());
        let labels: Vec<String> = named
            .chain(bound)
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        // Without what the name begins with, which an alias has differently.
        let line = format!("{}{suffix}{labels} {}\n", family.name, number(value));
        self.samples.entry(family.name).or_default().push_str(&line);
    }

    /// The text of these families, also of those without a sample; with `alias`, those that have
    /// one a second time under it.
    #[must_use]
    pub(super) fn text(&self, families: &[Family], alias: bool) -> String {
        let mut text = String::new();
        for family in families {
            self.family(family, PREFIX, &mut text);
        }
        for family in families.iter().filter(|family| alias && family.alias) {
            self.family(family, ALIAS, &mut text);
        }
        text
    }

    fn family(&self, family: &Family, prefix: &str, text: &mut String) {
        let Family { name, kind, help, .. } = family;
        // A text takes all that is written to it.
        let _ = writeln!(text, "# HELP {prefix}{name} {help}");
        let _ = writeln!(text, "# TYPE {prefix}{name} {}", kind.as_str());
        for line in self.samples.get(name).map(String::as_str).unwrap_or_default().lines() {
            let _ = writeln!(text, "{prefix}{line}");
        }
    }
}

/// A count as a figure. Beyond 2^53 it is not exact, which nothing here reaches.
#[expect(clippy::as_conversions, reason = "there is no other way from u64 to f64")]
pub(super) fn whole(count: u64) -> f64 {
    count as f64
}

fn number(value: f64) -> String {
    match value.is_finite() {
        true => value.to_string(),
        false => "NaN".to_owned(),
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const fn family(name: &'static str, kind: Kind, labels: &'static [&'static str]) -> Family {
        Family { name, kind, labels, help: "Said.", alias: true }
    }

    #[test]
    fn families_stand_together_and_labels_are_escaped() {
        let steps = family("steps_total", Kind::Counter, &["plugin", "outcome"]);
        let took = family("took_seconds", Kind::Histogram, &[]);
        let mut page = Page::default();
        let mut histogram = Histogram::new(&[0.001, 1.0]);
        [0.001, 0.5, 7.0].into_iter().for_each(|value| histogram.observe(value));
        page.histogram(&took, &histogram);
        page.put(&steps, &["a\"b\\c\nd", "done"], 3.0);
        page.put(&steps, &["x", "done"], f64::INFINITY);
        expect![[r#"
            # HELP cloudsnooze_steps_total Said.
            # TYPE cloudsnooze_steps_total counter
            cloudsnooze_steps_total{plugin="a\"b\\c\nd",outcome="done"} 3
            cloudsnooze_steps_total{plugin="x",outcome="done"} NaN
            # HELP cloudsnooze_took_seconds Said.
            # TYPE cloudsnooze_took_seconds histogram
            cloudsnooze_took_seconds_bucket{le="0.001"} 1
            cloudsnooze_took_seconds_bucket{le="1"} 2
            cloudsnooze_took_seconds_bucket{le="+Inf"} 3
            cloudsnooze_took_seconds_sum 7.501
            cloudsnooze_took_seconds_count 3
        "#]]
        .assert_eq(&page.text(&[steps, took], false));
    }

    #[test]
    fn an_alias_says_the_same_under_another_name() {
        let size = family("queue_size", Kind::Gauge, &[]);
        let own = Family { alias: false, ..family("own", Kind::Gauge, &[]) };
        let mut page = Page::default();
        page.put(&size, &[], 2.5);
        let text = page.text(&[own, size], true);
        assert!(text.contains("\ncloudsnooze_queue_size 2.5\n"), "{text}");
        assert!(
            text.ends_with("# TYPE roost_keeper_queue_size gauge\nroost_keeper_queue_size 2.5\n")
        );
        assert!(!text.contains("roost_keeper_own"));
    }
}
