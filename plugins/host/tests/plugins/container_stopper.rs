//! Containers are stopped by label and in order, and it is read back how they ended.
//!
//! Real Docker and Podman run where they are installed and root may start containers; they share an
//! image of nothing but a static busybox. What needs no container runs with a stand-in for
//! `docker`. nerdctl is understood to answer as `docker` does and was never tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use host_plugins::{ContainerStopper, Programs};
use serde_json::{Value, json};
use snooze_plugin::{Handled, Info};
use tempfile::TempDir;

use crate::common::{self, Running, await_that, event, handle, notice, script};

#[test]
fn docker_containers_end_in_order_and_one_that_had_to_be_killed_is_told() {
    if let Some(engine) = Engine::docker() {
        stops_in_order(&engine);
    }
}

#[test]
fn podman_containers_end_in_order_and_one_that_had_to_be_killed_is_told() {
    if let Some(engine) = Engine::podman() {
        stops_in_order(&engine);
    }
}

fn stops_in_order(engine: &Engine) {
    let (stop, first, last) =
        ("cloudsnooze.stop=true", "cloudsnooze.order=1", "cloudsnooze.order=2");
    let (one, deaf) = (["--label", stop, "--label", first], ["--stop-timeout=1"]);
    engine.start("web", &one, "trap 'sleep 0.3; echo > /out/web-down; exit 0' TERM");
    engine.start("deaf", &[&one[..], &deaf].concat(), "trap '' TERM");
    let two = ["--label", stop, "--label", last];
    engine.start("db", &two, "trap 'ls /out > /out/seen-by-db; exit 0' TERM");
    engine.start("other", &[], "trap 'exit 0' TERM");
    let config = json!({ "engine": engine.name });
    let handled = engine.handle(&config);
    assert_eq!((handled.handled, handled.verified), (true, Some(false)), "{handled:?}");
    assert_eq!(handled.status.as_deref(), Some("containers_stopped"));
    assert_eq!(handled.more["saved"], json!(["web", "db"]), "{handled:?}");
    let why = "it did not end within 1 s and was killed";
    assert_eq!(handled.more["not_done"], json!([{ "what": "deaf", "why": why }]));
    let seen = fs::read_to_string(engine.out().join("seen-by-db")).unwrap();
    assert!(seen.contains("web-down"), "the order was kept: {seen}");
    let running = engine.say(&["ps", "--format", "{{.Names}}"]);
    assert_eq!(String::from_utf8(running.stdout).unwrap().trim(), "other");
    let again = engine.handle(&config);
    assert_eq!((again.status.as_deref(), again.verified), (Some("nothing_to_stop"), None));
}

#[test]
fn each_container_has_its_own_time_and_none_more_than_there_is() {
    let docker = StandIn::new();
    docker.container("a-web", "1", "null");
    docker.container("b-queue", "1", "5");
    docker.container("c-slow", "2", "600");
    docker.container("d-patient", "2", "-1");
    let config = json!({ "timeout_seconds": 100, "stop_seconds": 7 });
    let handled = docker.handle(&config);
    assert_eq!((handled.verified, &handled.more["engine"]), (Some(true), &json!("docker")));
    let mut stops = docker.log("stop");
    stops[..2].sort();
    stops[2..].sort();
    assert_eq!(stops[..2], ["stop a-web 7", "stop b-queue 5"]);
    for stop in &stops[2..] {
        let seconds: u64 = stop.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((1..=100).contains(&seconds), "{stop}");
    }
}

#[test]
fn the_label_is_the_one_that_was_set() {
    let docker = StandIn::new();
    let config = json!({ "label": "tier=batch", "socket": "/run/d.sock", "engine": "docker" });
    docker.handle(&config);
    let asked = docker.log("ps");
    assert_eq!(asked, ["ps --quiet --no-trunc --filter=label=tier=batch"]);
    assert_eq!(docker.log("option"), ["option --host=unix:///run/d.sock"]);
}

#[test]
fn a_container_that_removes_itself_at_its_end_is_down() {
    let docker = StandIn::new();
    docker.container("once", "1", "null");
    fs::write(docker.path("containers/once/removed"), "").unwrap();
    let handled = docker.handle(&json!({}));
    assert_eq!((handled.verified, &handled.more["saved"]), (Some(true), &json!(["once"])));
}

#[test]
fn a_container_that_goes_on_running_is_not_said_to_be_stopped() {
    let docker = StandIn::new();
    docker.container("stuck", "1", "null");
    fs::write(docker.path("containers/stuck/stuck"), "").unwrap();
    let handled = docker.handle(&json!({}));
    assert_eq!((handled.handled, handled.verified), (false, Some(false)));
    assert_eq!(handled.error.as_deref(), Some("stuck: it is still running"));
}

#[test]
fn without_an_engine_it_says_so_and_without_its_daemon_what_the_engine_says() {
    let mut plugin = ContainerStopper::new(Programs::of(vec!["/nowhere".into()]));
    let handled = handle(&mut plugin, &json!({}), &notice());
    assert!(handled.error.unwrap().starts_with("no container engine is installed"));
    let handled = handle(&mut plugin, &json!({ "engine": "podman" }), &notice());
    assert!(handled.error.unwrap().starts_with("`podman` is not installed"));
    let docker = StandIn::new();
    script(&docker.path("docker"), "#!/bin/sh\necho 'Cannot connect to the daemon' >&2; exit 1\n");
    let error = docker.handle(&json!({})).error.unwrap();
    assert!(error.contains("Cannot connect to the daemon"), "{error}");
}

#[test]
fn a_drill_a_dry_run_and_a_warning_stop_nothing() {
    let docker = StandIn::new();
    docker.container("db", "2", "null");
    docker.container("web", "1", "null");
    let told = json!(["stop web", "stop db"]);
    let drill = event("cloud.spot.interrupt", json!({ "drill": true }));
    let handled = handle(&mut docker.plugin(), &json!({}), &drill);
    assert_eq!((handled.status.as_deref(), &handled.more["would"]), (Some("dry_run"), &told));
    assert_eq!(docker.handle(&json!({ "dry_run": true })).more["would"], told);
    let warning = event("cloud.spot.rebalance", json!({}));
    assert_eq!(handle(&mut docker.plugin(), &json!({}), &warning), Handled::not_mine());
    assert!(docker.log("stop").is_empty());
}

#[test]
fn the_program_says_who_it_is() {
    let info = common::info_of(env!("CARGO_BIN_EXE_container-stopper"));
    assert_eq!(Info::read(&info).unwrap().name, "container-stopper");
}

/// A real engine with a place of its own.
struct Engine {
    name: &'static str,
    folder: TempDir,
    daemon: Option<Running>,
}

const IMAGE: &str = "snooze-test:1";

impl Engine {
    fn docker() -> Option<Self> {
        let dockerd = installed("dockerd")?;
        let mut engine = Self::with("docker", "--host=unix://PLACE/socket")?;
        let place = |name: &str| engine.folder.path().join(name);
        let mut daemon = Command::new(dockerd);
        daemon.args(["--iptables=false", "--bridge=none", "--storage-driver=vfs"]);
        daemon.arg("--host").arg(format!("unix://{}", place("socket").display()));
        for (option, name) in [("--data-root", "d"), ("--exec-root", "x"), ("--pidfile", "pid")] {
            daemon.arg(option).arg(place(name));
        }
        let log = fs::File::create(place("log")).unwrap();
        let daemon = Running::start(daemon.stdout(log.try_clone().unwrap()).stderr(log));
        let mut is_up = false;
        await_that("dockerd is up or gone", || {
            is_up = engine.say(&["info"]).status.success();
            is_up || !daemon.is_alive()
        });
        engine.daemon = Some(daemon);
        engine.usable(is_up)
    }

    fn podman() -> Option<Self> {
        let options =
            "--root=PLACE/s --runroot=PLACE/r --storage-driver=vfs --cgroup-manager=cgroupfs";
        let runtime = installed("runc").map_or(String::new(), |path| format!(" --runtime={path}"));
        let engine = Self::with("podman", &format!("{options}{runtime}"))?;
        let is_up = engine.say(&["info"]).status.success();
        engine.usable(is_up)
    }

    /// An engine whose command has these options, `PLACE` being its folder.
    fn with(name: &'static str, options: &str) -> Option<Self> {
        let command = installed(name)?;
        let folder = TempDir::new().unwrap();
        let place = folder.path().display().to_string();
        fs::create_dir(folder.path().join("out")).unwrap();
        let options = options.replace("PLACE", &place);
        let text = format!("#!/bin/sh\nexec {command} {options} \"$@\"\n");
        script(&folder.path().join(name), &text);
        Some(Self { name, folder, daemon: None })
    }

    /// The engine with an image, if it can start a container here.
    fn usable(self, is_up: bool) -> Option<Self> {
        let is_usable = is_up
            && self.import().is_some_and(|()| self.run("try", &[], "exit 0").status.success());
        if !is_usable {
            println!("not tested: {} starts no container here", self.name);
            return None;
        }
        self.say(&["rm", "--force", "try"]);
        Some(self)
    }

    fn import(&self) -> Option<()> {
        let busybox = installed("busybox")?;
        let root = self.folder.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        for name in ["sh", "sleep", "ls"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        let image = self.folder.path().join("image.tar");
        let packed =
            Command::new("tar").arg("-C").arg(root).arg("-cf").args([&image]).arg(".").status();
        assert!(packed.unwrap().success());
        self.say(&["import", image.to_str().unwrap(), IMAGE]).status.success().then_some(())
    }

    fn run(&self, name: &str, options: &[&str], text: &str) -> Output {
        let out = format!("--volume={}:/out", self.out().display());
        // As the engines of distributions would give more than this process may have.
        let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];
        let mut args = vec!["run", "--detach", "--network=none", "--name", name, &out];
        args.extend(limits.iter().chain(options).copied().chain([IMAGE, "/bin/sh", "-c", text]));
        self.say(&args)
    }

    fn start(&self, name: &str, options: &[&str], trap: &str) {
        let text = format!("{trap}\n: > /out/{name}-up\nwhile :; do sleep 0.05; done");
        let started = self.run(name, options, &text);
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        await_that("the container is up", || self.out().join(format!("{name}-up")).exists());
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn say(&self, args: &[&str]) -> Output {
        Command::new(self.folder.path().join(self.name)).args(args).output().unwrap()
    }

    fn handle(&self, config: &Value) -> Handled {
        let programs = Programs::of(vec![self.folder.path().to_owned()]);
        handle(&mut ContainerStopper::new(programs), config, &notice())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for name in ["web", "deaf", "db", "other", "try"] {
            self.say(&["rm", "--force", name]);
        }
        if let Some(daemon) = &self.daemon {
            let _ = Command::new("kill").arg(daemon.pid.to_string()).status();
            daemon.wait();
        }
    }
}

fn installed(name: &str) -> Option<String> {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin"];
    let found = folders.into_iter().map(|folder| Path::new(folder).join(name)).find(|p| p.exists());
    if found.is_none() {
        println!("not tested: `{name}` is not installed");
    }
    found.map(|path| path.display().to_string())
}

/// A `docker` that knows `ps`, `container inspect` and `stop`, as far as they are used.
struct StandIn {
    folder: TempDir,
}

const DOCKER: &str = r#"#!/bin/sh
cd "$(dirname "$0")/containers" || exit 1
case $1 in --*) echo "option $1" >> ../log; shift ;; esac
case $1 in
ps)
  echo "$*" >> ../log
  for name in *; do [ "$(cat "$name/status" 2>/dev/null)" = running ] && cat "$name/id"; done ;;
container)
  shift 2
  comma=
  printf '['
  for id; do
    name=$(grep -lx "$id" ./*/id | cut -d/ -f2)
    [ "$name" ] || { echo "Error: No such container: $id" >&2; exit 1; }
    cd "$name" || exit 1
    printf "$comma"
    comma=,
    printf '{"Id":"%s","Name":"/%s","State":{"Status":"%s","ExitCode":0},' "$id" "$name" "$(cat status)"
    printf '"Config":{"Labels":{"cloudsnooze.order":"%s"},"StopTimeout":%s}}\n' "$(cat order)" "$(cat time)"
    cd ..
  done
  echo ']' ;;
stop)
  name=$(grep -lx "$4" ./*/id | cut -d/ -f2)
  echo "stop $name $3" >> ../log
  [ -e "$name/stuck" ] && exit 0
  echo exited > "$name/status"
  if [ -e "$name/removed" ]; then rm -r "$name"; fi ;;
esac
exit 0
"#;

impl StandIn {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("containers")).unwrap();
        script(&folder.path().join("docker"), DOCKER);
        Self { folder }
    }

    fn container(&self, name: &str, order: &str, time: &str) {
        let folder = self.path("containers").join(name);
        fs::create_dir(&folder).unwrap();
        let id: String = name.bytes().cycle().take(32).map(|byte| format!("{byte:02x}")).collect();
        for (file, text) in
            [("id", id.as_str()), ("status", "running"), ("order", order), ("time", time)]
        {
            fs::write(folder.join(file), format!("{text}\n")).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn plugin(&self) -> ContainerStopper {
        ContainerStopper::new(Programs::of(vec![self.folder.path().to_owned()]))
    }

    fn handle(&self, config: &Value) -> Handled {
        handle(&mut self.plugin(), config, &notice())
    }

    fn log(&self, verb: &str) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().filter(|line| line.starts_with(verb)).map(str::to_owned).collect()
    }
}
