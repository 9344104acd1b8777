use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::process::Command;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A machine made of files.
struct Machine {
    dir: TempDir,
}

impl Machine {
    /// One as EC2 has them: two processors, an NVMe disk, an ENA interface, somebody at a shell.
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        machine.put("proc/stat", "cpu  1000 0 500 9000 500 0 0 0 0 0\ncpu0 1 1\nintr 3\n");
        machine.put("proc/meminfo", "MemTotal: 8000 kB\nMemFree: 1 kB\nMemAvailable: 6000 kB\n");
        machine.network(&[("lo", 1, 1), ("ens5", 1000, 2000), ("docker0", 500, 500)]);
        machine.put("sys/class/net/ens5/device/vendor", "0x1d0f\n");
        machine.put("sys/class/net/docker0/mtu", "1500\n");
        machine.disks(&[("nvme0n1", 1000, 3000), ("nvme0n1p1", 900, 3000), ("dm-0", 800, 1)]);
        machine.put("sys/block/nvme0n1/device/model", "Amazon Elastic Block Store\n");
        machine.put("sys/block/dm-0/dm/name", "vg-root\n");
        for resource in ["cpu", "memory", "io"] {
            let text = "some avg10=9.00 avg60=1.50 avg300=0.00 total=1\n";
            machine.put(&format!("proc/pressure/{resource}"), text);
        }
        machine.process(1, "systemd", "0", 0, 0, 0);
        machine.put("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
        machine.put("sys/fs/cgroup/system.slice/orders.service/cpu.stat", "usage_usec 5000000\n");
        machine.typed("dev/pts/0", 100);
        machine.put("dev/pts/ptmx", "");
        machine
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn take(&self, path: &str) {
        let path = self.dir.path().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    fn network(&self, interfaces: &[(&str, u64, u64)]) {
        let mut text = "Inter-| Receive | Transmit\n face |bytes |bytes\n".to_owned();
        for (name, received, sent) in interfaces {
            text += &format!("  {name}: {received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0\n");
        }
        self.put("proc/net/dev", &text);
    }

    fn disks(&self, disks: &[(&str, u64, u64)]) {
        let line = |(name, read, written): &(&str, u64, u64)| {
            format!(" 259 0 {name} 7 8 {read} 9 10 11 {written} 12 0 13 14\n")
        };
        self.put("proc/diskstats", &disks.iter().map(line).collect::<String>());
    }

    fn process(&self, pid: u32, comm: &str, program: &str, tty: u32, ticks: u64, started: u64) {
        let stat = format!(
            "{pid} ({comm}) S 1 {pid} {pid} {tty} -1 4194304 0 0 0 0 {ticks} 0 9 9 20 0 1 0 \
             {started} 1 1\n"
        );
        self.put(&format!("proc/{pid}/stat"), &stat);
        let exe = self.dir.path().join(format!("proc/{pid}/exe"));
        let _ = fs::remove_file(&exe);
        symlink(program, exe).unwrap();
    }

    /// Somebody typed there so many seconds after the epoch.
    fn typed(&self, path: &str, seconds: u64) {
        self.put(path, "");
        let times = FileTimes::new().set_accessed(wall(seconds));
        File::options()
            .write(true)
            .open(self.dir.path().join(path))
            .unwrap()
            .set_times(times)
            .unwrap();
    }

    fn sampler(&self, monitors: &[Monitor]) -> Sampler {
        self.wanting(Wanted { monitors: monitors.iter().copied().collect(), ..Wanted::default() })
    }

    fn wanting(&self, wanted: Wanted) -> Sampler {
        Sampler::new(wanted, self.dir.path())
    }
}

fn wall(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What is sampled at a second; the epoch was the boot.
fn look(sampler: &mut Sampler, at: u64) -> String {
    let readings = sampler.sample_at(Duration::from_secs(at), wall(at));
    readings.iter().map(|(monitor, reading)| format!("{} {reading:?}\n", monitor.key())).collect()
}

fn one(sampler: &mut Sampler, at: u64) -> Reading {
    let readings = sampler.sample_at(Duration::from_secs(at), wall(at));
    readings.into_values().next().unwrap()
}

fn check(sampler: &mut Sampler, at: u64, expected: &Expect) {
    expected.assert_eq(&look(sampler, at));
}

#[test]
fn idle_all_figures_of_a_machine() {
    let machine = Machine::new();
    let mut sampler = machine.wanting(Wanted {
        monitors: Monitor::ALL.into(),
        units: vec!["orders".into()],
        ..Wanted::default()
    });
    check(
        &mut sampler,
        200,
        &expect![[r#"
        cpu_percent Unknown("first sample")
        memory_percent Value(25.0)
        network_kbps Unknown("first sample")
        disk_io_kbps Unknown("first sample")
        gpu_percent Absent("no GPU")
        input_idle_secs Value(100.0)
        load_percent Unknown("first sample")
        pressure_percent Value(1.5)
    "#]],
    );
    machine.put("proc/stat", "cpu  1040 0 510 9040 510 0 0 0 0 0\n");
    machine.network(&[("lo", 9_000_000, 9), ("ens5", 21_000, 12_000), ("docker0", 9_000_000, 9)]);
    machine.disks(&[("nvme0n1", 1000, 3100), ("nvme0n1p1", 900, 3100), ("dm-0", 800, 101)]);
    machine.put("sys/fs/cgroup/system.slice/orders.service/cpu.stat", "usage_usec 5500000\n");
    machine.typed("dev/pts/0", 205);
    machine.put("proc/pressure/io", "some avg10=0 avg60=40.00 avg300=0.00 total=1\n");
    check(
        &mut sampler,
        210,
        &expect![[r#"
        cpu_percent Value(50.0)
        memory_percent Value(25.0)
        network_kbps Value(3.0)
        disk_io_kbps Value(5.12)
        gpu_percent Absent("no GPU")
        input_idle_secs Value(5.0)
        load_percent Value(5.0)
        pressure_percent Value(40.0)
    "#]],
    );
}

#[test]
fn idle_stolen_time_is_busy_and_counters_that_go_back_give_no_figure() {
    let machine = Machine::new();
    let mut sampler = machine.sampler(&[Monitor::Cpu]);
    one(&mut sampler, 1);
    machine.put("proc/stat", "cpu  1000 0 500 9100 500 0 0 900 0 0\n");
    assert_eq!(one(&mut sampler, 2), Reading::Value(90.0));
    assert!(matches!(one(&mut sampler, 3), Reading::Unknown(reason) if reason.contains("no time")));
    // Waiting steps back by one tick: that is no fault.
    machine.put("proc/stat", "cpu  1010 0 500 9190 499 0 0 900 0 0\n");
    assert_eq!(one(&mut sampler, 4), Reading::Value(10.0));
    machine.put("proc/stat", "cpu  10 0 5 90 5 0 0 0 0 0\n");
    assert!(matches!(one(&mut sampler, 5), Reading::Unknown(reason) if reason.contains("back")));
    machine.put("proc/stat", "cpu  60 0 5 140 5 0 0 0 0 0\n");
    assert_eq!(one(&mut sampler, 6), Reading::Value(50.0));
}

#[test]
fn idle_a_container_has_interfaces_without_a_device_and_some_are_left_out() {
    let machine = Machine::new();
    machine.take("sys/class/net");
    let mut sampler = machine.wanting(Wanted {
        monitors: [Monitor::Network].into(),
        exclude_interfaces: vec!["backup0".into(), "vpn*".into()],
        ..Wanted::default()
    });
    let names = ["lo", "eth0", "veth9", "docker0", "br-1", "wg0", "backup0", "vpn7"];
    machine.network(&names.map(|name| (name, 0, 0)));
    one(&mut sampler, 1);
    machine.network(&names.map(|name| (name, 500, 500)));
    assert_eq!(one(&mut sampler, 2), Reading::Value(1.0));
    // A bond has no device and its members have; of Azure's pair, the master counts.
    machine.put("sys/class/net/eth0/device/x", "");
    machine.put("sys/class/net/eth1/device/x", "");
    machine.put("sys/class/net/bond0/bonding/mode", "");
    machine.put("sys/class/net/enP1/device/x", "");
    for (member, master) in [("eth0", "../bond0"), ("eth1", "../bond0"), ("enP1", "../eth1")] {
        let link = machine.dir.path().join(format!("sys/class/net/{member}/master"));
        symlink(master, link).unwrap();
    }
    let mut sampler = machine.sampler(&[Monitor::Network]);
    let names = ["lo", "eth0", "eth1", "bond0", "enP1"];
    machine.network(&names.map(|name| (name, 0, 0)));
    one(&mut sampler, 1);
    machine.network(&names.map(|name| (name, 500, 500)));
    assert_eq!(one(&mut sampler, 2), Reading::Value(2.0));
    machine.network(&[("lo", 1, 1)]);
    assert!(matches!(one(&mut sampler, 3), Reading::Absent(_)));
}

#[test]
fn idle_old_instances_have_a_disk_that_is_named_like_a_partition() {
    let machine = Machine::new();
    let mut sampler = machine.sampler(&[Monitor::DiskIo]);
    machine.put("sys/block/xvda1/device/devtype", "vbd\n");
    machine.put("sys/block/zram0/disksize", "0\n");
    let at = |sectors| [("xvda1", 0, sectors), ("zram0", sectors, 0), ("loop0", sectors, 0)];
    machine.disks(&at(0));
    one(&mut sampler, 1);
    machine.disks(&at(1000));
    assert_eq!(one(&mut sampler, 2), Reading::Value(512.0));
    machine.disks(&[("ram0", 0, 0)]);
    assert!(matches!(one(&mut sampler, 3), Reading::Absent(_)));
    machine.take("sys/block");
    assert!(matches!(one(&mut sampler, 4), Reading::Unknown(_)));
}

#[test]
fn idle_sessions_are_terminals_consoles_and_commands_over_ssh() {
    let machine = Machine::new();
    let mut sampler = machine.sampler(&[Monitor::Input]);
    machine.typed("dev/pts/3", 150);
    assert_eq!(one(&mut sampler, 200), Reading::Value(50.0));
    // The wall clock is set forward by an hour: nobody was away.
    let readings = sampler.sample_at(Duration::from_secs(201), wall(3801));
    assert_eq!(readings.into_values().next(), Some(Reading::Value(51.0)));
    // It is typed into, by that clock.
    machine.typed("dev/pts/3", 3799);
    let readings = sampler.sample_at(Duration::from_secs(203), wall(3803));
    assert_eq!(readings.into_values().next(), Some(Reading::Value(2.0)));
    // A login greets at a console, and somebody logs in.
    machine.take("dev/pts/3");
    machine.take("dev/pts/0");
    machine.typed("dev/ttyS0", 10);
    machine.process(500, "agetty", "/sbin/agetty", 4 * 256 + 64, 0, 0);
    assert_eq!(one(&mut sampler, 300), Reading::Absent("no session".into()));
    machine.process(501, "bash", "/bin/bash", 4 * 256 + 64, 0, 0);
    machine.typed("dev/ttyS0", 320);
    assert_eq!(one(&mut sampler, 325), Reading::Value(5.0));
    // `rsync` over ssh, until it ends.
    machine.process(600, "sshd", "/usr/sbin/sshd", 0, 0, 0);
    machine.put("proc/600/cmdline", "sshd: ubuntu@notty\0\0\0");
    assert_eq!(one(&mut sampler, 400), Reading::Value(0.0));
    machine.put("proc/600/cmdline", "sshd: ubuntu\0\0\0");
    assert_eq!(one(&mut sampler, 420), Reading::Value(100.0));
    // All look again only after ten seconds.
    machine.put("proc/600/cmdline", "sshd: ubuntu@notty\0\0\0");
    assert_eq!(one(&mut sampler, 425), Reading::Value(105.0));
    assert_eq!(one(&mut sampler, 430), Reading::Value(0.0));
}

#[test]
fn idle_a_desktop_whose_input_nobody_sees_is_never_called_idle() {
    let machine = Machine::new();
    let mut sampler = machine.sampler(&[Monitor::Input]);
    machine.typed("dev/pts/0", 100);
    machine.put("run/systemd/sessions/1", "STATE=active\nTYPE=tty\nCLASS=user\nTTY=pts/0\n");
    machine.put("run/systemd/sessions/1.ref", "TYPE=x11\nCLASS=user\n");
    assert_eq!(one(&mut sampler, 4000), Reading::Value(3900.0));
    machine.put("run/systemd/sessions/c2", "STATE=online\nTYPE=wayland\nCLASS=user\n");
    let text = "session `c2` is a desktop, whose input cannot be seen";
    assert_eq!(one(&mut sampler, 4010), Reading::Unknown(text.into()));
    machine.put("run/systemd/sessions/c2", "STATE=closing\nTYPE=wayland\nCLASS=user\n");
    assert_eq!(one(&mut sampler, 4020), Reading::Value(3920.0));
}

#[test]
fn idle_named_processes_and_units_add_up_and_what_does_not_run_is_0() {
    let machine = Machine::new();
    let mut sampler = machine.wanting(Wanted {
        monitors: [Monitor::Load].into(),
        processes: vec!["postgres".into(), "python3.11".into(), "a-very-long-name-of-one".into()],
        units: vec!["orders.service".into(), "not-there".into()],
        ..Wanted::default()
    });
    machine.process(10, "postgres", "/usr/bin/postgres", 0, 100, 50);
    machine.process(11, "gunicorn: main", "/usr/bin/python3.11", 0, 100, 50);
    machine.process(12, "other", "/usr/bin/other", 0, 100, 50);
    assert_eq!(one(&mut sampler, 10), Reading::Unknown(FIRST.into()));
    assert_eq!(one(&mut sampler, 11), Reading::Value(0.0));
    machine.process(10, "postgres", "/usr/bin/postgres", 0, 150, 50);
    machine.process(11, "gunicorn: main", "/usr/bin/python3.11 (deleted)", 0, 110, 50);
    machine.process(12, "other", "/usr/bin/other", 0, 900, 50);
    machine.process(13, "a-very-long-nam", "/x/a-very-long-name-of-one", 0, 20, 1150);
    machine.put("sys/fs/cgroup/system.slice/orders.service/cpu.stat", "usage_usec 5200000\n");
    // 0.5 + 0.1 + 0.2 + 0.2 seconds in one.
    assert_eq!(one(&mut sampler, 12), Reading::Value(100.0));
    // The unit was started again, and number 10 is another process.
    machine.put("sys/fs/cgroup/system.slice/orders.service/cpu.stat", "usage_usec 100000\n");
    machine.process(10, "postgres", "/usr/bin/postgres", 0, 10, 1250);
    assert_eq!(one(&mut sampler, 13), Reading::Value(20.0));
    for pid in [10, 11, 13] {
        machine.take(&format!("proc/{pid}"));
    }
    machine.take("sys/fs/cgroup/system.slice/orders.service");
    assert_eq!(one(&mut sampler, 14), Reading::Value(0.0));
    assert_eq!(
        one(&mut machine.sampler(&[Monitor::Load]), 1),
        Reading::Absent("no process or unit is named".into())
    );
}

#[test]
fn idle_cards_of_amd_are_read_from_sysfs() {
    let machine = Machine::new();
    let mut sampler = machine.sampler(&[Monitor::Gpu]);
    machine.put("sys/class/drm/card0/device/gpu_busy_percent", "7\n");
    machine.put("sys/class/drm/card1/device/gpu_busy_percent", "93\n");
    machine.put("sys/class/drm/card0-DP-1/device/gpu_busy_percent", "100\n");
    let mut patient =
        || (0..100).map(|_| one(&mut sampler, 1)).find(|found| found.value().is_some());
    assert_eq!(patient(), Some(Reading::Value(93.0)));
    machine.put("sys/class/drm/card1/device/gpu_busy_percent", "\n");
    let failed = (0..100).map(|_| one(&mut sampler, 2)).find(
        |found| matches!(found, Reading::Unknown(reason) if reason.contains("no percentage")),
    );
    assert!(failed.is_some());
}

/// As NVIDIA's program: it is asked the right thing, says some lines, and then does something.
fn nvidia(machine: &Machine, script: &str) {
    let options = "--query-gpu=index,utilization.gpu --format=csv,noheader,nounits --loop=5";
    let text = format!("#!/bin/sh\n[ \"$*\" = '{options}' ] || exit 9\n{script}\n");
    // Written by another process: a file that nobody here had open for writing is never busy.
    let path = machine.dir.path().join("usr/bin/nvidia-smi");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let write = "rm -f \"$1\"; printf %s \"$2\" > \"$1\"; chmod 755 \"$1\"";
    let written = Command::new("sh").args(["-c", write, "sh"]).arg(path).arg(text).status();
    assert!(written.unwrap().success());
    machine.put("sys/bus/pci/drivers/nvidia/0000:00:1e.0/vendor", "0x10de\n");
}

/// Samples at one moment until it is as wanted.
fn until(sampler: &mut Sampler, at: u64, wanted: impl Fn(&Reading) -> bool) -> Reading {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let reading = one(sampler, at);
        if wanted(&reading) {
            return reading;
        }
        assert!(std::time::Instant::now() < end, "still {reading:?}");
        std::thread::yield_now();
    }
}

#[test]
fn idle_nvidia_gpus_are_asked_by_their_own_program_beside_us() {
    let machine = Machine::new();
    let mut sampler = machine.sampler(&[Monitor::Gpu]);
    nvidia(&machine, "echo '0, 12'; echo '1, 88'; exec tail -f /dev/null");
    assert!(matches!(one(&mut sampler, 1), Reading::Unknown(_)));
    assert_eq!(until(&mut sampler, 2, |found| *found == Reading::Value(88.0)).value(), Some(88.0));
    // It hangs: what it has said last is good for a while, and then no more.
    assert_eq!(one(&mut sampler, 20), Reading::Value(88.0));
    assert!(
        matches!(one(&mut sampler, 23), Reading::Unknown(why) if why.contains("nothing for 21 s"))
    );
    // The driver is taken out.
    machine.take("sys/bus/pci/drivers/nvidia");
    assert_eq!(one(&mut sampler, 24), Reading::Absent("no GPU".into()));
}

#[test]
fn idle_what_nvidia_says_instead_of_figures_is_the_reason() {
    let is_ended = |text: &'static str| move |found: &Reading| matches!(found, Reading::Unknown(why) if why.contains(text));
    let machine = Machine::new();
    let mut sampler = machine.sampler(&[Monitor::Gpu]);
    nvidia(&machine, "echo 'No devices were found'; exit 6");
    until(&mut sampler, 1, |found| *found == Reading::Absent("no GPU".into()));
    // It is asked again a minute later, and not before.
    nvidia(&machine, "echo \"NVIDIA-SMI has failed because it couldn't talk\"; echo More; exit 9");
    assert_eq!(one(&mut sampler, 60), Reading::Absent("no GPU".into()));
    until(&mut sampler, 61, is_ended("has ended: NVIDIA-SMI has failed"));
    nvidia(&machine, "echo '0, [N/A]'; exec tail -f /dev/null");
    until(&mut sampler, 200, is_ended("GPU 0 does not tell"));
    let mut sampler = machine.sampler(&[Monitor::Gpu]);
    machine.take("usr/bin/nvidia-smi");
    until(&mut sampler, 1, is_ended("no `nvidia-smi` to ask"));
}

/// Under each restriction, what can no longer be seen is unknown, or absent, and never 0.
#[test]
fn g14_what_is_hidden_is_unknown_and_never_made_up() {
    let wanted = || Wanted {
        monitors: Monitor::ALL.into(),
        processes: vec!["systemd".into()],
        units: vec!["orders".into()],
        ..Wanted::default()
    };
    let under = |restriction: fn(&Machine), expected: &Expect| {
        let machine = Machine::new();
        restriction(&machine);
        let mut sampler = machine.wanting(wanted());
        let first = look(&mut sampler, 200);
        let second = look(&mut sampler, 210);
        let lines = second.lines().filter(|line| !line.contains("Value("));
        expected.assert_eq(&lines.map(|line| format!("{line}\n")).collect::<String>());
        assert_eq!(first.lines().count(), 8);
    };
    // `no time`: the counters of a machine of files stand still.
    under(
        |_| {},
        &expect![[r#"
        cpu_percent Unknown("no time has passed between two samples")
        gpu_percent Absent("no GPU")
    "#]],
    );
    // hidepid=2: other processes are not there.
    under(
        |machine| machine.take("proc/1"),
        &expect![[r#"
        cpu_percent Unknown("no time has passed between two samples")
        gpu_percent Absent("no GPU")
        input_idle_secs Unknown("other processes cannot be seen: cannot read `/proc/1/stat`: No such file or directory (os error 2)")
        load_percent Unknown("other processes cannot be seen: cannot read `/proc/1/stat`: No such file or directory (os error 2)")
    "#]],
    );
    // ProcSubset=pid: processes, and nothing else.
    under(
        |machine| {
            for path in ["stat", "meminfo", "net", "diskstats", "pressure"] {
                machine.take(&format!("proc/{path}"));
            }
        },
        &expect![[r#"
            cpu_percent Unknown("cannot read `/proc/stat`: No such file or directory (os error 2)")
            memory_percent Unknown("cannot read `/proc/meminfo`: No such file or directory (os error 2)")
            network_kbps Unknown("cannot read `/proc/net/dev`: No such file or directory (os error 2)")
            disk_io_kbps Unknown("cannot read `/proc/diskstats`: No such file or directory (os error 2)")
            gpu_percent Absent("no GPU")
            pressure_percent Unknown("cannot read `/proc/pressure/cpu`: No such file or directory (os error 2)")
        "#]],
    );
    // cgroup v1, no PSI, and no terminals.
    under(
        |machine| {
            machine.take("sys/fs/cgroup");
            machine.put("sys/fs/cgroup/cpu/system.slice/orders.service/cpuacct.usage", "1\n");
            machine.take("proc/pressure");
            machine.take("dev/pts");
        },
        &expect![[r#"
            cpu_percent Unknown("no time has passed between two samples")
            gpu_percent Absent("no GPU")
            input_idle_secs Unknown("cannot read `/dev/pts`: No such file or directory (os error 2)")
            load_percent Unknown("no `system.slice` in a tree of cgroup v2: the machine has cgroup v1, or no systemd")
            pressure_percent Absent("no PSI in this kernel")
        "#]],
    );
}

const FILES: [&str; 10] = [
    "proc/stat",
    "proc/meminfo",
    "proc/net/dev",
    "proc/diskstats",
    "proc/pressure/cpu",
    "proc/pressure/io",
    "proc/1/stat",
    "proc/700/stat",
    "proc/700/cmdline",
    "sys/fs/cgroup/system.slice/orders.service/cpu.stat",
];

/// Garbage that looks like something.
fn garbage() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,200}",
        "[a-z :()]{0,20}([0-9]{1,25} ){0,25}\n([a-z]+: *-?[0-9.e]{0,25}.*\n){0,5}",
        "cpu ( [0-9]{1,20}){4,10}\n",
        "some avg10=0 avg60=[-0-9.naif]{0,10} total=0",
        "x\ny\n( [a-z]{1,5}:( [0-9]{1,20}){9,16}\n){1,3}",
        "( 8 0 [a-z]{1,9}( [0-9]{1,20}){10,17}\n){1,3}",
        "700 \\(sshd\\) S( -?[0-9]{1,12}){22}",
        "usage_usec [0-9]{0,22}\n",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn g14_no_garbage_is_ever_a_figure_out_of_range(
        texts in prop::collection::vec((0..FILES.len(), garbage()), 1..6),
        more in prop::collection::vec((0..FILES.len(), garbage()), 0..6),
    ) {
        let machine = Machine::new();
        machine.process(700, "sshd", "/usr/sbin/sshd", 0, 1, 1);
        machine.put("proc/700/cmdline", "sshd: ubuntu@notty");
        let mut sampler = machine.wanting(Wanted {
            monitors: Monitor::ALL.into(),
            processes: vec!["sshd".into()],
            units: vec!["orders".into()],
            ..Wanted::default()
        });
        look(&mut sampler, 100);
        for (turn, texts) in [texts, more].into_iter().enumerate() {
            for (file, text) in texts {
                machine.put(FILES[file], &text);
            }
            let at = 110 + 11 * u64::try_from(turn).unwrap();
            let readings = sampler.sample_at(Duration::from_secs(at), wall(at));
            for (monitor, reading) in readings {
                let Reading::Value(value) = reading else { continue };
                let most = match monitor {
                    Monitor::Cpu | Monitor::Memory | Monitor::Gpu | Monitor::Pressure => 100.0,
                    Monitor::Network | Monitor::DiskIo | Monitor::Load => f64::MAX,
                    Monitor::Input => 121.0,
                };
                prop_assert!((0.0..=most).contains(&value), "{monitor:?} {value}");
            }
        }
    }
}
