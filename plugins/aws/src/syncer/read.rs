//! Reading a file in pieces, with its digests, and noticing when it changes meanwhile.

use std::fs::File as Opened;
use std::io::{self, Read as _};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use snooze_cloud::objects::{Digest, sha256};

use super::walk::{File, Root, seen};

/// Why a file was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("it changed while it was read; it is sent with the next event")]
    Changed,
    #[error("it is gone")]
    Gone,
    #[error("cannot read it")]
    Io(#[from] io::Error),
}

/// A file that is being read.
pub(crate) struct Reader {
    file: File,
    opened: Opened,
    left: u64,
    whole: Context,
}

/// A piece of a file.
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
}

impl Reader {
    /// Opens a file as it is now. Whether that is how it was is asked at the end.
    pub(crate) fn open(root: &Root, path: &str) -> Result<Self, ReadError> {
        let opened = root.file(path).map_err(|error| {
            let is_gone = error.kind() == io::ErrorKind::NotFound;
            if is_gone { ReadError::Gone } else { error.into() }
        })?;
        let file = seen(path, &opened)?;
        Ok(Self { left: file.size, file, opened, whole: Context::new(&SHA256) })
    }

    /// What it was when it was opened.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The next piece, as long as this if there is so much; `None` at the end.
    pub(crate) fn next(&mut self, size: u64) -> Result<Option<Piece>, ReadError> {
        let wanted = self.left.min(size);
        if wanted == 0 {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        self.opened.by_ref().take(wanted).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()) != Ok(wanted) {
            return Err(ReadError::Changed);
        }
        self.left -= wanted;
        self.whole.update(&bytes);
        let digest = sha256(&bytes);
        Ok(Some(Piece { bytes, digest }))
    }

    /// The SHA-256 of all that was read, in hexadecimal digits, if the file is as it was.
    pub(crate) fn end(self) -> Result<String, ReadError> {
        if seen(&self.file.path, &self.opened)? != self.file || self.left > 0 {
            return Err(ReadError::Changed);
        }
        Ok(hexadecimal(self.whole.finish().as_ref()))
    }
}

/// The SHA-256 of a file as it is now.
pub(crate) fn sum(root: &Root, path: &str, piece: u64) -> Result<(File, String), ReadError> {
    let mut reader = Reader::open(root, path)?;
    while reader.next(piece)?.is_some() {}
    Ok((reader.file().clone(), reader.end()?))
}

/// A file that fits into memory, whole; read once more if it changes meanwhile.
pub(crate) fn whole(root: &Root, path: &str, most: u64) -> Result<(File, Piece), ReadError> {
    once(root, path, most).or_else(|error| match error {
        ReadError::Changed => once(root, path, most),
        error @ (ReadError::Gone | ReadError::Io(_)) => Err(error),
    })
}

fn once(root: &Root, path: &str, most: u64) -> Result<(File, Piece), ReadError> {
    let mut reader = Reader::open(root, path)?;
    if reader.file().size > most {
        return Err(ReadError::Changed);
    }
    let nothing = || Piece { bytes: Vec::new(), digest: sha256(b"") };
    let piece = reader.next(most)?.unwrap_or_else(nothing);
    let file = reader.file().clone();
    reader.end()?;
    Ok((file, piece))
}

/// Does what blocks beside the calls that are under way.
pub(crate) async fn aside<T: Send + 'static>(
    root: &Arc<Root>,
    work: impl FnOnce(&Root) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let root = Arc::clone(root);
    let done = tokio::task::spawn_blocking(move || work(&root)).await;
    done.map_err(|error| ReadError::Io(io::Error::other(error)))?
}

/// Bytes in hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn pieces_and_the_whole_have_their_digests() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "abcdefg").unwrap();
        let root = Root::open(folder.path()).unwrap();
        let mut reader = Reader::open(&root, "a").unwrap();
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next(3).unwrap() {
            assert_eq!(piece.digest, sha256(&piece.bytes));
            pieces.push(piece.bytes);
        }
        assert_eq!(pieces, [&b"abc"[..], b"def", b"g"]);
        let sum = reader.end().unwrap();
        assert_eq!(sum, hexadecimal(&sha256(b"abcdefg")));
        assert_eq!(super::sum(&root, "a", 2).unwrap().1, sum);
    }

    #[test]
    fn a_file_that_grows_shrinks_or_is_written_while_it_is_read_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let root = Root::open(folder.path()).unwrap();
        let open = || fs::OpenOptions::new().write(true).open(&path).unwrap();
        let changes: [&dyn Fn(); 2] = [
            &|| fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap(),
            &|| open().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap(),
        ];
        for change in changes {
            fs::write(&path, "abcdef").unwrap();
            let mut reader = Reader::open(&root, "a").unwrap();
            while reader.next(3).unwrap().is_some() {}
            change();
            assert!(matches!(reader.end(), Err(ReadError::Changed)));
        }
        let mut reader = Reader::open(&root, "a").unwrap();
        open().set_len(1).unwrap();
        assert!(matches!(reader.next(3), Err(ReadError::Changed)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(Reader::open(&root, "a"), Err(ReadError::Gone)));
    }

    #[test]
    fn an_empty_file_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        let root = Root::open(folder.path()).unwrap();
        let (file, piece) = whole(&root, "a", 10).unwrap();
        assert_eq!((file.size, piece.bytes.len(), piece.digest), (0, 0, sha256(b"")));
    }
}
