//! How the instance tells the cloud side what became of incidents.

use snooze_event::IncidentKey;
use snoozed::cloud::{Home, report};
use snoozed::record::{Entry, Record};
use snoozed::watch::Input;

use super::moves::Fault;
use super::policies::known;
use super::promises::Kept;
use super::world::{Happening, World};

impl World {
    /// An incident was opened: told once, if the network is there.
    pub(super) fn tell_phases(&mut self, entries: &[Entry]) -> Kept {
        let opened = entries.iter().filter(|entry| matches!(entry.record, Record::Opened { .. }));
        let keys: Vec<IncidentKey> = opened.map(Entry::key).collect();
        if keys.is_empty() || !self.instance.network {
            return Ok(());
        }
        let Some(home) = Home::of(&known().facts) else { return Ok(()) };
        let Some(daemon) = self.instance.daemon.as_ref().filter(|daemon| daemon.is_known) else {
            return Ok(());
        };
        let told: Vec<_> = daemon
            .watch
            .incidents()
            .filter(|known| keys.contains(&known.key) && known.closed.is_none() && !known.is_undo())
            .map(|known| report::phase(known, &home, true))
            .collect();
        for entry in told {
            self.put(&entry)?;
        }
        Ok(())
    }

    /// What the bus has not taken is told.
    pub(super) fn tell_cloud(&mut self) {
        let life = self.instance.life;
        let listens = self.instance.network;
        let daemon = self.instance.daemon.as_mut().filter(|known| listens && known.is_known);
        let Some(daemon) = daemon else { return };
        let fresh = daemon.watch.incidents().filter(|known| known.is_unreported());
        let fresh: Vec<String> = fresh.map(|known| known.key.to_string()).collect();
        let fresh: Vec<String> =
            fresh.into_iter().filter(|key| daemon.sending.insert(key.clone())).collect();
        for incident in fresh {
            self.after(100, Happening::Report { life, incident });
        }
    }

    pub(super) fn report(&mut self, life: u64, incident: String) -> Kept {
        let Some(home) = Home::of(&known().facts) else { return Ok(()) };
        let is_network = self.instance.network;
        let Some(daemon) = self.instance.daemon.as_mut().filter(|_| life == self.instance.life)
        else {
            return Ok(());
        };
        if !is_network {
            daemon.sending.remove(&incident);
            return Ok(());
        }
        let found = daemon.watch.incidents().find(|known| known.key.as_str() == incident);
        let Some(known) = found else { return Ok(()) };
        let (told, entry) = (known.told_by.len(), report::outcome(known, &home, true));
        if self.cloud.meets(Fault::LoseReport) {
            self.after(5000, Happening::Report { life, incident });
            return Ok(());
        }
        self.put(&entry)?;
        match self.cloud.meets(Fault::NoAnswerToReport) {
            true => self.after(5000, Happening::Report { life, incident }),
            false => self.after(50, Happening::Noted { life, incident, told }),
        }
        Ok(())
    }

    pub(super) fn noted(&mut self, life: u64, incident: &str, told: usize) -> Kept {
        let Some(daemon) = self.instance.daemon.as_mut().filter(|_| life == self.instance.life)
        else {
            return Ok(());
        };
        daemon.sending.remove(incident);
        self.turn(Input::Reported { incident: IncidentKey::stored(incident), told })
    }
}
