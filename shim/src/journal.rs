//! The journal: what the daemon must still know after it was killed.
//!
//! One line a record: the CRC-32 of the JSON in eight hexadecimal digits, a space, the JSON.
//! What is appended is on disk ([`Journal::append`] syncs once for all it is given) before the
//! step that it tells of begins. A tail that was torn, by a crash or a full disk, ends the valid
//! part and is cut off; nothing after it is believed. What could not be written waits, and is
//! written before what comes later: a full disk leaves neither a gap nor a torn line behind.
//!
//! Room for an incident and more is taken beforehand ([`ROOM`]), where the file system can do that,
//! so that a disk that fills up later does not matter. The room lies behind the end of the file,
//! where no reader sees it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use crate::record::Entry;

/// A journal larger than this is read only up to here: the daemon writes a few hundred bytes a
/// step and compacts at every start, and whenever the journal has grown.
const LARGEST: u64 = 64 << 20;

/// So many bytes are taken on the disk before they are needed: a step takes a few hundred.
pub const ROOM: u64 = 64 << 10;

/// How many bytes may wait for a disk that is full; what goes beyond is lost.
const WAITING: usize = 1 << 20;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// On a disk that cannot be written it is open for reading only, until it can.
    is_writable: bool,
    /// The length of the valid part, in bytes.
    length: u64,
    /// How far the file has room on the disk, in bytes.
    room: u64,
    /// Lines that could not be written yet.
    waiting: Vec<u8>,
}

/// What was found in a journal.
#[derive(Debug, Default, PartialEq)]
pub struct Recovered {
    /// The valid part, in order.
    pub entries: Vec<Entry>,
    /// How many bytes after it were no records.
    pub dropped_bytes: u64,
}

impl Journal {
    /// Opens the journal in `directory`, or makes one, and reads what it holds. A torn tail is
    /// cut off. One that can be read but not written is read.
    ///
    /// # Errors
    /// When the file can neither be opened nor made, or not be read.
    pub fn open(directory: &Path) -> io::Result<(Self, Recovered)> {
        let path = directory.join("journal");
        let writable = create(&path);
        let is_writable = writable.is_ok();
        let mut file = writable.or_else(|error| File::open(&path).or(Err(error)))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(LARGEST).read_to_end(&mut bytes)?;
        let (entries, valid) = decode(&bytes);
        let found = file.metadata()?.len();
        let length = u64::try_from(valid).unwrap_or(u64::MAX).min(found);
        if length < found && is_writable {
            // Else the next append cuts it.
            let _ = file.set_len(length).and_then(|()| file.sync_all());
        }
        let mut journal = Self { path, file, is_writable, length, room: 0, waiting: Vec::new() };
        journal.make_room();
        Ok((journal, Recovered { entries, dropped_bytes: found - length }))
    }

    /// How long the journal is, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All that it holds, read again.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(decode(&bytes).0)
    }

    /// Appends entries and waits until they are on disk, after those that an earlier call could
    /// not write.
    ///
    /// # Errors
    /// When they cannot be written or synced. They wait for the next call then, be it one without
    /// entries, unless there are too many.
    pub fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        for entry in entries {
            if self.waiting.len() < WAITING {
                write_line(&mut self.waiting, entry)?;
            }
        }
        if !self.is_writable {
            self.file = create(&self.path)?;
            self.is_writable = true;
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.file.metadata()?.len() != self.length {
            // This gives the room behind it away.
            self.room = 0;
            self.file.set_len(self.length)?;
        }
        self.file.write_all(&self.waiting)?;
        self.file.sync_data()?;
        self.length += u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        self.waiting.clear();
        if self.room < self.length + ROOM / 2 {
            self.make_room();
        }
        Ok(())
    }

    /// Replaces all that the journal holds, at once or not at all.
    ///
    /// # Errors
    /// When the new file cannot be written, or not be put in the place of the old one.
    pub fn replace(&mut self, entries: &[Entry]) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let _ = fs::remove_file(&beside);
        let mut file = create(&beside)?;
        let lines = encode(entries)?;
        file.write_all(&lines)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        if let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_all()?;
        }
        self.file = file;
        self.is_writable = true;
        self.length = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        self.make_room();
        Ok(())
    }

    /// Takes room behind what is written. Where that cannot be had, it is looked for again when
    /// as much was written.
    fn make_room(&mut self) {
        if self.is_writable {
            let keep = FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(&self.file, keep, self.length, ROOM);
            self.room = self.length.saturating_add(ROOM);
        }
    }
}

/// The lines of entries, as the file holds them.
///
/// # Errors
/// Never for entries of ours: each of them is JSON.
pub fn encode(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for entry in entries {
        write_line(&mut lines, entry)?;
    }
    Ok(lines)
}

/// The entries of the valid part of a file, and its length in bytes.
#[must_use]
pub fn decode(bytes: &[u8]) -> (Vec<Entry>, usize) {
    let mut entries = Vec::new();
    let mut valid = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(entry) = read_line(line) else { break };
        entries.push(entry);
        valid += line.len();
    }
    (entries, valid)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// Appends the line of one entry to those of others.
///
/// # Errors
/// When the entry cannot be serialized.
pub fn write_line(lines: &mut Vec<u8>, entry: &Entry) -> io::Result<()> {
    let json = serde_json::to_vec(entry)?;
    write!(lines, "{:08x} ", crc32fast::hash(&json))?;
    lines.extend_from_slice(&json);
    lines.push(b'\n');
    Ok(())
}

fn read_line(line: &[u8]) -> Option<Entry> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = line.split_at_checked(8)?;
    let json = json.strip_prefix(b" ")?;
    let expected = format!("{:08x}", crc32fast::hash(json));
    (sum == expected.as_bytes()).then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Ending, Outcome, Record, StepOutcome};

    fn entry(clock_ms: u64, record: Record) -> Entry {
        Entry {
            at: "2026-03-14T09:26:53.25Z".parse().unwrap(),
            clock_ms,
            boot: "boot".to_owned(),
            incident: "i-0a1b2c3d4e5f60718/boot/spot/terminate".to_owned(),
            record,
        }
    }

    fn plan() -> Vec<Entry> {
        let step = || "orders/flush".to_owned();
        let done = StepOutcome::plain(Ending::Done, "with a \"quote\" and a\nnewline");
        let event = serde_json::json!({ "id": "one", "type": "cloud.spot.interrupt" });
        vec![
            entry(1, Record::Opened { event, due_ms: Some(120_000), steps: Vec::new() }),
            entry(2, Record::Started { step: step(), attempt: 1, budget_ms: 30_000 }),
            entry(3, Record::Ended { step: step(), outcome: done }),
            entry(4, Record::Closed { outcome: Outcome::Done, text: "1 done".to_owned() }),
        ]
    }

    fn written(entries: &[Entry]) -> Vec<u8> {
        encode(entries).unwrap()
    }

    #[test]
    fn what_is_appended_is_read_back_after_the_journal_was_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, found) = Journal::open(directory.path()).unwrap();
        assert_eq!(found, Recovered::default());
        let plan = plan();
        journal.append(&plan[..2]).unwrap();
        journal.append(&plan[2..]).unwrap();
        let (mut journal, found) = Journal::open(directory.path()).unwrap();
        assert_eq!(found, Recovered { entries: plan.clone(), dropped_bytes: 0 });
        journal.replace(&plan[3..]).unwrap();
        journal.append(&plan[..1]).unwrap();
        let (_, found) = Journal::open(directory.path()).unwrap();
        assert_eq!(found.entries, [plan[3].clone(), plan[0].clone()]);
    }

    #[test]
    fn g3_a_journal_cut_at_any_byte_keeps_its_whole_records_and_no_other() {
        let plan = plan();
        let whole = written(&plan);
        let ends: Vec<usize> = (1..=plan.len()).map(|n| written(&plan[..n]).len()).collect();
        for length in 0..=whole.len() {
            let (entries, valid) = decode(&whole[..length]);
            let complete = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(entries, plan[..complete], "cut at {length}");
            assert_eq!(valid, written(&plan[..complete]).len());
        }
    }

    #[test]
    fn g3_a_torn_tail_is_cut_off_so_that_later_records_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan();
        for tail in [&b"0000"[..], &[0; 4096], b"\xff\xfe\n\n", b"deadbeef {}\n"] {
            let mut bytes = written(&plan[..2]);
            bytes.extend_from_slice(tail);
            fs::write(directory.path().join("journal"), bytes).unwrap();
            let (mut journal, found) = Journal::open(directory.path()).unwrap();
            assert_eq!(found.entries, plan[..2]);
            assert_eq!(usize::try_from(found.dropped_bytes).unwrap(), tail.len());
            journal.append(&plan[2..]).unwrap();
            assert_eq!(Journal::open(directory.path()).unwrap().1.entries, plan);
        }
    }

    #[test]
    fn what_a_full_disk_refused_is_written_later_and_nothing_after_it_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        journal.append(&plan[..1]).unwrap();
        let path = journal.path.clone();
        let good = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
        assert!(journal.append(&plan[1..2]).is_err(), "the file is open for reading only");
        // A part of the line came to the disk before it was full.
        journal.file = good;
        (&journal.file).write_all(b"01234567 {").unwrap();
        journal.append(&plan[2..3]).unwrap();
        journal.append(&plan[3..]).unwrap();
        let (journal, found) = Journal::open(directory.path()).unwrap();
        assert_eq!(found, Recovered { entries: plan.clone(), dropped_bytes: 0 });
        assert_eq!(journal.entries().unwrap(), plan);
        assert_eq!(usize::try_from(journal.length()).unwrap(), written(&plan).len());
    }

    /// `/dev/null` takes every byte and can sync none.
    #[test]
    fn g4_what_the_disk_did_not_confirm_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        let null = OpenOptions::new().read(true).append(true).open("/dev/null").unwrap();
        let good = std::mem::replace(&mut journal.file, null);
        assert!(journal.append(&plan[..2]).is_err());
        assert_eq!(journal.length(), 0);
        journal.file = good;
        journal.append(&plan[2..]).unwrap();
        assert_eq!(Journal::open(directory.path()).unwrap().1.entries, plan);
    }

    #[test]
    fn g4_the_journal_has_its_room_on_the_disk_and_no_reader_sees_it() {
        let directory = tempfile::tempdir().unwrap();
        let blocks = || {
            let file = fs::metadata(directory.path().join("journal")).unwrap();
            std::os::unix::fs::MetadataExt::blocks(&file) * 512
        };
        let plan = plan();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        assert!(blocks() >= ROOM, "{} bytes", blocks());
        journal.append(&plan).unwrap();
        journal.replace(&plan).unwrap();
        assert!(blocks() >= ROOM, "{} bytes", blocks());
        let file = fs::read(directory.path().join("journal")).unwrap();
        assert_eq!(file, written(&plan));
        while journal.length() < 2 * ROOM {
            journal.append(&plan).unwrap();
        }
        assert!(blocks() >= journal.length() + ROOM / 2, "{} bytes", blocks());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        // 2,000 cases of 50 flips each.
        #[test]
        fn g3_flipped_bits_never_invent_a_record(seed in any::<u64>()) {
            let plan = plan();
            let whole = written(&plan);
            let mut state = seed;
            for _ in 0..50 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let mut bytes = whole.clone();
                let place = usize::try_from(state >> 33).unwrap() % bytes.len();
                bytes[place] ^= 1 << ((state >> 20) % 8);
                let (entries, _) = decode(&bytes);
                prop_assert!(plan.starts_with(&entries));
                prop_assert!(entries.len() < plan.len());
            }
        }

        #[test]
        fn g3_no_bytes_at_all_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let (_, valid) = decode(&bytes);
            prop_assert!(valid <= bytes.len());
        }
    }
}
