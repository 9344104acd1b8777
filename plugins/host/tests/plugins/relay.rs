//! The way to a plugin in a unit of its own; a socket stands for the one that systemd listens on.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::common::{PATIENCE, await_some, await_that, script};

#[test]
fn a_plugin_in_a_unit_of_its_own_answers_each_connection_by_itself() {
    let unit = Unit::start("while read -r line; do echo \"$$ $line\"; done");
    let mut first = unit.connect();
    let mut second = unit.connect();
    let (one, two) = (first.ask("a"), second.ask("b"));
    assert!(one.ends_with(" a") && two.ends_with(" b"), "{one} {two}");
    assert_ne!(one.split(' ').next(), two.split(' ').next(), "one process for each connection");
    assert_eq!(first.ask("c").split(' ').next(), one.split(' ').next());
}

#[test]
fn a_plugin_that_nobody_listens_to_ends_even_if_it_does_not_want_to() {
    let unit = Unit::start(
        "trap '' TERM\nread -r line\necho $$ > \"$FOLDER/pid\"\necho ready\nwhile :; do sleep 1; done",
    );
    let mut connection = unit.connect();
    assert_eq!(connection.ask("go"), "ready");
    let pid: u32 = await_some("its number", || {
        fs::read_to_string(unit.folder.path().join("pid")).ok()?.trim().parse().ok()
    });
    let is_there = || Path::new(&format!("/proc/{pid}")).exists();
    assert!(is_there());
    drop(connection);
    await_that("its end", || !is_there());
}

#[test]
fn the_daemons_side_ends_with_the_plugin_and_tells_where_none_is() {
    let unit = Unit::start("read -r line\necho \"heard $line\"");
    let mut call = relay().arg("call").arg(unit.socket()).stdin(Stdio::piped()).spawn().unwrap();
    // It is open as long as the daemon lives; the plugin ends of itself.
    let mut requests = call.stdin.take().unwrap();
    requests.write_all(b"question\n").unwrap();
    let mut answer = String::new();
    BufReader::new(call.stdout.take().unwrap()).read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "heard question\n");
    assert!(call.wait().unwrap().success());

    for (arguments, code, told) in [
        (&["call", "/no/such.sock"][..], 1, "cloudsnooze-plugin@NAME.socket"),
        (&["serve"], 2, "Usage:"),
    ] {
        let output = relay().args(arguments).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(told), "{said}");
    }
}

fn relay() -> Command {
    let mut relay = Command::new(env!("CARGO_BIN_EXE_plugin-relay"));
    relay.stdin(Stdio::null()).stdout(Stdio::piped());
    relay
}

/// Stands for `cloudsnooze-plugin@NAME`, both units.
struct Unit {
    folder: TempDir,
    serving: Child,
}

impl Unit {
    fn start(plugin: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let program = folder.path().join("plugin");
        script(&program, &format!("#!/bin/sh\n{plugin}\n"));
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let serving = relay()
            .arg("serve")
            .arg(program)
            .env("FOLDER", folder.path())
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .unwrap();
        Self { folder, serving }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn connect(&self) -> Connection {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection { lines: BufReader::new(stream) }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // One that has ended is no failure.
        let _ = self.serving.kill();
        let _ = self.serving.wait();
    }
}

struct Connection {
    lines: BufReader<UnixStream>,
}

impl Connection {
    fn ask(&mut self, text: &str) -> String {
        self.lines.get_mut().write_all(format!("{text}\n").as_bytes()).unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
