//! The virtual machine, and the way to talk to what runs in it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::image::Image;
use crate::workplace::Workplace;

/// How long the machine itself may take to answer.
const MOMENT: Duration = Duration::from_secs(60);

/// How long the guest may take to boot, or to do a line, on an emulated processor of a busy
/// machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// How much of the console is shown.
const LAST_LINES: usize = 25;

/// A running guest. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Machine {
    qemu: Child,
    control: ChildStdin,
    told: Receiver<String>,
    agent: UnixStream,
    unread: Vec<u8>,
    console: PathBuf,
    /// Its processor is a program: everything takes many times as long.
    pub(crate) is_emulated: bool,
}

/// What a line printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Machine {
    /// Starts it, and waits until the guest can be told what to do.
    pub(crate) fn start(workplace: &Workplace, image: &Image) -> Result<Self> {
        let is_emulated = !has_virtual_processors();
        let (socket, console) = (image.folder.join("agent"), image.folder.join("console"));
        for old in [&socket, &console] {
            // The first time there is none.
            let _ = fs::remove_file(old);
        }
        let mut command = workplace.command("qemu-system-x86_64");
        command.args(["-accel", if is_emulated { "tcg" } else { "kvm" }, "-cpu", "max"]);
        command.args(["-smp", "2", "-m", "2048", "-nodefaults", "-display", "none", "-no-reboot"]);
        command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.root);
        command.args(["-append", "console=ttyS0 rdinit=/init panic=-1", "-qmp", "stdio"]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        let agent = format!("socket,id=agent,path={},server=on,wait=off", socket.display());
        command.args(["-chardev", &agent, "-serial", "chardev:agent", "-drive"]);
        command.arg(format!("file={},format=raw,if=virtio", image.disk.display()));
        let mut qemu = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let control = qemu.stdin.take().context("no way to the machine")?;
        let stdout = qemu.stdout.take().context("no way from the machine")?;
        let (tell, told) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // Until nobody listens, or the machine has ended.
            lines.all(|line| tell.send(line).is_ok())
        });
        told.recv_timeout(MOMENT).context("the virtual machine does not start")?;
        let agent = UnixStream::connect(&socket).context("cannot reach the agent's line")?;
        let unread = Vec::new();
        let mut machine = Self { qemu, control, told, agent, unread, console, is_emulated };
        machine.control("qmp_capabilities")?;
        let booted = machine.answer(PATIENCE);
        booted.with_context(|| format!("the guest does not boot:\n{}", machine.console()))?;
        Ok(machine)
    }

    /// Has the guest do a line of the shell.
    pub(crate) fn run(&mut self, line: &str) -> Result<Answer> {
        self.agent.write_all(format!("{line}\n").as_bytes()).context("the agent is gone")?;
        self.answer(PATIENCE).with_context(|| format!("no answer to `{line}`"))
    }

    fn answer(&mut self, limit: Duration) -> Result<Answer> {
        let end = Instant::now() + limit;
        let mut buffer = [0; 4096];
        loop {
            if let Some((text, code, rest)) = parted(&self.unread) {
                self.unread = rest;
                return Ok(Answer { code, text });
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("nothing for {} s", limit.as_secs());
            }
            self.agent.set_read_timeout(Some(left))?;
            let length = self.agent.read(&mut buffer).context("the agent says nothing")?;
            if length == 0 {
                bail!("the machine has ended");
            }
            self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
    }

    /// Presses the power button, and waits until the machine is off; how long that took.
    pub(crate) fn power_off(&mut self, limit: Duration) -> Result<Duration> {
        let start = Instant::now();
        self.control("system_powerdown")?;
        loop {
            match self.told.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(start.elapsed()),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the machine is not off after {} s", limit.as_secs());
                }
            }
        }
    }

    fn control(&mut self, word: &str) -> Result<()> {
        let line = format!("{{\"execute\":\"{word}\"}}\n");
        self.control.write_all(line.as_bytes()).context("the machine takes no orders")
    }

    /// The last lines of its console.
    pub(crate) fn console(&self) -> String {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Whether a guest can run on the processors of this machine: the device alone tells nothing.
fn has_virtual_processors() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    has && fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// An answer, and what follows it; it ends with `@@ CODE` on a line of its own.
fn parted(unread: &[u8]) -> Option<(String, i32, Vec<u8>)> {
    let text = std::str::from_utf8(unread).ok()?;
    let (said, rest) = text.split_once("\n@@ ")?;
    let (code, rest) = rest.split_once('\n')?;
    Some((said.trim().to_owned(), code.trim().parse().ok()?, rest.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_exit_code() {
        let parted = |text: &str| parted(text.as_bytes());
        assert_eq!(parted("running\n"), None);
        assert_eq!(parted("running\n\n@@ 0"), None);
        let whole = parted("a\nb\n\n@@ 12\nnext");
        assert_eq!(whole, Some(("a\nb".to_owned(), 12, b"next".to_vec())));
    }
}
