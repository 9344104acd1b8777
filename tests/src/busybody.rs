//! A program that alone decides whether a daemon sees its instance as idle, so that nothing else on
//! this machine does.

use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::setup::Setup;

/// Lets an instance be idle after a nap of six seconds and a warning, unless the busybody works.
/// What users are told goes to the file `told`.
///
/// # Panics
/// When the folder of the setup cannot be written.
pub fn decides(setup: &mut Setup) {
    let busy = name(setup);
    setup.set("check_interval_seconds", json!(1));
    setup.set("naptime_minutes", json!(0.1));
    setup.set(
        "idle",
        json!({
            "monitors": ["load"], "processes": [busy], "minimum_uptime_minutes": 0,
            "cooldown_minutes": 0, "warning_seconds": 1,
        }),
    );
    let told = setup.path("told");
    setup.script("bin/wall", &format!("#!/bin/sh\necho \"$1\" >> '{}'\n", told.display()));
    setup.script(&format!("bin/{busy}"), "#!/bin/sh\nwhile :; do :; done\n");
}

/// A name that nothing else on this machine has: the last part of the folder's.
fn name(setup: &Setup) -> String {
    let folder = setup.path("");
    let name = folder.file_name().expect("a folder has a name").to_string_lossy().replace('.', "");
    format!("busy{name}").chars().take(15).collect()
}

/// A program that works until it is dropped.
#[derive(Debug)]
pub struct Busybody(Child);

impl Busybody {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(setup: &Setup) -> Self {
        let mut command = Command::new(setup.path("bin").join(name(setup)));
        Self(command.stdin(Stdio::null()).spawn().expect("it can be started"))
    }
}

impl Drop for Busybody {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
