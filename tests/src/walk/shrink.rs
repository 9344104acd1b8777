//! Makes a story that breaks a promise as short as it gets: fewer moves, smaller numbers.

use super::moves::Move;
use super::promises::{Flaw, Promise};
use super::world::live;

/// So many stories are lived to make one shorter.
const TRIES: usize = 4000;

/// The shortest story found that breaks the same promise: leaves out parts, halves first, down to
/// single moves, then makes times round, until nothing more can go.
#[must_use]
pub fn shrink(moves: &[Move], promise: Promise, flaw: Option<Flaw>) -> Vec<Move> {
    let mut tries = 0;
    let mut breaks = |moves: &[Move]| {
        tries += 1;
        tries <= TRIES && live(moves, flaw).is_err_and(|broken| broken.promise == promise)
    };
    let mut kept = moves.to_vec();
    let mut part = kept.len().div_ceil(2);
    while part > 0 {
        let mut start = 0;
        let mut is_shorter = false;
        while start < kept.len() {
            let end = (start + part).min(kept.len());
            let mut fewer = kept.clone();
            fewer.drain(start..end);
            if breaks(&fewer) {
                kept = fewer;
                is_shorter = true;
            } else {
                start = end;
            }
        }
        if !is_shorter {
            part /= 2;
        }
    }
    for place in 0..kept.len() {
        let mut rounder = kept.clone();
        if let Some(one) = rounder.get_mut(place) {
            one.at -= one.at % 1000;
        }
        if breaks(&rounder) {
            kept = rounder;
        }
    }
    kept
}
