//! The figures against the same facts read elsewhere, over the same time. Other work may go on
//! beside it, so that a comparison is made again until it holds, within a limit.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use snooze_policy::idle::Wanted;
use snooze_policy::idle::{Monitor, Reading};
use snooze_tests::wait;
use snoozed::clock::Now;
use snoozed::idle::sample::Sampler;

/// Long enough that a hundredth of it is more than the kernel's clock ticks by.
const INTERVAL: Duration = Duration::from_secs(1);

/// The share of processors may differ by so many points: a sample and the reading beside it are
/// some milliseconds apart on a machine that does much else.
const POINTS: f64 = 5.0;

#[test]
fn idle_processors_are_as_busy_as_each_of_them_says() {
    let mut sampler = sampler(Path::new("/"), Monitor::Cpu, &[]);
    let mut compare = |what: &str| {
        agree(what, || {
            sample(&mut sampler);
            let before = each_core();
            wait::pause(INTERVAL);
            let (after, reading) = (each_core(), sample(&mut sampler));
            let [busy, all] = [0, 1].map(|place| float(after[place] - before[place]));
            near(&reading, 100.0 * busy / all, POINTS)
        });
    };
    let burners: Vec<Running> = (0..2).map(|_| burner("sh")).collect();
    compare("busy processors");
    drop(burners);
    compare("processors");
}

/// Ticks in which a core was busy, and all of its ticks, summed over the cores.
fn each_core() -> [u64; 2] {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let mut sum = [0, 0];
    for line in text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")) {
        let ticks: Vec<u64> = line.split(' ').skip(1).map(|tick| tick.parse().unwrap()).collect();
        let all: u64 = ticks[..8].iter().sum();
        sum = [sum[0] + all - ticks[3] - ticks[4], sum[1] + all];
    }
    sum
}

#[test]
fn idle_a_named_process_is_busy_while_it_works_and_at_0_when_it_is_gone() {
    let mut sampler = sampler(Path::new("/"), Monitor::Load, &["snooze-burner"]);
    sample(&mut sampler);
    wait::pause(Duration::from_millis(20));
    is_at_rest(&sample(&mut sampler));
    let running = burner("snooze-burner");
    let on_processor = || {
        let path = format!("/proc/{}/schedstat", running.0.id());
        let text = fs::read_to_string(path).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    agree("the process", || {
        sample(&mut sampler);
        let (before, start) = (on_processor(), Now::read().boot);
        wait::pause(INTERVAL);
        let (after, time) = (on_processor(), Now::read().boot - start);
        let reading = sample(&mut sampler);
        let expected = 100.0 * (after - before).as_secs_f64() / time.as_secs_f64();
        if expected < 1.0 {
            return Err("it does not get to work".to_owned());
        }
        near(&reading, expected, POINTS)
    });
    drop(running);
    sample(&mut sampler);
    wait::pause(Duration::from_millis(20));
    is_at_rest(&sample(&mut sampler));
}

/// 0, or unknown where not even root may see every program: then it might hide there.
fn is_at_rest(reading: &Reading) {
    let is_hidden = || {
        let mut processes = fs::read_dir("/proc").unwrap().flatten();
        processes.any(|process| {
            let program = fs::read_link(process.path().join("exe"));
            program.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        })
    };
    match reading {
        Reading::Unknown(reason) if reason.contains("cannot be seen") => assert!(is_hidden()),
        Reading::Value(_) | Reading::Unknown(_) | Reading::Absent(_) => {
            assert_eq!(*reading, Reading::Value(0.0));
        }
    }
}

#[test]
fn idle_what_is_written_to_a_disk_is_seen_there() {
    const WRITTEN: usize = 32 << 20;
    let mut sampler = sampler(Path::new("/"), Monitor::DiskIo, &[]);
    sample(&mut sampler);
    if let Reading::Absent(_) = sample(&mut sampler) {
        assert_eq!(disks(), Vec::<PathBuf>::new());
        return;
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    agree("the disks", || {
        sample(&mut sampler);
        let (before, start) = (sectors(), Now::read().boot);
        let mut file = File::create(dir.path().join("data")).unwrap();
        file.write_all(&vec![7; WRITTEN]).unwrap();
        file.sync_data().unwrap();
        let (after, time) = (sectors(), Now::read().boot - start);
        let reading = sample(&mut sampler);
        let written = 512.0 * float(after - before);
        if is_on_disk(dir.path()) {
            assert!(written >= 0.95 * float(WRITTEN.try_into().unwrap()), "{written}");
        }
        let expected = written / 1000.0 / time.as_secs_f64();
        near(&reading, expected, 0.1 * expected + 200.0)
    });
    // Where others use the disks, this says nothing; elsewhere it is near 0 at once.
    agree("the disks at rest", || {
        sample(&mut sampler);
        let (before, start) = (sectors(), Now::read().boot);
        wait::pause(INTERVAL);
        let (after, time) = (sectors(), Now::read().boot - start);
        let expected = 0.512 * float(after - before) / time.as_secs_f64();
        near(&sample(&mut sampler), expected, 0.1 * expected + 200.0)
    });
}

/// Whole disks with a device behind them.
fn disks() -> Vec<PathBuf> {
    let all = fs::read_dir("/sys/block").map(|all| all.flatten().map(|disk| disk.path()).collect());
    let mut all: Vec<PathBuf> = all.unwrap_or_default();
    all.retain(|disk| disk.join("device").exists());
    all
}

/// Sectors read and written, by each disk's own file.
fn sectors() -> u64 {
    let one = |disk: PathBuf| {
        let text = fs::read_to_string(disk.join("stat")).unwrap();
        let fields: Vec<u64> =
            text.split_whitespace().map(|field| field.parse().unwrap()).collect();
        fields[2] + fields[6]
    };
    disks().into_iter().map(one).sum()
}

fn is_on_disk(path: &Path) -> bool {
    let device = fs::metadata(path).unwrap().dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    Path::new(&format!("/sys/dev/block/{major}:{minor}")).exists()
}

/// Two networks with one cable between them, as a container has it, and datagrams over it.
#[test]
fn idle_what_goes_over_a_cable_is_seen_at_both_of_its_ends() {
    const DATAGRAMS: u64 = 5000;
    const SIZE: usize = 1400;
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: a network namespace needs root here");
        return;
    }
    let far = network();
    let near_end = network();
    let script = "
        ip link add ens8 type veth peer name ens9 netns $1 &&
        ip address add 10.231.0.1/30 dev ens8 && ip link set ens8 up &&
        nsenter --net=/proc/$1/ns/net sh -c \
            'ip address add 10.231.0.2/30 dev ens9 && ip link set ens9 up'";
    let space = format!("--net=/proc/{}/ns/net", near_end.0.id());
    let mut command = Command::new("nsenter");
    command.args([&space, "sh", "-c", script, "sh", &far.0.id().to_string()]);
    assert!(command.status().unwrap().success(), "the cable cannot be laid");
    // A root that shows the network of the far end, and no devices.
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("proc")).unwrap();
    let network = format!("/proc/{}/net", far.0.id());
    std::os::unix::fs::symlink(network, root.path().join("proc/net")).unwrap();
    let mut sampler = sampler(root.path(), Monitor::Network, &[]);
    // The near end counts for itself.
    let near_bytes = || {
        let text = fs::read_to_string(format!("/proc/{}/net/dev", near_end.0.id())).unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix("ens8:")).unwrap();
        let fields: Vec<u64> =
            line.split_whitespace().map(|field| field.parse().unwrap()).collect();
        fields[0] + fields[8]
    };
    // Only this thread goes there.
    let space = File::open(format!("/proc/{}/ns/net", near_end.0.id())).unwrap();
    let socket = thread::spawn(move || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(space.as_fd(), kind).unwrap();
        let socket = UdpSocket::bind("10.231.0.1:0").unwrap();
        socket.connect("10.231.0.2:9").unwrap();
        socket
    });
    let socket = socket.join().unwrap();
    agree("the cable", || {
        sample(&mut sampler);
        let (before, start) = (near_bytes(), Now::read().boot);
        for _ in 0..DATAGRAMS {
            // That nobody listens is told now and then.
            let _ = socket.send(&[7; SIZE]);
        }
        let (after, time) = (near_bytes(), Now::read().boot - start);
        let reading = sample(&mut sampler);
        let sent = after - before;
        if sent < DATAGRAMS * 1000 {
            return Err(format!("only {sent} bytes were sent"));
        }
        let expected = float(sent) / 1000.0 / time.as_secs_f64();
        near(&reading, expected, 0.1 * expected)
    });
    agree("the cable at rest", || {
        wait::pause(Duration::from_millis(200));
        near(&sample(&mut sampler), 0.0, 5.0)
    });
}

/// A process in a network of its own.
fn network() -> Running {
    let mut command = Command::new("unshare");
    command.args(["--net", "sleep", "600"]).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    let space = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    wait::until("a network of its own", || {
        let theirs = space(&running.0.id().to_string())?;
        (Some(theirs) != space("self")).then_some(())
    });
    running
}

/// `ProcSubset=pid`, as a mount.
#[test]
fn g14_a_proc_that_shows_processes_only_gives_no_figures() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: a mount needs root here");
        return;
    }
    let script = "mount -t proc -o subset=pid proc /proc && echo there; read go";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = Running(child);
    assert_eq!(said.next().unwrap().unwrap(), "there");
    let root = PathBuf::from(format!("/proc/{}/root", running.0.id()));
    for monitor in
        [Monitor::Cpu, Monitor::Memory, Monitor::Network, Monitor::DiskIo, Monitor::Pressure]
    {
        let mut sampler = sampler(&root, monitor, &[]);
        sample(&mut sampler);
        wait::pause(Duration::from_millis(20));
        let reading = sample(&mut sampler);
        assert!(matches!(&reading, Reading::Unknown(_)), "{monitor:?}: {reading:?}");
    }
}

fn sampler(root: &Path, monitor: Monitor, processes: &[&str]) -> Sampler {
    let processes = processes.iter().map(ToString::to_string).collect();
    Sampler::new(Wanted { monitors: [monitor].into(), processes, ..Wanted::default() }, root)
}

fn sample(sampler: &mut Sampler) -> Reading {
    sampler.sample(Now::read().boot).into_values().next().unwrap()
}

fn near(reading: &Reading, expected: f64, error: f64) -> Result<(), String> {
    match reading.value().is_some_and(|value| (value - expected).abs() <= error) {
        true => Ok(()),
        false => Err(format!("{reading:?} is not {expected} by {error}")),
    }
}

/// Compares again and again until it holds.
fn agree(what: &str, mut compare: impl FnMut() -> Result<(), String>) {
    let mut last = String::new();
    let found = wait::within(wait::PATIENCE, Duration::ZERO, || {
        compare().map_err(|error| last = error).ok()
    });
    assert!(found.is_some(), "{what}: {last}");
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell under this name that works without end.
fn burner(name: &str) -> Running {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join(name);
    // Another process copies it: a file that nobody here had open for writing is never busy.
    assert!(Command::new("cp").arg("/bin/sh").arg(&path).status().unwrap().success());
    Running(Command::new(&path).args(["-c", "while :; do :; done"]).spawn().unwrap())
}

fn float(number: u64) -> f64 {
    Duration::from_micros(number).as_secs_f64() * 1e6
}
