//! The coverage of the fault matrix: each row is closed by a test whose name begins with its id,
//! or is open for a stated reason (`open-rows.txt`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use snooze_tests::place;

/// Rows of the road from a notice to saved data, on one instance and in the cloud: never open
/// again.
const ROAD: [&str; 79] = [
    "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "A11", "B1", "B2", "B3", "B5",
    "C1", "C2", "C3", "C4", "C5", "C7", "C9", "C10", "C11", "D1", "D2", "D4", "D5", "D6", "D7",
    "D8", "D9", "D10", "D12", "D13", "D14", "D15", "D16", "D17", "D18", "E1", "E2", "E3", "E4",
    "E5", "E6", "E7", "E8", "E9", "E10", "I1", "I2", "I8", "I9", "F1", "F2", "F4", "F6", "F7",
    "F8", "F10", "F11", "F12", "F13", "F14", "F15", "F16", "F17", "F18", "F19", "F20", "F21", "G1",
    "G2", "G3", "G6", "G7", "G10", "G11",
];

#[test]
fn every_row_of_the_fault_matrix_is_closed_by_a_test_or_open_for_a_reason() {
    let rows = rows();
    let closed = closed();
    let open = open();
    for id in open.keys() {
        assert!(rows.contains_key(id), "open-rows.txt: there is no row {id}");
        assert!(!closed.contains(id), "open-rows.txt: {id} is closed by a test");
        assert!(!ROAD.contains(&id.as_str()), "open-rows.txt: {id} may not be open");
    }
    let lost: Vec<&String> =
        rows.keys().filter(|id| !closed.contains(*id) && !open.contains_key(*id)).collect();
    assert!(lost.is_empty(), "no test and no reason for {lost:?}");
}

/// The ids of the matrix with their titles.
fn rows() -> BTreeMap<String, String> {
    listed("fault-matrix.txt")
}

/// The ids that are open, with the reason.
fn open() -> BTreeMap<String, String> {
    listed("open-rows.txt")
}

fn listed(file: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(place::root().join("tests").join(file)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut rows = BTreeMap::new();
    for line in lines {
        let (id, rest) = line.split_once(' ').unwrap();
        assert!(rows.insert(id.to_owned(), rest.trim().to_owned()).is_none(), "{id} twice");
    }
    rows
}

/// The ids that names of functions in the sources begin with.
fn closed() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for path in place::files("rs") {
        let text = fs::read_to_string(&path).unwrap();
        let names = text.lines().filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "))
        });
        ids.extend(names.flat_map(leading));
    }
    ids
}

/// The ids that a name begins with: of `d18_g13_a_log_…` both.
fn leading(name: &str) -> impl Iterator<Item = String> {
    name.split('_').map_while(id)
}

/// The id of a word such as `a4`.
fn id(word: &str) -> Option<String> {
    let (letter, number) = word.split_at_checked(1)?;
    let letter = letter.chars().next().filter(|letter| ('a'..='j').contains(letter))?;
    number.parse::<u8>().ok()?;
    Some(format!("{}{number}", letter.to_ascii_uppercase()))
}
