//! The walks of `docs/plugins.md`, and what `docs/command.md` shows of plugins, command by command.
//!
//! Without the tools of a language its walk is left out with a line; with `SNOOZE_FULL=1` in the
//! environment that is a failure.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::snooze::{Place, snooze};

const PLUGINS: &str = include_str!("../../../docs/plugins.md");
const COMMAND: &str = include_str!("../../../docs/command.md");
const CHECKPOINT: &str = include_str!("../../../plugins/examples/checkpoint.py");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn the_walk_in_python_leads_to_a_plugin_that_keeps_the_contract() {
    walk("python", "python3", "");
}

#[test]
fn the_walk_in_node_leads_to_a_plugin_that_keeps_the_contract() {
    walk("node", "node", "");
}

#[test]
fn the_walk_in_go_leads_to_a_plugin_that_keeps_the_contract() {
    walk("go", "go", "");
}

#[test]
fn the_walk_in_shell_leads_to_a_plugin_that_keeps_the_contract() {
    walk("sh", "sh", "");
}

#[test]
fn the_walk_in_rust_leads_to_a_plugin_that_keeps_the_contract() {
    // What this workspace is built with is on the disk; what is built stays for the next run.
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/scaffold");
    fs::create_dir_all(target).unwrap();
    walk("rust", "cargo", &format!("ln -s '{target}' target\ncp '{ROOT}/Cargo.lock' .\n"));
}

#[test]
fn every_walk_shows_what_its_template_saves() {
    for (lang, file, first) in [
        ("python", "my-plugin.py", "def state(event):"),
        ("node", "my-plugin.mjs", "// What is saved."),
        ("go", "main.go", "// state is what is saved."),
        ("rust", "src/main.rs", "/// What is saved."),
        ("sh", "my-plugin.sh", "# What is saved."),
    ] {
        let template = fs::read_to_string(format!("{ROOT}/plugins/templates/{lang}/{file}"));
        let shown = PLUGINS
            .split("```")
            .find(|block| block.split_once('\n').is_some_and(|(_, text)| text.starts_with(first)));
        let (_, shown) = shown.unwrap().split_once('\n').unwrap();
        assert!(template.unwrap().contains(shown), "{lang} differs");
    }
}

#[test]
fn a_command_that_the_page_of_plugins_shows_prints_what_it_shows() {
    let shown: Vec<_> = blocks(PLUGINS).filter(|block| !block.contains("plugin new")).collect();
    assert!(!shown.is_empty());
    for block in shown {
        let (command, output) = block.split_once('\n').unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", command.strip_prefix("$ ").unwrap()]).current_dir(ROOT);
        let printed = shell.stdin(Stdio::null()).output().unwrap();
        assert_eq!(String::from_utf8(printed.stdout).unwrap(), output, "{command}");
    }
}

#[test]
fn the_points_of_plugin_test_are_those_that_the_document_shows() {
    if !is_there("python3") {
        return;
    }
    let place = Place::new();
    let plugin = place.program("checkpoint.py", CHECKPOINT);
    let config = format!(r#"{{"path": "{}"}}"#, place.path("x.json").display());
    let run = snooze(["plugin", "test", &plugin, "--config", &config, "--patience", "10"]);
    let without_times = |text: &str| -> Vec<Vec<String>> {
        let cells = |line: &str| -> Vec<String> {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.enumerate().filter(|(at, _)| *at != 2).map(|(_, cell)| cell.to_owned()).collect()
        };
        text.lines().map(cells).collect()
    };
    assert_eq!(without_times(&run.out), without_times(shown("$ snooze plugin test ")));
}

#[test]
fn the_findings_of_plugin_doctor_are_those_that_the_document_shows() {
    let place = Place::new();
    let plugin = place.file("backup.py", "#!/usr/local/bin/python4\n");
    fs::set_permissions(&plugin, Permissions::from_mode(0o644)).unwrap();
    let own = fs::metadata(&plugin).unwrap().uid();
    let run = snooze(["plugin", "doctor", &plugin]);
    let said = run.out.replace(&plugin, "/usr/lib/cloudsnooze/plugins/backup.py");
    assert_eq!(
        said.replace(&format!("user {own}\n"), "user 0\n"),
        shown("$ snooze plugin doctor ")
    );
    assert_eq!(run.code, 1);
}

/// What `docs/command.md` shows as the output of the command that begins so.
fn shown(command: &str) -> &str {
    let (_, block) = COMMAND.split_once(&format!("```text\n{command}")).unwrap();
    let (_, output) = block.split_once('\n').unwrap();
    output.split_once("```").unwrap().0
}

/// Runs the walk of a language in an empty folder; `prepared` is done in the new project.
fn walk(lang: &str, tool: &str, prepared: &str) {
    if !is_there(tool) {
        return;
    }
    let new = format!("--lang {lang}");
    let walk = blocks(PLUGINS).find(|block| block.lines().next().unwrap().contains(&new)).unwrap();
    // A plugin that a group may write to is refused, whatever is usual on this machine.
    let mut script = "set -e\numask 022\n".to_owned();
    for line in walk.lines() {
        let command = line.strip_prefix("$ ").unwrap();
        script.push_str(&command.replace("~/cloudsnooze", &format!("'{ROOT}'")));
        script.push('\n');
        if command.starts_with("cd ") {
            script.push_str(prepared);
        }
    }
    let place = Place::new();
    let snooze = Path::new(env!("CARGO_BIN_EXE_snooze")).parent().unwrap();
    let path = std::env::vars().find(|(name, _)| name == "PATH").unwrap().1;
    let run = Command::new("sh")
        .args(["-c", &script])
        .current_dir(place.path(""))
        .env("PATH", format!("{}:{path}", snooze.display()))
        .env("SNOOZE_PATIENCE", "20")
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [&run.stdout, &run.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(run.status.success(), "{script}\n{}", said.join("\n"));
    assert!(said[0].ends_with(" kept, 0 broken, 0 not offered\n"), "{}", said[0]);
}

/// The blocks with commands.
fn blocks(document: &str) -> impl Iterator<Item = &str> {
    let blocks = document.split("```console\n").skip(1);
    blocks.map(|block| block.split_once("```").unwrap().0)
}

fn is_there(tool: &str) -> bool {
    let mut look = Command::new("sh");
    look.args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null());
    if look.status().unwrap().success() {
        return true;
    }
    let needed = std::env::vars().any(|(name, value)| name == "SNOOZE_FULL" && value == "1");
    assert!(!needed, "SNOOZE_FULL=1 needs {tool}");
    println!("not tested: {tool} is not installed");
    false
}
