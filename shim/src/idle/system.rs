//! What the alarms of the system are about: processors, memory, disks, and the way out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use snooze_policy::idle::Reading;

use super::aside::Aside;
use super::files::Files;
use super::sample::{Cpu, Resource, float, memory, pressure_of};

/// The system at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    /// Percent of all processors that work.
    pub cpu: Reading,
    /// Percent of the memory that is in use.
    pub memory: Reading,
    /// Percent of the last minute in which something waited for memory; absent without PSI.
    pub memory_pressure: Reading,
    /// The local file systems that can be written to, or why they are not known.
    pub disks: Result<Vec<Disk>, String>,
    /// The way to everywhere else.
    pub link: Link,
}

/// One local file system.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// What is mounted there.
    pub device: String,
    /// Its type.
    pub filesystem: String,
    /// Percent of what ordinary users could have that is in use, as `df` shows it.
    pub used_percent: f64,
    /// What ordinary users can still have, in bytes.
    pub available_bytes: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Percent of its inodes that are in use; `None` where it makes them as it goes.
    pub inodes_used_percent: Option<f64>,
}

/// The interface of the default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It carries.
    Up {
        /// Its name.
        interface: String,
    },
    /// It does not, or the route is gone.
    Down {
        /// Its name.
        interface: String,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be read.
    Unknown(String),
    /// There was no default route yet.
    Absent,
}

/// Looks at the system again and again.
#[derive(Debug)]
pub struct Looker {
    files: Files,
    cpu: Cpu,
    disks: Option<Aside<Result<Vec<Disk>, String>>>,
    interface: Option<String>,
}

impl Looker {
    /// Looks at what hangs below `root`: `/`, or a directory with other `proc` and `sys`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { files: Files::below(root), cpu: Cpu::default(), disks: None, interface: None }
    }

    /// The system now; `at` is the boot clock. A file system that hangs costs a third of a second.
    pub fn look(&mut self, at: Duration) -> System {
        let files = &mut self.files;
        let or_unknown = |figure: Result<Reading, String>| figure.unwrap_or_else(Reading::Unknown);
        System {
            cpu: or_unknown(self.cpu.sample(files)),
            memory: or_unknown(memory(files)),
            memory_pressure: or_unknown(pressure_of(files, Resource::Memory)),
            link: link(files, &mut self.interface).unwrap_or_else(Link::Unknown),
            disks: self.disks(at),
        }
    }

    fn disks(&mut self, at: Duration) -> Result<Vec<Disk>, String> {
        let aside = match &mut self.disks {
            Some(aside) => aside,
            none => {
                let mut files = Files::below(self.files.root());
                let aside = Aside::new("disks", move || disks(&mut files));
                none.insert(aside.map_err(|error| format!("cannot start a thread: {error}"))?)
            }
        };
        aside.ask(at).map_err(|error| format!("the file systems: {error}"))?
    }
}

/// Types of file systems that keep their data on disks of this machine. Others may hang with the
/// server that they stand on, or are in memory.
const LOCAL: [&str; 9] = ["bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "xfs", "zfs"];

/// A mount as `/proc/self/mountinfo` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    number: String,
    point: String,
    kind: String,
    device: String,
    is_read_only: bool,
}

fn disks(files: &mut Files) -> Result<Vec<Disk>, String> {
    let text = files.text("proc/self/mountinfo")?;
    let mounts = local(text.lines().filter_map(mount));
    let disks = mounts.into_iter().filter_map(|mount| {
        let path = files.path(mount.point.trim_start_matches('/'));
        // It may have been unmounted in this moment, or be closed to us.
        let stat = rustix::fs::statvfs(path).ok()?;
        disk(mount, &stat)
    });
    Ok(disks.collect())
}

/// Each local file system once, at its shortest mount point.
fn local(mounts: impl Iterator<Item = Mount>) -> Vec<Mount> {
    // What is mounted last on a point hides what was there before.
    let points: BTreeMap<String, Mount> =
        mounts.map(|mount| (mount.point.clone(), mount)).collect();
    let mut systems: BTreeMap<String, Mount> = BTreeMap::new();
    for (point, mount) in points {
        // In a container, the root is a layer over a file system that is not seen.
        let is_local =
            LOCAL.contains(&mount.kind.as_str()) || (mount.kind == "overlay" && point == "/");
        let known = systems.get(&mount.number);
        let is_shorter = known.is_none_or(|known| point.len() < known.point.len());
        if is_local && !mount.is_read_only && is_shorter {
            systems.insert(mount.number.clone(), mount);
        }
    }
    systems.into_values().collect()
}

/// One line: `36 35 98:0 /root /point options tags - type device options`
/// (proc_pid_mountinfo(5)). Only what the whole file system is says whether it is read-only: a
/// daemon in a sandbox sees most mounts so.
fn mount(line: &str) -> Option<Mount> {
    let (ours, theirs) = line.split_once(" - ")?;
    let mut ours = ours.split(' ').skip(2);
    let (number, point) = (ours.next()?, ours.nth(1)?);
    let mut theirs = theirs.split(' ');
    let (kind, device, options) = (theirs.next()?, theirs.next()?, theirs.next()?);
    Some(Mount {
        number: number.to_owned(),
        point: unescaped(point),
        kind: kind.to_owned(),
        device: unescaped(device),
        is_read_only: options.split(',').any(|option| option == "ro"),
    })
}

fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

fn disk(mount: Mount, stat: &rustix::fs::StatVfs) -> Option<Disk> {
    let used = stat.f_blocks.checked_sub(stat.f_bfree)?;
    let share = |used: u64, free: u64| match used.checked_add(free) {
        None | Some(0) => None,
        Some(all) => Some(100.0 * float(used) / float(all)),
    };
    Some(Disk {
        used_percent: share(used, stat.f_bavail)?,
        available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        size_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        inodes_used_percent: stat
            .f_files
            .checked_sub(stat.f_ffree)
            .and_then(|used| share(used, stat.f_ffree)),
        mount: mount.point,
        device: mount.device,
        filesystem: mount.kind,
    })
}

/// The link of the default route. Where the route is gone, the one that it had is down.
fn link(files: &mut Files, known: &mut Option<String>) -> Result<Link, String> {
    let found = match default_interface(&files.text("proc/net/route")?) {
        Some(interface) => Some(interface.to_owned()),
        // A kernel without IPv6 has no such file.
        None => files
            .text("proc/net/ipv6_route")
            .ok()
            .and_then(|text| default_interface_6(&text).map(str::to_owned)),
    };
    let Some(interface) = found else {
        return Ok(match known {
            Some(interface) => Link::Down {
                interface: interface.clone(),
                reason: "the default route is gone".to_owned(),
            },
            None => Link::Absent,
        });
    };
    *known = Some(interface.clone());
    let state = files.text(&format!("sys/class/net/{interface}/operstate"))?;
    let state = state.trim().to_owned();
    // Some drivers do not know; then the carrier says it, and cannot be read while it is off.
    let mut carries = || {
        let carrier = files.text(&format!("sys/class/net/{interface}/carrier"));
        carrier.is_ok_and(|carrier| carrier.trim() == "1")
    };
    Ok(match state.as_str() {
        "up" => Link::Up { interface },
        "unknown" if carries() => Link::Up { interface },
        _ => Link::Down { interface, reason: format!("its state is `{state}`") },
    })
}

/// The interface of the best default route in `/proc/net/route`: destination and mask 0, up
/// (`RTF_UP`), not one that refuses (`RTF_REJECT`).
fn default_interface(text: &str) -> Option<&str> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (interface, destination) = (fields.next()?, fields.next()?);
        let flags = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
        let metric: u64 = fields.nth(2)?.parse().ok()?;
        let mask = fields.next()?;
        let is_default = destination == "00000000" && mask == "00000000";
        (is_default && flags & 0x0201 == 1).then_some((metric, interface))
    });
    routes.min().map(|(_, interface)| interface)
}

/// The same in `/proc/net/ipv6_route`.
fn default_interface_6(text: &str) -> Option<&str> {
    let routes = text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (destination, length) = (fields.next()?, fields.next()?);
        let metric = u64::from_str_radix(fields.nth(3)?, 16).ok()?;
        let flags = u32::from_str_radix(fields.nth(2)?, 16).ok()?;
        let interface = fields.next().filter(|interface| *interface != "lo")?;
        let is_default = length == "00" && destination.bytes().all(|digit| digit == b'0');
        (is_default && flags & 0x0201 == 1).then_some((metric, interface))
    });
    routes.min().map(|(_, interface)| interface)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_local_file_systems_that_can_be_written_to_are_looked_at_each_once() {
        let text = r"
27 1 254:0 / / rw,relatime - ext4 /dev/nvme0n1p1 rw,discard
28 27 254:0 /srv /srv ro,relatime shared:1 - ext4 /dev/nvme0n1p1 rw,discard
29 27 0:21 / /proc rw - proc proc rw
30 27 0:99 / /mnt/nfs rw,relatime - nfs4 server:/x rw,hard
31 27 259:1 / /data\040one rw,relatime shared:2 master:3 - xfs /dev/nvme1n1 rw
32 27 259:2 / /cd ro - ext4 /dev/sdc ro
33 27 259:3 / /hidden rw - ext4 /dev/sdd rw
34 33 0:98 / /hidden rw - nfs server:/y rw
35 27 7:1 / /snap/x ro - squashfs /dev/loop1 ro
36 27 0:97 / /dev/shm rw - tmpfs tmpfs rw
37 27 0:96 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
broken line
";
        let found: Vec<String> = local(text.lines().filter_map(mount))
            .into_iter()
            .map(|mount| format!("{} {} {}", mount.point, mount.kind, mount.device))
            .collect();
        assert_eq!(found, ["/ ext4 /dev/nvme0n1p1", "/data one xfs /dev/nvme1n1"]);
        let container = mount("9 8 0:50 / / rw - overlay overlay rw,lowerdir=/a");
        assert_eq!(local(container.into_iter()).len(), 1);
    }

    #[test]
    fn the_best_default_route_that_is_up_names_the_interface() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    ens6\t00000000\t010200C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\n\
                    ens5\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                    ens7\t00000000\t010200C0\t0002\t0\t0\t1\t00000000\t0\t0\t0\n\
                    ens8\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(default_interface(text), Some("ens5"));
        assert_eq!(default_interface("Iface\n"), None);
        let zero = "0".repeat(32);
        let line = |metric, flags, name| {
            format!("{zero} 00 {zero} 00 {zero} {metric} 00000001 00000000 {flags} {name}\n")
        };
        let text = line("ffffffff", "00200200", "lo") + &line("00000400", "00000003", "ens5");
        assert_eq!(default_interface_6(&text), Some("ens5"));
    }

    #[test]
    fn a_link_is_down_when_its_route_or_its_carrier_goes() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let mut looker = Looker::new(root.path());
        let mut look = || looker.look(Duration::from_secs(1)).link;
        assert!(matches!(look(), Link::Unknown(reason) if reason.contains("/proc/net/route")));
        put("proc/net/route", "Iface\n");
        assert_eq!(look(), Link::Absent);
        put("proc/net/route", "Iface\neth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n");
        assert!(matches!(look(), Link::Unknown(_)));
        put("sys/class/net/eth0/operstate", "unknown\n");
        let down = |reason: &str| Link::Down { interface: "eth0".into(), reason: reason.into() };
        assert_eq!(look(), down("its state is `unknown`"));
        put("sys/class/net/eth0/carrier", "1\n");
        assert_eq!(look(), Link::Up { interface: "eth0".into() });
        put("sys/class/net/eth0/operstate", "lowerlayerdown\n");
        assert_eq!(look(), down("its state is `lowerlayerdown`"));
        put("proc/net/route", "Iface\n");
        assert_eq!(look(), down("the default route is gone"));
    }

    #[test]
    fn this_machine_has_a_disk_and_memory() {
        let system = Looker::new(Path::new("/")).look(Duration::from_secs(1));
        assert!(system.memory.value().is_some(), "{system:?}");
        for disk in system.disks.unwrap() {
            assert!((0.0..=100.0).contains(&disk.used_percent), "{disk:?}");
            assert!(disk.size_bytes > 0, "{disk:?}");
        }
    }
}
