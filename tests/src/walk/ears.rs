//! How the instance hears: the metadata service, and the queue of commands.

use std::time::Duration;

use snooze_event::wire::command::Kind;
use snooze_event::{Cause, Event, IncidentKey, LossAction, wire};
use snooze_imds::{Answer, Fault as NoAnswer, SignalPath};
use snoozed::clock::milliseconds;
use snoozed::cloud::Verdict;
use snoozed::sources::Heard;
use snoozed::watch::{Channel, Input};

use super::instance::HEARD;
use super::policies::known;
use super::promises::{Flaw, Kept, Promise};
use super::world::{Happening, World};

/// A message that was not taken is given again after this.
const VISIBILITY: u64 = 30_000;
/// What stands is told again at each poll. Polls that can tell nothing new are left out, so that
/// a million incidents end in minutes; one in twenty is not.
const STANDS: u64 = 20_000;

impl World {
    /// The next poll comes with the next second.
    pub(super) fn poll_soon(&mut self) {
        self.instance.numbers.0 += 1;
        let wait = 1000 - self.now % 1000;
        self.after(wait, Happening::Poll(self.instance.numbers.0));
    }

    /// Asks the metadata service for all that it may tell.
    pub(super) fn poll(&mut self, number: u64) -> Kept {
        if number != self.instance.numbers.0 || self.instance.taken {
            return Ok(());
        }
        let trouble = self.instance.trouble.filter(|(_, polls)| *polls > 0);
        self.instance.trouble = trouble.map(|(how, polls)| (how, polls - 1));
        if trouble.is_some() {
            self.instance.disturbed = self.now;
        }
        for path in SignalPath::ALL {
            let answer = match trouble {
                Some(("slow", _)) => Err(NoAnswer::TimedOut(Duration::from_millis(500))),
                Some(("html", _)) => Ok(Answer::Found("<html>no</html>".to_owned())),
                Some(("empty", _)) => Ok(Answer::Found(String::new())),
                Some(_) => Err(NoAnswer::Status(503)),
                None => Ok(match self.instance.stands.get(&path) {
                    Some(body) => Answer::Found(body.clone()),
                    None => Answer::Absent,
                }),
            };
            self.ask(path, answer, trouble.is_some())?;
        }
        let Some(daemon) = &mut self.instance.daemon else { return Ok(()) };
        if daemon.is_deaf {
            return Ok(());
        }
        let is_first = trouble.is_none() && !daemon.is_known;
        let wait = milliseconds(daemon.hearing.wait());
        daemon.is_deaf = trouble.is_some() && self.flaw == Some(Flaw::GoesDeaf);
        daemon.hearing.judge();
        if is_first {
            daemon.is_known = true;
            self.turn(Input::Facts(Box::new(known().facts.clone())))?;
        }
        let next = match (trouble, self.instance.stands.is_empty()) {
            (Some(_), _) => wait,
            (None, false) => STANDS,
            (None, true) => return Ok(()),
        };
        self.instance.numbers.0 += 1;
        self.after(next, Happening::Poll(self.instance.numbers.0));
        Ok(())
    }

    fn ask(&mut self, path: SignalPath, answer: Result<Answer, NoAnswer>, ill: bool) -> Kept {
        let now = self.clocks().wall;
        let Some(daemon) = &mut self.instance.daemon else { return Ok(()) };
        if daemon.is_deaf {
            return Ok(());
        }
        let Some(news) = daemon.hearing.on(path, answer) else { return Ok(()) };
        let identity = (daemon.is_known || !ill).then_some(&known().identity);
        for heard in daemon.telling.tell(path, &news, identity, now) {
            match heard {
                Heard::Event(event) => {
                    self.turn(Input::Heard { event, channel: Channel::Metadata })?;
                }
                Heard::Gone(path) => {
                    let cause = match path {
                        SignalPath::SpotInstanceAction => Cause::Spot,
                        SignalPath::TargetLifecycleState => Cause::Lifecycle,
                        SignalPath::MaintenanceScheduled => Cause::Maintenance,
                        SignalPath::Rebalance => continue,
                    };
                    self.turn(Input::Gone(cause))?;
                }
                Heard::Health { .. } | Heard::Facts(_) => {}
            }
        }
        Ok(())
    }

    /// One channel alone is enough: what stood undisturbed for so long is known, and done or on
    /// its way.
    pub(super) fn must_be_heard(&mut self, version: u64) -> Kept {
        let is_same = version == self.instance.version
            && !self.instance.taken
            && self.now >= self.instance.disturbed + HEARD;
        let body = self.instance.stands.get(&SignalPath::SpotInstanceAction);
        let Some((daemon, body)) = self.instance.daemon.as_ref().zip(body) else { return Ok(()) };
        if !is_same || daemon.stopping.is_some() {
            return Ok(());
        }
        let Ok(notice) = wire::imds::spot_instance_action(body) else { return Ok(()) };
        let key = of_spot(self, &notice.action);
        let acted = daemon
            .watch
            .incidents()
            .any(|known| known.is_told_by(&key) && (known.closed.is_some() || known.is_running()));
        match acted {
            true => Ok(()),
            false => Err(self.broken(Promise::EitherEar, format!("`{key}` was not heard"))),
        }
    }

    /// A message of the queue; taken, or given again.
    pub(super) fn message(&mut self, id: String, text: String, tries: u32) -> Kept {
        if self.instance.taken || tries > 12 {
            return Ok(());
        }
        let now = self.clocks().wall;
        let listens = self.instance.network;
        let daemon = self.instance.daemon.as_mut().filter(|known| listens && known.is_known);
        let Some(daemon) = daemon else {
            self.after(VISIBILITY, Happening::Message { id, text, tries: tries + 1 });
            return Ok(());
        };
        let Verdict::Take(command) = daemon.inbox.judge(&id, &text, now) else { return Ok(()) };
        let life = self.instance.life;
        let by = command.correlation.clone();
        if let Kind::Handle(event) | Kind::Drill(event) = command.kind.clone() {
            let told = *event.clone();
            self.turn(Input::Commanded { event, by: by.clone() })?;
            if self.instance.life == life {
                self.check_command(&told, by.as_ref())?;
            }
        }
        let is_durable = self.instance.life == life && !self.instance.full;
        match self.instance.daemon.as_mut().filter(|_| is_durable) {
            Some(daemon) => daemon.inbox.take(&id, &command, now),
            None => self.after(VISIBILITY, Happening::Message { id, text, tries: tries + 1 }),
        }
        Ok(())
    }

    fn check_command(&self, event: &Event, by: Option<&IncidentKey>) -> Kept {
        let Some((daemon, by)) = self.instance.daemon.as_ref().zip(by) else { return Ok(()) };
        if event.cause != Some(Cause::Spot) || event.drill {
            return Ok(());
        }
        let is_told = daemon.watch.incidents().any(|known| {
            known.told_by.contains(by.as_str()) || known.told_by.len() >= snoozed::incident::TOLD
        });
        match is_told {
            true => Ok(()),
            false => Err(self.broken(Promise::EitherEar, format!("the command of `{by}` is lost"))),
        }
    }
}

fn of_spot(world: &World, action: &LossAction) -> IncidentKey {
    IncidentKey::of_loss(&known().identity.instance, &world.instance.boot(), Cause::Spot, action)
}
