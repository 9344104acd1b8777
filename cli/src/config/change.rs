//! `snooze config set`, `import`, `migrate` and `export`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use snooze_policy::Fault;
use snoozed::{exit, settings};

use super::file;
use super::layout::{self, Entry, Fate, Reading};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::{screen, text};

/// Where the files of the older tools stood: the first CloudSnooze by its daemon, the same by its
/// Homebrew formula, Snoozebot's monitor and Snoozebot's agent (their repositories, 2026-11).
const USUAL: [&str; 4] = [
    "/etc/snooze/snooze.json",
    "/etc/cloudsnooze/snooze.json",
    "/etc/snoozebot/config.json",
    "/etc/snoozebot/config/agent.json",
];
/// Where the plugins of the older tools stood.
const PLUGINS: [&str; 4] = [
    "/etc/cloudsnooze/plugins",
    "/usr/local/share/cloudsnooze/plugins",
    "/usr/lib/cloudsnooze/plugins",
    "/etc/snoozebot/plugins",
];
const RESTART: &str = "snoozed reads it when it starts: `systemctl restart snoozed`\n";

/// Which settings file is changed.
#[derive(Debug, clap::Args)]
struct Which {
    /// The settings file
    #[arg(long, value_name = "FILE", default_value = settings::FILE)]
    settings: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// Its key, with full stops between the levels; `cpu-threshold` and the other names of the
    /// first commands are understood too
    key: String,
    /// Its value: JSON, or a text as it stands
    #[arg(allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    which: Which,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Settings of CloudSnooze, of the first CloudSnooze in either spelling, or of Snoozebot
    file: PathBuf,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    /// The file of the older tool; without it, the one that is there in the usual places
    file: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct How {
    #[command(flatten)]
    which: Which,
    /// Only say what would become of each key
    #[arg(long)]
    dry_run: bool,
    /// Change a settings file that is there without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Where to; without it, to standard output
    file: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn set(args: &Set, context: &Context) -> Result<u8, Failure> {
    let path = &args.which.settings;
    let key = layout::meant(&args.key);
    let old = file::members_or_none(path)?;
    let as_json = serde_json::from_str(&args.value).ok();
    let as_text = Value::String(args.value.clone());
    let (value, new) = fitting(&old, &key, as_json, as_text)
        .map_err(|faults| Failure::file(path.display(), listed(&faults)))?;
    let before = layout::look(&old, &key);
    let changed = before != Some(&value);
    let backup = match changed && !args.dry_run {
        true => file::write(path, &new, file::USUAL_MODE)?,
        false => None,
    };
    let data = json!({
        "settings": path.display().to_string(),
        "key": key,
        "before": before.map(|before| told(&key, before)),
        "now": told(&key, &value),
        "written": changed && !args.dry_run,
        "backup": backup.as_ref().map(|backup| backup.display().to_string()),
    });
    screen::show(context.json, &data, |_| {
        let (key, now) = (text::shown(&key), told(&key, &value));
        let set = match before {
            Some(_) if !changed => format!("{key} is {now} already\n"),
            Some(before) => format!("{key}: {now}, was {}\n", told(&key, before)),
            None => format!("{key}: {now}\n"),
        };
        set + &outcome(path, changed, args.dry_run, backup.as_deref())
    })?;
    Ok(exit::OK)
}

pub(crate) fn import(args: &Import, context: &Context) -> Result<u8, Failure> {
    carry(&args.file, &args.how, context)
}

pub(crate) fn migrate(args: &Migrate, context: &Context) -> Result<u8, Failure> {
    match &args.file {
        Some(file) => carry(file, &args.how, context),
        None => carry(&found(|path| path.exists())?, &args.how, context),
    }
}

pub(crate) fn export(args: &Export) -> Result<u8, Failure> {
    let path = &args.which.settings;
    let text = pretty(&file::members(path)?);
    let Some(to) = &args.file else {
        screen::raw(text::json_as_it_stands(&text).as_bytes())?;
        return Ok(exit::OK);
    };
    if to.exists() {
        return Err(Failure::file(to.display(), "is there, and is not written over"));
    }
    file::write(to, &text, mode(path))?;
    screen::say(&format!("{} written, as {} stands\n", to.display(), path.display()))?;
    Ok(exit::OK)
}

/// Brings the settings of a file into ours, and says what became of each key.
fn carry(from: &Path, how: &How, context: &Context) -> Result<u8, Failure> {
    let to = &how.which.settings;
    let reading = layout::read(&file::members(from)?, settings::knows);
    let in_place = is_same(from, to);
    let old = if in_place { Map::new() } else { file::members_or_none(to)? };
    let mut new = old.clone();
    reading.put(&mut new);
    let text = pretty(&new);
    let mut faults = bad(&reading);
    let mut notes = reading.notes();
    match settings::check(&text) {
        Ok(settings) => notes.extend(proposals(&settings.shown(), |path| path.exists())),
        Err(more) => faults.extend(more.iter().map(Fault::to_string)),
    }
    let changed = in_place || old != new;
    let report = Report { from, to, reading: &reading, old: &old, faults, notes };
    if !context.json {
        screen::say(&report.person())?;
    }
    let may = report.faults.is_empty() && changed && !how.dry_run && agreed(how)?;
    let backup = if may { file::write(to, &text, mode(from))? } else { None };
    if context.json {
        screen::raw(text::json(&report.data(may, backup.as_deref())).as_bytes())?;
    } else if report.faults.is_empty() && (may || how.dry_run || !changed) {
        screen::say(&outcome(to, changed, how.dry_run, backup.as_deref()))?;
    }
    Ok(match (report.faults.is_empty(), may || how.dry_run || !changed) {
        (false, _) => exit::BAD_SETTINGS,
        (true, true) => exit::OK,
        (true, false) => exit::NO,
    })
}

/// What an import did or would do.
struct Report<'a> {
    from: &'a Path,
    to: &'a Path,
    reading: &'a Reading,
    old: &'a Map<String, Value>,
    faults: Vec<String>,
    notes: Vec<String>,
}

impl Report<'_> {
    fn person(&self) -> String {
        let mut out =
            format!("{}: the layout of {}\n", self.from.display(), self.reading.layout.as_str());
        let head = ["KEY", "WHAT", "SETTING", "WHY"].map(str::to_owned);
        let rows = self.reading.entries.iter().map(|entry| {
            let setting = entry.set.as_ref().map(|(key, value)| self.setting(key, value));
            [
                text::word(&entry.key),
                entry.fate.as_str().to_owned(),
                setting.unwrap_or_else(|| "-".to_owned()),
                text::shown(&entry.why),
            ]
        });
        out.push_str(&text::table(&[head].into_iter().chain(rows).collect::<Vec<_>>()));
        for note in &self.notes {
            out.push_str(&format!("note: {note}\n"));
        }
        for fault in &self.faults {
            out.push_str(&format!("fault: {fault}\n"));
        }
        if !self.faults.is_empty() {
            out.push_str(&format!("nothing is written to {}\n", self.to.display()));
        }
        out
    }

    fn setting(&self, key: &str, value: &Value) -> String {
        let now = format!("{} = {}", text::word(key), told(key, value));
        match layout::look(self.old, key).filter(|before| *before != value) {
            Some(before) => format!("{now}, was {}", told(key, before)),
            None => now,
        }
    }

    fn data(&self, written: bool, backup: Option<&Path>) -> Value {
        let entry = |entry: &Entry| {
            json!({
                "key": entry.key,
                "what": entry.fate.as_str(),
                "setting": entry.set.as_ref().map(|(key, _)| key),
                "now": entry.set.as_ref().map(|(key, value)| told(key, value)),
                "why": entry.why,
            })
        };
        json!({
            "from": self.from.display().to_string(),
            "layout": self.reading.layout.as_str(),
            "settings": self.to.display().to_string(),
            "entries": self.reading.entries.iter().map(entry).collect::<Vec<_>>(),
            "notes": self.notes,
            "faults": self.faults,
            "written": written,
            "backup": backup.map(|backup| backup.display().to_string()),
        })
    }
}

/// What a value is shown as: numbers, words and lists of them, but nothing in which a secret may
/// stand.
fn told(key: &str, value: &Value) -> String {
    let secret = ["plugins.plugin_configs", "event_handlers", "policies"];
    let may = secret.iter().all(|root| key != *root && !key.starts_with(&format!("{root}.")));
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if may => text::word(text),
        Value::Array(values) if may && values.iter().all(|value| !value.is_object()) => {
            text::shown(&value.to_string())
        }
        Value::String(_) => "***".to_owned(),
        Value::Array(_) => "[…]".to_owned(),
        Value::Object(_) => "{…}".to_owned(),
    }
}

fn outcome(path: &Path, changed: bool, dry_run: bool, backup: Option<&Path>) -> String {
    let path = path.display();
    match (changed, dry_run, backup) {
        (false, _, _) => format!("{path} stays as it is\n"),
        (true, true, _) => format!("{path} would be written; nothing is\n"),
        (true, false, Some(backup)) => {
            format!("{path} written; what it was is {}\n{RESTART}", backup.display())
        }
        (true, false, None) => format!("{path} written\n{RESTART}"),
    }
}

/// The settings with this value, as JSON if the daemon takes it so, else as a text.
fn fitting(
    old: &Map<String, Value>,
    key: &str,
    as_json: Option<Value>,
    as_text: Value,
) -> Result<(Value, String), Vec<Fault>> {
    let mut faults = None;
    for value in as_json.into_iter().chain([as_text]) {
        let mut new = old.clone();
        layout::put(&mut new, key, value.clone());
        let text = pretty(&new);
        match settings::check(&text) {
            Ok(_) => return Ok((value, text)),
            // Those of the first try tell more.
            Err(found) => faults = faults.or(Some(found)),
        }
    }
    Err(faults.unwrap_or_default())
}

fn listed(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n  ")
}

fn bad(reading: &Reading) -> Vec<String> {
    let bad = reading.entries.iter().filter(|entry| entry.fate == Fate::Bad);
    bad.map(|entry| format!("{}: {}", text::word(&entry.key), entry.why)).collect()
}

/// The one file of an older tool that is there.
fn found(is_there: impl Fn(&Path) -> bool) -> Result<PathBuf, Failure> {
    let there: Vec<&str> = USUAL.into_iter().filter(|path| is_there(Path::new(path))).collect();
    match there.as_slice() {
        [one] => Ok(PathBuf::from(one)),
        [] => {
            let text = format!("there is none of {}; name the file", USUAL.join(", "));
            Err(Failure::new(exit::NO, text))
        }
        several => {
            let text = format!("there are {}; name the one to take", several.join(" and "));
            Err(Failure::usage(text))
        }
    }
}

// D-11
/// Which directories of plugins are there and not among those of the settings.
fn proposals(shown: &Value, is_there: impl Fn(&Path) -> bool) -> Vec<String> {
    let known: Vec<&str> = shown
        .pointer("/plugins/directories")
        .and_then(Value::as_array)
        .map(|paths| paths.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let new = PLUGINS.into_iter().filter(|path| !known.contains(path) && is_there(Path::new(path)));
    new.map(|path| {
        let all: Vec<&str> = known.iter().copied().chain([path]).collect();
        let all = json!(all).to_string();
        format!(
            "{path} is there: if its plugins are to run, \
             `snooze config set plugins.directories '{all}'`"
        )
    })
    .collect()
}

fn agreed(how: &How) -> Result<bool, Failure> {
    let to = &how.which.settings;
    if how.yes || !to.exists() {
        return Ok(true);
    }
    let question = format!("Change {}?", to.display());
    screen::agreed(&question, &format!("`--yes` changes {} without asking", to.display()))
}

fn is_same(from: &Path, to: &Path) -> bool {
    matches!((from.canonicalize(), to.canonicalize()), (Ok(from), Ok(to)) if from == to)
}

/// The mode of what is made of a file: nobody may read more than of the file itself.
fn mode(from: &Path) -> u32 {
    fs::metadata(from).map_or(0o600, |from| from.mode() & file::USUAL_MODE)
}

fn pretty(settings: &Map<String, Value>) -> String {
    format!("{:#}\n", Value::from(settings.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d11_directories_of_plugins_that_are_there_are_proposed() {
        let shown = json!({ "plugins": { "directories": ["/etc/cloudsnooze/plugins"] } });
        let told = proposals(&shown, |path| {
            ["/etc/cloudsnooze/plugins", "/etc/snoozebot/plugins"].map(Path::new).contains(&path)
        });
        assert_eq!(
            told,
            ["/etc/snoozebot/plugins is there: if its plugins are to run, `snooze config set \
              plugins.directories '[\"/etc/cloudsnooze/plugins\",\"/etc/snoozebot/plugins\"]'`"]
        );
    }

    #[test]
    fn s4_62_the_file_of_the_older_tool_is_found_where_it_stood() {
        let only = |one: &'static str| move |path: &Path| path == Path::new(one);
        assert_eq!(found(only(USUAL[2])).unwrap(), Path::new(USUAL[2]));
        let codes = [found(|_| false), found(|_| true)].map(|found| match found.unwrap_err() {
            Failure::Said { code, .. } => Some(code),
            Failure::Closed => None,
        });
        assert_eq!(codes, [Some(exit::NO), Some(exit::USAGE)]);
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (key, value, shown) in [
            ("naptime_minutes", json!(30), "30"),
            ("log_level", json!("info"), "info"),
            ("plugins.directories", json!(["/a"]), "[\"/a\"]"),
            ("plugins", json!({ "a": 1 }), "{…}"),
            ("plugins.plugin_configs.mysql-monitor.dsn", json!("user:pass@host"), "***"),
            ("policies", json!(["x"]), "[…]"),
        ] {
            assert_eq!(told(key, &value), shown);
        }
    }
}
