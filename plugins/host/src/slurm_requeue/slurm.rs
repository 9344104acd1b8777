//! The commands of Slurm (squeue(1), scontrol(1), scancel(1); tried with 22.05).

use std::time::Instant;

use crate::program::{Program, ProgramError, Programs};

/// The states in which a job holds its node.
const HOLDING: &str =
    "--states=RUNNING,SUSPENDED,COMPLETING,CONFIGURING,STOPPED,SIGNALING,STAGE_OUT";

/// The number of a job and its state: for a task of an array its own number.
const FORMAT: &str = "--format=%A|%T";

/// Why the node is drained, as others see it.
const REASON: &str = "reason=cloudsnooze: the instance goes away";

/// The commands, and the node that they are about.
pub(super) struct Slurm {
    squeue: Program,
    scontrol: Program,
    scancel: Program,
    node: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) state: String,
}

impl Job {
    pub(super) fn shown(&self) -> String {
        format!("job {}", self.id)
    }

    /// Reads a line of `squeue`; `None` for anything else.
    fn read(line: &str) -> Option<Self> {
        let (id, state) = line.trim().split_once('|')?;
        let is_id = !id.is_empty() && id.bytes().all(|digit| digit.is_ascii_digit());
        is_id.then(|| Self { id: id.to_owned(), state: state.to_owned() })
    }
}

impl Slurm {
    pub(super) fn find(programs: &Programs, node: &str) -> Result<Self, ProgramError> {
        let find = |name| programs.find(name);
        let (squeue, scontrol, scancel) = (find("squeue")?, find("scontrol")?, find("scancel")?);
        Ok(Self { squeue, scontrol, scancel, node: node.to_owned() })
    }

    /// The jobs that hold the node.
    pub(super) fn on_node(&self, until: Instant) -> Result<Vec<Job>, ProgramError> {
        let node = format!("--nodelist={}", self.node);
        let said = self.squeue.run(&["--noheader", &node, HOLDING, FORMAT], until)?;
        Ok(said.lines().filter_map(Job::read).collect())
    }

    /// The states of jobs, wherever they are; one that has ended is left out.
    pub(super) fn states(&self, jobs: &[Job], until: Instant) -> Result<Vec<Job>, ProgramError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
        let ids = format!("--jobs={}", ids.join(","));
        match self.squeue.run(&["--noheader", &ids, FORMAT], until) {
            // When it knows none of them any more.
            Err(ProgramError::Failed { said, .. }) if said.contains("Invalid job id") => {
                Ok(Vec::new())
            }
            said => Ok(said?.lines().filter_map(Job::read).collect()),
        }
    }

    /// Lets no job start on the node.
    pub(super) fn drain(&self, until: Instant) -> Result<(), ProgramError> {
        let node = format!("nodename={}", self.node);
        self.scontrol.run(&["update", &node, "state=drain", REASON], until).map(drop)
    }

    /// Sends a signal to the batch script of a job.
    pub(super) fn signal(
        &self,
        job: &Job,
        signal: &str,
        until: Instant,
    ) -> Result<(), ProgramError> {
        let signal = format!("--signal={signal}");
        self.scancel.run(&[&signal, "--batch", &job.id], until).map(drop)
    }

    /// Puts a job back into the queue.
    pub(super) fn requeue(
        &self,
        job: &Job,
        hold: bool,
        until: Instant,
    ) -> Result<(), ProgramError> {
        let verb = if hold { "requeuehold" } else { "requeue" };
        self.scontrol.run(&[verb, &job.id], until).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_squeue_is_a_number_and_a_state() {
        let job = Job { id: "17".to_owned(), state: "RUNNING".to_owned() };
        assert_eq!(Job::read("17|RUNNING\n"), Some(job));
        for line in ["", "slurm_load_jobs error", "17", "-1|RUNNING", "17_3|RUNNING"] {
            assert_eq!(Job::read(line), None, "{line}");
        }
    }
}
