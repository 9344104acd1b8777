//! What named processes and units use of the processors.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use snooze_policy::idle::Reading;

use super::process::{Process, TICKS, walk};
use super::{FIRST, Figure, float};
use crate::idle::files::Files;

/// How many bytes of a program's name the kernel keeps.
const COMM: usize = 15;

/// What was used until the last look.
#[derive(Debug)]
pub(super) struct Load {
    processes: Vec<String>,
    units: Vec<String>,
    at: Option<Duration>,
    ticks: Ticks,
    used: Used,
    fits: Fits,
}

/// Whether a process is named, with the `comm` that it had when that was found out: to ask for its
/// program costs more than all the rest of a look, and who runs another program has another `comm`.
type Fits = BTreeMap<(u32, u64), (String, bool)>;
/// Ticks by process and the time of its start, since a number may be used again.
type Ticks = BTreeMap<(u32, u64), u64>;
/// Microseconds by unit.
type Used = BTreeMap<String, u64>;

impl Load {
    pub(super) fn new(processes: &[String], units: &[String]) -> Self {
        Self {
            processes: processes.to_vec(),
            units: units.to_vec(),
            at: None,
            ticks: Ticks::new(),
            used: Used::new(),
            fits: Fits::new(),
        }
    }

    pub(super) fn sample(&mut self, files: &mut Files, at: Duration) -> Figure {
        if self.processes.is_empty() && self.units.is_empty() {
            return Ok(Reading::Absent("no process or unit is named".to_owned()));
        }
        let (of_processes, ticks) = self.of_processes(files)?;
        let (of_units, used) = self.of_units(files)?;
        (self.ticks, self.used) = (ticks, used);
        let Some(before) = self.at.replace(at) else { return Err(FIRST.to_owned()) };
        let microseconds = float(of_processes.saturating_add(of_units));
        match at.checked_sub(before).filter(|time| !time.is_zero()) {
            Some(time) => Ok(Reading::Value(microseconds / 1e4 / time.as_secs_f64())),
            None => Err("no time has passed between two samples".to_owned()),
        }
    }

    /// Microseconds that the named processes used since the last look, and their ticks now.
    fn of_processes(&mut self, files: &mut Files) -> Result<(u64, Ticks), String> {
        let mut now = Ticks::new();
        if self.processes.is_empty() {
            return Ok((0, now));
        }
        let (names, mut fits) = (&self.processes, Fits::new());
        let known = std::mem::take(&mut self.fits);
        walk(files, |process, files| {
            let key = (process.pid, process.started);
            let before = known.get(&key).filter(|(comm, _)| *comm == process.comm);
            let is_named = match before {
                Some((_, is_named)) => *is_named,
                None => is_named(names, process, files),
            };
            fits.insert(key, (process.comm.clone(), is_named));
            if is_named {
                now.insert(key, process.ticks);
            }
            Ok(())
        })?;
        self.fits = fits;
        // What one that is new here used before the last look is not known, unless it was
        // started since.
        let last = self.at.map_or(0, |at| at.as_secs().saturating_mul(TICKS));
        let used = now.iter().map(|(process, ticks)| match self.ticks.get(process) {
            Some(before) => ticks.saturating_sub(*before),
            None if process.1 >= last => *ticks,
            None => 0,
        });
        let used = used.fold(0, u64::saturating_add);
        Ok((used.saturating_mul(1_000_000 / TICKS), now))
    }

    /// Microseconds that the named units used since the last look, and since their start.
    fn of_units(&self, files: &mut Files) -> Result<(u64, Used), String> {
        let mut now = Used::new();
        if self.units.is_empty() {
            return Ok((0, now));
        }
        let mut bases = ["sys/fs/cgroup", "sys/fs/cgroup/unified"].into_iter();
        let is_tree = |base: &&str| {
            files.exists(&format!("{base}/cgroup.controllers"))
                && files.exists(&format!("{base}/system.slice"))
        };
        let base = bases.find(is_tree).ok_or(
            "no `system.slice` in a tree of cgroup v2: the machine has cgroup v1, or no systemd",
        )?;
        let mut sum = 0_u64;
        for unit in &self.units {
            let Some(used) = usage(files, base, unit)? else { continue };
            // A unit that was started since began at 0.
            let before = self.used.get(unit).filter(|before| **before <= used);
            sum = sum.saturating_add(used - before.copied().unwrap_or(0));
            now.insert(unit.clone(), used);
        }
        Ok((sum, now))
    }
}

fn is_named(names: &[String], process: &Process, files: &Files) -> bool {
    let is_comm = |name: &String| process.comm == name.get(..COMM).unwrap_or(name);
    if names.iter().any(is_comm) {
        return true;
    }
    program(process, files).is_some_and(|program| names.contains(&program))
}

/// The base name of the file of a process's program. Threads of the kernel and processes that have
/// ended have none, and those of other users do not show theirs to everybody: `comm` is what is
/// left then.
fn program(process: &Process, files: &Files) -> Option<String> {
    if process.is_kernel {
        return None;
    }
    let file = fs::read_link(files.path(&format!("proc/{}/exe", process.pid))).ok()?;
    let name = file.file_name()?.to_string_lossy();
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

/// Microseconds that a unit has used since it was started; `None` where it does not run.
fn usage(files: &mut Files, base: &str, unit: &str) -> Result<Option<u64>, String> {
    for group in groups(unit) {
        let path = format!("{base}/{group}/cpu.stat");
        match files.text(&path) {
            Ok(text) => {
                let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
                let usage = usage.and_then(|number| number.trim().parse().ok());
                return usage.map(Some).ok_or_else(|| format!("`/{path}` has no `usage_usec`"));
            }
            Err(trouble) if trouble.is_gone() => {}
            Err(trouble) => return Err(trouble.into()),
        }
    }
    Ok(None)
}

/// Where systemd may keep a unit: in the slice of services, in the slice of its template
/// (`system-getty.slice` for `getty@tty1.service`), or, of a slice, below those in its name.
fn groups(unit: &str) -> Vec<String> {
    if unit.contains('/') || unit.starts_with('.') {
        return Vec::new();
    }
    if let Some(name) = unit.strip_suffix(".slice") {
        let ends = name.match_indices('-').map(|(end, _)| end).chain([name.len()]);
        let slices: Vec<_> =
            ends.filter_map(|end| Some(format!("{}.slice", name.get(..end)?))).collect();
        return vec![slices.join("/")];
    }
    let unit = if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") };
    let of_template = unit.split_once('@').map(|(template, _)| {
        let template = template.replace('-', "\\x2d");
        format!("system.slice/system-{template}.slice/{unit}")
    });
    std::iter::once(format!("system.slice/{unit}")).chain(of_template).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_units_are_looked_for_where_systemd_keeps_them() {
        assert_eq!(groups("postgresql"), ["system.slice/postgresql.service"]);
        assert_eq!(groups("a.scope"), ["system.slice/a.scope"]);
        assert_eq!(
            groups("my-app@1.service"),
            [
                "system.slice/my-app@1.service",
                "system.slice/system-my\\x2dapp.slice/my-app@1.service"
            ]
        );
        assert_eq!(groups("a-b.slice"), ["a.slice/a-b.slice"]);
        assert!(groups("../../etc").is_empty());
    }
}
