//! How busy the busiest GPU is.
//!
//! AMD's are read from sysfs, on a thread of their own. NVIDIA's are asked by `nvidia-smi`, which
//! comes with the driver and is left running: a driver that hangs holds up that process and
//! nothing here, and the library that it stands on (NVML) would be a fiftieth of our own file.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use snooze_policy::idle::Reading;

use super::Figure;
use crate::idle::aside::Aside;
use crate::idle::files::Files;
use crate::plugins::Helper;

/// Where `nvidia-smi` may be: packages, NVIDIA's own installer, images for containers.
const PROGRAMS: [&str; 4] = [
    "usr/bin/nvidia-smi",
    "usr/local/bin/nvidia-smi",
    "opt/bin/nvidia-smi",
    "usr/local/nvidia/bin/nvidia-smi",
];
/// Each line is `index, percent`; every five seconds, one line for each GPU.
const ARGUMENTS: [&str; 3] =
    ["--query-gpu=index,utilization.gpu", "--format=csv,noheader,nounits", "--loop=5"];
/// Four times the time between two lines.
const SILENCE: Duration = Duration::from_secs(20);
/// How long after `nvidia-smi` has ended it is started again.
const AGAIN: Duration = Duration::from_secs(60);

/// The GPUs of the machine.
#[derive(Debug, Default)]
pub(super) struct Gpu {
    amd: Option<Aside<Result<Vec<f64>, String>>>,
    nvidia: Nvidia,
}

impl Gpu {
    pub(super) fn sample(&mut self, files: &Files, at: Duration) -> Figure {
        let mut busiest: Option<f64> = None;
        if !amd_cards(files).is_empty() {
            busiest = self.amd(files, at)?.into_iter().reduce(f64::max);
        }
        if has_nvidia(files) {
            let percent = self.nvidia.percent(files, at)?;
            busiest = busiest.into_iter().chain(percent).reduce(f64::max);
        } else {
            self.nvidia = Nvidia::Off;
        }
        Ok(busiest.map_or_else(|| Reading::Absent("no GPU".to_owned()), Reading::Value))
    }

    fn amd(&mut self, files: &Files, at: Duration) -> Result<Vec<f64>, String> {
        let aside = match &mut self.amd {
            Some(aside) => aside,
            none => {
                let mut files = Files::below(files.root());
                let aside = Aside::new("gpu", move || amd_percents(&mut files));
                none.insert(aside.map_err(|error| format!("cannot start a thread: {error}"))?)
            }
        };
        aside.ask(at).map_err(|error| format!("the driver of the GPU: {error}"))?
    }
}

/// The files of AMD's cards that say how busy they are (`gpu_busy_percent`, amdgpu).
fn amd_cards(files: &Files) -> Vec<String> {
    let names = files.names("sys/class/drm").unwrap_or_default().into_iter();
    let cards = names.filter(|name| {
        let number = name.strip_prefix("card").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
    });
    cards
        .map(|name| format!("sys/class/drm/{name}/device/gpu_busy_percent"))
        .filter(|path| files.exists(path))
        .collect()
}

fn amd_percents(files: &mut Files) -> Result<Vec<f64>, String> {
    let mut percents = Vec::new();
    for path in amd_cards(files) {
        let percent = percent(&files.text(&path)?);
        percents.push(percent.ok_or_else(|| format!("`/{path}` has no percentage"))?);
    }
    Ok(percents)
}

fn percent(text: &str) -> Option<f64> {
    text.trim().parse::<u8>().ok().filter(|percent| *percent <= 100).map(f64::from)
}

/// Whether NVIDIA's driver drives a GPU. Where it drives none, nobody can use one.
fn has_nvidia(files: &Files) -> bool {
    let is_listed =
        |path: &str| files.names(path).unwrap_or_default().iter().any(|name| name.contains(':'));
    is_listed("sys/bus/pci/drivers/nvidia")
        || is_listed("proc/driver/nvidia/gpus")
        || files.exists("dev/nvidiactl")
}

/// `nvidia-smi`, as it runs beside us.
#[derive(Debug, Default)]
enum Nvidia {
    #[default]
    Off,
    On(Beside),
    /// It has ended, or could not be started.
    Ended {
        at: Duration,
        why: String,
    },
}

#[derive(Debug)]
struct Beside {
    child: Option<(Child, Helper)>,
    told: Arc<Mutex<Told>>,
    lines: u64,
    heard: Duration,
    /// How many faults it had told, and when that was last heard.
    faults: (u64, Option<Duration>),
}

/// What it has told.
#[derive(Debug, Default)]
struct Told {
    lines: u64,
    cards: BTreeMap<u32, Card>,
    /// Lines that are no figures.
    faults: u64,
    fault: String,
    is_over: bool,
}

#[derive(Debug, Clone, Copy)]
struct Card {
    /// `None` where the driver does not tell, as for a GPU that is divided (MIG).
    last: Option<f64>,
    /// The highest since it was last asked for.
    peak: Option<f64>,
}

impl Nvidia {
    /// The highest percentage since the last look; `None` where the driver says that no GPU is
    /// there.
    fn percent(&mut self, files: &Files, at: Duration) -> Result<Option<f64>, String> {
        if let Self::Ended { at: ended, why } = self
            && at.saturating_sub(*ended) < AGAIN
        {
            return nothing(why);
        }
        let beside = match self {
            Self::On(beside) => beside,
            Self::Off | Self::Ended { .. } => {
                let beside = Beside::start(files, at);
                *self = beside.unwrap_or_else(|why| Self::Ended { at, why });
                return match self {
                    Self::Ended { why, .. } => nothing(why),
                    Self::Off | Self::On(_) => Err("`nvidia-smi` was started just now".to_owned()),
                };
            }
        };
        // In this order: what it said last, it said before its end.
        let is_over = beside.is_over();
        let found = beside.percent(at);
        if is_over {
            let why = found.err().unwrap_or_else(|| "it was stopped".to_owned());
            let why = format!("`nvidia-smi` has ended: {why}");
            *self = Self::Ended { at, why: why.clone() };
            return nothing(&why);
        }
        found.map(Some)
    }
}

/// The driver's own words for a machine without a GPU are no trouble.
fn nothing(why: &str) -> Result<Option<f64>, String> {
    match why.ends_with("No devices were found") {
        true => Ok(None),
        false => Err(why.to_owned()),
    }
}

impl Beside {
    fn start(files: &Files, at: Duration) -> Result<Nvidia, String> {
        let program = PROGRAMS.iter().map(|path| files.path(path)).find(|path| path.exists());
        let program = program.ok_or("there is an NVIDIA GPU, and no `nvidia-smi` to ask")?;
        let told = Arc::new(Mutex::new(Told::default()));
        let trouble = |error| format!("cannot start `{}`: {error}", program.display());
        let spawn = || command(&program).spawn();
        let (mut child, helper) =
            Helper::start(spawn, |child| Some(child.id())).map_err(trouble)?;
        let output = child.stdout.take();
        let beside = Self {
            child: Some((child, helper)),
            told: Arc::clone(&told),
            lines: 0,
            heard: at,
            faults: (0, None),
        };
        let reader = thread::Builder::new().name("nvidia-smi".to_owned());
        reader.spawn(move || listen(output, &told)).map_err(trouble)?;
        Ok(Nvidia::On(beside))
    }

    fn percent(&mut self, at: Duration) -> Result<f64, String> {
        let mut told = lock(&self.told);
        if told.lines != self.lines {
            (self.lines, self.heard) = (told.lines, at);
        }
        if told.faults != self.faults.0 {
            self.faults = (told.faults, Some(at));
        }
        // A GPU that has failed is told of among the figures of the others.
        if self.faults.1.is_some_and(|heard| at.saturating_sub(heard) <= SILENCE) {
            return Err(told.fault.clone());
        }
        let silence = at.saturating_sub(self.heard);
        if silence > SILENCE {
            return Err(format!("`nvidia-smi` has said nothing for {} s", silence.as_secs()));
        }
        let mut busiest = None;
        for (index, card) in &mut told.cards {
            let Some(last) = card.last else {
                return Err(format!("GPU {index} does not tell how busy it is (divided by MIG?)"));
            };
            let percent = card.peak.take().map_or(last, |peak| peak.max(last));
            busiest = Some(busiest.map_or(percent, |busiest: f64| busiest.max(percent)));
        }
        busiest.ok_or_else(|| "`nvidia-smi` has said nothing yet".to_owned())
    }

    fn is_over(&self) -> bool {
        lock(&self.told).is_over
    }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(ARGUMENTS)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", "C")
        .current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn listen(output: Option<impl Read>, told: &Mutex<Told>) {
    let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines());
    for line in lines.map_while(Result::ok) {
        lock(told).hear(&line);
    }
    lock(told).is_over = true;
}

impl Told {
    fn hear(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        self.lines = self.lines.wrapping_add(1);
        let parts = line.split_once(',');
        let Some((Ok(index), text)) = parts.map(|(index, text)| (index.trim().parse(), text))
        else {
            // The first one says what is wrong, those behind it what to do.
            if self.faults == 0 {
                self.fault = line.trim().chars().take(200).collect();
            }
            self.faults = self.faults.wrapping_add(1);
            return;
        };
        let last = percent(text);
        let before = self.cards.get(&index).and_then(|card| card.peak);
        let peak = before.into_iter().chain(last).reduce(f64::max);
        self.cards.insert(index, Card { last, peak });
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let Some((mut child, helper)) = self.child.take() else { return };
        // It may have ended already.
        let _ = child.kill();
        // Where the driver holds it, this waits as long as the driver does, and nobody else.
        let wait = move || {
            let _ = child.wait();
            drop(helper);
        };
        drop(thread::Builder::new().spawn(wait));
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Beside {
        let mut told = Told::default();
        lines.iter().for_each(|line| told.hear(line));
        let told = Arc::new(Mutex::new(told));
        Beside { child: None, told, lines: 0, heard: Duration::ZERO, faults: (0, None) }
    }

    #[test]
    fn idle_the_busiest_gpu_and_its_peak_since_the_last_look_count() {
        let at = Duration::from_secs;
        let mut beside = heard(&["0, 3", "1, 90", "0, 2", "1, 5"]);
        assert_eq!(beside.percent(at(10)), Ok(90.0));
        assert_eq!(beside.percent(at(11)), Ok(5.0));
        lock(&beside.told).hear("0, 7");
        assert_eq!(beside.percent(at(30)), Ok(7.0));
        assert_eq!(beside.percent(at(50)), Ok(7.0));
        assert_eq!(
            beside.percent(at(51)),
            Err("`nvidia-smi` has said nothing for 21 s".to_owned())
        );
    }

    #[test]
    fn idle_a_gpu_that_does_not_tell_is_unknown_whatever_the_others_say() {
        let at = Duration::from_secs(1);
        for text in ["[N/A]", "[Not Supported]", "ERR!", "101", "-1", ""] {
            let mut beside = heard(&["0, 0", &format!("1, {text}")]);
            assert!(beside.percent(at).unwrap_err().starts_with("GPU 1 does not tell"), "{text}");
        }
        let failed =
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.";
        assert_eq!(heard(&[failed, "", "Make sure"]).percent(at), Err(failed.to_owned()));
        assert_eq!(heard(&[]).percent(at), Err("`nvidia-smi` has said nothing yet".to_owned()));
    }
}
