//! Stopping processes by signal.

use std::time::Instant;

use rustix::process::Signal;

use super::settings::Stop;
use crate::process::Process;
use crate::report::Report;
use crate::signal;
use crate::step::Step;
use crate::target::TargetError;

/// Tells the processes to end and waits until they did. Those that did not are killed only if the
/// settings say so.
pub(super) fn stop(stop: &Stop, step: &Step) -> Result<Report, TargetError> {
    let mut report = Report::default();
    let mut told = Vec::new();
    for process in stop.target.find()? {
        match process.signal(stop.signal) {
            Ok(()) => told.push(process),
            Err(error) => report.missed(process.label(), format!("cannot signal it: {error}")),
        }
    }
    let patience =
        stop.kill_after.map_or(step.until, |after| step.until.min(Instant::now() + after));
    let (gone, deaf): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|process| process.is_gone_by(patience));
    report.saved.extend(gone.iter().map(Process::label));
    let kill = |process: &Process| stop.kill_after.map(|_| process.signal(Signal::KILL));
    let killed: Vec<_> = deaf.iter().map(kill).collect();
    for (process, killed) in deaf.iter().zip(killed) {
        let told = format!("it did not end on {}", signal::name(stop.signal));
        let what = match killed {
            None => "and still runs".to_owned(),
            Some(Err(error)) => format!("and cannot be killed: {error}"),
            Some(Ok(())) if process.is_gone_by(step.until) => "and was killed".to_owned(),
            Some(Ok(())) => "and was killed, but has not gone yet".to_owned(),
        };
        report.missed(process.label(), format!("{told} in time {what}"));
    }
    // Whoever looks after a process may have started it again.
    for process in stop.target.find()?.iter().filter(|new| deaf.iter().all(|d| d.pid != new.pid)) {
        report.missed(process.label(), "it was started again; stop its unit instead");
    }
    Ok(report)
}

/// What would be signalled.
pub(super) fn would_stop(stop: &Stop) -> Result<Vec<String>, TargetError> {
    let mut acts: Vec<String> = Vec::new();
    for process in stop.target.find()? {
        acts.push(format!("send {} to {}", signal::name(stop.signal), process.label()));
    }
    if acts.is_empty() {
        acts.push(format!("nothing: {} does not run", stop.target.label()));
    }
    Ok(acts)
}
