//! What is read from and written to disks.

use std::time::Duration;

use super::Figure;
use super::rates::{Kind, Rates};
use crate::idle::files::Files;

/// What the kernel calls a sector here, whatever the disk says (block/stat.rst).
const SECTOR: u64 = 512;

pub(super) fn sample(rates: &mut Rates, files: &mut Files, at: Duration) -> Figure {
    let text = files.text("proc/diskstats")?.into_owned();
    for line in text.lines() {
        let (name, bytes) = traffic(line)
            .ok_or("`/proc/diskstats` has a line that is none of a disk or a partition")?;
        rates.see(name, bytes, || match is_disk(name, files) {
            true => Kind::Real,
            false => Kind::No,
        });
    }
    let figure = rates.rate(at, "no disk");
    match files.exists("sys/block") {
        true => figure,
        false => Err("`/sys/block` is missing, which tells disks from partitions".to_owned()),
    }
}

/// The name of a disk or partition, and the bytes that were read and written. What was discarded
/// was not moved.
fn traffic(line: &str) -> Option<(&str, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let name = fields.nth(2)?;
    let read: u64 = fields.nth(2)?.parse().ok()?;
    let written: u64 = fields.nth(3)?.parse().ok()?;
    Some((name, read.saturating_add(written).saturating_mul(SECTOR)))
}

/// A disk of its own with a device behind it. Partitions are not listed there (a whole disk that
/// is named like one, as `xvda1` on old EC2 instances, is); loop, RAM, device-mapper and RAID
/// disks have no device, and what goes over them is counted at the disks below.
fn is_disk(name: &str, files: &Files) -> bool {
    // `cciss/c0d0` is a directory `cciss!c0d0`.
    let name = name.replace('/', "!");
    files.exists(&format!("sys/block/{name}/device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_sectors_read_and_written_are_bytes() {
        let line = " 259       0 nvme0n1 6812090 363849 3000 71003775 1313650 1768774 610 5341821 0 \
                    1720680 76712838 938090 106 527273160 307403 260320 59838";
        assert_eq!(traffic(line), Some(("nvme0n1", 3610 * 512)));
        // Linux 2.6.0 to 4.17 have no discards, and partitions once had four fields.
        assert_eq!(traffic("8 0 sda 1 1 2 1 1 1 3 1 0 1 1"), Some(("sda", 5 * 512)));
        for weird in ["", "8 0 sda", "8 1 sda1 1 2 3 4", "8 0 sda 1 1 -2 1 1 1 3 1"] {
            assert_eq!(traffic(weird), None, "{weird}");
        }
    }
}
