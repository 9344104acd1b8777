//! Names that others choose, in every use that is made of them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use snooze_event::PluginName;
use snooze_tests::dice::{self, Dice};
use snooze_tests::place;
use snoozed::plugins::{Approval, Entry, Outcome, PluginState, discover};

use super::LONG;
use super::bench::{bench_entry, check};

/// What a shell, a path, a unit, a terminal or a format could take for its own.
const PARTS: [&str; 28] = [
    "a",
    "flush",
    "z9",
    "-",
    "--",
    "0",
    "A",
    "_",
    ".",
    "..",
    "/",
    "../",
    "\\",
    " ",
    "\n",
    "\t",
    "$(id)",
    "`id`",
    ";id",
    "|id",
    "&",
    "*",
    "%n",
    "{}",
    "@",
    "\u{1b}[2J",
    "\u{e4}",
    "\u{202e}",
];

#[test]
fn i6_a_name_is_a_small_word_or_no_name() {
    let seed = dice::seed();
    println!("SNOOZE_SEED={seed}");
    let mut dice = Dice::new(seed);
    for _ in 0..20_000 {
        let text = text(&mut dice);
        let name = text.parse::<PluginName>();
        assert_eq!(name.is_ok(), is_small_word(&text), "{text:?}");
        if let Ok(name) = name {
            let file = Approval::file_name(&name);
            assert_eq!(std::path::Path::new(&file).file_name(), Some(OsStr::new(&file)));
        }
    }
    for text in ["", "\0", "a\0", &"a".repeat(33)] {
        assert!(text.parse::<PluginName>().is_err(), "{text:?}");
    }
}

#[test]
fn i6_files_with_names_of_any_kind_are_found_by_small_words_or_refused() {
    check(&[], async |bench| {
        let seed = dice::seed();
        println!("SNOOZE_SEED={seed}");
        let mut dice = Dice::new(seed);
        let mut names = BTreeSet::new();
        for _ in 0..500 {
            let mut name = text(&mut dice).replace('/', "+").into_bytes();
            if dice.below(10) == 0 {
                name.push(0xff);
            }
            let path = bench.dir.join(OsStr::from_bytes(&name));
            if fs::write(&path, "#!/bin/sh\n").is_ok() {
                fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
                names.insert(name);
            }
        }
        let (found, refused) = discover(&bench.settings);
        for found in &found {
            assert!(is_small_word(found.name.as_str()), "{found:?}");
        }
        let hidden = names.iter().filter(|name| name.starts_with(b".")).count();
        assert_eq!(found.len() + refused.len() + hidden, names.len(), "each is found or refused");
    });
}

/// A step is called as its policy says; that is the name of files here.
#[test]
fn i6_steps_with_names_of_any_kind_keep_to_their_own_files() {
    check(&["echo"], async |bench| {
        bench.until(PluginState::Ready, "echo").await;
        let seed = dice::seed();
        println!("SNOOZE_SEED={seed}");
        let mut dice = Dice::new(seed);
        let ids: BTreeSet<String> = (0..20).map(|_| text(&mut dice)).collect();
        let entry = |id: &String| Entry { id: id.clone(), ..bench_entry("echo") };
        bench.host.set_entries(ids.iter().map(entry).collect());
        for id in &ids {
            assert_eq!(bench.run(id, LONG).await.outcome, Outcome::Done, "{id:?}");
        }
        let mut locks = 0;
        for file in fs::read_dir(bench.run_directory()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let stem = name.strip_suffix(".lock").unwrap_or_else(|| panic!("{name}"));
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            assert!(stem.chars().all(is_plain), "{name}");
            locks += 1;
        }
        assert_eq!(locks, ids.len() + 1, "each has its own, and so had the first entry");
        let beside = fs::read_dir(bench.dir.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 3, "plugins, run, and what was installed");
    });
}

/// Only root can mount; what is mounted is looked at like everything else, and nobody waits for the
/// other end of a pipe.
#[test]
fn i5_what_is_mounted_over_a_plugin_is_run_only_if_it_is_a_safe_file() {
    check(&[], async |bench| {
        let may_mount = Command::new("unshare").args(["--mount", "true"]).status();
        if !may_mount.is_ok_and(|status| status.success()) {
            return println!("not tested: it takes root to mount");
        }
        let folder = bench.run_directory();
        for (name, mode) in [("safe", 0o755), ("open", 0o777)] {
            fs::write(folder.join(name), "#!/bin/sh\necho it runs\n").unwrap();
            fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
        }
        let pipe = folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let plugin = bench.dir.join("plugin");
        place::install("/dev/stdin".as_ref(), &plugin, Some("#!/bin/sh\necho the old one\n"));
        for (mounted, told) in [
            (folder.join("safe"), "it runs"),
            (folder.join("open"), "it can be written by others"),
            (pipe, "it is not a regular file"),
            ("/dev/null".into(), "it is not a regular file"),
        ] {
            let script = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
            let output = Command::new("unshare")
                .args(["--mount", "sh", "-c", script])
                .args([&mounted, &plugin])
                .args([env!("CARGO_BIN_EXE_launcher"), "launch", "keep"])
                .arg(std::process::id().to_string())
                .args([folder.join("lock").as_os_str(), "{}".as_ref(), "file".as_ref()])
                .args([bench.dir.as_os_str(), "plugin".as_ref()])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains(told), "{mounted:?}: {said}");
        }
    });
}

/// The rule of the documents, in other words: a small letter, then up to 31 small letters, digits
/// and hyphens.
fn is_small_word(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    rest.len() < text.len() && rest.chars().all(fits) && text.len() <= 32
}

fn text(dice: &mut Dice) -> String {
    let parts = 1 + dice.below(6);
    let bound = PARTS.len().try_into().unwrap();
    let bound = if dice.below(2) == 0 { 6 } else { bound };
    (0..parts).map(|_| PARTS[usize::try_from(dice.below(bound)).unwrap()]).collect()
}
