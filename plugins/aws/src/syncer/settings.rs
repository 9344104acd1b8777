//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use glob::Pattern;
use serde_json::{Map, Value};
use snooze_cloud::objects::{Keeping, LEAST_PART};
use snooze_plugin::{Config, PluginError, Setting};

use crate::template::Template;

const MIB: u64 = 1024 * 1024;

/// Most of a Spot notice: two minutes less what others need and what the answer takes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

/// The names that may stand in `prefix`.
const PLACES: [&str; 2] = ["instance", "date"];

/// The checked configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) directory: PathBuf,
    pub(crate) include: Vec<Pattern>,
    pub(crate) exclude: Vec<Pattern>,
    pub(crate) bucket: String,
    pub(crate) prefix: Template,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) keeping: Keeping,
    /// In bytes.
    pub(crate) part_size: u64,
    pub(crate) concurrency: usize,
    pub(crate) max_bytes: Option<u64>,
    /// Also files whose size and time are the same are read.
    pub(crate) thorough: bool,
    /// Uploads that do not come to an end are given up, with their parts.
    pub(crate) gives_up: bool,
    pub(crate) timeout: Duration,
    pub(crate) dry_run: bool,
}

/// All settings.
pub(crate) fn all() -> Vec<Setting> {
    let prefix = "what stands before the names of objects; `{instance}` and `{date}` are filled";
    let unfinished = "what becomes of large files that did not get through in time: kept to be \
                      continued, or aborted";
    vec![
        Setting::text("directory", "what is copied, with all below it").required(),
        Setting::list("include", "globs of the paths that are copied; all where it is empty"),
        Setting::list("exclude", "globs of the paths that are not copied"),
        Setting::text("bucket", "where to").required(),
        Setting::text("prefix", prefix).default("{instance}"),
        Setting::text("region", "the Region of the bucket; the instance's own if absent"),
        Setting::text("endpoint_url", "the address of a store that is not AWS's"),
        Setting::text("storage_class", "how objects are kept, as `STANDARD_IA`"),
        Setting::text("sse_kms_key", "the key of KMS that encrypts objects"),
        Setting::integer("part_size_mb", 5..=5120, "MiB of one part of a large file").default(8),
        Setting::integer("concurrency", 1..=64, "how many files or parts are sent at once")
            .default(4),
        Setting::integer("max_bytes", 1..=i64::MAX, "how much is sent for one event at most"),
        Setting::flag("checksum", "read files too whose size and time have not changed")
            .default(false),
        Setting::choice("unfinished", &["keep", "abort"], unfinished).default("keep"),
        Setting::number("timeout_seconds", 1.0..=86400.0, "how long it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]
}

impl Settings {
    pub(crate) fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let directory = PathBuf::from(config.text("directory").unwrap_or_default());
        if config.text("directory").is_some() && !directory.is_absolute() {
            config.fault("directory", "expected a path that begins with `/`");
        }
        let include = globs(&mut config, "include");
        let exclude = globs(&mut config, "exclude");
        let bucket = config.text("bucket").unwrap_or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
        if !bucket.chars().all(is_word) {
            config.fault("bucket", "expected the name of a bucket, or the ARN of an access point");
        }
        let prefix = prefix(&mut config);
        let endpoint = config.text("endpoint_url");
        if endpoint.as_ref().is_some_and(|url| !url.starts_with("http")) {
            config.fault("endpoint_url", "expected an HTTP URL");
        }
        // A store that is not AWS's wants one in the signature, and seldom cares which.
        let elsewhere = endpoint.as_ref().map(|_| "us-east-1".to_owned());
        let whole = |name: &str| config.integer(name).and_then(|n| u64::try_from(n).ok());
        let settings = Self {
            directory,
            include,
            exclude,
            bucket,
            region: config.text("region").or(elsewhere),
            endpoint,
            keeping: Keeping {
                storage_class: config.text("storage_class"),
                kms_key: config.text("sse_kms_key"),
            },
            part_size: whole("part_size_mb").unwrap_or(0).saturating_mul(MIB).max(LEAST_PART),
            concurrency: whole("concurrency").and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
            max_bytes: whole("max_bytes"),
            thorough: config.flag("checksum"),
            gives_up: config.text("unfinished").as_deref() == Some("abort"),
            timeout: config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT),
            dry_run: config.flag("dry_run"),
            prefix,
        };
        config.finish()?;
        Ok(settings)
    }
}

fn globs(config: &mut Config<'_>, name: &str) -> Vec<Pattern> {
    let read: Vec<_> = config.list(name).iter().map(|glob| Pattern::new(glob)).collect();
    if read.iter().any(Result::is_err) {
        config.fault(name, "expected globs such as `*.ckpt` or `logs/*`");
    }
    read.into_iter().filter_map(Result::ok).collect()
}

fn prefix(config: &mut Config<'_>) -> Template {
    let text = config.text("prefix").unwrap_or_default();
    let text = text.trim_matches('/');
    if text.is_empty() {
        config.fault("prefix", "expected a text that is more than `/`");
    }
    let read = Template::read(text, &PLACES);
    read.unwrap_or_else(|expected| {
        config.fault("prefix", expected);
        Template::default()
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_defaults_fit_into_a_notice() {
        let given = json!({ "directory": "/data", "bucket": "b" });
        let settings = Settings::read(given.as_object().unwrap()).unwrap();
        assert_eq!((settings.part_size, settings.concurrency), (8 * MIB, 4));
        assert_eq!((settings.max_bytes, settings.timeout), (None, DEFAULT_TIMEOUT));
        assert!(!settings.gives_up && !settings.thorough && !settings.dry_run);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let given = json!({ "directory": "data", "bucket": "a b", "prefix": "{host}",
            "include": ["a**"], "endpoint_url": "minio:9000", "part_size_mb": 4 });
        let error = Settings::read(given.as_object().unwrap()).unwrap_err();
        expect!["`part_size_mb`: expected a whole number from 5 to 5120; `directory`: expected a path that begins with `/`; `include`: expected globs such as `*.ckpt` or `logs/*`; `bucket`: expected the name of a bucket, or the ARN of an access point; `prefix`: expected no other braces than `{instance}`, `{date}`; `endpoint_url`: expected an HTTP URL"].assert_eq(&error.to_string());
    }
}
