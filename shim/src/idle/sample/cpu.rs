//! How busy the processors are.

use super::{FIRST, Figure, float, percent};
use crate::idle::files::Files;

/// The line of all processors is the first one and shorter than this.
const HEAD: u64 = 4096;

/// The processors at the last look.
#[derive(Debug, Default)]
pub(crate) struct Cpu {
    before: Option<Times>,
}

/// Times of all processors together since the boot, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    busy: u64,
    idle: u64,
    waiting: u64,
}

impl Cpu {
    pub(crate) fn sample(&mut self, files: &mut Files) -> Figure {
        let now = times(&files.head("proc/stat", HEAD)?)
            .ok_or("`/proc/stat` does not begin with the times of all processors")?;
        let Some(before) = self.before.replace(now) else { return Err(FIRST.to_owned()) };
        let busy = now.busy.checked_sub(before.busy).ok_or("the counters went backwards")?;
        // These two may step back by a little (proc_stat(5)), which is no time at all.
        let idle = now.idle.saturating_sub(before.idle);
        let idle = idle.saturating_add(now.waiting.saturating_sub(before.waiting));
        let all = busy.saturating_add(idle);
        if all == 0 {
            return Err("no time has passed between two samples".to_owned());
        }
        percent(float(busy), float(all))
    }
}

/// `user`, `nice`, `system`, `irq`, `softirq` and `steal` are busy: stolen time is time in which
/// something here wanted to run and the host let it not. Waiting for a disk is idle, since the
/// disk has a figure of its own. Guests are part of `user` and `nice` already.
fn times(text: &str) -> Option<Times> {
    let mut fields = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let mut next = || fields.next().map(str::parse::<u64>);
    let [user, nice, system, idle] = [next()?.ok()?, next()?.ok()?, next()?.ok()?, next()?.ok()?];
    // Older kernels have fewer.
    let mut more = || next().unwrap_or(Ok(0)).ok();
    let [waiting, irq, softirq, steal] = [more()?, more()?, more()?, more()?];
    let busy = [user, nice, system, irq, softirq, steal];
    let busy = busy.into_iter().try_fold(0_u64, u64::checked_add)?;
    Some(Times { busy, idle, waiting })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_steal_is_busy_and_waiting_is_idle_and_guests_count_once() {
        let times = |text| times(text).map(|times| (times.busy, times.idle, times.waiting));
        assert_eq!(times("cpu  10 20 30 400 50 6 7 8 9 1\ncpu0 1 1"), Some((81, 400, 50)));
        // Linux 2.4 has the first four.
        assert_eq!(times("cpu 1 2 3 4"), Some((6, 4, 0)));
        for weird in ["", "cpu0 1 2 3 4", "cpu  1 2 x 4", "cpu 18446744073709551615 1 1 1", "cpu"] {
            assert_eq!(times(weird), None, "{weird}");
        }
    }
}
