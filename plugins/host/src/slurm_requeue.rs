//! Puts the Slurm jobs of this node back into the queue.

mod settings;
mod slurm;

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snooze_plugin::{Handled, Info, LOSSES, Plugin, PluginError, PluginEvent, Setting};

use crate::program::Programs;
use crate::report::{Report, texts, would};
use crate::step::Step;
use crate::wait;
use settings::Settings;
use slurm::{Job, Slurm};

/// How often Slurm is asked: its controller answers to the whole cluster.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long the controller may take to answer when it is asked how it is.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// What is kept of the time to see what became of the jobs.
const READ_BACK: Duration = Duration::from_secs(3);

/// The plugin `slurm-requeue`.
#[derive(Default)]
pub struct SlurmRequeue {
    programs: Programs,
    settings: Settings,
}

impl SlurmRequeue {
    /// One that finds `squeue`, `scontrol` and `scancel` among these programs.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self { programs, settings: Settings::default() }
    }

    fn slurm(&self) -> Result<Slurm, PluginError> {
        Ok(Slurm::find(&self.programs, &self.settings.node)?)
    }

    fn requeue(&self, slurm: &Slurm, jobs: &[Job], step: &Step, report: &mut Report) {
        if self.settings.drain
            && let Err(error) = slurm.drain(step.until)
        {
            report.missed(format!("drain {}", self.settings.node), PluginError::from(error));
        }
        let mut left = jobs.to_vec();
        if let Some(signal) = &self.settings.signal {
            for job in jobs {
                if let Err(error) = slurm.signal(job, signal, step.until) {
                    report.missed(format!("signal job {}", job.id), PluginError::from(error));
                }
            }
            let patience = step.less(READ_BACK).until.min(Instant::now() + self.settings.patience);
            left = wait_until_gone(slurm, jobs, patience, step);
        }
        let mut refused = Vec::new();
        for job in &left {
            if let Err(error) = slurm.requeue(job, self.settings.hold, step.until) {
                report.missed(job.shown(), PluginError::from(error));
                refused.push(job.id.clone());
            }
        }
        let asked: Vec<Job> =
            jobs.iter().filter(|job| !refused.contains(&job.id)).cloned().collect();
        wait_until_gone(slurm, &asked, step.less(READ_BACK).until, step);
        read_back(slurm, &asked, step, report);
    }
}

/// Waits until the jobs are no longer on the node; returns those that are. Where Slurm does not
/// answer they all may be.
fn wait_until_gone(slurm: &Slurm, jobs: &[Job], until: Instant, step: &Step) -> Vec<Job> {
    loop {
        let running = slurm.on_node(step.until);
        let left: Vec<Job> = match running {
            Ok(running) => {
                let runs = |job: &&Job| running.iter().any(|other| other.id == job.id);
                jobs.iter().filter(runs).cloned().collect()
            }
            Err(_) => jobs.to_vec(),
        };
        if left.is_empty() || !wait::pause_for(ASK_EVERY, until) {
            return left;
        }
    }
}

fn read_back(slurm: &Slurm, jobs: &[Job], step: &Step, report: &mut Report) {
    let states = slurm.states(jobs, step.until);
    let running = slurm.on_node(step.until);
    let (states, running) = match (states, running) {
        (Ok(states), Ok(running)) => (states, running),
        (Err(error), _) | (_, Err(error)) => {
            let why = PluginError::from(error).to_string();
            jobs.iter().for_each(|job| report.missed(job.shown(), &why));
            return;
        }
    };
    for job in jobs {
        let state = states.iter().find(|other| other.id == job.id).map(|job| job.state.as_str());
        match state {
            Some(state) if running.iter().any(|other| other.id == job.id) => {
                report.missed(job.shown(), format!("it is still {state} on this node"));
            }
            // Waiting, or running elsewhere already.
            Some(_) => report.saved.push(job.shown()),
            None => report.missed(job.shown(), "it has ended and is not in the queue"),
        }
    }
}

impl Plugin for SlurmRequeue {
    fn info(&self) -> Info {
        Info {
            display_name: "Slurm Requeue".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Puts the Slurm jobs of this node back into the queue".to_owned(),
            category: "scheduler".to_owned(),
            tags: ["slurm", "hpc", "requeue"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: ["network", "run:squeue", "run:scontrol", "run:scancel"]
                .map(str::to_owned)
                .into(),
            ..Info::new("slurm-requeue", env!("CARGO_PKG_VERSION"))
        }
    }

    fn supported_events(&self) -> Option<Vec<String>> {
        Some(LOSSES.map(str::to_owned).into())
    }

    fn configure(&mut self, config: &Map<String, Value>) -> Result<(), PluginError> {
        self.settings = Settings::read(config)?;
        Ok(())
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let step = Step::begin(event, self.settings.timeout);
        let slurm = self.slurm()?;
        let jobs = slurm.on_node(step.until)?;
        if self.settings.dry_run || event.drill {
            return Ok(step.end(would(&self.settings.acts(&jobs))));
        }
        let mut report = Report::default();
        self.requeue(&slurm, &jobs, &step, &mut report);
        let handled = match jobs.is_empty() {
            true => report.handled("nothing_to_requeue"),
            false => report.handled("jobs_requeued"),
        };
        let found: Vec<String> = jobs.iter().map(Job::shown).collect();
        let handled = handled.and("node", self.settings.node.as_str()).and("jobs", texts(&found));
        Ok(step.end(handled))
    }

    fn health(&mut self) -> Result<(), PluginError> {
        Ok(self.slurm()?.on_node(Instant::now() + HEALTH_LIMIT).map(drop)?)
    }
}
