//! Stopping systemd units (systemctl(1), org.freedesktop.systemd1(5); systemd 252).

use std::fs;
use std::time::{Duration, Instant};

use snooze_plugin::PluginError;

use crate::program::{Program, ProgramError};
use crate::report::{Report, short};
use crate::step::Step;
use crate::wait;

/// What is kept of the time to see what became of the units.
const READ_BACK: Duration = Duration::from_secs(2);

/// What a unit can be. What has no such ending is a service, as for `systemctl`.
const KINDS: [&str; 9] =
    ["service", "scope", "slice", "socket", "timer", "path", "target", "mount", "automount"];

/// The longest name of a unit (UNIT_NAME_MAX less its end).
const LONGEST: usize = 255;

/// What is asked of a unit.
const SHOWN: &str = "--property=LoadState,ActiveState,MainPID,Result";

/// Stopping one of these stops the machine, or this very plugin.
const NEVER: [&str; 2] = ["init.scope", "-.slice"];

/// The name of a unit that can stand among arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit(String);

/// Reads the texts of the setting: each is a group, its units joined by commas.
pub(super) fn groups(texts: &[String]) -> Result<Vec<Vec<Unit>>, String> {
    let group = |text: &String| text.split(',').map(|name| Unit::read(name.trim())).collect();
    texts.iter().map(group).collect::<Option<_>>().ok_or_else(|| {
        "expected names of units, as `web.service` or `a.service,b.service`; no patterns".to_owned()
    })
}

impl Unit {
    fn read(name: &str) -> Option<Self> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b":_.-@\\".contains(&byte);
        let starts_well = !name.starts_with(['-', '.']) && !name.is_empty();
        if !starts_well || !name.bytes().all(is_known) {
            return None;
        }
        let has_kind = name.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind));
        let name = if has_kind { name.to_owned() } else { format!("{name}.service") };
        (name.len() <= LONGEST).then_some(Self(name))
    }
}

/// What systemd says of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    is_loaded: bool,
    active: String,
    main_pid: u32,
    result: String,
}

impl State {
    fn read(block: &str) -> Self {
        let said = |key: &str| {
            block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or("")
        };
        Self {
            is_loaded: !matches!(said("LoadState"), "not-found" | ""),
            active: said("ActiveState").to_owned(),
            main_pid: said("MainPID").parse().unwrap_or(0),
            result: said("Result").to_owned(),
        }
    }

    fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed") && self.main_pid == 0
    }
}

/// Stops the groups one after the other. A group that is not down within its share of the time
/// goes on stopping while the next is told to.
pub(super) fn stop(groups: &[Vec<Unit>], systemctl: &Program, step: &Step) -> Report {
    let own = own_units();
    let mut report = Report::default();
    let mut told = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let share = step.less(READ_BACK).share(groups.len() - index);
        let (mine, group): (Vec<&Unit>, Vec<&Unit>) =
            group.iter().partition(|unit| own.contains(&unit.0));
        for unit in mine {
            report.missed(&unit.0, "this plugin runs in it");
        }
        match stop_group(&group, systemctl, share, step) {
            Ok(()) => told.extend(group),
            Err(error) => {
                let why = PluginError::from(error).to_string();
                group.iter().for_each(|unit| report.missed(&unit.0, &why));
            }
        }
    }
    read_back(&told, systemctl, step, &mut report);
    report
}

/// What would be stopped.
pub(super) fn would_stop(groups: &[Vec<Unit>]) -> Vec<String> {
    let names = |group: &Vec<Unit>| group.iter().map(|unit| unit.0.clone()).collect::<Vec<_>>();
    groups.iter().map(|group| format!("stop {} and wait", names(group).join(" and "))).collect()
}

/// Whether systemd knows all units.
pub(super) fn are_known(
    groups: &[Vec<Unit>],
    systemctl: &Program,
    until: Instant,
) -> Result<(), PluginError> {
    let units: Vec<&Unit> = groups.iter().flatten().collect();
    let states = show(&units, systemctl, until)?;
    let unknown = units.iter().zip(&states).filter(|(_, state)| !state.is_loaded);
    let unknown: Vec<&str> = unknown.map(|(unit, _)| unit.0.as_str()).collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(PluginError::new(format!("systemd knows no {}", short(&unknown.join(", "))))),
    }
}

/// Stops a group and waits until it is down or its share of the time is over.
fn stop_group(
    group: &[&Unit],
    systemctl: &Program,
    share: Instant,
    step: &Step,
) -> Result<(), ProgramError> {
    let states = show(group, systemctl, step.until)?;
    let running = group.iter().zip(&states).filter(|(_, state)| !state.is_down());
    let running: Vec<&Unit> = running.map(|(unit, _)| *unit).collect();
    if running.is_empty() {
        return Ok(());
    }
    // Without waiting: the time is kept here, and a unit goes on stopping when it is over.
    let mut args = vec!["stop", "--no-block", "--no-ask-password", "--"];
    args.extend(running.iter().map(|unit| unit.0.as_str()));
    systemctl.run(&args, step.until)?;
    while !show(&running, systemctl, step.until)?.iter().all(State::is_down) {
        if !wait::pause(share) {
            break;
        }
    }
    Ok(())
}

/// Sorts the units by what became of them; those of the last group may need the rest of the time.
fn read_back(units: &[&Unit], systemctl: &Program, step: &Step, report: &mut Report) {
    let states = match show(units, systemctl, step.until) {
        Ok(states) => states,
        Err(error) => {
            let why = PluginError::from(error).to_string();
            units.iter().for_each(|unit| report.missed(&unit.0, &why));
            return;
        }
    };
    for (unit, state) in units.iter().zip(&states) {
        match state {
            State { is_loaded: false, .. } => report.missed(&unit.0, "systemd knows no such unit"),
            state if !state.is_down() => {
                report.missed(&unit.0, format!("it is still {}", state.active));
            }
            // `timeout` and `watchdog`: systemd had to kill it, and it may not have saved.
            State { active, result, .. } if active == "failed" => {
                report.missed(&unit.0, format!("it is down but failed: {result}"));
            }
            State { .. } => report.saved.push(unit.0.clone()),
        }
    }
}

/// The states of units, in their order.
fn show(units: &[&Unit], systemctl: &Program, until: Instant) -> Result<Vec<State>, ProgramError> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let mut args = vec!["show", "--no-pager", SHOWN, "--"];
    args.extend(units.iter().map(|unit| unit.0.as_str()));
    let said = systemctl.run(&args, until)?;
    let mut blocks = said.split("\n\n");
    // What it does not tell of is not known to be down.
    Ok(units.iter().map(|_| State::read(blocks.next().unwrap_or_default())).collect())
}

/// The units that this process is in, by the names of its control groups.
fn own_units() -> Vec<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let parts = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut own: Vec<String> = parts.flat_map(|path| path.split('/')).map(str::to_owned).collect();
    own.extend(NEVER.map(str::to_owned));
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_an_option_a_pattern_or_a_path_is_no_unit() {
        let read = |name: &str| Unit::read(name).map(|unit| unit.0);
        for name in ["--root=/", "-H", "", "a*", "a b", "../a", "a/b", "a;b", "$(a)", "a\nb", "a?"]
        {
            assert_eq!(read(name), None, "{name}");
        }
        assert_eq!(read(&"a".repeat(300)), None);
        assert_eq!(read("web").as_deref(), Some("web.service"));
        assert_eq!(read("db@1.2").as_deref(), Some("db@1.2.service"));
        assert_eq!(read(r"dev-\x2d.mount").as_deref(), Some(r"dev-\x2d.mount"));
    }

    #[test]
    fn texts_are_groups_in_order() {
        let texts = ["web, worker.service", "db"].map(str::to_owned);
        let acts = would_stop(&groups(&texts).unwrap());
        assert_eq!(
            acts,
            ["stop web.service and worker.service and wait", "stop db.service and wait"]
        );
        assert!(groups(&["a,,b".to_owned()]).is_err());
    }

    #[test]
    fn a_unit_is_down_when_it_is_inactive_and_has_no_main_process() {
        let state = |text: &str| State::read(text);
        let down = state("LoadState=loaded\nActiveState=inactive\nMainPID=0\nResult=success");
        assert!(down.is_down() && down.is_loaded);
        assert!(!state("LoadState=loaded\nActiveState=inactive\nMainPID=7").is_down());
        assert!(!state("LoadState=loaded\nActiveState=deactivating\nMainPID=0").is_down());
        assert!(state("LoadState=masked\nActiveState=inactive").is_loaded);
        assert!(!state("LoadState=not-found\nActiveState=inactive").is_loaded);
        assert!(!state("").is_down());
    }
}
