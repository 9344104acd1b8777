//! What is looked at in the guest, point by point.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::image::Image;
use super::machine::{Answer, Machine};
use crate::report;

/// Installs what the image brought.
const INSTALL: &str = "DEBIAN_FRONTEND=noninteractive \
    dpkg --path-include='/usr/share/doc/cloudsnooze/*' --install /packages/*.deb 2>&1";

/// The address of the metadata service on EC2.
const METADATA: &str = "169.254.169.254:80";

/// How long a shutdown may take: the `TimeoutStopSec=` of the unit, and what systemd itself needs.
const WINDOW: Duration = Duration::from_secs(110);

/// How soon a killed daemon is back, and how soon where the processor is emulated.
const BACK: (f64, f64) = (1.0, 10.0);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Points {
    failed: usize,
}

impl Points {
    /// How many points are not as promised.
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// Looks at everything but the end.
    pub(crate) fn go(&mut self, machine: &mut Machine) -> Result<()> {
        self.installed(machine)?;
        self.ready(machine)?;
        self.notice(machine)?;
        self.killed(machine)?;
        self.stuck(machine)?;
        self.limits(machine)?;
        self.unit(machine)
    }

    fn point(&mut self, name: &str, is_so: bool, detail: &str) {
        self.failed += usize::from(!is_so);
        let verdict = if is_so { "PASS" } else { "FAIL" };
        report::say(&format!("{verdict} {name}"));
        for line in detail.lines() {
            report::say(&format!("       {line}"));
        }
    }

    fn installed(&mut self, machine: &mut Machine) -> Result<()> {
        let facts = machine
            .run("uname -r; systemctl --version | head -n 1; systemctl is-system-running")?;
        report::say(&format!("guest: {}", facts.text.replace('\n', ", ")));
        if machine.is_emulated {
            report::say("guest: its processor is emulated, so that all takes many times as long");
        }
        let installed = machine.run(INSTALL)?;
        let states =
            machine.run("systemctl show snoozed.service -p ActiveState -p UnitFileState")?;
        let is_so = installed.code == 0
            && states.text.contains("=inactive")
            && states.text.contains("=disabled");
        let told = format!("{}\n{}", installed.text, states.text);
        self.point("the packages are installed, and start and enable nothing", is_so, &told);
        Ok(())
    }

    fn ready(&mut self, machine: &mut Machine) -> Result<()> {
        let started = machine.run("systemctl start snoozed.service")?;
        let active = machine.run("systemctl show snoozed.service -p Type -p ActiveState")?;
        let name = "ready with the settings of the package (sd_notify)";
        self.point(name, started.code == 0, &active.text);
        let heard = until(machine, "snooze --json status | grep -q i-0a1b2c3d4e5f60718")?;
        let asked = machine.run("snooze status | head -n 4")?;
        let name = format!("the metadata service is heard at {METADATA}");
        self.point(&name, heard.code == 0, &asked.text);
        Ok(())
    }

    fn notice(&mut self, machine: &mut Machine) -> Result<()> {
        machine.run("cp /usr/local/share/boot/snoozed.json /etc/cloudsnooze/")?;
        machine.run("systemctl restart snoozed.service")?;
        until(machine, &ready("redis-flusher"))?;
        machine.run("redis-cli set order saved-at-the-notice")?;
        let notice = "'{\"action\":\"terminate\",\"in_seconds\":120}'";
        machine.run(&format!("timeout 3 metadata {METADATA} /_control/spot {notice}"))?;
        let saved = until(machine, "grep -aqs saved-at-the-notice /srv/data/dump.rdb")?;
        until(machine, "snooze --json history | grep -q '\"outcome\": *\"done\"'")?;
        let history = machine.run("snooze history")?;
        let is_so = saved.code == 0 && history.text.contains("done");
        self.point("a Spot notice has Redis save its data to the disk", is_so, &history.text);
        machine.run(&format!("timeout 3 metadata {METADATA} /_control/clear '{{}}'"))?;
        Ok(())
    }

    fn killed(&mut self, machine: &mut Machine) -> Result<()> {
        machine.run("kill -KILL $(systemctl show snoozed.service -p MainPID --value)")?;
        let back = until(
            machine,
            "test $(systemctl show snoozed.service -p NRestarts --value) = 1 && systemctl -q is-active snoozed.service",
        )?;
        let told = "journalctl -u snoozed.service -o short-monotonic --no-pager | \
            grep -e 'Main process exited' -e 'Started snoozed.service' | tail -n 2";
        let told = machine.run(told)?.text;
        let seconds = between(&told);
        let bar = if machine.is_emulated { BACK.1 } else { BACK.0 };
        let is_so = back.code == 0 && seconds.is_some_and(|seconds| seconds <= bar);
        let seconds = seconds.map_or("?".to_owned(), |seconds| format!("{seconds:.2} s"));
        let name = format!("SIGKILL: ready again after {seconds} (at most {bar} s)");
        self.point(&name, is_so, &told);
        let knows = machine.run("snooze history")?;
        self.point("SIGKILL: it knows what it did", knows.text.contains("done"), &knows.text);
        Ok(())
    }

    /// Settings that never come hold the loop up for ever.
    fn stuck(&mut self, machine: &mut Machine) -> Result<()> {
        let pipe = "cd /etc/cloudsnooze && mv snoozed.json kept && mkfifo snoozed.json && \
            systemctl kill -s HUP --kill-whom=main snoozed.service && sleep 2 && \
            mv kept snoozed.json";
        machine.run(pipe)?;
        let back = until(
            machine,
            "test $(systemctl show snoozed.service -p NRestarts --value) = 2 && systemctl -q is-active snoozed.service",
        )?;
        let told = "journalctl -u snoozed.service -o short-monotonic --no-pager | \
            grep -e 'Watchdog timeout' -e 'Started snoozed.service' | tail -n 2";
        let told = machine.run(told)?.text;
        let is_so = back.code == 0 && told.contains("Watchdog timeout");
        self.point("a loop that is stuck is found by the watchdog, and restarted", is_so, &told);
        Ok(())
    }

    fn limits(&mut self, machine: &mut Machine) -> Result<()> {
        for plugin in ["bomb", "eat", "daemon", "hang"] {
            until(machine, &ready(&format!("hostile-{plugin}")))?;
        }
        let groups = "cd /sys/fs/cgroup/system.slice/snoozed.service && for group in */; do \
            echo $group pids.max $(cat $group/pids.max) memory.max $(cat $group/memory.max); done";
        let groups = machine.run(groups)?.text;
        let has = |start: &str, rest: &str| {
            groups.lines().any(|line| line.starts_with(start) && line.contains(rest))
        };
        let is_so = has("bomb_hostile-bomb", "pids.max 20 ") && has("eat_", "memory.max 67108864");
        self.point("each step has a control group with its limits", is_so, &groups);
        let gaps =
            machine.run("snooze plugin info hostile-eat; snooze plugin info hostile-bomb")?;
        let is_so = gaps.code == 0 && !gaps.text.contains("limits.");
        self.point("`plugin info` tells no limit that is not enforced", is_so, &gaps.text);

        let sent = self.step(machine, "bomb")?;
        let is_so = sent.contains("\"children\":19,");
        self.point("a fork bomb stops at its limit (F7)", is_so, &sent);
        let sent = self.step(machine, "eat")?;
        let kernel =
            machine.run("journalctl -k --no-pager | grep -e 'emory cgroup out of memory'")?;
        let is_so = sent.contains("killed") && kernel.code == 0;
        self.point(
            "a memory hog dies at its limit (F8)",
            is_so,
            &format!("{sent}\n{}", kernel.text),
        );
        let sent = self.step(machine, "daemon")?;
        let left = machine.run("grep -aslz '^session$' /proc/[0-9]*/cmdline")?;
        self.point(
            "a daemon that left its session dies with its step (F6)",
            left.code == 1,
            &format!("{sent}\n{}", left.text),
        );
        // `hang` still runs: its group has to go with it.
        let group = "/sys/fs/cgroup/system.slice/snoozed.service/hang_hostile-hang-*";
        let killed = machine.run(&format!("before=$(cat {group}/cgroup.procs) && echo 1 >$(echo {group})/cgroup.kill && timeout 60 sh -c \"while kill -0 $before; do sleep 0.1; done\" 2>&1; ! kill -0 $before"))?;
        let back = until(machine, &ready("hostile-hang"))?;
        self.point(
            "a group that is killed takes its plugin with it, and the next one starts",
            killed.code == 0 && back.code == 0,
            &killed.text,
        );
        Ok(())
    }

    /// A plugin in a unit of its own, by the commands of the guide.
    fn unit(&mut self, machine: &mut Machine) -> Result<()> {
        let made = machine.run("sh /usr/local/share/boot/unit.sh 2>&1")?;
        machine.run("systemctl start boot-worker.service; systemctl restart snoozed.service")?;
        until(machine, &ready("unit-stopper"))?;
        let told = self.step(machine, "worker")?;
        let stopped = machine.run(
            "test -e /run/boot-worker.saved && ! systemctl -q is-active boot-worker.service",
        )?;
        let is_so = made.code == 0 && stopped.code == 0 && told.contains("\"outcome\":\"done\"");
        let detail = format!("{}\n{told}", made.text);
        self.point("a plugin in a unit of its own stops a service that saves", is_so, &detail);

        let unit = "cloudsnooze-plugin@unit-stopper.service";
        let force = machine.run(&format!(
            "pid=$(systemctl show {unit} -p MainPID --value); \
             grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/$pid/status; \
             cat /sys/fs/cgroup$(systemctl show {unit} -p ControlGroup --value)/pids.max"
        ))?;
        // CAP_KILL alone (capability 5), a filter of system calls, and 512 tasks.
        let lines = ["CapBnd:\t0000000000000020", "NoNewPrivs:\t1", "Seccomp:\t2", "512"];
        let is_so = lines.iter().all(|line| force.text.lines().any(|said| said == *line));
        self.point("the limits of its unit are in force", is_so, &force.text);
        Ok(())
    }

    /// Has one of the hostile plugins do its worst, or another its best; what is told of that.
    fn step(&mut self, machine: &mut Machine, name: &str) -> Result<String> {
        machine.run(&format!(
            "snooze event send custom --data '{{\"mode\":\"{name}\"}}' --deadline-seconds 60"
        ))?;
        let closed = format!(
            "snooze --json history --limit 1 | tr -d ' \\n' | grep -e policy.:.{name} | grep -qv '\"outcome\":null'"
        );
        until(machine, &closed)?;
        Ok(machine.run("snooze --json history --limit 1 | tr -d ' \\n' | cut -c 1-1200")?.text)
    }

    /// Looks at the end of a machine of which no loss was told: where one was, and all was saved,
    /// the shutdown that follows is taken for that loss.
    pub(crate) fn power(&mut self, machine: &mut Machine, image: &Image) -> Result<()> {
        machine.run(INSTALL)?;
        machine.run("cp /usr/local/share/boot/snoozed.json /etc/cloudsnooze/")?;
        machine.run("systemctl start snoozed.service")?;
        until(machine, &ready("redis-flusher"))?;
        machine.run("redis-cli set order saved-at-the-power-button")?;
        let before = fs::read(&image.disk).context("cannot read the disk")?;
        let took = machine.power_off(WINDOW);
        let name = format!("the power button ends all within {} s", WINDOW.as_secs());
        let detail = took.as_ref().map_or_else(
            |error| format!("{error:#}"),
            |took| format!("off after {:.1} s", took.as_secs_f64()),
        );
        self.point(&name, took.is_ok(), &detail);
        let disk = fs::read(&image.disk).context("cannot read the disk")?;
        let holds = |disk: &[u8]| {
            let text = b"saved-at-the-power-button";
            disk.windows(text.len()).any(|window| window == text)
        };
        let is_so = !holds(&before) && holds(&disk);
        self.point("what Redis held then is on the disk", is_so, "");
        Ok(())
    }
}

/// Waits in the guest until a line of the shell succeeds.
fn until(machine: &mut Machine, line: &str) -> Result<Answer> {
    let line = line.replace('\'', "'\\''");
    machine.run(&format!("timeout 120 sh -c 'until {line}; do sleep 0.2; done'"))
}

/// A line that succeeds once a plugin waits for events.
fn ready(plugin: &str) -> String {
    format!("snooze plugin list | grep -e {plugin} | grep -q ready")
}

/// The seconds between two lines of the journal, `[   12.345678] host systemd[1]: ...`.
fn between(lines: &str) -> Option<f64> {
    let mut stamps = lines.lines().map(|line| {
        let (stamp, _) = line.strip_prefix('[')?.split_once(']')?;
        stamp.trim().parse::<f64>().ok()
    });
    let (first, second) = (stamps.next()??, stamps.next()??);
    Some(second - first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_two_lines_of_the_journal_is_read() {
        let lines = "[   94.45] vm systemd[1]: a\n[   95.7] vm systemd[1]: b";
        assert!(between(lines).is_some_and(|seconds| (seconds - 1.25).abs() < 1e-9));
        assert_eq!(between("[ 1.0] one"), None);
    }
}
