//! Other users at the socket.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};
use snooze_tests::place;
use snooze_tests::setup::Setup;
use snoozed::socket::{COMMANDS, NOT_ALLOWED};

/// A group that every system has, and that the stranger is not in.
const GROUP: (&str, u32) = ("daemon", 1);

/// Becomes the stranger, in these groups, connects, sends a line and prints the answer; ends with
/// 7 when it may not connect.
const CLIENT: &str = "
import os, socket, sys
os.setgroups([int(group) for group in sys.argv[3:]])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(sys.argv[1])
except PermissionError:
    sys.exit(7)
client.sendall(sys.argv[2].encode() + b'\\n')
print(client.makefile().readline())
";

#[test]
fn e11_another_user_cannot_connect_and_where_the_file_lets_it_may_only_read() {
    if !place::as_root() || !place::has("python3") {
        return;
    }
    let mut setup = Setup::new();
    setup.set("socket", json!({ "group": GROUP.0 }));
    // The folder of the test is closed to others; that of the daemon need not be.
    fs::set_permissions(setup.path(""), Permissions::from_mode(0o711)).unwrap();
    let daemon = setup.start();
    assert_eq!(asked(&setup, None, "STATUS"), None, "the mode keeps it out");
    for (command, _) in COMMANDS {
        let code = asked(&setup, Some(GROUP.1), command).unwrap()["code"].clone();
        assert_ne!(code, NOT_ALLOWED, "{command} of a member of the group");
    }
    let file = setup.path("run/snoozed.sock");
    fs::set_permissions(file, Permissions::from_mode(0o666)).unwrap();
    for (command, changes) in COMMANDS {
        let code = asked(&setup, None, command).unwrap()["code"].clone();
        assert_eq!(code == NOT_ALLOWED, changes, "{command} of a stranger: {code}");
    }
    assert!(daemon.history().is_empty());
}

/// The reply to a command of the user `nobody`, in this group; `None` when it cannot connect.
fn asked(setup: &Setup, group: Option<u32>, command: &str) -> Option<Value> {
    let request = json!({ "command": command }).to_string();
    let mut client = Command::new("python3");
    client.args(["-c", CLIENT]).arg(setup.path("run/snoozed.sock")).arg(request);
    let output = client.args(group.map(|group| group.to_string())).output().unwrap();
    match output.status.code() {
        Some(7) => None,
        Some(0) => Some(serde_json::from_slice(&output.stdout).unwrap()),
        _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
    }
}
