//! `docs/metrics.md`, the dashboard and the alerts against the metrics that there are.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use snooze_functions::telemetry;
use snooze_tests::place;
use snoozed::metrics::{FAMILIES, Family, Kind, PREFIX};

#[test]
fn every_metric_of_the_daemon_is_told_of_and_no_other() {
    let page = page("docs/metrics.md");
    let rows = rows(between(&page, "\n## The daemon\n", "\n| label |"));
    let own: Vec<String> = FAMILIES.iter().map(row).collect();
    assert_eq!(rows, own);
    let labels = table(between(&page, "\n| label | values |\n", "\n## "));
    let told: BTreeSet<&str> = labels.iter().map(|cells| cells[0].as_str()).collect();
    let own = FAMILIES.iter().flat_map(|family| family.labels).copied();
    assert_eq!(told, own.collect());
}

#[test]
fn every_metric_of_the_functions_is_told_of_and_no_other() {
    let page = page("docs/metrics.md");
    let (_, part) = page.split_once("\n## The functions\n").unwrap();
    let own = telemetry::METRICS;
    let own = own.map(|(_, name, unit, help)| format!("| `{name}` | {unit} | {help} |"));
    assert_eq!(rows(part), own);
}

#[test]
fn every_metric_of_the_dashboard_and_of_the_alerts_is_one_of_the_daemon() {
    let dashboard = page("infra/dashboards/grafana.json");
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut shown = Vec::new();
    expressions(&dashboard, &mut shown);
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(shown.len() >= panels.len() / 2 && panels.len() > 5, "{shown:?}");
    shown.extend(alerts().iter().map(|alert| text(&alert["expr"])));
    let known = names();
    for expression in shown {
        let used = used(&expression);
        assert!(!used.is_empty(), "no metric of ours: {expression}");
        for name in used {
            assert!(known.contains(&name), "there is no {name}: {expression}");
        }
    }
}

#[test]
fn every_alert_of_prometheus_says_what_it_means_and_leads_to_its_section() {
    let operations = page("docs/operations.md");
    let part = between(&operations, "\n## Alerts of Prometheus\n", "\n## ");
    let sections: Vec<String> = part
        .lines()
        .filter_map(|line| Some(line.strip_prefix("### `")?.replace('`', "")))
        .collect();
    let named: Vec<String> = alerts().iter().map(|alert| text(&alert["alert"])).collect();
    assert_eq!(sections, named);
    for alert in alerts() {
        let name = text(&alert["alert"]);
        let anchor = format!("docs/operations.md#{}", name.to_ascii_lowercase());
        let runbook = text(&alert["annotations"]["runbook_url"]);
        assert!(runbook.ends_with(&anchor), "{name}: {runbook}");
        assert!(!text(&alert["annotations"]["summary"]).is_empty());
        let severity = text(&alert["labels"]["severity"]);
        assert!(["page", "ticket"].contains(&severity.as_str()), "{name}: {severity}");
    }
}

fn row(family: &Family) -> String {
    let Family { name, kind, labels, help, alias } = family;
    let mark = if *alias { " ¹" } else { "" };
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
    format!("| `{name}`{mark} | {} | {labels} | {help} |", kind.as_str())
}

fn rows(part: &str) -> Vec<String> {
    part.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
}

/// The cells of rows whose first stands between backticks, without those.
fn table(part: &str) -> Vec<Vec<String>> {
    let cells = |row: String| {
        let cells = row.trim_matches(['|', ' ']).split(" | ").map(str::to_owned);
        let mut cells: Vec<String> = cells.collect();
        cells[0] = cells[0].trim_matches('`').to_owned();
        cells
    };
    rows(part).into_iter().map(cells).collect()
}

/// The names of all samples.
fn names() -> BTreeSet<String> {
    let names = FAMILIES.iter().flat_map(|family| {
        let tails: &[&str] = match family.kind {
            Kind::Counter | Kind::Gauge => &[""],
            Kind::Histogram => &["_bucket", "_sum", "_count"],
            Kind::Summary => &["_sum", "_count"],
        };
        tails.iter().map(move |tail| format!("{PREFIX}{}{tail}", family.name))
    });
    names.collect()
}

/// The words of an expression that begin as our names do.
fn used(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(PREFIX)).map(str::to_owned).collect()
}

/// All that stands under `expr`, and in queries of variables.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let is_query = |text: &&str| {
                    key == "expr" || key == "query" && text.starts_with("label_values(")
                };
                match value.as_str().filter(is_query) {
                    Some(text) => found.push(text.to_owned()),
                    None => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&page("infra/dashboards/alerts.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("no {from:?}"));
    rest.split_once(to).map_or(rest, |(part, _)| part)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn page(path: &str) -> String {
    fs::read_to_string(place::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
