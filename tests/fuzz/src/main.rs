//! One program for all targets: the variable `SNOOZE_TARGET` names the one that is fed.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

#[cfg(feature = "daemon")]
#[path = "../../src/daemon_targets.rs"]
mod daemon_targets;
#[path = "../../src/targets.rs"]
mod targets;

fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<targets::Target> = OnceLock::new();
    (TARGET.get_or_init(chosen).feed)(bytes);
});

fn chosen() -> targets::Target {
    let name = std::env::var("SNOOZE_TARGET").expect("SNOOZE_TARGET names a target");
    let known = targets::THINKING.into_iter();
    #[cfg(feature = "daemon")]
    let known = known.chain(daemon_targets::DAEMON);
    let mut found = known.filter(|target| target.name == name);
    found.next().expect("SNOOZE_TARGET names a target of this program")
}
