//! What decides: which files need to be sent, in what parts, and what still fits into the time.

use std::time::Duration;

use snooze_cloud::objects::{Listed, MOST_PARTS};

use super::manifest::Entry;
use super::walk::File;

const MIB: u64 = 1024 * 1024;

/// What may be under way, counted in time: so much is lost at most when the time is over.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// What the manifest takes without its bytes: a few questions and answers.
const MANIFEST: Duration = Duration::from_secs(2);

/// The bytes of a manifest for each file, and a little more.
const ENTRY: u64 = 400;

/// What a line carries as long as nobody measured it, in bytes a second.
const UNMEASURED: f64 = 1_000_000.0;

/// What is to be done with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The bucket holds it as it is.
    Same,
    /// The bucket holds one of the same size: whether it is this one, its SHA-256 says.
    Look,
    /// The bucket does not hold it.
    New,
}

/// What is to be done with a file of which the manifest says this and the bucket that.
pub(crate) fn standing(
    file: &File,
    entry: Option<&Entry>,
    listed: Option<&Listed>,
    thorough: bool,
) -> Standing {
    // An object that somebody replaced or removed has another ETag or none.
    let held = entry.zip(listed).filter(|(entry, listed)| {
        entry.size == listed.size && entry.etag == listed.etag && entry.size == file.size
    });
    match held {
        None => Standing::New,
        Some((entry, _)) if entry.changed == file.changed && !thorough => Standing::Same,
        Some(_) => Standing::Look,
    }
}

/// The bytes of the parts of a file: as wanted, or more where they would be too many.
pub(crate) fn part_size(size: u64, wanted: u64) -> u64 {
    wanted.max(size.div_ceil(MOST_PARTS).next_multiple_of(MIB))
}

/// Whether so many bytes get through in this time; as long as nobody measured, they may.
pub(crate) fn fits(bytes: u64, rate: Option<f64>, time: Duration) -> bool {
    rate.is_none_or(|rate| seconds(bytes, rate) <= time.as_secs_f64())
}

/// How many parts may be under way: one until the line is measured, unless they are tiny.
pub(crate) fn under_way(part: u64, rate: Option<f64>, most: usize) -> usize {
    if part < MIB {
        return most;
    }
    let Some(rate) = rate else { return 1 };
    let room = UNDER_WAY.as_secs_f64();
    let one = seconds(part.max(1), rate);
    (1..=most).rev().find(|count| f64_of(*count) * one <= room).unwrap_or(1)
}

/// What is kept of the time for the manifest of so many files.
pub(crate) fn margin(files: usize, rate: Option<f64>, budget: Duration) -> Duration {
    let bytes = ENTRY.saturating_mul(u64::try_from(files).unwrap_or(u64::MAX));
    // There, and back again to be read.
    let carried = seconds(bytes.saturating_mul(2), rate.unwrap_or(UNMEASURED));
    let carried = Duration::try_from_secs_f64(carried).unwrap_or(budget);
    MANIFEST.saturating_add(carried).min(budget / 4)
}

/// Measures the line.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    rate: Option<f64>,
}

impl Meter {
    /// So many bytes got through in this time. Few bytes say more of the way there and back than
    /// of what the line carries.
    pub(crate) fn saw(&mut self, bytes: u64, time: Duration) {
        let seconds = time.as_secs_f64();
        if bytes >= MIB && seconds > 0.0 {
            self.rate = Some(float(bytes) / seconds);
        }
    }

    /// Bytes a second.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.rate
    }
}

fn seconds(bytes: u64, rate: f64) -> f64 {
    float(bytes) / rate
}

fn f64_of(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// A number of bytes as a float, which is exact up to some petabytes.
#[expect(clippy::as_conversions, reason = "there is no other way, and nothing counts so exactly")]
pub(crate) fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stand(change: impl Fn(&mut File, &mut Entry, &mut Listed), thorough: bool) -> Standing {
        let changed = Timestamp::UNIX_EPOCH;
        let mut file = File { path: "a".to_owned(), size: 3, changed };
        let (sha256, etag) = ("abc".to_owned(), "e".to_owned());
        let mut entry =
            Entry { key: "p/a".to_owned(), size: 3, changed, sha256, etag, version_id: None };
        let mut listed = Listed { size: 3, etag: "e".to_owned() };
        change(&mut file, &mut entry, &mut listed);
        standing(&file, Some(&entry), Some(&listed), thorough)
    }

    #[test]
    fn a_file_is_sent_unless_the_bucket_still_holds_what_the_manifest_says() {
        assert_eq!(stand(|_, _, _| {}, false), Standing::Same);
        assert_eq!(stand(|_, _, _| {}, true), Standing::Look);
        assert_eq!(stand(|file, _, _| file.changed += SECOND, false), Standing::Look);
        assert_eq!(stand(|file, _, _| file.size = 4, false), Standing::New);
        assert_eq!(stand(|_, _, listed| listed.etag = "f".to_owned(), false), Standing::New);
        assert_eq!(stand(|_, _, listed| listed.size = 4, false), Standing::New);
        let file = File { path: "a".to_owned(), size: 3, changed: Timestamp::UNIX_EPOCH };
        assert_eq!(standing(&file, None, None, false), Standing::New);
    }

    #[test]
    fn little_is_under_way_on_a_slow_line_and_all_that_may_be_on_a_fast_one() {
        let rates = [None, Some(1e6), Some(4e6), Some(1e9)];
        assert_eq!(rates.map(|rate| under_way(8 * MIB, rate, 4)), [1, 1, 2, 4]);
        assert_eq!(under_way(1000, None, 4), 4);
    }

    #[test]
    fn the_manifest_has_its_time_but_never_more_than_a_quarter() {
        let budget = Duration::from_secs(60);
        assert_eq!(margin(0, None, budget), MANIFEST);
        assert_eq!(margin(2500, Some(1e6), budget), 2 * MANIFEST);
        assert_eq!(margin(100_000, Some(1.0), budget), budget / 4);
        assert_eq!(margin(1, None, SECOND), SECOND / 4);
    }

    #[test]
    fn tiny_files_do_not_tell_what_a_line_carries() {
        let mut meter = Meter::default();
        meter.saw(1000, SECOND);
        assert_eq!(meter.rate(), None);
        meter.saw(2 * MIB, 2 * SECOND);
        assert_eq!(meter.rate(), Some(float(MIB)));
        assert!(fits(2 * MIB, meter.rate(), 2 * SECOND) && !fits(3 * MIB, meter.rate(), SECOND));
    }

    proptest! {
        #[test]
        fn no_file_has_more_parts_than_s3_takes(size in 0..5_000_000_000_000_u64) {
            prop_assert!(size.div_ceil(part_size(size, 5 * MIB)) <= MOST_PARTS);
        }
    }
}
