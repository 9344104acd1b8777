//! How long something had to wait for what it needs.

use snooze_policy::idle::Reading;

use super::Figure;
use crate::idle::files::Files;

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Cpu,
    Memory,
    Io,
}

impl Resource {
    const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Io];

    fn path(self) -> &'static str {
        match self {
            Self::Cpu => "proc/pressure/cpu",
            Self::Memory => "proc/pressure/memory",
            Self::Io => "proc/pressure/io",
        }
    }
}

/// The worst of processors, memory and disks.
pub(super) fn sample(files: &mut Files) -> Figure {
    let mut worst: Option<f64> = None;
    for resource in Resource::ALL {
        match pressure_of(files, resource)? {
            Reading::Value(value) => worst = Some(worst.map_or(value, |worst| worst.max(value))),
            Reading::Absent(reason) => return Ok(Reading::Absent(reason)),
            Reading::Unknown(reason) => return Err(reason),
        }
    }
    worst.map(Reading::Value).ok_or_else(|| "nothing was read".to_owned())
}

/// Percent of the last minute in which at least one task waited for it.
pub(crate) fn pressure_of(files: &mut Files, resource: Resource) -> Figure {
    let path = resource.path();
    let found = files.text(path).map(|text| some_avg60(&text));
    match found {
        Ok(value) => match value {
            Some(value) => Ok(Reading::Value(value)),
            None => Err(format!("`/{path}` has no `some avg60` from 0 to 100")),
        },
        Err(trouble) if trouble.is_unsupported() => Ok(Reading::Absent(
            "PSI is switched off in this kernel (`psi=1` switches it on)".into(),
        )),
        Err(trouble) if !trouble.is_missing() => Err(trouble.into()),
        // Where `/proc` shows processes only, it is hidden and not missing.
        Err(trouble) if !files.exists("proc/stat") || files.exists("proc/pressure") => {
            Err(trouble.into())
        }
        Err(_) => Ok(Reading::Absent("no PSI in this kernel".into())),
    }
}

fn some_avg60(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let avg60 = some.split_ascii_whitespace().find_map(|field| field.strip_prefix("avg60="))?;
    avg60.parse::<f64>().ok().filter(|value| (0.0..=100.0).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_pressure_is_the_share_of_a_minute_with_any_task_waiting() {
        let text = "some avg10=0.10 avg60=2.63 avg300=2.71 total=906033278\n\
                    full avg10=9.00 avg60=9.00 avg300=9.68 total=257761964\n";
        assert_eq!(some_avg60(text), Some(2.63));
        for weird in ["", "some", "some avg60=", "some avg60=NaN", "some avg60=101", "full avg60=1"]
        {
            assert_eq!(some_avg60(weird), None, "{weird}");
        }
    }
}
