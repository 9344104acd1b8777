//! A strict reader of the text that Prometheus reads (format version 0.0.4): what it takes, any
//! reader takes.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a sample.
pub type Labels = BTreeMap<String, String>;

/// One metric of a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metric {
    /// What it says.
    pub help: String,
    /// Its kind.
    pub kind: String,
    /// What stands behind its name, the labels, the figure.
    pub samples: Vec<(String, Labels, f64)>,
}

impl Metric {
    /// The figure of the sample with these labels and no others.
    #[must_use]
    pub fn value(&self, labels: &[(&str, &str)]) -> Option<f64> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let labels: Labels = labels.iter().map(owned).collect();
        let found = self.samples.iter().find(|(tail, own, _)| tail.is_empty() && *own == labels);
        found.map(|(.., value)| *value)
    }
}

/// Reads a text.
///
/// # Errors
/// The first line that is wrong, and why.
pub fn read(text: &str) -> Result<BTreeMap<String, Metric>, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
            is_name(name).then_some(()).ok_or_else(|| wrong("no name"))?;
            let metric = Metric { help: help.to_owned(), ..Metric::default() };
            if metrics.insert(name.to_owned(), metric).is_some() {
                return Err(wrong("it comes twice"));
            }
            current = name.to_owned();
            continue;
        }
        let metric = metrics.get_mut(&current).ok_or_else(|| wrong("nothing begins with help"))?;
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            let kinds = ["counter", "gauge", "histogram", "summary"];
            if name != current || !kinds.contains(&kind) || !metric.kind.is_empty() {
                return Err(wrong("not the type of what was begun"));
            }
            kind.clone_into(&mut metric.kind);
            continue;
        }
        let (name, labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
        let tail = name.strip_prefix(&current).ok_or_else(|| wrong("not what was begun"))?;
        let tails: &[&str] = match metric.kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["_sum", "_count"],
            "" => &[],
            _ => &[""],
        };
        if !tails.contains(&tail) || labels.contains_key("le") != (tail == "_bucket") {
            return Err(wrong("not a sample of this type"));
        }
        if metric.kind == "counter" && !(value >= 0.0 && name.ends_with("_total")) {
            return Err(wrong("not a counter"));
        }
        metric.samples.push((tail.to_owned(), labels, value));
    }
    for (name, metric) in &metrics {
        whole(metric).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(metrics)
}

/// What no single line shows.
fn whole(metric: &Metric) -> Result<(), &'static str> {
    if metric.kind.is_empty() {
        return Err("no type");
    }
    let mut seen = BTreeSet::new();
    if !metric.samples.iter().all(|(tail, labels, _)| seen.insert((tail, labels))) {
        return Err("a sample comes twice");
    }
    if metric.kind == "histogram" {
        let of =
            |wanted: &'static str| metric.samples.iter().filter(move |(tail, ..)| tail == wanted);
        let buckets: Vec<f64> = of("_bucket").map(|(.., value)| *value).collect();
        let bounds: Vec<f64> =
            of("_bucket").filter_map(|(_, labels, _)| labels.get("le")?.parse().ok()).collect();
        let count = of("_count").map(|(.., value)| *value).next();
        if !buckets.is_sorted() || !bounds.is_sorted() || bounds.len() != buckets.len() {
            return Err("buckets do not rise");
        }
        if bounds.last() != Some(&f64::INFINITY) || buckets.last().copied() != count {
            return Err("the last bucket does not hold all");
        }
    }
    Ok(())
}

fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let (name, labels, value) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = self::labels(rest)?;
            (name, labels, rest.strip_prefix(' ')?)
        }
        None => {
            let (name, value) = line.split_once(' ')?;
            (name, Labels::new(), value)
        }
    };
    is_name(name).then_some((name, labels, value.parse().ok()?))
}

/// The labels before `}`, and what stands behind it.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        let (name, value) = rest.split_once("=\"")?;
        let mut text = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next()? {
                (end, '"') => break end,
                (_, '\\') => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                (_, c) => text.push(c),
            }
        };
        if !is_name(name) || name.contains(':') || labels.insert(name.to_owned(), text).is_some() {
            return None;
        }
        rest = value.get(end + 1..)?;
        match rest.split_at_checked(1)? {
            (",", more) => rest = more,
            ("}", behind) => return Some((labels, behind)),
            _ => return None,
        }
    }
}

fn is_name(name: &str) -> bool {
    let fine = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    !name.is_empty() && name.bytes().all(fine) && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart() {
        let text = "# HELP a_total All.\n# TYPE a_total counter\na_total{x=\"1\\\"\\n\"} 2\n";
        let read = read(text).unwrap();
        assert_eq!(read["a_total"].value(&[("x", "1\"\n")]), Some(2.0));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let head = "# HELP a A.\n# TYPE a gauge\n";
        let counter = "# HELP a_total A.\n# TYPE a_total counter\n";
        let histogram = "# HELP a A.\n# TYPE a histogram\n";
        for bad in [
            "a 1\n".to_owned(),
            format!("{head}a 1"),
            format!("{head}a\n"),
            format!("{head}a one\n"),
            format!("{head}b 1\n"),
            format!("{head}a 1\na 2\n"),
            format!("{head}a{{x=\"1}} 1\n"),
            format!("{head}a{{x=\"\\q\"}} 1\n"),
            format!("{head}a{{x=\"1\",x=\"1\"}} 1\n"),
            format!("{head}{head}"),
            "# HELP a A.\na 1\n".to_owned(),
            format!("{counter}a_total -1\n"),
            format!("{histogram}a_bucket{{le=\"1\"}} 1\na_sum 1\na_count 1\n"),
            format!("{histogram}a_bucket{{le=\"1\"}} 2\na_bucket{{le=\"+Inf\"}} 1\na_count 1\n"),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
