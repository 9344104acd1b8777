//! What the kernel says of this process.

use std::fs;
use std::time::Duration;

/// What the kernel says of this process; its children are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// Processor time since it began.
    pub cpu: Duration,
    /// Memory that it holds, in bytes.
    pub memory_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Own {
    /// Asks the kernel; what it does not say is zero.
    #[must_use]
    pub fn read() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self {
            cpu: Duration::try_from(cpu).unwrap_or_default(),
            memory_bytes: resident(&status).unwrap_or_default().saturating_mul(1024),
            descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
        }
    }
}

/// The kilobytes of `VmRSS` in `/proc/self/status` (proc(5)).
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_something_of_every_figure() {
        let own = Own::read();
        assert!(own.memory_bytes > 100_000 && own.descriptors >= 3, "{own:?}");
        assert_eq!(resident("Name:\tx\nVmRSS:\t    9012 kB\n"), Some(9012));
        assert_eq!(resident("VmRSS: much"), None);
    }
}
