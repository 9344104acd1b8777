//! Lives stories of the walk until there were enough incidents, or one breaks a promise:
//! `walk --seed N --incidents N`, or `walk FILE` for one scenario.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of the tests")]

use std::process::ExitCode;
use std::time::Instant;

use snooze_tests::{dice, walk};

/// A nightly run.
const INCIDENTS: u64 = 1_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => walked(dice::seed(), INCIDENTS),
        ["--seed", seed] => numbers(seed, None),
        ["--incidents", incidents] => numbers("", Some(incidents)),
        ["--seed", seed, "--incidents", incidents] | ["--incidents", incidents, "--seed", seed] => {
            numbers(seed, Some(incidents))
        }
        [file] if !file.starts_with('-') => again(file),
        _ => {
            eprintln!("usage: walk [--seed N] [--incidents N], or walk FILE");
            ExitCode::from(2)
        }
    }
}

fn numbers(seed: &str, incidents: Option<&str>) -> ExitCode {
    let seed = if seed.is_empty() { Ok(dice::seed()) } else { seed.parse() };
    match (seed, incidents.map_or(Ok(INCIDENTS), str::parse)) {
        (Ok(seed), Ok(incidents)) => walked(seed, incidents),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("a seed and a count are whole numbers: {error}");
            ExitCode::from(2)
        }
    }
}

fn walked(seed: u64, incidents: u64) -> ExitCode {
    println!("seed {seed}");
    let began = Instant::now();
    match walk::run(seed, incidents, None) {
        Ok(run) => {
            println!("{run}, in {:.0?}", began.elapsed());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn again(file: &str) -> ExitCode {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
    match text.and_then(|text| walk::moves::read(&text)) {
        Ok(moves) => match walk::live(&moves, None) {
            Ok(count) => {
                println!("all promises kept: {count:?}");
                ExitCode::SUCCESS
            }
            Err(broken) => {
                println!("{broken}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("`{file}`: {error}");
            ExitCode::from(2)
        }
    }
}
