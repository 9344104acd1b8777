//! Puts a [`Confinement`] on this process. What becomes of it, and of what that starts, cannot
//! take it off again.
//!
//! Credentials belong to a thread here, so there must be no other.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{Fault, filter};
use crate::sandbox::{Confinement, Ids, Network, Walls};

/// Devices that hold nothing, for everybody.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];

/// What a plugin that may only read some places reads besides: programs, libraries, interpreters,
/// names of hosts and users, certificates, what the kernel tells, and how names are resolved.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/dev",
    "/proc",
    "/sys",
    "/nix/store",
    "/run/systemd/resolve",
];

/// Puts all of it on, or fails; `own` is what the plugin itself is read from.
pub(super) fn confine(confinement: &Confinement, own: &Path) -> Result<(), Fault> {
    for (resource, limit) in [
        // A core dump would hold the secrets of the configuration.
        (Resource::Core, Some(0)),
        (Resource::Nproc, confinement.processes),
        (Resource::Data, confinement.memory),
        (Resource::Fsize, confinement.file_size),
        (Resource::Nofile, confinement.open_files),
    ] {
        let Some(limit) = limit else { continue };
        lower(resource, limit).map_err(|source| failed(&format!("limit {resource:?}"), source))?;
    }
    let walls = confinement.walls.as_ref();
    if let Some(walls) = walls.filter(|walls| walls.landlock > 0) {
        landlock(walls, own)?;
    }
    if walls.is_some_and(|walls| !walls.root) {
        bind_root().map_err(|source| failed("bounding set", source))?;
    }
    if let Some(user) = &confinement.user {
        switch(user).map_err(|source| failed(&format!("user {}", user.uid), source))?;
    }
    if confinement.user.is_some() || walls.is_some_and(|walls| !walls.root) {
        let none = CapabilitySet::empty();
        let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::clear_ambient_capability_set()
            .and_then(|()| rustix::thread::set_capabilities(None, none))
            .map_err(|source| failed("capabilities", source))?;
    }
    match walls.filter(|walls| walls.seccomp) {
        Some(walls) => filter::install(&walls.network),
        None => Ok(()),
    }
}

/// The kernel lets everybody lower a limit, and nobody but root raise one.
fn lower(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let now = rustix::process::getrlimit(resource);
    let least = |now: Option<u64>| Some(now.map_or(limit, |now| now.min(limit)));
    let lower = Rlimit { current: least(now.current), maximum: least(now.maximum) };
    rustix::process::setrlimit(resource, lower)
}

/// Root by number only: no program that it starts finds a privilege to get. Where we may not do
/// that there is a gap, which the plan tells.
fn bind_root() -> rustix::io::Result<()> {
    let effective = rustix::thread::capabilities(None)?.effective;
    if !effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for capability in CapabilitySet::all().iter() {
        // A kernel that does not know one cannot give it either.
        if rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false) {
            rustix::thread::remove_capability_from_bounding_set(capability)?;
        }
    }
    Ok(())
}

fn switch(user: &Ids) -> rustix::io::Result<()> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Whoever has such a wall cannot trace a process outside of it, whatever else it allows.
fn landlock(walls: &Walls, own: &Path) -> Result<(), Fault> {
    let wall = |source: RulesetError| failed("landlock", source);
    let writing = AccessFs::from_write(ABI::from(walls.landlock.min(3)));
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let handled = if walls.read.is_some() { writing | reading } else { writing };
    let mut rules = Ruleset::default().handle_access(handled).map_err(wall)?;
    let ports: Option<Vec<u16>> = match &walls.network {
        Network::Ports(ports) => Some(ports.iter().copied().collect()),
        Network::None => Some(Vec::new()),
        Network::Any => None,
    };
    let ports = ports.filter(|_| walls.landlock >= 4);
    if ports.is_some() {
        let both = AccessNet::BindTcp | AccessNet::ConnectTcp;
        rules = rules.handle_access(both).map_err(wall)?;
    }
    if walls.landlock >= 6 {
        rules = rules.scope(Scope::AbstractUnixSocket).map_err(wall)?;
    }
    if walls.landlock >= 6 && !walls.signal {
        rules = rules.scope(Scope::Signal).map_err(wall)?;
    }
    let mut rules = rules.create().map_err(wall)?;
    for (path, access) in allowed(walls, own, handled) {
        let opened = PathFd::new(&path)
            .map_err(|source| failed(&format!("permission for `{}`", path.display()), source))?;
        rules = rules.add_rule(PathBeneath::new(opened, access)).map_err(wall)?;
    }
    for port in ports.into_iter().flatten() {
        rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp)).map_err(wall)?;
    }
    rules.restrict_self().map(drop).map_err(wall)
}

/// Where what is allowed.
fn allowed(
    walls: &Walls,
    own: &Path,
    handled: BitFlags<AccessFs>,
) -> Vec<(PathBuf, BitFlags<AccessFs>)> {
    let mut allowed: Vec<(PathBuf, BitFlags<AccessFs>)> = DEVICES
        .into_iter()
        .map(|device| (PathBuf::from(device), AccessFs::WriteFile.into()))
        .collect();
    let own_places = std::iter::once(&walls.temporary).chain(&walls.write);
    allowed.extend(own_places.map(|path| (path.clone(), handled)));
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    if let Some(read) = &walls.read {
        let system = SYSTEM.into_iter().map(PathBuf::from).filter(|path| path.exists());
        let places = system.chain(read.iter().cloned()).chain([own.to_owned()]);
        allowed.extend(places.map(|path| (path, reading)));
    }
    allowed
}

fn failed(what: &str, source: impl Display) -> Fault {
    Fault::CannotStart(format!("{what}: {source}"))
}
