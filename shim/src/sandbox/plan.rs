//! From what is wanted and what can be done to what is done.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Abilities, Permission, Sandbox};

const MIB: u64 = 1024 * 1024;

/// The port of the metadata service.
const METADATA: u16 = 80;

/// What is put on a plugin, and what is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the launcher does.
    pub confinement: Confinement,
    /// What was wanted and cannot be enforced here, with the reason, for people.
    pub gaps: Vec<String>,
}

/// What a launcher puts on its plugin: all of it, or it starts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Confinement {
    /// The control group that it is put into.
    pub group: Option<Group>,
    /// Processes and threads of its user, where its group does not count them.
    pub processes: Option<u64>,
    /// Bytes of private memory of each process, where its group does not count them.
    pub memory: Option<u64>,
    /// Bytes of the longest file that it may write.
    pub file_size: Option<u64>,
    /// Descriptors of each process.
    pub open_files: Option<u64>,
    /// As whom it runs, when not as the daemon's user.
    pub user: Option<Ids>,
    /// What surrounds it; `None` when it has all rights of its user.
    pub walls: Option<Walls>,
}

/// A control group for one step, with what it limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its directory; made for the step, and removed after it.
    pub path: PathBuf,
    /// Processes and threads in it.
    pub processes: Option<u64>,
    /// Bytes of memory of all that is in it.
    pub memory: Option<u64>,
}

/// The numbers of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Its own.
    pub uid: u32,
    /// That of its group.
    pub gid: u32,
    /// Those of its other groups.
    pub groups: Vec<u32>,
}

/// What a plugin with permissions cannot pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walls {
    /// The version of Landlock to use; 0 for none.
    pub landlock: i32,
    /// Filter system calls.
    pub seccomp: bool,
    /// A directory of its own, made for it and removed after it.
    pub temporary: PathBuf,
    /// Where else it may write.
    pub write: Vec<PathBuf>,
    /// Where it may read, beside the system itself; `None` for everywhere.
    pub read: Option<Vec<PathBuf>>,
    /// With whom it may talk.
    pub network: Network,
    /// It may signal processes that it did not start.
    pub signal: bool,
    /// It keeps the privileges of root, if it has them.
    pub root: bool,
}

/// With whom a plugin may talk, apart from sockets that are files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// With everybody.
    Any,
    /// With these TCP ports, and by datagrams, so that names can be resolved.
    Ports(BTreeSet<u16>),
    /// With nobody.
    None,
}

impl Sandbox {
    /// What is to be put on, and what cannot be; `place` is the path of all files of the step, to
    /// which their endings are added.
    #[must_use]
    pub fn plan(&self, can: &Abilities, place: &Path) -> Plan {
        let mut gaps = Vec::new();
        let user = self.user.as_ref().filter(|user| user.uid != can.uid);
        if let Some(user) = user.filter(|_| !can.may_switch_user) {
            gaps.push(format!("user `{}`: the daemon does not run as root", user.name));
        }
        let user = user.filter(|_| can.may_switch_user);
        let uid = user.map_or(can.uid, |user| user.uid);
        // The kernel counts the processes of a user, and does not stop root.
        let is_counted = user.is_some() && uid != 0;
        let groups = can.groups.as_ref();
        let group_counts = groups.is_some_and(|groups| groups.processes);
        let group_weighs = groups.is_some_and(|groups| groups.memory);
        if self.amounts.processes.is_some() && !is_counted && !group_counts {
            gaps.push("limits.processes: it has no `user` of its own".to_owned());
        }
        if self.amounts.memory_mb.is_some() && !group_weighs {
            gaps.push(
                "limits.memory_mb: holds for each of its processes, and not for shared memory"
                    .to_owned(),
            );
        }
        let bytes = |mib: Option<u64>| mib.map(|mib| mib.saturating_mul(MIB));
        let (processes, memory) = (self.amounts.processes, bytes(self.amounts.memory_mb));
        let confinement = Confinement {
            group: groups.map(|groups| Group {
                path: groups.root.join(place.file_name().unwrap_or_default()),
                processes: processes.filter(|_| group_counts),
                memory: memory.filter(|_| group_weighs),
            }),
            processes: processes.filter(|_| is_counted && !group_counts),
            memory: memory.filter(|_| !group_weighs),
            file_size: bytes(self.amounts.file_size_mb),
            open_files: self.amounts.open_files,
            user: user.map(|user| Ids {
                uid: user.uid,
                gid: user.gid,
                groups: user.groups.clone(),
            }),
            walls: self.permissions.as_ref().map(|permissions| {
                let walls = walls(permissions, can, place.with_extension("tmp"));
                let metadata = permissions.contains(&Permission::Metadata);
                gaps_of(&walls, metadata, uid, can, &mut gaps);
                walls
            }),
        };
        Plan { confinement, gaps }
    }
}

fn walls(permissions: &BTreeSet<Permission>, can: &Abilities, temporary: PathBuf) -> Walls {
    let mut walls = Walls {
        landlock: can.landlock,
        seccomp: can.seccomp,
        temporary,
        write: Vec::new(),
        read: None,
        network: Network::None,
        signal: false,
        root: false,
    };
    for permission in permissions {
        match permission {
            Permission::Network => walls.network = Network::Any,
            Permission::Port(port) => walls.network.open(*port),
            Permission::Metadata => walls.network.open(METADATA),
            Permission::Read(path) => {
                walls.read.get_or_insert_default().push(path.clone());
            }
            Permission::Write(path) => walls.write.push(path.clone()),
            Permission::Signal => walls.signal = true,
            Permission::Root => walls.root = true,
        }
    }
    walls
}

impl Network {
    fn open(&mut self, port: u16) {
        match self {
            Self::Any => {}
            Self::Ports(ports) => drop(ports.insert(port)),
            Self::None => *self = Self::Ports([port].into()),
        }
    }

    fn reaches_metadata(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Ports(ports) => ports.contains(&METADATA),
            Self::None => false,
        }
    }
}

fn gaps_of(walls: &Walls, metadata: bool, uid: u32, can: &Abilities, gaps: &mut Vec<String>) {
    let mut gap = |text: &str| gaps.push(text.to_owned());
    match walls.landlock {
        ..=0 => gap("paths, other processes: the kernel has no Landlock"),
        1 | 2 => gap("write: it may empty files that it may not write (before Linux 6.2)"),
        _ => {}
    }
    if !walls.signal && (1..6).contains(&walls.landlock) {
        gap("signal: the kernel cannot refuse signals (before Linux 6.12)");
    }
    match &walls.network {
        Network::Any => {}
        Network::Ports(_) if walls.landlock < 4 => {
            gap("network: the kernel cannot tell ports apart (before Linux 6.7)");
        }
        Network::Ports(_) if !walls.seccomp => {
            gap("network: who wants to can get around the ports, the kernel has no seccomp");
        }
        Network::None if !walls.seccomp && walls.landlock < 4 => {
            gap("network: the kernel has no seccomp and no Landlock for ports");
        }
        Network::None if !walls.seccomp => gap("network: only TCP, the kernel has no seccomp"),
        Network::Ports(_) | Network::None => {}
    }
    if walls.network.reaches_metadata() && !metadata {
        gap("metadata: its port 80 is among those that `network` opens");
    }
    if uid == 0 && !walls.root && !can.may_bind_root {
        gap("root: the daemon may not take privileges from root");
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::sandbox::{Amounts, Groups, User};

    fn root() -> Abilities {
        Abilities {
            uid: 0,
            may_switch_user: true,
            may_bind_root: true,
            landlock: 6,
            seccomp: true,
            groups: None,
        }
    }

    fn own() -> Abilities {
        Abilities { uid: 500, may_switch_user: false, ..root() }
    }

    fn sandbox(user: Option<u32>, permissions: Option<&[&str]>) -> Sandbox {
        Sandbox {
            amounts: Amounts { memory_mb: Some(64), ..Amounts::default() },
            user: user.map(|uid| User { name: uid.to_string(), uid, gid: uid, groups: vec![] }),
            permissions: permissions
                .map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect()),
        }
    }

    fn check(sandbox: &Sandbox, can: &Abilities, expected: &Expect) {
        let Plan { confinement, gaps } = sandbox.plan(can, Path::new("/run/orders-redis"));
        let mut text = format!(
            "processes {:?} memory {:?} open files {:?} user {:?}\n",
            confinement.processes,
            confinement.memory,
            confinement.open_files,
            confinement.user.map(|user| user.uid),
        );
        if let Some(group) = confinement.group {
            text += &format!(
                "group {:?} processes {:?} memory {:?}\n",
                group.path, group.processes, group.memory
            );
        }
        if let Some(walls) = confinement.walls {
            text += &format!(
                "write {:?} read {:?} network {:?} signal {} root {}\n",
                walls.write, walls.read, walls.network, walls.signal, walls.root
            );
        }
        for gap in gaps {
            text += &format!("gap {gap}\n");
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn limits_hold_for_everyone_and_walls_for_those_with_permissions() {
        check(
            &sandbox(None, None),
            &own(),
            &expect![[r#"
            processes None memory Some(67108864) open files Some(4096) user None
            gap limits.processes: it has no `user` of its own
            gap limits.memory_mb: holds for each of its processes, and not for shared memory
        "#]],
        );
        check(
            &sandbox(Some(63_001), Some(&[])),
            &root(),
            &expect![[r#"
            processes Some(512) memory Some(67108864) open files Some(4096) user Some(63001)
            write [] read None network None signal false root false
            gap limits.memory_mb: holds for each of its processes, and not for shared memory
        "#]],
        );
    }

    #[test]
    fn permissions_open_the_walls() {
        let wanted = ["network:5432", "metadata", "read:/data", "write:/var/backups", "signal"];
        check(
            &sandbox(Some(63_001), Some(&wanted)),
            &root(),
            &expect![[r#"
            processes Some(512) memory Some(67108864) open files Some(4096) user Some(63001)
            write ["/var/backups"] read Some(["/data"]) network Ports({80, 5432}) signal true root false
            gap limits.memory_mb: holds for each of its processes, and not for shared memory
        "#]],
        );
    }

    #[test]
    fn what_cannot_be_enforced_is_told() {
        let none = Abilities { uid: 0, ..Abilities::default() };
        check(
            &sandbox(Some(63_001), Some(&[])),
            &none,
            &expect![[r#"
            processes None memory Some(67108864) open files Some(4096) user None
            write [] read None network None signal false root false
            gap user `63001`: the daemon does not run as root
            gap limits.processes: it has no `user` of its own
            gap limits.memory_mb: holds for each of its processes, and not for shared memory
            gap paths, other processes: the kernel has no Landlock
            gap network: the kernel has no seccomp and no Landlock for ports
            gap root: the daemon may not take privileges from root
        "#]],
        );
        let old = Abilities { landlock: 2, ..own() };
        check(
            &sandbox(None, Some(&["network:6379"])),
            &old,
            &expect![[r#"
            processes None memory Some(67108864) open files Some(4096) user None
            write [] read None network Ports({6379}) signal false root false
            gap limits.processes: it has no `user` of its own
            gap limits.memory_mb: holds for each of its processes, and not for shared memory
            gap write: it may empty files that it may not write (before Linux 6.2)
            gap signal: the kernel cannot refuse signals (before Linux 6.12)
            gap network: the kernel cannot tell ports apart (before Linux 6.7)
        "#]],
        );
    }

    #[test]
    fn what_a_group_counts_is_no_gap_and_needs_no_user() {
        let groups = |memory, processes| {
            let groups = Groups { root: "/cg/snoozed.service".into(), memory, processes };
            Abilities { groups: Some(groups), ..own() }
        };
        check(
            &sandbox(None, None),
            &groups(true, true),
            &expect![[r#"
            processes None memory None open files Some(4096) user None
            group "/cg/snoozed.service/orders-redis" processes Some(512) memory Some(67108864)
        "#]],
        );
        check(
            &sandbox(None, None),
            &groups(false, false),
            &expect![[r#"
            processes None memory Some(67108864) open files Some(4096) user None
            group "/cg/snoozed.service/orders-redis" processes None memory None
            gap limits.processes: it has no `user` of its own
            gap limits.memory_mb: holds for each of its processes, and not for shared memory
        "#]],
        );
    }

    #[test]
    fn f18_the_metadata_service_stands_open_only_when_that_is_told_or_permitted() {
        let gap = |permissions: &[&str]| {
            let plan = sandbox(Some(63_001), Some(permissions)).plan(&root(), Path::new(""));
            plan.gaps.iter().any(|gap| gap.starts_with("metadata"))
        };
        assert!(gap(&["network"]) && gap(&["network:80"]));
        assert!(!gap(&[]) && !gap(&["network:443"]) && !gap(&["network", "metadata"]));
    }
}
