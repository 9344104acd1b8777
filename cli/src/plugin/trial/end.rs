//! What ends a plugin, or must not: each point has a process of its own.

use std::path::PathBuf;
use std::time::Instant;

use super::talk::Talk;
use super::{CALL, Point, START, TERM};
use crate::text;

/// Brings a process to its end, and notes how it took that.
type Drive = fn(&mut Talk, &'static str);

/// The points, each with a new process of the program.
pub(super) fn points(program: &[PathBuf], patience: u32) -> Vec<Point> {
    let points: [(&'static str, Drive); 3] = [
        ("line that is no request", Talk::garbage),
        ("end of stdin", end_of_stdin),
        ("SIGTERM", sigterm),
    ];
    points
        .into_iter()
        .flat_map(|(name, drive)| with_fresh(program, patience, name, drive))
        .collect()
}

fn with_fresh(program: &[PathBuf], patience: u32, name: &'static str, drive: Drive) -> Vec<Point> {
    let start = Instant::now();
    let mut talk = match Talk::start(program, patience) {
        Ok(talk) => talk,
        Err(source) => return vec![Point::broken(name, start, source.to_string())],
    };
    match talk.ask_info(START) {
        Ok(_) => drive(&mut talk, name),
        Err(fault) => talk.note(name, start, Err(format!("a second start failed: {fault}"))),
    }
    std::mem::take(&mut talk.points)
}

/// Ends without a `Shutdown`: the daemon was killed.
fn end_of_stdin(talk: &mut Talk, name: &'static str) {
    let start = Instant::now();
    talk.plugin.close();
    let seen = talk.ended(CALL, "its stdin was closed").map(|_| "ends".to_owned());
    talk.note(name, start, seen);
}

/// How it ends is its own business, but not when: SIGKILL follows.
fn sigterm(talk: &mut Talk, name: &'static str) {
    let start = Instant::now();
    talk.plugin.terminate();
    let limit = talk.limit(TERM);
    let seen = match talk.plugin.ended(limit) {
        Some(status) => Ok(format!("ends: {status}")),
        None => Err(format!("still runs {} after SIGTERM", text::took(limit))),
    };
    talk.note(name, start, seen);
}
