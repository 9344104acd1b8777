//! What the daemon tells systemd (`sd_notify(3)`): that it is ready, alive, or about to end.
//!
//! Never waits: when systemd does not take a message, it is lost, and the next one follows.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How often systemd hears that the loop turns: at most this often, and at least twice within
/// the shortest `WatchdogSec` that makes sense.
const PING: Duration = Duration::from_secs(1);

/// The way to systemd; leads nowhere when systemd did not start us.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    pinged: Option<Duration>,
}

impl Notify {
    /// The way that `NOTIFY_SOCKET` names: a path, or an abstract name behind `@`.
    #[must_use]
    pub fn to(name: Option<&str>) -> Self {
        let open = |name: &str| {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name).ok()?,
                None => SocketAddr::from_pathname(name).ok()?,
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        };
        Self { socket: name.and_then(open), pinged: None }
    }

    /// The daemon has started.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The daemon is about to end.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// The loop turns; `now` is the time since boot.
    pub fn alive(&mut self, now: Duration) {
        if self.pinged.is_some_and(|last| now.saturating_sub(last) < PING) {
            return;
        }
        self.pinged = Some(now);
        self.say("WATCHDOG=1");
    }

    fn say(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_that_the_loop_turns_at_most_once_a_second() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let mut notify = Notify::to(path.to_str());
        notify.ready();
        for turn in 0..30 {
            notify.alive(Duration::from_millis(100 * turn));
        }
        notify.stopping();
        systemd.set_nonblocking(true).unwrap();
        let mut heard = Vec::new();
        let mut bytes = [0; 64];
        while let Ok(length) = systemd.recv(&mut bytes) {
            heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
        assert_eq!(heard, ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]);
    }

    #[test]
    fn a_systemd_that_does_not_listen_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let mut notify = Notify::to(path.to_str());
        for second in 0..10_000 {
            notify.alive(Duration::from_secs(second));
        }
        Notify::to(None).ready();
        Notify::to(Some("/no/such/socket")).ready();
        Notify::to(Some("@no-such-socket")).ready();
    }
}
