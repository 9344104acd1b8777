//! The kept inputs of the fuzz targets, and their neighbours: what `cargo xtask fuzz` looks for
//! by itself is looked at here at each run.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use snooze_tests::daemon_targets::DAEMON;
use snooze_tests::dice::Dice;
use snooze_tests::place;
use snooze_tests::targets::{THINKING, Target};

/// How many neighbours of each input are tried, unless `SNOOZE_NEIGHBOURS` says how many. The seed
/// is its name, so that each run tries the same ones.
const NEIGHBOURS: u64 = 50;

/// How much all inputs may take together, in bytes.
const LARGEST: usize = 2 << 20;

/// What readers care for.
const TOKENS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\n",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-0",
    "1e400",
    "9007199254740993",
    "18446744073709551616",
    "\u{feff}",
    "\u{1b}[2J",
    "*",
    "..",
    "i-0a1b2c3d4e5f60718",
    "9999-12-31T23:59:60Z",
    "-009999-01-01T00:00:00Z",
];

#[test]
fn c9_no_kept_input_breaks_a_reader() {
    for target in targets() {
        for (name, bytes) in corpus(target.name) {
            try_it(target.feed, &bytes, &format!("{}/{name}", target.name));
        }
    }
}

#[test]
fn c9_no_neighbour_of_a_kept_input_breaks_a_reader() {
    let wanted = place::variable("SNOOZE_NEIGHBOURS").and_then(|text| text.parse().ok());
    for target in targets() {
        let inputs = corpus(target.name);
        let others: Vec<&Vec<u8>> = inputs.values().collect();
        for (name, bytes) in &inputs {
            let seed =
                name.bytes().fold(0, |sum: u64, byte| sum * 31 % 0xFFFF_FFFB + u64::from(byte));
            let mut dice = Dice::new(seed);
            for _ in 0..wanted.unwrap_or(NEIGHBOURS) {
                let mut bytes = bytes.clone();
                for _ in 0..=dice.below(3) {
                    change(&mut bytes, &others, &mut dice);
                }
                try_it(target.feed, &bytes, &format!("a neighbour of {}/{name}", target.name));
            }
        }
    }
}

#[test]
fn each_target_has_its_corpus_and_all_of_them_stay_small() {
    let folders = fs::read_dir(place::root().join("tests/corpus")).unwrap();
    let mut folders: Vec<String> =
        folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    let mut names: Vec<&str> = targets().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(folders, names);
    let bytes = |name: &str| -> usize { corpus(name).values().map(Vec::len).sum() };
    let sum: usize = targets().map(|target| bytes(target.name)).sum();
    assert!(sum <= LARGEST, "{sum} bytes");
}

fn targets() -> impl Iterator<Item = Target> {
    THINKING.into_iter().chain(DAEMON)
}

fn try_it(feed: fn(&[u8]), bytes: &[u8], name: &str) {
    let ended = catch_unwind(AssertUnwindSafe(|| feed(bytes)));
    assert!(ended.is_ok(), "{name} breaks its reader:\n{}", bytes.escape_ascii());
}

/// The inputs of a target, by name.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = place::root().join("tests/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap().map(Result::unwrap);
    let inputs: BTreeMap<String, Vec<u8>> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

/// One small change at a random place.
fn change(bytes: &mut Vec<u8>, others: &[&Vec<u8>], dice: &mut Dice) {
    let place = index(dice, bytes.len());
    let length = index(dice, (bytes.len() - place).min(64));
    let piece = bytes[place..place + length].to_vec();
    match dice.below(6) {
        0 => bytes.truncate(place),
        1 => drop(bytes.drain(place..place + length)),
        2 => drop(bytes.splice(place..place, piece)),
        3 => {
            let token = TOKENS[index(dice, TOKENS.len())];
            drop(bytes.splice(place..place + length, token.bytes()));
        }
        4 => {
            let other = others[index(dice, others.len())];
            let from = index(dice, other.len());
            bytes.truncate(place);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}

/// A number below a length, 0 when there is none.
fn index(dice: &mut Dice, length: usize) -> usize {
    usize::try_from(dice.below(u64::try_from(length).unwrap())).unwrap()
}
