//! `directory-syncer`: copies a directory to a bucket, the newest files first, and writes last what
//! is there.

mod manifest;
mod plan;
mod read;
mod round;
mod run;
mod send;
mod settings;
mod walk;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use snooze_cloud::objects::Bucket;
use snooze_cloud::{Aws, Options, Role};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting, WARNINGS};
use tokio::runtime::Runtime;

use crate::cloud::{self, Road};
use run::{Copied, Job, copy};
use settings::Settings;

/// What a step leaves of its time for its answer, at most.
const ANSWER: Duration = Duration::from_millis(500);

/// How long the bucket may take to say that it is there.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// The most entries of one list in a result, so that it fits its line.
const MOST: usize = 30;

/// The most characters of one text in a result.
const LONGEST: usize = 200;

/// `directory-syncer`.
#[derive(Default)]
pub struct Syncer {
    settings: Option<Settings>,
    road: Road<Bucket>,
}

impl Syncer {
    /// The settings and the way to the bucket, which is made where there is none yet.
    fn ready(&mut self) -> Result<(&Settings, &Runtime, &Bucket), PluginError> {
        let Some(settings) = &self.settings else {
            return Err(PluginError::new("it is not configured"));
        };
        let options = || {
            let (region, endpoint) = (settings.region.clone(), settings.endpoint.clone());
            Options { region, endpoint, role: Role::Carrier }
        };
        let bucket = |aws: &Aws| Bucket::new(aws, &settings.bucket, settings.keeping.clone());
        let (runtime, bucket) = self.road.open(options, bucket)?;
        Ok((settings, runtime, bucket))
    }
}

impl Plugin for Syncer {
    fn info(&self) -> Info {
        Info {
            display_name: "Directory Syncer".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Copies a directory to S3, the newest files first, and continues what \
                          did not get through"
                .to_owned(),
            category: "storage".to_owned(),
            tags: ["s3", "copy", "backup", "checkpoint"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: ["network", "metadata"].map(str::to_owned).into(),
            ..Info::new("directory-syncer", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.into_iter().chain(WARNINGS).map(str::to_owned).collect())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Some(Settings::read(config)?);
        self.road = Road::default();
        Ok(())
    }

    fn initialize(&mut self) -> Result<(), PluginError> {
        self.ready().map(drop)
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let begun = Instant::now();
        let (settings, runtime, bucket) = self.ready()?;
        let budget = event.budget(settings.timeout);
        let budget = budget.saturating_sub(ANSWER.min(budget / 10));
        let instance = event.data.get("instanceID").and_then(Value::as_str).map(str::to_owned);
        let date = event.timestamp.unwrap_or_else(Timestamp::now).strftime("%Y-%m-%d").to_string();
        let prefix = settings.prefix.fill(|name| match name {
            "instance" => instance.clone(),
            _ => Some(date.clone()),
        });
        let prefix = prefix.map_err(|name| {
            PluginError::new(format!(
                "the event does not say which instance this is: take `{{{name}}}` out of `prefix`"
            ))
        })?;
        let job = Job { prefix, instance, begun, budget };
        let handled = match runtime.block_on(Box::pin(copy(settings, bucket, &job))) {
            Ok(copied) if copied.is_nothing() => {
                Handled::with_status("nothing_to_sync").and("links_and_devices", copied.others)
            }
            Ok(copied) if settings.dry_run => would(&copied),
            Ok(copied) => told(&copied),
            Err(error) => Handled::failed(PluginError::from(error).to_string()),
        };
        let target = format!("s3://{}/{}/", bucket.name(), job.prefix);
        Ok(handled.and("target", target).and("seconds", begun.elapsed().as_secs_f64()))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        let (settings, runtime, bucket) = self.ready()?;
        let directory = &settings.directory;
        if !directory.is_dir() {
            let shown = directory.display();
            return Err(PluginError::new(format!("`{shown}` is no directory that can be read")));
        }
        let look = async {
            tokio::time::timeout(HEALTH_LIMIT, bucket.list(settings.prefix.start(), 1)).await
        };
        match runtime.block_on(look) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(PluginError::new(cloud::told(&error))),
            Err(_) => Err(PluginError::new(format!("no answer of S3 within {HEALTH_LIMIT:?}"))),
        }
    }
}

/// What was done.
fn told(copied: &Copied) -> Handled {
    let Copied { left_out, manifest, .. } = copied;
    let is_whole = left_out.is_empty() && matches!(manifest, Some(Ok(_)));
    let first = left_out.first().map(|(path, why)| short(&format!("{path}: {why}")));
    let mut handled = match (is_whole, copied.files, first) {
        (true, _, _) => Handled::with_status("directory_synced").verified(copied.proven),
        (false, 0, Some(first)) => Handled::failed(first).verified(false),
        (false, _, _) => Handled::with_status("directory_synced_in_part").verified(false),
    };
    handled = match manifest {
        Some(Ok(place)) => handled.and("manifest", place.as_str()),
        Some(Err(why)) => handled.and("manifest_error", short(why)),
        None => handled,
    };
    if let Some(newest) = copied.newest_complete {
        handled = handled.and("newest_complete", newest.to_string());
    }
    let rate = plan::float(copied.bytes_sent) / copied.sending.as_secs_f64().max(0.001);
    common(handled, copied)
        .and("saved", format!("{} files, {} bytes", copied.files, copied.bytes))
        .and("files_sent", copied.sent.len())
        .and("bytes_sent", copied.bytes_sent)
        .and("bytes_per_second", rate.round())
        .and("parts_kept", copied.parts_kept)
        .and("unfinished", copied.unfinished)
}

/// What would be done.
fn would(copied: &Copied) -> Handled {
    let acts = copied.sent.iter().take(MOST).map(|path| short(&format!("send {path}")));
    let handled = Handled::with_status("directory_would_be_synced")
        .and("dry_run", true)
        .and("would", acts.collect::<Vec<_>>())
        .and("files_to_send", copied.sent.len())
        .and("bytes_to_send", copied.bytes_sent);
    common(handled, copied)
}

fn common(handled: Handled, copied: &Copied) -> Handled {
    let left_out = copied.left_out.iter().take(MOST);
    let left_out: Vec<Value> =
        left_out.map(|(what, why)| json!({ "what": short(what), "why": short(why) })).collect();
    handled
        .and("files", copied.files)
        .and("bytes", copied.bytes)
        .and("left_out", left_out)
        .and("files_left_out", copied.left_out.len())
        .and("bytes_left_out", copied.bytes_left_out)
        .and("links_and_devices", copied.others)
}

/// A text for a result: one line, bounded.
fn short(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
