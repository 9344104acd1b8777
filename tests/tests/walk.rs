//! The walk over the fault matrix: see `snooze_tests::walk`.

use std::fs;

use snooze_tests::place;
use snooze_tests::walk::promises::Flaw;
use snooze_tests::walk::{self, moves};

/// What is lived at each run: an incident takes some two milliseconds. `cargo xtask test` lives
/// through 100,000 beside the tests, `cargo xtask walk` through a million.
const INCIDENTS: u64 = 1500;
/// The first story of the suite, the same each time; `cargo xtask walk` draws one by lot.
const SEED: u64 = 261;
/// A broken rule is found within this many stories.
const STORIES: u64 = 3000;

#[test]
fn whatever_goes_wrong_in_whatever_order_the_twelve_promises_are_kept() {
    println!("seed {SEED}");
    match walk::run(SEED, INCIDENTS, None) {
        Ok(run) => println!("{run}"),
        Err(failure) => panic!("\n{failure}"),
    }
}

#[test]
fn what_once_broke_a_promise_is_lived_again() {
    let mut count = 0;
    for entry in fs::read_dir(place::root().join("tests/walks")).unwrap() {
        let path = entry.unwrap().path();
        let moves = moves::read(&fs::read_to_string(&path).unwrap()).unwrap();
        if let Err(broken) = walk::live(&moves, None) {
            panic!("{}: {broken}", path.display());
        }
        count += 1;
    }
    assert!(count > 0, "there is no scenario");
}

#[test]
fn each_promise_has_a_flaw_that_the_walk_finds_and_tells_in_a_few_lines() {
    for (flaw, promise) in Flaw::ALL {
        let found = (0..STORIES).find_map(|seed| {
            let failure = walk::story(seed, Some(flaw)).err()?;
            (failure.broken.promise == promise).then_some(failure)
        });
        let Some(failure) = found else { panic!("{flaw:?} is not found") };
        println!("{flaw:?}:\n{failure}");
        assert!(failure.moves.len() <= 6, "{flaw:?} is not short:\n{failure}");
        // What is printed is lived again, and breaks the same; without the flaw nothing does.
        let again = moves::read(&failure.to_string()).unwrap();
        assert_eq!(walk::live(&again, Some(flaw)), Err(failure.broken.clone()));
        assert_eq!(walk::live(&again, None).err(), None, "{flaw:?}");
    }
}

#[test]
fn a_story_is_its_text_and_the_same_each_time() {
    for seed in 0..500 {
        let drawn = moves::drawn(seed);
        let text = moves::text(&drawn);
        let read = moves::read(&text).unwrap();
        assert_eq!(moves::text(&read), text);
        if seed < 50 {
            assert_eq!(walk::live(&drawn, None), walk::live(&read, None), "{text}");
        }
    }
}

#[test]
fn what_is_no_move_is_refused_with_what_was_expected() {
    for (line, expected) in [
        ("spot", "expected a time"),
        ("1.000 dance", "there is no move `dance`"),
        ("1.000 sleep", "expected `seconds=…` next"),
        ("1.000 sleep seconds=soon", "expected `seconds=…` next"),
        ("1.000 kill now", "`now` is one too many"),
    ] {
        let error = moves::read(line).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
