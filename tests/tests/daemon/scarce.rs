//! A disk that is full or cannot be written, and a system without descriptors or processes to
//! spare.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use snooze_imds::fake::Notice;
use snooze_tests::setup::{Daemon, Setup};
use snooze_tests::{place, plugins, wait};
use snoozed::launch::descendants_of;

/// A user that nobody else is: what a limit counts belongs to the daemon alone.
const NOBODY_ELSE: u32 = 61_234;

#[test]
fn g4_a_disk_that_fills_up_does_not_matter_since_the_journal_has_its_room() {
    if !place::as_root() {
        return;
    }
    let setup = on_a_disk("size=256k", "");
    let daemon = setup.start();
    fill(&inside(&daemon, &setup, "filler"));
    notice(&setup);
    assert_eq!(daemon.closed()["outcome"], "done");
    assert_eq!(daemon.ask("STATUS", json!({}))["durable"], true);
    let journal = fs::read_to_string(inside(&daemon, &setup, "journal")).unwrap();
    for record in ["opened", "started", "ended", "closed"] {
        assert!(journal.contains(&format!("\"record\":\"{record}\"")), "{record}: {journal}");
    }
}

#[test]
fn g4_on_a_full_disk_the_plan_runs_from_memory_and_is_written_when_there_is_room() {
    if !place::as_root() {
        return;
    }
    let setup = on_a_disk("size=64k", "cat /dev/zero > filler 2>/dev/null || true");
    let daemon = setup.start();
    notice(&setup);
    assert_eq!(daemon.closed()["outcome"], "done");
    not_durable(&daemon, &setup);
    fs::remove_file(inside(&daemon, &setup, "filler")).unwrap();
    durable_again(&daemon, &setup);
}

#[test]
fn g4_on_a_disk_that_cannot_be_written_the_plan_runs_from_memory() {
    if !place::as_root() {
        return;
    }
    let setup = on_a_disk("size=256k", ": > journal; cd /; mount -o remount,ro \"$state\"");
    let daemon = setup.start();
    notice(&setup);
    assert_eq!(daemon.closed()["outcome"], "done");
    not_durable(&daemon, &setup);
    let mut mend = Command::new("nsenter");
    mend.args([&format!("--mount=/proc/{}/ns/mnt", daemon.id()), "mount", "-o", "remount,rw"]);
    let _nothing = place::output(mend.arg(setup.path("state")));
    durable_again(&daemon, &setup);
}

/// Clients that say nothing hold every descriptor but those that are spared for plugins.
#[test]
fn g5_without_descriptors_a_plugin_still_starts_and_the_metadata_is_still_asked() {
    let mut setup = saver();
    setup.wrap("ulimit -n 32\nexec \"$@\"");
    let daemon = setup.start();
    wait_for_plugin(&setup);
    let socket = setup.path("run/snoozed.sock");
    let clients: Vec<UnixStream> =
        (0..100).map_while(|_| UnixStream::connect(&socket).ok()).collect();
    assert!(clients.len() >= 16, "{}", clients.len());
    kill_plugins(&daemon);
    notice(&setup);
    finished(&setup);
    setup.wait_for_polls(3);
    drop(clients);
    assert_eq!(daemon.closed()["outcome"], "done");
}

#[test]
fn g5_without_processes_a_start_is_tried_again_for_as_long_as_the_step_has() {
    if !place::as_root() {
        return;
    }
    let mut setup = saver();
    let (folder, own) = (setup.path(""), setup.path("own"));
    setup.wrap(&format!(
        "cp \"$1\" '{own}'\nshift\nchown -R {NOBODY_ELSE}:{NOBODY_ELSE} '{folder}'\n\
         exec setpriv --reuid={NOBODY_ELSE} --regid={NOBODY_ELSE} --clear-groups '{own}' \"$@\"",
        own = own.display(),
        folder = folder.display(),
    ));
    let daemon = setup.start();
    wait_for_plugin(&setup);
    // The softer limit, which its own user may set, and raise again.
    let limit = |most: &str| {
        let mut limit = Command::new("setpriv");
        let user = [format!("--reuid={NOBODY_ELSE}"), format!("--regid={NOBODY_ELSE}")];
        limit.args(user).args(["--clear-groups", "prlimit", &format!("--nproc={most}:")]);
        let _nothing = place::output(limit.arg(format!("--pid={}", daemon.id())));
    };
    limit("1");
    kill_plugins(&daemon);
    let tries = || setup.log().matches("plugin cannot start").count();
    notice(&setup);
    wait::until("the incident", || (!daemon.history().is_empty()).then_some(()));
    let before = tries();
    wait::until("starts that fail", || (tries() > before + 1).then_some(()));
    setup.wait_for_polls(3);
    assert!(setup.lines("done").is_empty());
    limit("512");
    assert_eq!(daemon.closed()["outcome"], "done");
    finished(&setup);
}

fn saver() -> Setup {
    let mut setup = Setup::new();
    let text = plugins::recorder("saver", &setup.path("done"), 0.0);
    setup.script("plugins/saver.sh", &text);
    setup.policy("orders", json!([{ "plugin": "saver", "timeout_seconds": 100 }]));
    setup
}

/// A daemon whose state is on a file system of its own, on which this script has run.
fn on_a_disk(options: &str, script: &str) -> Setup {
    let mut setup = saver();
    fs::create_dir(setup.path("state")).unwrap();
    let state = setup.path("state").display().to_string();
    let inner = format!(
        "state='{state}'; mount -t tmpfs -o mode=700,{options} tmpfs \"$state\"; \
         (cd \"$state\"; {script} :); exec \"$@\"",
        script = if script.is_empty() { String::new() } else { format!("{script};") },
    );
    setup.script("inner.sh", &format!("#!/bin/sh\nset -e\n{inner}\n"));
    setup.wrap(&format!("exec unshare --mount '{}' \"$@\"", setup.path("inner.sh").display()));
    setup
}

/// A file of the state, as the daemon sees it.
fn inside(daemon: &Daemon, setup: &Setup, name: &str) -> PathBuf {
    let path = setup.path("state").join(name);
    PathBuf::from(format!("/proc/{}/root{}", daemon.id(), path.display()))
}

fn fill(path: &PathBuf) {
    let mut file = fs::File::create(path).unwrap();
    while file.write(&[0; 512]).is_ok() {}
    let mut more = fs::File::create(path.with_extension("more")).unwrap();
    assert!(more.write(b"x").is_err(), "the disk is full");
}

fn notice(setup: &Setup) {
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
}

fn finished(setup: &Setup) {
    let is_finish = |line: &String| line.starts_with("finish saver");
    wait::until("the plugin to save", || setup.lines("done").iter().any(is_finish).then_some(()));
}

fn not_durable(daemon: &Daemon, setup: &Setup) {
    let status = daemon.ask("STATUS", json!({}));
    assert_eq!(status["durable"], false);
    assert!(status["faults"].to_string().contains("journal"), "{status}");
    setup.wait_for_log("journal cannot be written; going on without");
    finished(setup);
}

fn durable_again(daemon: &Daemon, setup: &Setup) {
    let status = || -> Value { daemon.ask("STATUS", json!({})) };
    wait::until("the journal", || (status()["durable"] == true).then_some(()));
    let journal = fs::read_to_string(inside(daemon, setup, "journal")).unwrap();
    assert!(journal.contains("\"record\":\"opened\""), "{journal}");
    assert!(journal.contains("\"record\":\"closed\""), "{journal}");
}

fn wait_for_plugin(setup: &Setup) {
    let is_there = || setup.processes().iter().any(|line| line.contains("saver.sh"));
    wait::until("the plugin", || is_there().then_some(()));
}

fn kill_plugins(daemon: &Daemon) {
    for plugin in descendants_of(pid(daemon)) {
        // One that ended with another is gone.
        let _ = kill_process(plugin, Signal::KILL);
    }
}

fn pid(daemon: &Daemon) -> Pid {
    Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap()
}
