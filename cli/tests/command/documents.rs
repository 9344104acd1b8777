//! What the documents show is what the command does.

use snoozed::exit;

use crate::snooze::snooze;

const COMMAND: &str = include_str!("../../../docs/command.md");
const EXIT_CODES: &str = include_str!("../../../docs/exit-codes.md");

#[test]
fn what_is_shown_is_what_is_printed() {
    let mut shown = 0;
    for block in COMMAND.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        let (line, output) = block.split_once('\n').unwrap();
        let args = line.strip_prefix("$ snooze ").unwrap();
        assert_eq!(snooze(args.split(' ')).out, output, "{line}");
        shown += 1;
    }
    assert!(shown >= 5, "{shown}");
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
