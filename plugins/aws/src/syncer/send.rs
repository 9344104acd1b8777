//! Sending files: small ones whole, large ones in parts of which none is sent twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use snooze_cloud::objects::{Bucket, Part, Stored, Upload};
use snooze_cloud::{CloudError, Kind};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::manifest::Entry;
use super::plan::{self, Meter};
use super::read::{self, Piece, ReadError, Reader, aside, hexadecimal};
use super::walk::{File, Root};

/// What there is to send, and how.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) file: File,
    pub(crate) key: String,
    /// The bucket holds one of the same size with this SHA-256.
    pub(crate) held: Option<Entry>,
    /// Parts of it have been sent before.
    pub(crate) begun: Option<Upload>,
}

/// A file that is in the bucket.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) entry: Entry,
    /// How many bytes were sent for that; `None` when it was there already.
    pub(crate) sent: Option<u64>,
    /// How many parts were there already.
    pub(crate) parts_kept: usize,
    /// The service said that it holds what was read.
    pub(crate) proven: bool,
}

/// Why a file is not in the bucket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("no time was left for it")]
    NoTime,
    #[error("it does not fit into the time: {0:.0} bytes a second get through")]
    Slow(f64),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{}", crate::cloud::told(.0))]
    Cloud(CloudError),
    #[error("the task ended")]
    Task(#[from] JoinError),
}

impl From<CloudError> for Fault {
    fn from(error: CloudError) -> Self {
        Self::Cloud(error)
    }
}

impl Fault {
    /// No other file will fare better.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::NoTime => true,
            Self::Cloud(error) => error.kind == Kind::Denied || error.code == "NoSuchBucket",
            Self::Slow(_) | Self::Read(_) | Self::Task(_) => false,
        }
    }
}

/// The time of a step, of which some is kept for the manifest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) until: Instant,
    pub(crate) budget: Duration,
    pub(crate) files: usize,
}

/// What sends.
pub(crate) struct Sender {
    pub(crate) bucket: Bucket,
    pub(crate) root: Arc<Root>,
    pub(crate) part_size: u64,
    pub(crate) concurrency: usize,
    pub(crate) gives_up: bool,
    pub(crate) clock: Clock,
    pub(crate) meter: Meter,
    /// All bytes that got through.
    pub(crate) sent: u64,
}

impl Sender {
    /// What is left for files.
    pub(crate) fn left(&self) -> Duration {
        let Clock { until, budget, files } = self.clock;
        let margin = plan::margin(files, self.meter.rate(), budget);
        until.saturating_duration_since(Instant::now()).saturating_sub(margin)
    }

    /// Whether so much fits into what is left.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        plan::fits(bytes, self.meter.rate(), self.left())
    }

    /// How many parts may be under way.
    pub(crate) fn under_way(&self, part: u64) -> usize {
        plan::under_way(part, self.meter.rate(), self.concurrency)
    }

    /// What it does not do before the time of files is over is not done.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Fault> {
        timeout(self.left(), work).await.map_err(|_late| Fault::NoTime)
    }

    /// Sends a large file in parts; those that the service has are not sent again. With
    /// `must_fit` it stops as soon as the rest does not fit into the time.
    pub(crate) async fn large(&mut self, task: &mut Task, must_fit: bool) -> Result<Done, Fault> {
        let Task { file, key, held, begun } = task;
        if let Some(held) = held {
            let (path, piece) = (file.path.clone(), self.part_size);
            let sum = aside(&self.root, move |root| read::sum(root, &path, piece));
            let (file, sha256) = self.in_time(sum).await??;
            if sha256 == held.sha256 {
                let entry = Entry { changed: file.changed, ..held.clone() };
                return Ok(Done { entry, sent: None, parts_kept: 0, proven: true });
            }
        }
        let (upload, there) = self.resume(key, begun.as_ref()).await?;
        *begun = Some(upload.clone());
        let done = self.parts(file, &upload, &there, must_fit).await;
        if done.is_err() && self.gives_up {
            // What could not be aborted is left to the rule of the bucket that ends old uploads.
            let left = self.clock.until.saturating_duration_since(Instant::now());
            if let Ok(Ok(())) = timeout(left / 2, self.bucket.abort(&upload)).await {
                *begun = None;
            }
        }
        done
    }

    /// The upload that was begun for this key, with its parts, or a new one.
    async fn resume(
        &self,
        key: &str,
        begun: Option<&Upload>,
    ) -> Result<(Upload, BTreeMap<i32, Part>), Fault> {
        if let Some(upload) = begun {
            match self.in_time(self.bucket.parts(upload)).await? {
                Ok(parts) => {
                    let parts = parts.into_iter().map(|part| (part.number, part)).collect();
                    return Ok((upload.clone(), parts));
                }
                // It was ended meanwhile.
                Err(error) if error.kind == Kind::Missing => {}
                Err(error) => return Err(error.into()),
            }
        }
        let upload = self.in_time(self.bucket.begin(key)).await??;
        Ok((upload, BTreeMap::new()))
    }

    async fn parts(
        &mut self,
        file: &File,
        upload: &Upload,
        there: &BTreeMap<i32, Part>,
        must_fit: bool,
    ) -> Result<Done, Fault> {
        let size = plan::part_size(file.size, self.part_size);
        let path = file.path.clone();
        let opened = aside(&self.root, move |root| Reader::open(root, &path));
        let mut reader = self.in_time(opened).await??;
        let (file, begun) = (reader.file().clone(), Instant::now());
        let held: u64 = there.values().map(|part| part.size).sum();
        let mut road = Road { missing: file.size.saturating_sub(held), ..Road::new(begun) };
        let mut kept = 0;
        for number in 1.. {
            let (next, piece) = self.in_time(next(&self.root, reader, size)).await??;
            reader = next;
            let Some(Piece { bytes, digest }) = piece else { break };
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if let Some(part) = there.get(&number) {
                if part.size == length && part.digest == digest {
                    road.parts.insert(number, part.clone());
                    kept += 1;
                    continue;
                }
                road.missing += length;
            }
            while road.flight.len() >= self.under_way(size) {
                self.land(&mut road).await?;
            }
            if must_fit && !self.fits(road.missing) {
                while !road.flight.is_empty() {
                    self.land(&mut road).await?;
                }
                return Err(Fault::Slow(self.meter.rate().unwrap_or(0.0)));
            }
            let (bucket, upload) = (self.bucket.clone(), upload.clone());
            road.flight.spawn(async move { bucket.send(&upload, number, bytes, digest).await });
        }
        while !road.flight.is_empty() {
            self.land(&mut road).await?;
        }
        let sha256 = self.in_time(aside(&self.root, move |_| reader.end())).await??;
        let parts: Vec<Part> = road.parts.into_values().collect();
        let stored = self.in_time(self.bucket.finish(upload, &parts)).await??;
        let proven = stored.proven;
        let entry = entry(&file, upload.key.clone(), sha256, stored);
        Ok(Done { entry, sent: Some(road.sent), parts_kept: kept, proven })
    }

    /// Waits for the next part to get through.
    async fn land(&mut self, road: &mut Road) -> Result<(), Fault> {
        let Some(landed) = self.in_time(road.flight.join_next()).await? else { return Ok(()) };
        let part = landed??;
        road.sent += part.size;
        road.missing = road.missing.saturating_sub(part.size);
        self.sent += part.size;
        self.meter.saw(road.sent, road.begun.elapsed());
        road.parts.insert(part.number, part);
        Ok(())
    }
}

/// The parts of one file on their way.
struct Road {
    flight: JoinSet<Result<Part, CloudError>>,
    parts: BTreeMap<i32, Part>,
    begun: Instant,
    /// How many bytes have still to get through.
    missing: u64,
    sent: u64,
}

impl Road {
    fn new(begun: Instant) -> Self {
        let (flight, parts) = (JoinSet::new(), BTreeMap::new());
        Self { flight, parts, begun, missing: 0, sent: 0 }
    }
}

/// Sends a small file whole.
pub(crate) async fn small(
    bucket: &Bucket,
    root: &Arc<Root>,
    task: &Task,
    most: u64,
) -> Result<Done, Fault> {
    let path = task.file.path.clone();
    let (file, piece) = aside(root, move |root| read::whole(root, &path, most)).await?;
    let sha256 = hexadecimal(&piece.digest);
    if let Some(held) = task.held.as_ref().filter(|held| held.sha256 == sha256) {
        let entry = Entry { changed: file.changed, ..held.clone() };
        return Ok(Done { entry, sent: None, parts_kept: 0, proven: true });
    }
    let stored = bucket.put(&task.key, piece.bytes, &piece.digest).await?;
    let (sent, proven) = (Some(file.size), stored.proven);
    let entry = entry(&file, task.key.clone(), sha256, stored);
    Ok(Done { entry, sent, parts_kept: 0, proven })
}

fn entry(file: &File, key: String, sha256: String, stored: Stored) -> Entry {
    let File { size, changed, .. } = *file;
    Entry { key, size, changed, sha256, etag: stored.etag, version_id: stored.version }
}

/// The next piece of a file, read beside the calls that are under way.
async fn next(
    root: &Arc<Root>,
    mut reader: Reader,
    size: u64,
) -> Result<(Reader, Option<Piece>), ReadError> {
    aside(root, move |_| {
        let piece = reader.next(size)?;
        Ok((reader, piece))
    })
    .await
}
