//! What the kernel holds is written, and what is frozen is thawed whatever happens.
//!
//! The file systems are real ones on loop devices, which needs root and such a device. systemd is
//! not process 1 where these tests run, so that its timer is a stand-in that thaws all the same.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use host_plugins::{Programs, VolumeSync};
use serde_json::{Map, Value, json};
use snooze_plugin::wire::{Answer, Method, read_reply, request_line};
use snooze_plugin::{Handled, Info, Plugin};
use tempfile::TempDir;

use crate::common::{self, await_some, await_that, event, handle, notice, script};

#[test]
fn what_was_written_is_on_the_disk_afterwards() {
    let Some(volume) = Volume::new() else { return };
    let marker = "the kernel held this back";
    fs::write(volume.point().join("file"), marker).unwrap();
    let handled = handle(&mut plugin(), &json!({ "paths": [volume.point()] }), &notice());
    assert_eq!((handled.status.as_deref(), handled.verified), (Some("volumes_synced"), Some(true)));
    assert_eq!(handled.more["saved"], json!([volume.point()]));
    assert!(handled.more["dirty_bytes_before"].is_u64(), "{handled:?}");
    assert!(volume.disk_holds(marker));
}

#[test]
fn without_paths_all_file_systems_are_written_each_once() {
    let handled = handle(&mut plugin(), &json!({}), &notice());
    // Other tests mount and unmount meanwhile.
    assert!(handled.handled, "{handled:?}");
    let saved: Vec<&str> = handled.more["saved"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| path.as_str().unwrap())
        .collect();
    assert!(saved.contains(&"/"), "{saved:?}");
    assert!(!saved.contains(&"/proc"), "{saved:?}");
}

#[test]
fn a_path_that_is_not_there_is_said_and_found_before_the_notice() {
    let config = json!({ "paths": ["/", "/no/such/volume"] });
    let handled = handle(&mut plugin(), &config, &notice());
    assert_eq!((handled.handled, handled.verified), (true, Some(false)), "{handled:?}");
    assert_eq!(handled.more["not_done"][0]["what"], "/no/such/volume");
    let mut plugin = plugin();
    plugin.configure(config.as_object().unwrap()).unwrap();
    assert!(plugin.health().unwrap_err().to_string().starts_with("/no/such/volume: "));
}

#[test]
fn a_frozen_volume_is_thawed_at_the_end_of_the_plugin() {
    let Some(volume) = Volume::new() else { return };
    let mut plugin = plugin();
    let handled = handle(&mut plugin, &volume.freezing(100), &notice());
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert_eq!(handled.more["frozen"], json!([volume.point()]));
    assert_eq!(handled.more["thaw_within_seconds"], 100.0);
    assert!(volume.is_frozen());
    plugin.shutdown().unwrap();
    assert!(!volume.is_frozen());
    fs::write(volume.point().join("after"), "writable again").unwrap();
}

#[test]
fn a_frozen_volume_is_thawed_when_its_time_is_over() {
    let Some(volume) = Volume::new() else { return };
    let mut plugin = plugin();
    let handled = handle(&mut plugin, &volume.freezing(8), &notice());
    assert_eq!(handled.more["frozen"], json!([volume.point()]), "{handled:?}");
    await_that("the guard thaws by itself", || !volume.is_frozen());
    plugin.shutdown().unwrap();
}

#[test]
fn a_second_notice_freezes_again() {
    let Some(volume) = Volume::new() else { return };
    let mut plugin = plugin();
    for _ in 0..2 {
        let handled = handle(&mut plugin, &volume.freezing(100), &notice());
        assert_eq!(handled.more["frozen"], json!([volume.point()]), "{handled:?}");
        assert!(volume.is_frozen());
    }
    plugin.shutdown().unwrap();
    assert!(!volume.is_frozen());
}

#[test]
fn a_plugin_that_is_killed_while_a_volume_is_frozen_leaves_it_thawed() {
    let Some(volume) = Volume::new() else { return };
    let mut process = Process::start(&volume.freezing(100));
    let event = json!({ "type": "cloud.spot.interrupt", "data": { "timeRemaining": 120 } });
    let Answer::Result(handled) = process.ask(Method::HandleEvent, json!({ "event": event }))
    else {
        panic!("failed")
    };
    assert_eq!(handled["frozen"], json!([volume.point()]), "{handled}");
    assert!(volume.is_frozen());
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    await_that("the guard sees that the plugin is gone", || !volume.is_frozen());
}

#[test]
fn a_volume_is_thawed_by_systemd_when_plugin_and_guard_are_killed_together() {
    let Some(volume) = Volume::new() else { return };
    let systemd = Systemd::new();
    let mut plugin = systemd.plugin();
    let handled = handle(&mut plugin, &volume.freezing(8), &notice());
    assert_eq!(handled.more["frozen"], json!([volume.point()]), "{handled:?}");
    let guard = volume.guard();
    rustix::process::kill_process(guard, rustix::process::Signal::KILL).unwrap();
    await_that("the timer thaws", || !volume.is_frozen());
    let log = systemd.log();
    assert!(log.contains("--on-active=11 "), "{log}");
    assert!(log.contains(&format!("fsfreeze --unfreeze {}", volume.point().display())), "{log}");
}

#[test]
fn a_thaw_in_time_takes_its_timer_back_and_without_a_timer_nothing_is_frozen() {
    let Some(volume) = Volume::new() else { return };
    let systemd = Systemd::new();
    let mut plugin = systemd.plugin();
    handle(&mut plugin, &volume.freezing(100), &notice());
    plugin.shutdown().unwrap();
    assert!(systemd.log().contains("systemctl stop --no-ask-password -- cloudsnooze-thaw-"));
    script(&systemd.folder.path().join("systemd-run"), "#!/bin/sh\necho denied >&2; exit 1\n");
    let handled = handle(&mut plugin, &volume.freezing(100), &notice());
    assert_eq!((handled.handled, handled.verified), (true, Some(false)), "the sync was done");
    let why = handled.more["not_done"][0]["why"].as_str().unwrap();
    assert!(why.contains("systemd sets no timer") && why.contains("denied"), "{why}");
    assert!(!volume.is_frozen());
}

#[test]
fn what_the_machine_or_the_daemon_needs_is_never_frozen() {
    let config = json!({ "paths": ["/", "/tmp"], "freeze": true });
    let mut plugin = plugin();
    let handled = handle(&mut plugin, &config, &notice());
    let told = handled.more["not_done"].to_string();
    assert!(told.contains("freeze /") && told.contains("is on it"), "{told}");
    assert!(plugin.health().unwrap_err().to_string().contains("would not be frozen"));
    plugin.shutdown().unwrap();
    // This would hang for ever.
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
}

#[test]
fn a_volume_on_which_the_plugin_or_the_daemon_has_a_file_open_is_not_frozen() {
    let Some(volume) = Volume::new() else { return };
    let journal = fs::File::create(volume.point().join("journal")).unwrap();
    let handled = handle(&mut plugin(), &volume.freezing(100), &notice());
    let why = handled.more["not_done"][0]["why"].as_str().unwrap();
    assert_eq!(why, "the daemon or the plugin has a file open on it");
    assert!(!volume.is_frozen());
    drop(journal);
}

#[test]
fn a_drill_and_a_dry_run_only_say_what_would_be_done_and_a_warning_freezes_nothing() {
    let Some(volume) = Volume::new() else { return };
    let point = volume.point();
    let told = json!([format!("sync {}", point.display()), format!("freeze {}", point.display())]);
    let drill = event("cloud.spot.interrupt", json!({ "drill": true }));
    let handled = handle(&mut plugin(), &volume.freezing(100), &drill);
    assert_eq!((handled.verified, &handled.more["would"]), (None, &told));
    let mut config = volume.freezing(100);
    config["dry_run"] = json!(true);
    assert_eq!(handle(&mut plugin(), &config, &notice()).more["would"], told);
    for kind in ["cloud.spot.rebalance", "instance.idle"] {
        let handled = handle(&mut plugin(), &volume.freezing(100), &event(kind, json!({})));
        assert_eq!((handled.verified, handled.more.get("frozen")), (Some(true), None));
        assert!(!volume.is_frozen());
    }
    let other = event("system.disk.low", json!({}));
    assert_eq!(handle(&mut plugin(), &json!({}), &other), Handled::not_mine());
}

#[test]
fn the_program_says_who_it_is() {
    let info = common::info_of(GUARD);
    assert_eq!(Info::read(&info).unwrap().name, "volume-sync");
}

const GUARD: &str = env!("CARGO_BIN_EXE_volume-sync");

/// One on a machine without systemd.
fn plugin() -> VolumeSync {
    VolumeSync::new(Programs::default(), GUARD.into(), "/no/systemd".into())
}

/// A small file system of its own.
struct Volume {
    folder: TempDir,
}

impl Volume {
    /// `None` where none can be made: without root, or without a loop device.
    fn new() -> Option<Self> {
        // In memory where that can be: other programs may keep the disk busy for long.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        let volume = Self { folder: folder.unwrap() };
        fs::create_dir(volume.point()).unwrap();
        fs::File::create(volume.image()).unwrap().set_len(16 << 20).unwrap();
        let done = |command: &mut Command| {
            let output = command.output();
            output.is_ok_and(|output| output.status.success())
        };
        let made = done(Command::new("mkfs.ext4").arg("-q").arg(volume.image()))
            && done(
                Command::new("mount").args(["-o", "loop"]).args([volume.image(), volume.point()]),
            );
        if !made {
            println!("not tested: no file system can be mounted here");
        }
        made.then_some(volume)
    }

    fn point(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("my volume")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn freezing(&self, seconds: u32) -> Value {
        json!({ "paths": [self.point()], "freeze": true, "hold_seconds": seconds })
    }

    fn disk_holds(&self, text: &str) -> bool {
        let disk = fs::read(self.image()).unwrap();
        disk.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// What is frozen cannot be frozen again.
    fn is_frozen(&self) -> bool {
        let fsfreeze = |verb: &str| {
            let done = Command::new("fsfreeze").arg(verb).arg(self.point()).output().unwrap();
            (done.status.success(), String::from_utf8(done.stderr).unwrap())
        };
        match fsfreeze("--freeze") {
            (true, _) => {
                assert!(fsfreeze("--unfreeze").0);
                false
            }
            (false, said) => {
                assert!(said.contains("busy"), "{said}");
                true
            }
        }
    }

    /// The process that guards it.
    fn guard(&self) -> rustix::process::Pid {
        let point = self.point().display().to_string();
        await_some("a guard", || {
            let mut entries = fs::read_dir("/proc").unwrap().flatten();
            entries.find_map(|entry| {
                let args = fs::read_to_string(entry.path().join("cmdline")).ok()?;
                let is_guard = args.starts_with(GUARD) && args.contains(&point);
                let pid = entry.file_name().to_str()?.parse().ok().filter(|_| is_guard)?;
                rustix::process::Pid::from_raw(pid)
            })
        })
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Whatever went wrong, no frozen file system is left behind.
        for program in [&["fsfreeze", "--unfreeze"][..], &["umount", "--lazy"]] {
            let _ = Command::new(program[0]).args(&program[1..]).arg(self.point()).output();
        }
    }
}

/// Stand-ins for the programs of systemd, and `fsfreeze` as it is.
struct Systemd {
    folder: TempDir,
}

impl Systemd {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        script(
            &path("systemctl"),
            "#!/bin/sh\necho systemctl \"$@\" >> \"$(dirname \"$0\")/log\"\n",
        );
        script(
            &path("systemd-run"),
            "#!/bin/sh\n\
             echo systemd-run \"$@\" >> \"$(dirname \"$0\")/log\"\n\
             for arg; do case $arg in --on-active=*) seconds=${arg#*=} ;; esac; done\n\
             while [ \"$1\" != -- ]; do shift; done\n\
             shift\n\
             { sleep \"$seconds\"; exec \"$@\"; } > /dev/null 2>&1 &\n",
        );
        let fsfreeze = ["/usr/sbin/fsfreeze", "/sbin/fsfreeze"];
        let fsfreeze = fsfreeze.into_iter().find(|path| Path::new(path).exists()).unwrap();
        std::os::unix::fs::symlink(fsfreeze, path("fsfreeze")).unwrap();
        Self { folder }
    }

    fn plugin(&self) -> VolumeSync {
        let programs = Programs::of(vec![self.folder.path().to_owned()]);
        VolumeSync::new(programs, GUARD.into(), self.folder.path().to_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// The plugin as a process, as the daemon starts it.
struct Process {
    child: Child,
    replies: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(config: &Value) -> Self {
        let mut child = Command::new(GUARD)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, replies };
        let configured = process.ask(Method::Configure, json!({ "config": config }));
        assert_eq!(configured.done(), Ok(()));
        process
    }

    fn ask(&mut self, method: Method, params: Value) -> Answer {
        let params: Map<String, Value> = params.as_object().unwrap().clone();
        let line = request_line(method, params, 1, false);
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        read_reply(reply.trim_end().as_bytes()).unwrap().answer
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
