//! What the documents show is what the command does.

use snoozed::exit;

use crate::snooze::{Place, snooze};

const COMMAND: &str = include_str!("../../../docs/command.md");
const MIGRATE: &str = include_str!("../../../docs/migrate.md");
const SAVINGS: &str = include_str!("../../../docs/savings.md");
const EXIT_CODES: &str = include_str!("../../../docs/exit-codes.md");

#[test]
fn what_is_shown_is_what_is_printed() {
    let mut shown = 0;
    let blocks = [COMMAND, MIGRATE, SAVINGS].map(|text| text.split("```console\n").skip(1));
    for block in blocks.into_iter().flatten() {
        let (block, _) = block.split_once("```").unwrap();
        let (line, output) = block.split_once('\n').unwrap();
        let args = line.strip_prefix("$ snooze ").unwrap();
        assert_eq!(snooze(args.split(' ')).out, output, "{line}");
        shown += 1;
    }
    assert!(shown >= 9, "{shown}");
}

// S4-62
#[test]
fn every_command_of_a_migration_works() {
    let place = Place::new();
    place
        .directory("snooze", &[("snooze.json", include_str!("../../samples/migrate/snooze.json"))]);
    let old = place.path("snooze/snooze.json").display().to_string();
    let settings = place.path("snoozed.json").display().to_string();
    let blocks = MIGRATE.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let mut run = 0;
    for line in blocks.flat_map(str::lines) {
        // The usual places are those of this machine.
        let here = line.replace("/etc/cloudsnooze/snoozed.json", &settings);
        let mut args: Vec<&str> = here.strip_prefix("snooze ").unwrap().split(' ').collect();
        match args[1] {
            "migrate" => args.extend([&old, "--settings", &settings, "--yes"]),
            "set" => args.extend(["--settings", &settings]),
            _ => {}
        }
        assert_eq!(snooze(&args).code, 0, "{line}");
        run += 1;
    }
    assert!(run >= 5, "{run}");
}

#[test]
fn every_verb_has_a_part() {
    let help = snooze(["--help"]).out;
    let (_, verbs) = help.split_once("Commands:\n").unwrap();
    let (verbs, _) = verbs.split_once("\n\n").unwrap();
    for line in verbs.lines() {
        let verb = line.split_whitespace().next().unwrap();
        assert!(verb == "help" || COMMAND.contains(&format!("## `{verb}")), "{verb}");
    }
}

#[test]
fn every_exit_code_stands_in_the_table() {
    for (code, name) in [
        (exit::OK, "OK"),
        (exit::NO, "NO"),
        (exit::USAGE, "USAGE"),
        (exit::BAD_SETTINGS, "BAD_SETTINGS"),
        (exit::SECOND_INSTANCE, "SECOND_INSTANCE"),
        (exit::SYSTEM, "SYSTEM"),
        (exit::NO_DAEMON, "NO_DAEMON"),
        (exit::REFUSED, "REFUSED"),
        (exit::AWS, "AWS"),
    ] {
        assert!(EXIT_CODES.contains(&format!("| {code} | `{name}` |")), "{code} {name}");
    }
    let rows = EXIT_CODES.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    assert_eq!(rows.count(), 9);
}
