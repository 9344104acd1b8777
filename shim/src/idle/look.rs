//! Measuring, on a thread of its own: what hangs there costs figures, and never a turn of the
//! loop.

use std::io;
use std::path::Path;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use snooze_policy::idle::{Readings, Wanted};
use tokio::sync::mpsc;

use super::sample::Sampler;
use super::system::{Looker, System};

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Since boot.
    pub(crate) at: Duration,
    /// The figures of idleness, where they are wanted.
    pub(crate) wanted: Option<Wanted>,
    /// The system, for its alarms.
    pub(crate) system: bool,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) readings: Option<Readings>,
    pub(crate) system: Option<System>,
}

/// The thread that looks.
#[derive(Debug)]
pub(crate) struct Look {
    asks: std_mpsc::SyncSender<Ask>,
}

impl Look {
    /// Starts it; what it sees comes out of the receiver.
    pub(crate) fn start(root: &Path) -> io::Result<(Self, mpsc::Receiver<Looked>)> {
        let (asks, asked) = std_mpsc::sync_channel::<Ask>(1);
        let (seen, looked) = mpsc::channel(1);
        let root = root.to_owned();
        thread::Builder::new().name("idle".to_owned()).spawn(move || {
            let mut sampler: Option<(Wanted, Sampler)> = None;
            let mut looker = Looker::new(&root);
            while let Ok(Ask { at, wanted, system }) = asked.recv() {
                let readings = wanted.map(|wanted| {
                    if sampler.as_ref().is_some_and(|(known, _)| *known != wanted) {
                        sampler = None;
                    }
                    let make = || (wanted.clone(), Sampler::new(wanted, &root));
                    sampler.get_or_insert_with(make).1.sample(at)
                });
                let system = system.then(|| looker.look(at));
                if seen.blocking_send(Looked { readings, system }).is_err() {
                    return;
                }
            }
        })?;
        Ok((Self { asks }, looked))
    }

    /// Asks; `false`: it still looks, or hangs.
    pub(crate) fn ask(&self, ask: Ask) -> bool {
        self.asks.try_send(ask).is_ok()
    }
}
