//! What this kernel and this user can put on a plugin.

use landlock::{ABI, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use rustix::thread::CapabilitySet;

use super::Groups;

/// What can be put on here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// The number of the user we run as.
    pub uid: u32,
    /// We may start a process as another user, and signal it.
    pub may_switch_user: bool,
    /// We may take privileges from root for good.
    pub may_bind_root: bool,
    /// The version of Landlock, as far as we use it; 0 when there is none.
    pub landlock: i32,
    /// System calls can be filtered.
    pub seccomp: bool,
    /// Steps can have control groups; `None` where none was delegated.
    pub groups: Option<Groups>,
}

impl Abilities {
    /// Asks the kernel; changes nothing.
    #[must_use]
    pub fn probe() -> Self {
        let effective = rustix::thread::capabilities(None)
            .map_or(CapabilitySet::empty(), |capabilities| capabilities.effective);
        let switch = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
        Self {
            uid: rustix::process::geteuid().as_raw(),
            may_switch_user: effective.contains(switch),
            may_bind_root: effective.contains(CapabilitySet::SETPCAP),
            landlock: landlock_version(),
            seccomp: rustix::thread::secure_computing_mode().is_ok(),
            groups: Groups::find(),
        }
    }
}

/// The newest of the versions that brought something we use: 1 to 3 paths, 4 ports, 6 signals.
fn landlock_version() -> i32 {
    let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let paths = |abi| strict().handle_access(AccessFs::from_write(abi)).is_ok();
    let found = [
        (6, strict().scope(Scope::Signal).is_ok()),
        (4, strict().handle_access(AccessNet::ConnectTcp).is_ok()),
        (3, paths(ABI::V3)),
        (2, paths(ABI::V2)),
        (1, paths(ABI::V1)),
    ];
    found.iter().find(|(_, is_there)| *is_there).map_or(0, |(version, _)| *version)
}
