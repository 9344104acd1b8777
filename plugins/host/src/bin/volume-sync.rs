//! Writes to the disks what the kernel still holds, and freezes file systems if asked to.

use std::process::ExitCode;

use host_plugins::{VolumeSync, guard_volumes};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == "guard" => guard_volumes(args),
        Some(_) | None => snooze_plugin::serve(VolumeSync::default()),
    }
}
