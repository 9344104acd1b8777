//! What a file is to the system: a program for this machine, or a script with its interpreter.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Finding;
use super::start::daemon_path;

/// How much is read: more than any ELF head and first line.
const HEAD: u64 = 64 * 1024;

/// elf(5): the type of a segment that names the loader.
const PT_INTERP: u64 = 3;

/// Whether the system could run it.
pub(super) fn look(path: &Path) -> Finding {
    let head = match head_of(path) {
        Ok(head) => head,
        Err(source) => return Finding::bad("program", source.to_string(), "make it readable"),
    };
    if head.is_empty() {
        return Finding::bad("program", "it is empty", "copy it again");
    }
    if head.starts_with(b"\xef\xbb\xbf#!") {
        let text = "a byte order mark stands before `#!`";
        return Finding::bad("program", text, "save it as UTF-8 without one");
    }
    if let Some(line) = head.strip_prefix(b"#!") {
        return script(line);
    }
    if head.starts_with(b"\x7fELF") {
        return elf(&head);
    }
    let text = "it is neither a program nor a script with `#!` at its start";
    Finding::bad("program", text, "let it begin with a line such as `#!/bin/sh`")
}

fn head_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

fn script(text: &[u8]) -> Finding {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        let text = "its first line ends with a carriage return";
        return Finding::bad("program", text, "give it Unix line ends: sed -i 's/\\r$//' FILE");
    }
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let interpreter = words.next().unwrap_or_default();
    if !interpreter.starts_with('/') {
        let text = format!("its first line names no absolute path: `{interpreter}`");
        return Finding::bad("program", text, "write `#!/usr/bin/env NAME` or an absolute path");
    }
    let path = Path::new(interpreter);
    if !path.exists() {
        let text = format!("its interpreter `{interpreter}` is missing");
        return Finding::bad("program", text, "install it, or name another one in the first line");
    }
    if !is_program(path) {
        let text = format!("its interpreter `{interpreter}` is no program");
        return Finding::bad("program", text, "name another one in the first line");
    }
    if path.file_name().is_none_or(|name| name != "env") {
        return Finding::fine("program", format!("a script, run by `{interpreter}`"));
    }
    let is_name = |word: &&str| !word.starts_with('-') && !word.contains('=');
    let name = words.find(is_name).unwrap_or_default();
    match in_path(name) {
        Some(found) => Finding::fine("program", format!("a script, run by `{}`", found.display())),
        None => Finding::bad(
            "program",
            format!("`env` finds no `{name}` in the PATH of the daemon: {}", daemon_path()),
            "install it there, or name it with its whole path in the first line",
        ),
    }
}

/// The program of that name, as the daemon's plugins find it.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let is_name = !name.is_empty() && !name.contains('/');
    let folders = is_name.then(daemon_path)?;
    let mut found = folders.split(':').map(|folder| Path::new(folder).join(name));
    found.find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|s| s.is_file() && s.permissions().mode() & 0o111 != 0)
}

fn elf(head: &[u8]) -> Finding {
    let own = head_of(Path::new("/proc/self/exe")).unwrap_or_default();
    let (Some(machine), Some(this)) = (Machine::of(head), Machine::of(&own)) else {
        return Finding::bad("program", "it is cut off", "copy it again");
    };
    if machine != this {
        let text = format!("it is for {}, this machine is {}", machine.name(), this.name());
        return Finding::bad("program", text, format!("build it for {}", this.name()));
    }
    match loader(head) {
        Some(loader) if !loader.exists() => Finding::bad(
            "program",
            format!("its loader `{}` is missing", loader.display()),
            "install the C library that it was built with, or link it statically",
        ),
        Some(_) | None => Finding::fine("program", format!("for {}", machine.name())),
    }
}

/// Word size, byte order and processor of a program (elf(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine {
    class: u8,
    order: u8,
    number: u16,
}

impl Machine {
    fn of(head: &[u8]) -> Option<Self> {
        let (class, order) = (*head.get(4)?, *head.get(5)?);
        let number = u16::try_from(number(head, order, 18, 2)?).ok()?;
        Some(Self { class, order, number })
    }

    fn name(self) -> String {
        let bits = if self.class == 2 { 64 } else { 32 };
        match self.number {
            3 => "x86, 32 bits".to_owned(),
            40 => "ARM, 32 bits".to_owned(),
            62 => "x86-64".to_owned(),
            183 => "ARM, 64 bits".to_owned(),
            243 => format!("RISC-V, {bits} bits"),
            other => format!("the machine {other} of elf(5)"),
        }
    }
}

/// The loader that a program of 64 bits names; a static one names none.
fn loader(head: &[u8]) -> Option<PathBuf> {
    let order = *head.get(5)?;
    let at = |place: usize, length| number(head, order, place, length);
    let index = |number: u64| usize::try_from(number).ok();
    let (table, size, count) = (index(at(32, 8)?)?, index(at(54, 2)?)?, index(at(56, 2)?)?);
    let start = |which: usize| table.checked_add(which.checked_mul(size)?);
    let segment =
        (0..count).filter_map(start).find(|segment| at(*segment, 4) == Some(PT_INTERP))?;
    let place = index(at(segment.checked_add(8)?, 8)?)?;
    let length = index(at(segment.checked_add(32)?, 8)?)?;
    let text = head.get(place..place.checked_add(length)?)?;
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    std::str::from_utf8(text).ok().map(PathBuf::from)
}

/// A number of the head; `order` is 1 where its smallest byte comes first.
fn number(head: &[u8], order: u8, place: usize, length: usize) -> Option<u64> {
    let bytes = head.get(place..place.checked_add(length)?)?;
    let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
    Some(match order {
        1 => bytes.iter().rev().fold(0, add),
        _ => bytes.iter().fold(0, add),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_of_a_program_is_found_and_missed() {
        let own = head_of(Path::new("/proc/self/exe")).unwrap();
        let loader = loader(&own).unwrap();
        assert!(loader.is_absolute() && loader.exists(), "{loader:?}");
        let name = loader.to_str().unwrap();
        let place = own.windows(name.len()).position(|part| part == name.as_bytes()).unwrap();
        let mut other = own.clone();
        other[place + 1] = b'~';
        assert!(elf(&other).text.contains("is missing"), "{:?}", elf(&other));
        assert_eq!(elf(&own).todo, "");
    }

    #[test]
    fn no_head_makes_the_reader_panic() {
        let own = head_of(Path::new("/proc/self/exe")).unwrap();
        for length in 0..own.len().min(300) {
            let _ = loader(&own[..length]);
            let _ = elf(&own[..length]);
        }
        for place in 0..120 {
            let mut other = own.clone();
            other[place] = 0xff;
            let _ = elf(&other);
        }
    }

    #[test]
    fn machines_have_names() {
        let mut head = vec![0; 64];
        (head[4], head[5], head[18]) = (2, 1, 183);
        assert_eq!(Machine::of(&head).unwrap().name(), "ARM, 64 bits");
        (head[5], head[18], head[19]) = (2, 0, 62);
        assert_eq!(Machine::of(&head).unwrap().name(), "x86-64");
    }
}
