//! The files on their way: the newest first, and what does not fit after the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use snooze_plugin::PluginError;
use tokio::task::{Id, JoinError, JoinSet};

use super::manifest::Entry;
use super::read::ReadError;
use super::run::Copied;
use super::send::{Done, Fault, Sender, Task, small};

/// After so many failures in a row nothing else is tried.
const MOST_FAILURES: usize = 3;

/// The sending of all files.
pub(crate) struct Round<'a> {
    sender: &'a mut Sender,
    copied: &'a mut Copied,
    entries: &'a mut BTreeMap<String, Entry>,
    most: Option<u64>,
    /// How many bytes the files have that were begun.
    begun: u64,
    /// Small files that are under way.
    flight: JoinSet<(Result<Done, Fault>, Duration)>,
    tasks: BTreeMap<Id, Task>,
    /// How many failed one after the other.
    failures: usize,
    /// Why nothing else is tried.
    end: Option<String>,
}

impl<'a> Round<'a> {
    /// A round in which files of `most` bytes are begun at most.
    pub(crate) fn new(
        sender: &'a mut Sender,
        copied: &'a mut Copied,
        entries: &'a mut BTreeMap<String, Entry>,
        most: Option<u64>,
    ) -> Self {
        let (flight, tasks) = (JoinSet::new(), BTreeMap::new());
        Self { sender, copied, entries, most, begun: 0, flight, tasks, failures: 0, end: None }
    }

    /// Sends the newest first. What does not fit waits until the others are through; then parts of
    /// it are sent as far as that goes, where they are kept.
    pub(crate) async fn send(mut self, tasks: VecDeque<Task>) {
        let waiting = Box::pin(self.pass(tasks, true)).await;
        let must_fit = self.sender.gives_up;
        for task in Box::pin(self.pass(waiting, must_fit)).await {
            self.missed(&task, &Fault::Slow(self.sender.meter.rate().unwrap_or(0.0)));
        }
    }

    /// One go over the files; answers with those that did not fit.
    async fn pass(&mut self, tasks: VecDeque<Task>, must_fit: bool) -> VecDeque<Task> {
        let mut later = VecDeque::new();
        for mut task in tasks {
            let size = task.file.size;
            let is_small = size <= self.sender.part_size;
            // Large files have the line for themselves.
            while self.tasks.len() >= if is_small { self.sender.under_way(size) } else { 1 } {
                self.land().await;
            }
            if let Some(why) = &self.end {
                self.copied.leave(&task.file, why);
            } else if self.most.is_some_and(|most| size > most.saturating_sub(self.begun)) {
                self.copied.leave(&task.file, "it is more than `max_bytes` leaves");
            } else if must_fit && task.begun.is_none() && !self.sender.fits(size) {
                later.push_back(task);
            } else if is_small {
                self.start(task);
            } else {
                self.begun += size;
                match self.sender.large(&mut task, must_fit).await {
                    Ok(done) => self.done(&task, done),
                    Err(Fault::Slow(_)) => {
                        self.begun -= size;
                        later.push_back(task);
                    }
                    Err(fault) => self.missed(&task, &fault),
                }
            }
        }
        while !self.tasks.is_empty() {
            self.land().await;
        }
        later
    }

    /// Starts to send a small file.
    fn start(&mut self, task: Task) {
        let (bucket, root) = (self.sender.bucket.clone(), Arc::clone(&self.sender.root));
        let (own, most) = (task.clone(), self.sender.part_size);
        let started = self.flight.spawn(async move {
            let begun = Instant::now();
            (small(&bucket, &root, &own, most).await, begun.elapsed())
        });
        self.begun += task.file.size;
        self.tasks.insert(started.id(), task);
    }

    /// Waits for the next small file to get through.
    async fn land(&mut self) {
        let landed = self.sender.in_time(self.flight.join_next_with_id()).await;
        let (id, done) = match landed {
            Ok(Some(Ok((id, (Ok(done), time))))) => {
                let size = done.sent.unwrap_or(0);
                self.sender.sent += size;
                // They share the line.
                let all = size * u64::try_from(self.tasks.len()).unwrap_or(1);
                if size >= 1024 * 1024 {
                    self.sender.meter.saw(all, time);
                }
                (id, Ok(done))
            }
            Ok(Some(Ok((id, (Err(fault), _))))) => (id, Err(fault)),
            Ok(Some(Err(error))) => (error.id(), Err(JoinError::into(error))),
            Ok(None) | Err(_) => {
                self.flight.abort_all();
                for task in std::mem::take(&mut self.tasks).into_values() {
                    self.missed(&task, &Fault::NoTime);
                }
                return;
            }
        };
        let Some(task) = self.tasks.remove(&id) else { return };
        match done {
            Ok(done) => self.done(&task, done),
            Err(fault) => self.missed(&task, &fault),
        }
    }

    fn done(&mut self, task: &Task, done: Done) {
        self.failures = 0;
        match done.sent {
            Some(_) => self.copied.sent.push(task.file.path.clone()),
            None => self.begun = self.begun.saturating_sub(task.file.size),
        }
        self.copied.files += 1;
        self.copied.bytes += done.entry.size;
        self.copied.parts_kept += done.parts_kept;
        self.copied.proven &= done.proven;
        self.entries.insert(done.entry.key.clone(), done.entry);
    }

    fn missed(&mut self, task: &Task, fault: &Fault) {
        // What somebody removed meanwhile is not missing.
        if matches!(fault, Fault::Read(ReadError::Gone)) {
            return;
        }
        if task.begun.is_some() && task.file.size > self.sender.part_size {
            self.copied.unfinished += 1;
        }
        let why = PluginError::from(fault).to_string();
        self.failures += usize::from(matches!(fault, Fault::Cloud(_) | Fault::Task(_)));
        if fault.is_final() || self.failures >= MOST_FAILURES {
            self.end = Some(why.clone());
        }
        self.copied.leave(&task.file, why);
    }
}
