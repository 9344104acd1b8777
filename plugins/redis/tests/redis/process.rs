//! The process of a real server, without a client of it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts a server whose socket is `redis.sock` in a folder, and waits until it is ready; `None`
/// where none is installed, which it need not be.
pub(crate) fn start(folder: &Path, settings: &[&str]) -> Option<Child> {
    start_by(Command::new("redis-server"), folder, settings)
}

/// The same, by a command that becomes the server with the arguments that follow.
pub(crate) fn start_by(by: Command, folder: &Path, settings: &[&str]) -> Option<Child> {
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let Ok(mut child) = spawn(by, folder, settings) else {
        let needed = std::env::vars().any(|(name, value)| name == "SNOOZE_FULL" && value == "1");
        assert!(!needed, "SNOOZE_FULL=1 needs redis-server");
        println!("not tested: redis-server is not installed");
        return None;
    };
    wait_until_ready(&mut child);
    Some(child)
}

fn spawn(mut by: Command, folder: &Path, settings: &[&str]) -> std::io::Result<Child> {
    by.args(["--port", "0", "--save", "", "--bind", "127.0.0.1"])
        .arg("--unixsocket")
        .arg(folder.join("redis.sock"))
        .arg("--dir")
        .arg(folder.join("data"))
        .args(settings)
        .stdout(Stdio::piped())
        .spawn()
}

/// Reads the log until the server says that it is ready, and lets somebody read the rest.
fn wait_until_ready(child: &mut Child) {
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("eady to accept connections") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "redis-server ended");
    }
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
}
