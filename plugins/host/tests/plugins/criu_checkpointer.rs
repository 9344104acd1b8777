//! A process is written to images, and goes on from there.
//!
//! Where a `criu` is installed that its own check finds fit for the kernel, a real process is dumped
//! and restored. What needs no images runs with a stand-in for `criu`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use host_plugins::{CriuCheckpointer, Programs};
use serde_json::{Value, json};
use snooze_plugin::{Handled, Info, Plugin};
use tempfile::TempDir;

use crate::common::{self, Running, await_some, await_that, event, handle, notice, script};

#[test]
fn a_counter_that_was_dumped_goes_on_counting_when_it_is_restored() {
    let Some(criu) = working_criu() else { return };
    let place = Place::new();
    let counter = place.counter();
    let before = place.count();
    let mut plugin = CriuCheckpointer::new(Programs::of(vec![criu.parent().unwrap().to_owned()]));
    plugin.configure(place.config(&json!({})).as_object().unwrap()).unwrap();
    plugin.health().unwrap();
    let handled = plugin.handle_event(&notice()).unwrap();
    assert_eq!((handled.status.as_deref(), handled.verified), (Some("dumped"), Some(true)));
    assert!(handled.more["bytes"].as_u64().unwrap() > 4096, "{handled:?}");
    counter.wait();
    let stopped = place.count();
    assert!(stopped >= before);
    let images = handled.more["saved"][0].as_str().unwrap();
    let restored = Command::new(&criu)
        .args(["restore", "--tcp-close", "--restore-detached", "--images-dir", images])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(restored.status.success(), "{log}");
    await_that("it counts on", || place.count() > stopped);
    let counter = rustix::process::Pid::from_raw(counter.pid).unwrap();
    rustix::process::kill_process(counter, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_criu_that_does_not_fit_the_kernel_is_found_before_the_notice_and_refuses_at_it() {
    let unfit = candidates().into_iter().find(|criu| criu.exists() && !is_fit(criu));
    let Some(criu) = unfit else {
        println!("not tested: no `criu` is installed that does not fit the kernel");
        return;
    };
    let place = Place::new();
    let counter = place.counter();
    let mut plugin = CriuCheckpointer::new(Programs::of(vec![criu.parent().unwrap().to_owned()]));
    let config = place.config(&json!({}));
    plugin.configure(config.as_object().unwrap()).unwrap();
    assert!(plugin.health().unwrap_err().to_string().contains("criu` ended with"));
    let handled = plugin.handle_event(&notice()).unwrap();
    assert_eq!((handled.handled, handled.verified), (false, Some(false)));
    assert!(handled.error.unwrap().starts_with("CRIU could not save sh (pid"));
    assert!(counter.is_alive());
    let images: Vec<_> = walk(&place.images());
    assert!(images.iter().all(|path| !path.to_string_lossy().contains(".img")), "{images:?}");
}

#[test]
fn a_warning_writes_most_of_it_and_the_notice_builds_on_that() {
    let place = Place::new();
    let counter = place.counter();
    let warning = event("cloud.spot.rebalance", json!({}));
    for number in 1..=2 {
        let handled = place.handle(&json!({}), &warning);
        assert_eq!((handled.status.as_deref(), handled.verified), (Some("pre_dumped"), None));
        assert!(handled.more["saved"][0].as_str().unwrap().ends_with(&format!("early-{number}")));
    }
    let handled = place.handle(&json!({ "leave_running": true, "shell_job": true }), &notice());
    assert_eq!((handled.status.as_deref(), handled.verified), (Some("dumped"), Some(true)));
    assert!(handled.more["saved"][0].as_str().unwrap().ends_with("dump-3"), "{handled:?}");
    assert!(counter.is_alive());
    let log = place.log();
    let (pid, end) = (counter.pid, "--log-file=criu.log --timeout=10 --tcp-close");
    let options = |line: &str| {
        let start = line.find("--images-dir=").unwrap();
        let stop = line[start..].find(' ').unwrap() + start;
        format!("{}{}", &line[..start], &line[stop + 1..])
    };
    assert_eq!(
        log.iter().map(|line| options(line)).collect::<Vec<_>>(),
        [
            format!("pre-dump --tree={pid} {end} --track-mem"),
            format!("pre-dump --tree={pid} {end} --track-mem --prev-images-dir=../early-1"),
            format!(
                "dump --tree={pid} {end} --shell-job --leave-running --track-mem \
                 --prev-images-dir=../early-2"
            ),
        ]
    );
}

#[test]
fn connections_are_kept_if_it_is_said_and_a_dumped_process_does_not_go_on() {
    let place = Place::new();
    let counter = place.counter();
    let handled = place.handle(&json!({ "tcp": "established" }), &notice());
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert!(
        place.log()[0].contains("--tcp-established") && !place.log()[0].contains("--track-mem")
    );
    counter.wait();
    let folder = PathBuf::from(handled.more["saved"][0].as_str().unwrap());
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn images_that_are_not_whole_are_no_success_and_do_not_stay() {
    let place = Place::new();
    let _counter = place.counter();
    place.criu("echo x > \"$images/inventory.img\"; : > \"$images/pstree.img\"");
    let handled = place.handle(&json!({}), &notice());
    assert_eq!((handled.handled, handled.verified), (false, Some(false)));
    assert!(handled.error.unwrap().contains("`pstree.img` is missing or empty"));
    place.criu("echo 'Error (a): no such thing' > \"$images/criu.log\"; exit 1");
    let error = place.handle(&json!({}), &notice()).error.unwrap();
    assert!(error.ends_with(": Error (a): no such thing"), "{error}");
    let left = walk(&place.images());
    assert!(left.iter().all(|path| path.extension().is_none()), "{left:?}");
}

#[test]
fn a_dump_that_takes_too_long_is_ended_and_leaves_nothing() {
    let place = Place::new();
    let counter = place.counter();
    place.criu("echo x > \"$images/pages-1.img\"; while :; do sleep 1; done");
    let handled = place.handle(&json!({ "timeout_seconds": 1 }), &notice());
    assert_eq!(handled.verified, Some(false));
    assert!(handled.error.unwrap().contains("was not done in time"));
    assert!(counter.is_alive());
    assert!(walk(&place.images()).iter().all(|path| path.extension().is_none()));
}

#[test]
fn without_criu_or_without_the_process_it_says_so() {
    let place = Place::new();
    let mut plugin = CriuCheckpointer::new(Programs::of(vec!["/nowhere".into()]));
    let handled = handle(&mut plugin, &place.config(&json!({})), &notice());
    assert!(handled.error.unwrap().starts_with("`criu` is not installed"));
    assert!(plugin.health().unwrap_err().to_string().starts_with("`criu` is not installed"));
    let error = place.handle(&json!({}), &notice()).error.unwrap();
    assert!(error.contains("does not run: there is nothing to save"), "{error}");
}

#[test]
fn a_drill_and_a_dry_run_write_nothing() {
    let place = Place::new();
    let counter = place.counter();
    let directory = place.images().display().to_string();
    let told = json!([format!("dump sh (pid {}) to `{directory}`", counter.pid)]);
    let drill = event("cloud.spot.interrupt", json!({ "drill": true }));
    let handled = place.handle(&json!({}), &drill);
    assert_eq!((handled.status.as_deref(), &handled.more["would"]), (Some("dry_run"), &told));
    assert_eq!(place.handle(&json!({ "dry_run": true }), &notice()).more["would"], told);
    let other = event("system.disk.low", json!({}));
    assert_eq!(place.handle(&json!({}), &other), Handled::not_mine());
    assert!(!place.images().exists() && place.log().is_empty());
}

#[test]
fn the_program_says_who_it_is() {
    let info = common::info_of(env!("CARGO_BIN_EXE_criu-checkpointer"));
    assert_eq!(Info::read(&info).unwrap().name, "criu-checkpointer");
}

fn candidates() -> Vec<PathBuf> {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/usr/bin"];
    folders.map(|folder| Path::new(folder).join("criu")).into()
}

fn is_fit(criu: &Path) -> bool {
    Command::new(criu).arg("check").output().is_ok_and(|output| output.status.success())
}

fn working_criu() -> Option<PathBuf> {
    let found = candidates().into_iter().find(|criu| criu.exists() && is_fit(criu));
    if found.is_none() {
        println!("not tested: no `criu` is installed that fits the kernel, or this is not root");
    }
    found
}

/// Everything below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| [vec![entry.path()], walk(&entry.path())].concat()).collect()
}

/// A counter, and a stand-in for `criu`.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: TempDir::new().unwrap() };
        place.criu(
            "case $1 in
             pre-dump) echo x > \"$images/pages-1.img\" ;;
             dump)
               for image in inventory pstree \"core-$tree\"; do echo x > \"$images/$image.img\"; done
               [ $stays ] || kill -KILL \"$tree\" ;;
             esac",
        );
        place
    }

    /// Has the stand-in do this.
    fn criu(&self, text: &str) {
        let text = format!(
            "#!/bin/sh
             echo \"$*\" >> \"$(dirname \"$0\")/log\"
             for arg; do case $arg in
             --images-dir=*) images=${{arg#*=}} ;;
             --tree=*) tree=${{arg#*=}} ;;
             --leave-running) stays=yes ;;
             esac; done
             {text}\n"
        );
        // The old one may still be run by something.
        let _ = fs::remove_file(self.path("criu"));
        script(&self.path("criu"), &text);
    }

    /// A process that counts, without a terminal or pipes that belong to others.
    fn counter(&self) -> Running {
        // Without children: a restore needs their numbers too, and whether they are free is a
        // matter of who reaps them.
        // The file stays open, so that it is never caught empty.
        let text = "n=0; exec 3>> count
            while :; do n=$((n+1)); [ $((n % 5000)) = 0 ] && echo $n >&3; done";
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", text]).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running::start(&mut command);
        await_that("it counts", || self.path("count").exists());
        fs::write(self.path("pid"), running.pid.to_string()).unwrap();
        running
    }

    fn count(&self) -> u64 {
        let read = || fs::read_to_string(self.path("count")).ok()?.lines().last()?.parse().ok();
        await_some("a count", read)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn images(&self) -> PathBuf {
        self.path("images")
    }

    fn config(&self, more: &Value) -> Value {
        let mut config = more.clone();
        config["pid_file"] = json!(self.path("pid"));
        config["images_directory"] = json!(self.images());
        config
    }

    fn handle(&self, config: &Value, event: &snooze_plugin::PluginEvent) -> Handled {
        let programs = Programs::of(vec![self.folder.path().to_owned()]);
        handle(&mut CriuCheckpointer::new(programs), &self.config(config), event)
    }

    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}
