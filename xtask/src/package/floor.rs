//! The oldest C library that a program runs with, by the versions of the symbols that it asks for.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::workplace::Workplace;

/// A version of the GNU C library: 2.34 is `(2, 34)`.
pub(super) type Version = (u32, u32);

/// Reads `2.34`.
pub(super) fn version(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

/// What a program asks for; `None` when it is no program of the GNU C library.
pub(super) fn of(workplace: &Workplace, program: &Path) -> Result<Option<Version>> {
    if !is_binary(program)? {
        return Ok(None);
    }
    let mut readelf = workplace.command("readelf");
    let output = readelf.args(["--version-info", "--wide"]).arg(program).output();
    let output = output.context("cannot start `readelf`, which Debian's `binutils` brings")?;
    if !output.status.success() {
        bail!("readelf cannot read {}", program.display());
    }
    Ok(highest(&String::from_utf8_lossy(&output.stdout)))
}

/// Whether a file is a program for the kernel, and no script.
pub(super) fn is_binary(path: &Path) -> Result<bool> {
    let mut head = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.take(4).read_to_end(&mut head)?;
    Ok(head == b"\x7fELF")
}

/// The highest version in what `readelf` says: `  0x0020:   Name: GLIBC_2.34  Flags: none`.
fn highest(text: &str) -> Option<Version> {
    let names = text.split("Name: GLIBC_").skip(1);
    names.filter_map(|rest| version(rest.split_whitespace().next()?)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_decides() {
        let text = "Version needs section '.gnu.version_r' contains 2 entries:
  000000: Version: 1  File: libgcc_s.so.1  Cnt: 1
  0x0010:   Name: GCC_3.0  Flags: none  Version: 9
  0x0020: Version: 1  File: libc.so.6  Cnt: 3
  0x0030:   Name: GLIBC_2.9  Flags: none  Version: 8
  0x0040:   Name: GLIBC_2.34  Flags: none  Version: 7
  0x0050:   Name: GLIBC_2.2.5  Flags: none  Version: 2";
        assert_eq!(highest(text), Some((2, 34)));
        assert_eq!(highest("No version information found in this file."), None);
    }
}
