//! What the instance does, in figures.
//!
//! A [`Sampler`] reads the files of the kernel below a root, so that tests can give it others. A
//! figure that is the difference of two looks is missing in the first one. A figure that should
//! be there and cannot be read is `Unknown`, which never leads to a stop; one that does not exist
//! here is `Absent`, and takes no part. Never is a figure made up: not after a counter went
//! backwards, not where `/proc` shows less than there is.

mod cpu;
mod disk;
mod gpu;
mod input;
mod load;
mod memory;
mod network;
mod pressure;
mod process;
mod rates;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::{Duration, SystemTime};

use snooze_policy::idle::{Monitor, Reading, Readings, Wanted};

use super::files::Files;
pub(crate) use cpu::Cpu;
pub(crate) use pressure::Resource;
pub(crate) use {memory::memory, pressure::pressure_of};

/// Why there is no figure that needs two looks.
pub(crate) const FIRST: &str = "first sample";

/// Measures again and again.
#[derive(Debug)]
pub struct Sampler {
    wanted: Wanted,
    files: Files,
    cpu: Cpu,
    network: rates::Rates,
    disk: rates::Rates,
    gpu: gpu::Gpu,
    input: input::Input,
    load: load::Load,
}

impl Sampler {
    /// A sampler of what hangs below `root`: `/`, or a directory with other `proc`, `sys`, `dev`.
    #[must_use]
    pub fn new(wanted: Wanted, root: &Path) -> Self {
        Self {
            load: load::Load::new(&wanted.processes, &wanted.units),
            wanted,
            files: Files::below(root),
            cpu: Cpu::default(),
            network: rates::Rates::default(),
            disk: rates::Rates::default(),
            gpu: gpu::Gpu::default(),
            input: input::Input::default(),
        }
    }

    /// Measures what is wanted; `at` is the boot clock, which rates are reckoned by.
    ///
    /// It may take a third of a second where a graphics driver hangs, and well under a
    /// millisecond otherwise.
    pub fn sample(&mut self, at: Duration) -> Readings {
        self.sample_at(at, SystemTime::now())
    }

    /// As [`Sampler::sample`]; `wall` is what times of files are held against.
    fn sample_at(&mut self, at: Duration, wall: SystemTime) -> Readings {
        let mut readings = Readings::new();
        for monitor in &self.wanted.monitors {
            let files = &mut self.files;
            let reading = match monitor {
                Monitor::Cpu => self.cpu.sample(files),
                Monitor::Memory => memory(files),
                Monitor::Network => {
                    network::sample(&mut self.network, files, &self.wanted.exclude_interfaces, at)
                }
                Monitor::DiskIo => disk::sample(&mut self.disk, files, at),
                Monitor::Gpu => self.gpu.sample(files, at),
                Monitor::Input => self.input.sample(files, at, wall),
                Monitor::Load => self.load.sample(files, at),
                Monitor::Pressure => pressure::sample(files),
            };
            readings.insert(*monitor, reading.unwrap_or_else(Reading::Unknown));
        }
        readings
    }
}

/// A figure, or why it is unknown; what is absent is a reading too.
pub(crate) type Figure = Result<Reading, String>;

/// A share of a whole, in percent.
pub(crate) fn percent(part: f64, whole: f64) -> Figure {
    let percent = 100.0 * part / whole;
    match (0.0..=100.0).contains(&percent) {
        true => Ok(Reading::Value(percent)),
        false => Err(format!("{part} of {whole} is no share")),
    }
}

/// The nearest float.
pub(crate) fn float(number: u64) -> f64 {
    let [low, high] = [number & u64::from(u32::MAX), number >> 32]
        .map(|half| f64::from(u32::try_from(half).unwrap_or(u32::MAX)));
    high * 4_294_967_296.0 + low
}
