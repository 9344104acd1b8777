//! When somebody last did something in a session.
//!
//! A session is a pseudo-terminal (`ssh`, Session Manager, `tmux`), a console with somebody logged
//! in, or a command that runs over `ssh` without a terminal (`rsync`, `scp`, `sftp`, a remote
//! editor), which counts as somebody who does something for as long as it runs. A bare tunnel
//! (`ssh -N`) is none. The kernel notes when a terminal was last typed into as the access time of
//! its file, in steps of eight seconds.
//!
//! A desktop is a session of logind (`/run/systemd/sessions`) in which nobody can see, without
//! tools of that desktop, when somebody last did something: while there is one, it is not known.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use snooze_policy::idle::Reading;

use super::Figure;
use super::process::{Process, walk};
use crate::idle::files::{Files, Trouble};

/// How often all processes are looked at, at most: that costs ten microseconds for each.
const WALK_EVERY: Duration = Duration::from_secs(10);

/// Where logind keeps what it knows of sessions.
const SESSIONS: &str = "run/systemd/sessions";
/// More than such a file has, in bytes.
const LONGEST: u64 = 16 << 10;
/// Types of sessions that are desktops (sd_session_get_type(3)).
const DESKTOPS: [&str; 3] = ["x11", "wayland", "mir"];

/// Programs that hold a console while nobody is logged in there.
const GREETERS: [&str; 7] =
    ["agetty", "fgetty", "getty", "login", "mgetty", "mingetty", "plymouthd"];

/// The sessions at the last look.
#[derive(Debug, Default)]
pub(super) struct Input {
    walked: Option<Duration>,
    /// Consoles with somebody logged in.
    consoles: Vec<String>,
    /// How many commands run over `ssh` without a terminal.
    commands: usize,
    terminals: BTreeMap<String, Terminal>,
}

/// A terminal, and when something was typed there, on the boot clock: the wall clock may be set.
#[derive(Debug, Clone, Copy)]
struct Terminal {
    accessed: (i64, i64),
    active: Duration,
    looked: Duration,
}

impl Input {
    /// Seconds since somebody did something; `wall` is held against times of files.
    pub(super) fn sample(&mut self, files: &mut Files, at: Duration, wall: SystemTime) -> Figure {
        if self.walked.is_none_or(|last| at.saturating_sub(last) >= WALK_EVERY || at < last) {
            // Until it succeeds, every sample tries, and none makes believe to know.
            self.walked = None;
            self.walk(files)?;
            self.walked = Some(at);
        }
        let pseudo = files.names("dev/pts")?.into_iter().filter(|name| name.parse::<u32>().is_ok());
        let pseudo: Vec<String> = pseudo.map(|name| format!("dev/pts/{name}")).collect();
        let mut terminals = BTreeMap::new();
        for path in pseudo.into_iter().chain(self.consoles.iter().cloned()) {
            let file = match std::fs::metadata(files.path(&path)) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Trouble::of(&path, error).into()),
            };
            let accessed = (file.atime(), file.atime_nsec());
            let terminal = match self.terminals.get(&path) {
                Some(known) if known.accessed == accessed => Terminal { looked: at, ..*known },
                known => {
                    let age = file.accessed().ok().and_then(|time| wall.duration_since(time).ok());
                    // A change was made since the last look, whatever the wall clock says.
                    let most = known.map(|known| at.saturating_sub(known.looked));
                    let age = age.unwrap_or_default().min(most.unwrap_or(Duration::MAX));
                    Terminal { accessed, active: at.saturating_sub(age), looked: at }
                }
            };
            terminals.insert(path, terminal);
        }
        self.terminals = terminals;
        if self.commands > 0 {
            return Ok(Reading::Value(0.0));
        }
        if let Some(desktop) = desktop(files)? {
            return Err(format!("session `{desktop}` is a desktop, whose input cannot be seen"));
        }
        let last = self.terminals.values().map(|terminal| terminal.active).max();
        Ok(match last {
            Some(last) => Reading::Value(at.saturating_sub(last).as_secs_f64()),
            None => Reading::Absent("no session".to_owned()),
        })
    }

    fn walk(&mut self, files: &mut Files) -> Result<(), String> {
        (self.consoles, self.commands) = (Vec::new(), 0);
        walk(files, |process, files| {
            if process.comm.starts_with("sshd") {
                let title = files.text(&format!("proc/{}/cmdline", process.pid))?;
                self.commands += usize::from(is_command(&title));
            }
            self.consoles.extend(console(process));
            Ok(())
        })?;
        self.consoles.sort();
        self.consoles.dedup();
        Ok(())
    }
}

/// A desktop that somebody is logged in at, by the name of its session. Where there is no logind,
/// there is no such session.
fn desktop(files: &mut Files) -> Result<Option<String>, Trouble> {
    let names = match files.names(SESSIONS) {
        Err(trouble) if trouble.is_missing() => return Ok(None),
        names => names?,
    };
    // Beside the file of a session stands a pipe, `ID.ref`.
    for name in names.into_iter().filter(|name| !name.contains('.')) {
        match files.head(&format!("{SESSIONS}/{name}"), LONGEST) {
            Ok(text) if is_desktop(&text) => return Ok(Some(name)),
            Ok(_) => {}
            Err(trouble) if trouble.is_missing() => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(None)
}

/// Whether a session is a desktop of a user (`session_save` in systemd's logind-session.c). One
/// that is closing has nobody before it, and that of a greeter waits for somebody.
fn is_desktop(session: &str) -> bool {
    let value = |key: &str| {
        let mut lines = session.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
    };
    value("CLASS").starts_with("user")
        && DESKTOPS.contains(&value("TYPE"))
        && value("STATE") != "closing"
}

/// The console that a process of somebody logged in holds (admin-guide/devices.txt).
fn console(process: &Process) -> Option<String> {
    if GREETERS.contains(&process.comm.as_str()) {
        return None;
    }
    match process.terminal {
        (4, number @ 1..64) => Some(format!("dev/tty{number}")),
        (4, number @ 64..) => Some(format!("dev/ttyS{}", number - 64)),
        (204, number @ 64..) => Some(format!("dev/ttyAMA{}", number - 64)),
        (229, number) => Some(format!("dev/hvc{number}")),
        _ => None,
    }
}

/// The title that OpenSSH gives to the server of one user (`session_proctitle` and
/// `do_exec_no_pty` in its session.c): `sshd: user@notty`, `sshd: user@internal-sftp`; without
/// what is behind the `@` while there are only tunnels.
fn is_command(title: &str) -> bool {
    let user = ["sshd: ", "sshd-session: "].iter().find_map(|name| title.strip_prefix(name));
    let Some((_, terminals)) = user.and_then(|user| user.rsplit_once('@')) else { return false };
    let mut terminals = terminals.trim_end_matches(['\0', ' ']).split(',');
    terminals.any(|terminal| matches!(terminal, "notty" | "internal-sftp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_a_desktop_is_told_from_terminals_greeters_and_what_is_left_of_one() {
        for (class, kind, state, expected) in [
            ("user", "wayland", "active", true),
            ("user", "x11", "online", true),
            ("user-early", "x11", "active", true),
            ("user", "tty", "active", false),
            ("user", "unspecified", "active", false),
            ("user", "x11", "closing", false),
            ("greeter", "wayland", "active", false),
            ("manager", "unspecified", "active", false),
        ] {
            let text = format!(
                "# This is private data. Do not parse.\nUID=1000\nUSER=ubuntu\nACTIVE=1\n\
                 STATE={state}\nREMOTE=0\nTYPE={kind}\nORIGINAL_TYPE=x11\nCLASS={class}\n"
            );
            assert_eq!(is_desktop(&text), expected, "{text}");
        }
        assert!(!is_desktop(""));
    }

    #[test]
    fn idle_a_command_over_ssh_is_told_from_a_login_and_from_a_tunnel() {
        for (title, expected) in [
            ("sshd: ubuntu@notty\0\0\0", true),
            ("sshd-session: ec2-user@notty", true),
            ("sshd: a@example.com@internal-sftp", true),
            ("sshd: ubuntu@pts/0\0", false),
            ("sshd: ubuntu@pts/0,pts/1", false),
            ("sshd: ubuntu [priv]", false),
            ("sshd: ubuntu", false),
            ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", false),
            ("vim sshd: ubuntu@notty", false),
            ("", false),
        ] {
            assert_eq!(is_command(title), expected, "{title}");
        }
    }
}
