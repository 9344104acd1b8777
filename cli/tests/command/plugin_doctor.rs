//! `plugin doctor`, with plugins that do not run.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use expect_test::expect;

use crate::snooze::{Place, Run, snooze};

const SHELL: &str = include_str!("../../../plugins/templates/sh/my-plugin.sh");

#[test]
fn a_plugin_that_runs_has_no_findings() {
    let place = Place::new();
    let run = doctor(&place.program("backup.sh", &SHELL.replace("my-plugin", "backup")));
    assert_eq!(run.code, 0, "{}", run.out);
    let checks: Vec<&str> = run.out.lines().map(|line| line.get(..20).unwrap_or(line)).collect();
    expect![[r#"
          ok    name        
          ok    owner       
          ok    mode        
          ok    directory   
          ok    program     
          ok    Info        
          ok    protocol    
        1 plugin: 0 faults, "#]]
    .assert_eq(&checks[1..].join("\n"));
}

// S2-20, S2-22
#[test]
fn a_plugin_that_ends_at_once_shows_its_last_words() {
    let place = Place::new();
    let plugin = place.program("backup", "#!/bin/sh\necho no \u{1b}module >&2\nexit 3\n");
    let run = doctor(&plugin);
    assert_eq!(run.code, 1);
    let said: Vec<&str> = run.out.lines().skip_while(|line| !line.contains("FAIL")).collect();
    expect![[r#"
          FAIL  Info          it ended without an answer (exit status: 3)
                do            answer `Info` with at least a `name`; its log tells more
                log           no \u{1b}module
        1 plugin: 1 fault, 0 warnings"#]]
    .assert_eq(&said.join("\n"));
}

// S1-12, S1-13, S2-21
#[test]
fn versions_and_dependencies_are_compared_with_this_host() {
    let place = Place::new();
    let info = r#""protocol":{"min":7,"max":9},"min_host_version":"99.1","dependencies":[
        {"name":"sh","version":">=1"},{"name":"webhook-notifier"},{"name":"no-such-tool"}]"#;
    let script = SHELL.replace(r#""protocol":{"min":1,"max":1}"#, &info.replace("\n", " "));
    let run = doctor(&place.program("backup.sh", &script));
    assert_eq!(run.code, 1);
    let said: Vec<&str> =
        run.out.lines().skip_while(|line| !line.contains("calls itself")).collect();
    let said = said.join("\n").replace("/usr/bin/sh", "/bin/sh");
    expect![[r#"
          warn  Info          it calls itself `my-plugin`; policies know it as `backup`
                do            give the file the name that it says, or the other way round
          FAIL  protocol      the plugin speaks protocol 7 to 9, this host 1 to 1
                do            use another version of it
          FAIL  host          the plugin wants CloudSnooze 99.1 or later, this is 0.1.0
                do            update CloudSnooze, or use an older version of the plugin
          ok    needs         `/bin/sh`, version >=1 (not compared)
          ok    needs         the plugin `webhook-notifier`
          warn  needs         `no-such-tool` is neither a program in the daemon's PATH nor a plugin
                do            install `no-such-tool`
        1 plugin: 2 faults, 2 warnings"#]]
    .assert_eq(&said);
}

#[test]
fn what_the_daemon_would_not_run_is_not_started() {
    let place = Place::new();
    let witness = place.path("witness").display().to_string();
    let plugin = place.program("Backup", &format!("#!/bin/sh\ntouch {witness}\n"));
    let run = doctor(&plugin);
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(!place.path("witness").exists());
    place.program("backup", &format!("#!/bin/sh\ntouch {witness}\n"));
    let whole = doctor(&place.path("").display().to_string());
    assert!(whole.out.contains("\nbackup  ") && place.path("witness").exists(), "{}", whole.out);
}

#[test]
fn f16_a_file_that_is_still_being_written_is_told_as_such() {
    let place = Place::new();
    let plugin = place.program("busy.sh", &SHELL.replace("my-plugin", "busy"));
    let _writer = OpenOptions::new().append(true).open(&plugin).unwrap();
    let spawned = Command::new(&plugin).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let run = doctor(&plugin);
    match spawned {
        Err(source) if source.kind() == ErrorKind::ExecutableFileBusy => {
            assert_eq!(run.code, 1, "{}", run.out);
            assert!(run.out.contains("somebody has it open for writing"), "{}", run.out);
            assert!(run.out.contains(&format!("fuser -v {plugin}")), "{}", run.out);
        }
        // Some kernels, such as 6.11, run what is open for writing.
        Err(source) => panic!("{source}"),
        Ok(mut child) => {
            assert!(child.wait().unwrap().success());
            assert_eq!(run.code, 0, "{}", run.out);
        }
    }
}

#[test]
fn without_a_daemon_the_usual_directories_are_looked_at() {
    let run = snooze(["--socket", "/no/daemon", "plugin", "doctor", "no-such-plugin"]);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.err.contains("there is no such plugin"), "{}", run.err);
    assert_eq!(doctor("/no/such/file").code, 3);
}

fn doctor(plugin: &str) -> Run {
    snooze(["plugin", "doctor", "--patience", "10", plugin])
}
