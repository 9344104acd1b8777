//! What was measured of an instance at one moment.

use std::collections::BTreeMap;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Monitor {
    /// Percent of all processors that work.
    Cpu,
    /// Percent of the memory that cannot be had.
    Memory,
    /// Kilobytes a second over real interfaces, both ways.
    Network,
    /// Kilobytes a second to and from real disks.
    DiskIo,
    /// Percent of the busiest GPU.
    Gpu,
    /// Seconds since somebody last did something in a session. The only one that is idle above
    /// its threshold.
    Input,
    /// Percent of one processor that the named processes and units use together.
    Load,
    /// Percent of the time in which something waited for a processor, memory or a disk.
    Pressure,
}

impl Monitor {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Memory,
        Self::Network,
        Self::DiskIo,
        Self::Gpu,
        Self::Input,
        Self::Load,
        Self::Pressure,
    ];

    /// Its word in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Network => "network",
            Self::DiskIo => "disk_io",
            Self::Gpu => "gpu",
            Self::Input => "input",
            Self::Load => "load",
            Self::Pressure => "pressure",
        }
    }

    /// The key of its figure, with the unit, in all that is shown and told.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_percent",
            Self::Memory => "memory_percent",
            Self::Network => "network_kbps",
            Self::DiskIo => "disk_io_kbps",
            Self::Gpu => "gpu_percent",
            Self::Input => "input_idle_secs",
            Self::Load => "load_percent",
            Self::Pressure => "pressure_percent",
        }
    }

    /// The unit of its figure, for people.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Network | Self::DiskIo => "KB/s",
            Self::Input => "s",
            Self::Cpu | Self::Memory | Self::Gpu | Self::Load | Self::Pressure => "%",
        }
    }

    /// The monitor of a word written by [`Monitor::as_str`].
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|monitor| monitor.as_str() == word)
    }
}

/// One figure, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// The figure, in the unit of its monitor.
    Value(f64),
    /// It should be there and could not be read. Never leads to a stop.
    Unknown(String),
    /// There is nothing to measure here: no GPU, no session. It does not take part.
    Absent(String),
}

impl Reading {
    /// The figure.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Unknown(_) | Self::Absent(_) => None,
        }
    }
}

/// All that was measured at one moment. A monitor that is missing was not asked.
pub type Readings = BTreeMap<Monitor, Reading>;
