//! The metadata service where it is on EC2, and a daemon that was told nothing of it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use snooze_imds::fake::INSTANCE_ID;
use snooze_tests::setup::Setup;
use snooze_tests::{place, plugins, programs};
use tempfile::TempDir;

const ADDRESS: &str = "169.254.169.254:80";

#[test]
fn a13_at_its_real_address_the_metadata_service_is_heard_without_any_setting() {
    let Some(service) = Service::start() else { return };
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("snoozed");
    service.script(&program, &programs::path("snoozed"));
    let mut setup = Setup::of(program);
    let settings = setup.settings.as_object_mut().unwrap();
    settings.remove("sources");
    settings.remove("polling_interval_seconds");
    setup.script("plugins/saver.sh", &plugins::recorder("saver", &setup.path("done"), 0.0));
    setup.policy("orders", json!([{ "plugin": "saver" }]));
    let daemon = setup.start();
    let notice = json!({ "action": "terminate", "in_seconds": 120 }).to_string();
    let drive = folder.path().join("drive");
    service.script(&drive, &programs::beside("metadata"));
    let _ok = place::output(Command::new(drive).args([ADDRESS, "/_control/spot", &notice]));
    assert_eq!(daemon.closed()["outcome"], "done");
    assert_eq!(daemon.ask("STATUS", json!({}))["instance_id"], json!(INSTANCE_ID));
    assert_eq!(setup.lines("done").len(), 2);
}

/// A network with nothing in it but the service. It ends when it is dropped.
struct Service(Child);

impl Service {
    /// `None` where this user may not make a network.
    fn start() -> Option<Self> {
        let may = Command::new("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
        if !place::there("network of its own (needs root)", may.is_ok_and(|ended| ended.success()))
        {
            return None;
        }
        let script = "ip link set lo up && ip address add 169.254.169.254/32 dev lo && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", script, "sh"]);
        command.arg(programs::beside("metadata")).arg(ADDRESS).stdout(Stdio::piped());
        let mut service = Self(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(service.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("serving {ADDRESS}\n"));
        Some(service)
    }

    /// A script that runs a program in this network.
    fn script(&self, path: &Path, program: &Path) {
        let (pid, program) = (self.0.id(), program.display());
        let text = format!("#!/bin/sh\nexec nsenter --target {pid} --net -- {program} \"$@\"\n");
        place::install("/dev/stdin".as_ref(), path, Some(&text));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
