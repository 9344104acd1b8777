//! The file in which a PostgreSQL server keeps how it is: `global/pg_control`.
//!
//! Its beginning keeps its place, as `ControlFileData` in `src/include/catalog/pg_control.h` says
//! of the first three fields; the fourth is the state, in the layouts 852 (9.0) and 1800 (18) alike
//! (looked up on 2026-11-21). A server writes it in the byte order of its machine. The state of
//! PostgreSQL 15 is tested.

/// What its beginning says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control {
    /// The same for a server and its standbys, and for no other.
    pub(crate) identifier: u64,
    /// The server was stopped cleanly.
    pub(crate) shut_down: bool,
}

/// `DB_SHUTDOWNED` and `DB_SHUTDOWNED_IN_RECOVERY` of `DBState`; the second came with 9.1.
const SHUT_DOWN: [u32; 2] = [1, 2];

/// `PG_CONTROL_VERSION` of the servers that this may be used on: 15 has 1300, 18 has 1800. In the
/// other byte order it is none of these.
const VERSIONS: std::ops::Range<u32> = 1100..2000;

impl Control {
    /// Reads the file; `None` when it is none, or one of a version that is not known.
    pub(crate) fn read(file: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(*file.get(at..)?.first_chunk()?));
        let identifier = u64::from_ne_bytes(*file.first_chunk()?);
        let state = word(16)?;
        VERSIONS.contains(&word(8)?).then_some(())?;
        Some(Self { identifier, shut_down: SHUT_DOWN.contains(&state) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u32, state: u32) -> Vec<u8> {
        let words = [version, 202_209_061, state];
        7_u64
            .to_ne_bytes()
            .into_iter()
            .chain(words.into_iter().flat_map(u32::to_ne_bytes))
            .collect()
    }

    #[test]
    fn a_clean_stop_is_told_from_all_else() {
        let shut_down = |state| Control::read(&file(1300, state)).unwrap().shut_down;
        let clean: Vec<u32> = (0..8).filter(|state| shut_down(*state)).collect();
        assert_eq!(clean, [1, 2]);
        assert_eq!(Control::read(&file(1300, 6)).unwrap().identifier, 7);
    }

    #[test]
    fn what_is_no_such_file_is_not_read() {
        assert_eq!(Control::read(&file(13, 1)), None);
        assert_eq!(Control::read(&file(1300, 1)[..19]), None);
        assert_eq!(Control::read(b""), None);
    }
}
