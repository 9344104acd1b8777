//! One copy of a directory, from the look at both sides to the manifest.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use snooze_cloud::CloudError;
use snooze_cloud::objects::{Bucket, Upload, sha256};
use tokio::time::timeout;

use super::manifest::{self, Entry, Manifest};
use super::plan::{self, Meter, Standing};
use super::read::{ReadError, aside};
use super::round::Round;
use super::send::{Clock, Sender, Task};
use super::settings::Settings;
use super::walk::{File, MOST_FILES, Root, Walk, too_long};

/// What the event says that a copy depends on.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// What stands before the keys.
    pub(crate) prefix: String,
    pub(crate) instance: Option<String>,
    pub(crate) begun: Instant,
    pub(crate) budget: Duration,
}

/// How a copy went.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// What the bucket holds of the directory as it is.
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    /// What was sent for that.
    pub(crate) sent: Vec<String>,
    pub(crate) bytes_sent: u64,
    pub(crate) sending: Duration,
    pub(crate) parts_kept: usize,
    /// What is not there, and why.
    pub(crate) left_out: Vec<(String, String)>,
    pub(crate) bytes_left_out: u64,
    /// Large files of which parts are kept in the bucket.
    pub(crate) unfinished: usize,
    pub(crate) others: usize,
    /// The service confirmed each file that was sent.
    pub(crate) proven: bool,
    /// The manifest that was written and read back, or why there is none.
    pub(crate) manifest: Option<Result<String, String>>,
    /// When the newest complete manifest was written.
    pub(crate) newest_complete: Option<Timestamp>,
}

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("cannot read `directory`")]
    Directory(#[source] io::Error),
    #[error("{}", crate::cloud::told(.0))]
    Cloud(CloudError),
    #[error(
        "the time was over before all files of `directory` were found; raise `timeout_seconds`"
    )]
    Slow,
    #[error("the time was over before the bucket had said what it holds; raise `timeout_seconds`")]
    Late,
}

impl From<CloudError> for CopyError {
    fn from(error: CloudError) -> Self {
        Self::Cloud(error)
    }
}

/// Copies, or only says what it would copy.
pub(crate) async fn copy(
    settings: &Settings,
    bucket: &Bucket,
    job: &Job,
) -> Result<Copied, CopyError> {
    let until = job.begun + job.budget;
    let root = Arc::new(Root::open(&settings.directory).map_err(CopyError::Directory)?);
    let (include, exclude) = (settings.include.clone(), settings.exclude.clone());
    let left = || until.saturating_duration_since(Instant::now());
    let walk = aside(&root, move |root| Ok(root.walk(&include, &exclude)?));
    let walk = timeout(left(), walk).await.map_err(|_late| CopyError::Slow)?;
    let walk = walk.map_err(|error| match error {
        ReadError::Io(error) => CopyError::Directory(error),
        error @ (ReadError::Changed | ReadError::Gone) => {
            CopyError::Directory(io::Error::other(error))
        }
    })?;
    if walk.files.is_empty() && walk.unfit.is_empty() {
        // A manifest of nothing would take the place of one that says something: it may be that
        // a volume is not mounted.
        return Ok(Copied { others: walk.others, ..Copied::default() });
    }
    let seen = timeout(left(), Box::pin(look(bucket, &job.prefix)));
    let seen = seen.await.map_err(|_late| CopyError::Late)??;
    let mut copied = Copied {
        others: walk.others,
        proven: true,
        newest_complete: seen.newest_complete,
        ..Copied::default()
    };
    let clock = Clock { until, budget: job.budget, files: walk.files.len() };
    let (mut entries, tasks) = sort(settings, &job.prefix, walk, &seen, &mut copied);
    if settings.dry_run {
        copied.bytes_sent = tasks.iter().map(|task| task.file.size).sum();
        copied.sent = tasks.into_iter().map(|task| task.file.path).collect();
        return Ok(copied);
    }
    let mut sender = Sender {
        bucket: bucket.clone(),
        root,
        part_size: settings.part_size,
        concurrency: settings.concurrency,
        gives_up: settings.gives_up,
        clock,
        meter: Meter::default(),
        sent: 0,
    };
    let begun = Instant::now();
    let round = Round::new(&mut sender, &mut copied, &mut entries, settings.max_bytes);
    Box::pin(round.send(tasks)).await;
    copied.sending = begun.elapsed();
    copied.bytes_sent = sender.sent;
    // What an earlier copy left in the bucket of a file that did not get through is still there.
    if !copied.left_out.is_empty() {
        for (key, entry) in seen.known {
            if seen.listed.get(&key).is_some_and(|listed| listed.etag == entry.etag) {
                entries.entry(key).or_insert(entry);
            }
        }
    }
    let now = Timestamp::now();
    let manifest = Manifest::new(
        settings.directory.display().to_string(),
        job.instance.clone(),
        now,
        copied.left_out.len(),
        entries,
    );
    let written = timeout(left(), write(bucket, &job.prefix, &manifest)).await;
    let written = written.unwrap_or_else(|_late| Err("no time was left for it".to_owned()));
    if manifest.complete && written.is_ok() {
        copied.newest_complete = Some(now);
    }
    copied.manifest = Some(written);
    Ok(copied)
}

/// What the bucket holds.
struct Seen {
    known: BTreeMap<String, Entry>,
    listed: BTreeMap<String, snooze_cloud::objects::Listed>,
    uploads: BTreeMap<String, Upload>,
    newest_complete: Option<Timestamp>,
}

async fn look(bucket: &Bucket, prefix: &str) -> Result<Seen, CloudError> {
    let objects = format!("{prefix}/");
    let [whole, part] = [true, false].map(|complete| Manifest::key(prefix, complete));
    let (complete, incomplete, listed, uploads) = tokio::try_join!(
        bucket.get(&whole, manifest::LONGEST),
        bucket.get(&part, manifest::LONGEST),
        bucket.list(&objects, MOST_FILES),
        bucket.uploads(&objects),
    )?;
    let [complete, incomplete] =
        [complete, incomplete].map(|bytes| bytes.as_deref().and_then(Manifest::read));
    let newest_complete = complete.as_ref().map(|manifest| manifest.written);
    let known = manifest::known([complete, incomplete]);
    Ok(Seen { known, listed, uploads, newest_complete })
}

/// What is there, and what has to be sent.
fn sort(
    settings: &Settings,
    prefix: &str,
    walk: Walk,
    seen: &Seen,
    copied: &mut Copied,
) -> (BTreeMap<String, Entry>, VecDeque<Task>) {
    let (mut entries, mut tasks) = (BTreeMap::new(), VecDeque::new());
    copied.left_out = walk.unfit;
    for (number, file) in walk.files.into_iter().enumerate() {
        let key = format!("{prefix}/{}", file.path);
        if number >= MOST_FILES || too_long(&key) {
            let why = match too_long(&key) {
                true => "its key would be too long".to_owned(),
                false => format!("there are more than {MOST_FILES} files"),
            };
            copied.leave(&file, why);
            continue;
        }
        let entry = seen.known.get(&key);
        let standing = plan::standing(&file, entry, seen.listed.get(&key), settings.thorough);
        match (standing, entry) {
            (Standing::Same, Some(entry)) => {
                copied.files += 1;
                copied.bytes += file.size;
                entries.insert(key, entry.clone());
            }
            (standing, held) => {
                let held = held.filter(|_| standing == Standing::Look).cloned();
                let begun = seen.uploads.get(&key).cloned();
                tasks.push_back(Task { file, key, held, begun });
            }
        }
    }
    (entries, tasks)
}

impl Copied {
    /// There was no file at all.
    pub(crate) fn is_nothing(&self) -> bool {
        self.files == 0 && self.sent.is_empty() && self.left_out.is_empty()
    }

    pub(crate) fn leave(&mut self, file: &File, why: impl ToString) {
        self.bytes_left_out += file.size;
        self.left_out.push((file.path.clone(), why.to_string()));
    }
}

/// Writes the manifest, and reads it back; answers with where it is.
async fn write(bucket: &Bucket, prefix: &str, manifest: &Manifest) -> Result<String, String> {
    let key = Manifest::key(prefix, manifest.complete);
    let text = manifest.write().map_err(|error| error.to_string())?;
    let stored = bucket.put(&key, text.clone(), &sha256(&text)).await;
    stored.map_err(|error| crate::cloud::told(&error))?;
    let read = bucket.get(&key, manifest::LONGEST).await;
    match read.map_err(|error| crate::cloud::told(&error))? {
        Some(read) if read == text => Ok(format!("s3://{}/{key}", bucket.name())),
        Some(_) => {
            Err("what was read back is another one; do two instances share a prefix?".into())
        }
        None => Err("it was written, and is not there".into()),
    }
}
