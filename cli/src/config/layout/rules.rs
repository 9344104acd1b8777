//! What becomes of each key of the older layouts.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Layout;

/// What is done with a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// Its value stands under this key of ours.
    To(&'static str),
    /// Its text is the only one of a list under this key of ours.
    ListOf(&'static str),
    /// Its number, times this, stands under this key of ours; why so.
    Times(&'static str, f64, &'static str),
    /// A duration of Go: nanoseconds, or a text as `30m0s`; the key of ours, and how many seconds
    /// its unit has.
    Go(&'static str, f64),
    /// Snoozebot's user input: 0 or 100 percent, 100 when somebody did something in the last five
    /// seconds.
    Input,
    /// We have nothing for it; why.
    Gone(&'static str),
    /// We have nothing for it; why, when it is off.
    Switch(&'static str, &'static str),
}

/// What becomes of a value.
pub(super) enum Went {
    /// A key of ours, its value, and why it is so.
    To(&'static str, Value, &'static str),
    /// We have nothing for it; why.
    Nowhere(&'static str),
    /// It is not what it should be; what was expected.
    Wrong(&'static str),
}

impl Rule {
    pub(super) fn carry(self, value: &Value) -> Went {
        match self {
            Self::To("log_level") if value == "warning" => {
                Went::To("log_level", json!("warn"), "the same under our word")
            }
            Self::To(key) => Went::To(key, value.clone(), ""),
            Self::ListOf(key) => match value.as_str().filter(|text| !text.is_empty()) {
                Some(text) => Went::To(key, json!([text]), "a list in our settings"),
                None => Went::Wrong("expected a text"),
            },
            Self::Times(key, factor, why) => match value.as_f64() {
                Some(number) => Went::To(key, number_of(number * factor), why),
                None => Went::Wrong("expected a number"),
            },
            Self::Go(key, unit) => match seconds(value) {
                Some(seconds) => Went::To(key, number_of(seconds / unit), "from Go's duration"),
                None => Went::Wrong("expected nanoseconds, or a duration such as `30m0s`"),
            },
            Self::Input => match value.as_f64() {
                Some(percent) if percent < 100.0 => {
                    Went::To(INPUT, json!(5), "Snoozebot looked back five seconds")
                }
                Some(_) => Went::To(INPUT, json!(0), "input was not looked at"),
                None => Went::Wrong("expected a number"),
            },
            Self::Gone(why) => Went::Nowhere(why),
            Self::Switch(on, off) => match value.as_bool() {
                Some(true) => Went::Nowhere(on),
                Some(false) => Went::Nowhere(off),
                None => Went::Wrong("expected true or false"),
            },
        }
    }
}

const INPUT: &str = "input_idle_threshold_secs";
const JOURNAL: &str = "logs go to standard error, and so to the journal";
const TAGS: &str = "the cloud side writes tags on what it stops, with the prefix of the stack";
const RESTART: &str = "who may start an instance is a matter of IAM";

/// Keys by their folded names. Units are those of ours unless a rule converts: percent, kilobytes
/// a second, minutes, seconds.
const FIRST: [(&str, Rule); 45] = [
    ("cputhresholdpercent", Rule::To("cpu_threshold_percent")),
    ("memorythresholdpercent", Rule::To("memory_threshold_percent")),
    ("networkthresholdkbps", Rule::To("network_threshold_kbps")),
    ("diskiothresholdkbps", Rule::To("disk_io_threshold_kbps")),
    ("gputhresholdpercent", Rule::To("gpu_threshold_percent")),
    ("inputidlethresholdsecs", Rule::To(INPUT)),
    ("naptimeminutes", Rule::To("naptime_minutes")),
    ("checkintervalseconds", Rule::To("check_interval_seconds")),
    // The names of the first commands.
    ("cputhreshold", Rule::To("cpu_threshold_percent")),
    ("memorythreshold", Rule::To("memory_threshold_percent")),
    ("networkthreshold", Rule::To("network_threshold_kbps")),
    ("diskthreshold", Rule::To("disk_io_threshold_kbps")),
    ("diskiothreshold", Rule::To("disk_io_threshold_kbps")),
    ("gputhreshold", Rule::To("gpu_threshold_percent")),
    ("inputthreshold", Rule::To(INPUT)),
    ("inputidlethreshold", Rule::To(INPUT)),
    ("userinputthreshold", Rule::To(INPUT)),
    ("naptime", Rule::To("naptime_minutes")),
    ("checkinterval", Rule::To("check_interval_seconds")),
    ("loglevel", Rule::To("log_level")),
    ("pollinginterval", Rule::To("polling_interval_seconds")),
    // What only the first CloudSnooze had.
    ("gpumonitoringenabled", Rule::Switch("a GPU is looked at where there is one", GPU_OFF)),
    ("awsregion", Rule::Gone("the Region comes from the metadata service")),
    ("providertype", Rule::Gone("EC2 is the only cloud of this daemon")),
    ("enableinstancetags", Rule::Gone(TAGS)),
    ("detailedinstancetags", Rule::Gone(TAGS)),
    ("taggingprefix", Rule::Gone(TAGS)),
    ("tagpollingenabled", Rule::Gone("no tags are asked for: commands come over a queue")),
    ("tagpollingintervalsecs", Rule::Gone("no tags are asked for: commands come over a queue")),
    ("enablerestartflag", Rule::Gone(RESTART)),
    ("allowedrestarterids", Rule::Gone(RESTART)),
    ("monitoringmode", Rule::Gone("there is one mode")),
    ("pluginsenabled", Rule::To("plugins.enabled")),
    ("pluginsdir", Rule::ListOf("plugins.directories")),
    ("logging.loglevel", Rule::To("log_level")),
    ("logging.enablefilelogging", Rule::Gone(JOURNAL)),
    ("logging.logfilepath", Rule::Gone(JOURNAL)),
    ("logging.enablesyslog", Rule::Gone(JOURNAL)),
    (
        "logging.enablecloudwatch",
        Rule::Switch("the CloudWatch agent can read the journal", JOURNAL),
    ),
    ("logging.cloudwatchloggroup", Rule::Gone("the CloudWatch agent can read the journal")),
    // Our own, in CamelCase.
    ("statedirectory", Rule::To("state_directory")),
    ("rundirectory", Rule::To("run_directory")),
    ("policiesdirectory", Rule::To("policies_directory")),
    ("pollingintervalseconds", Rule::To("polling_interval_seconds")),
    ("plugins", Rule::To("plugins")),
];
const GPU_OFF: &str = "leave `gpu` out of `idle.monitors` instead";

/// Snoozebot's monitor. Percent of 12,500,000 bytes a second for the network, and of 1,000,000
/// sectors of 512 bytes for disks: `network_linux.go` and `disk_linux.go` of its
/// `pkg/monitor/resources`.
const SNOOZEBOT: [(&str, Rule); 9] = [
    ("thresholds.cpu", Rule::To("cpu_threshold_percent")),
    ("thresholds.memory", Rule::To("memory_threshold_percent")),
    (
        "thresholds.network",
        Rule::Times("network_threshold_kbps", 125.0, "from percent of 12.5 MB/s to KB/s"),
    ),
    (
        "thresholds.disk",
        Rule::Times("disk_io_threshold_kbps", 5120.0, "from percent of 512 MB/s to KB/s"),
    ),
    ("thresholds.gpu", Rule::To("gpu_threshold_percent")),
    ("thresholds.userinput", Rule::Input),
    ("naptime", Rule::Go("naptime_minutes", 60.0)),
    ("checkinterval", Rule::Go("check_interval_seconds", 1.0)),
    ("agenturl", Rule::Gone("the cloud side takes the place of the agent: `cloud.stack`")),
];

/// Snoozebot's agent.
const AGENT: [(&str, Rule); 5] = [
    ("listenaddress", Rule::Gone("nothing listens but the local socket")),
    ("listenport", Rule::Gone("nothing listens but the local socket")),
    ("loglevel", Rule::To("log_level")),
    ("plugindir", Rule::ListOf("plugins.directories")),
    ("idletimeout", Rule::Times("naptime_minutes", 1.0 / 60.0, "from seconds to minutes")),
];

/// The rule for a key by its folded name.
pub(super) fn find(layout: Layout, folded: &str) -> Option<&'static Rule> {
    let rules: &'static [(&str, Rule)] = match layout {
        Layout::Own | Layout::CloudSnooze | Layout::CamelCase => &FIRST,
        Layout::Snoozebot => &SNOOZEBOT,
        Layout::Agent => &AGENT,
    };
    rules.iter().find(|(name, _)| *name == folded).map(|(_, rule)| rule)
}

/// Whether the members of an object are keys of their own.
pub(super) fn is_group(folded: &str) -> bool {
    matches!(folded, "logging" | "thresholds")
}

/// Whether no other layout has this key.
pub(super) fn is_of_the_first(folded: &str) -> bool {
    const ONLY: [&str; 14] = [
        "gpumonitoringenabled",
        "awsregion",
        "providertype",
        "enableinstancetags",
        "detailedinstancetags",
        "taggingprefix",
        "tagpollingenabled",
        "tagpollingintervalsecs",
        "enablerestartflag",
        "allowedrestarterids",
        "monitoringmode",
        "pluginsenabled",
        "pluginsdir",
        "logging",
    ];
    ONLY.contains(&folded)
}

/// The seconds of a duration as Go has it.
fn seconds(value: &Value) -> Option<f64> {
    match value {
        Value::Number(nanoseconds) => Some(nanoseconds.as_f64()? / 1e9),
        Value::String(text) => Some(text.parse::<SignedDuration>().ok()?.as_secs_f64()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number to three places, without any where it is whole.
fn number_of(number: f64) -> Value {
    let rounded = (number * 1000.0).round() / 1000.0;
    serde_json::from_str(&rounded.to_string()).unwrap_or(Value::Null)
}
