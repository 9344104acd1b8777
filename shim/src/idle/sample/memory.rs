//! How much of the memory is in use.

use super::{Figure, float, percent};
use crate::idle::files::Files;

/// Percent of the memory that no new program could have: what only caches files is free.
pub(crate) fn memory(files: &mut Files) -> Figure {
    let text = files.text("proc/meminfo")?;
    let (total, available) = totals(&text)
        .ok_or("`/proc/meminfo` has no `MemTotal` and `MemAvailable` that belong together")?;
    percent(float(total - available), float(total))
}

fn totals(text: &str) -> Option<(u64, u64)> {
    let figure = |key: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        rest.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let (total, available) = (figure("MemTotal")?, figure("MemAvailable")?);
    (total > 0 && available <= total).then_some((total, available))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_memory_is_total_and_available_or_nothing() {
        assert_eq!(totals("MemTotal: 8 kB\nMemFree: 1 kB\nMemAvailable:  2 kB\n"), Some((8, 2)));
        // A kernel before 3.14, nonsense, a number that is too long.
        for weird in [
            "MemTotal: 8 kB\nMemFree: 1 kB\n",
            "MemTotal: 0 kB\nMemAvailable: 0 kB",
            "MemTotal: 8 kB\nMemAvailable: 9 kB",
            "MemTotal: -8 kB\nMemAvailable: 9 kB",
            "MemTotal: 99999999999999999999 kB\nMemAvailable: 9 kB",
            "MemTotal\nMemAvailable",
        ] {
            assert_eq!(totals(weird), None, "{weird}");
        }
    }
}
