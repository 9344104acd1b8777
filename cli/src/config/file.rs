//! The settings file: read as it stands, written whole or not at all.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::files;

/// The mode of a settings file that was not there: everybody may read it, only root changes it.
pub(super) const USUAL_MODE: u32 = 0o644;
/// So many backups of one second are told apart.
const BACKUPS: u32 = 100;

/// The members of a JSON file.
pub(super) fn members(path: &Path) -> Result<Map<String, Value>, Failure> {
    match files::read_json(path)? {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Failure::file(path.display(), "expected a JSON object"))
        }
    }
}

/// Like [`members`]; none where there is no such file.
pub(super) fn members_or_none(path: &Path) -> Result<Map<String, Value>, Failure> {
    if path.exists() { members(path) } else { Ok(Map::new()) }
}

/// Writes settings. What is there keeps its mode and owner, and its content under another name
/// beside it, which is told; a link leads to the file that is written. What is not there gets
/// `mode`.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<Option<PathBuf>, Failure> {
    let path = path.canonicalize().unwrap_or_else(|_missing| path.to_owned());
    replace(&path, text, mode)
        .map_err(|source| Failure::system(format!("write `{}`", path.display()), &source))
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<Option<PathBuf>> {
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let directory = directory.unwrap_or(Path::new("."));
    let before = match fs::metadata(path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut new = NamedTempFile::new_in(directory)?;
    new.write_all(text.as_bytes())?;
    if let Some(before) = &before {
        own(new.as_file(), before)?;
    }
    let mode = before.as_ref().map_or(mode, |before| before.permissions().mode() & 0o7777);
    new.as_file().set_permissions(PermissionsExt::from_mode(mode))?;
    new.as_file().sync_all()?;
    let backup = before.is_some().then(|| keep(path)).transpose()?;
    match &backup {
        Some(_) => new.persist(path)?,
        // Nobody else's file of this moment is written over.
        None => new.persist_noclobber(path)?,
    };
    File::open(directory)?.sync_all()?;
    Ok(backup)
}

/// Gives a file the owner of another.
fn own(new: &File, before: &Metadata) -> io::Result<()> {
    let is = new.metadata()?;
    if (is.uid(), is.gid()) == (before.uid(), before.gid()) {
        return Ok(());
    }
    fchown(new, Some(before.uid()), Some(before.gid())).map_err(|error| {
        io::Error::new(error.kind(), format!("its owner cannot be kept ({error}); ask as root"))
    })
}

/// Keeps a file under another name, which is answered: the very file, so with mode and owner.
fn keep(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    for number in 0..BACKUPS {
        let number = if number == 0 { String::new() } else { format!("-{number}") };
        let backup = path.with_file_name(format!("{name}.{stamp}{number}.bak"));
        match fs::hard_link(path, &backup) {
            Ok(()) => return Ok(backup),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("there are too many backups of this second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_keeps_its_mode_and_its_content_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("snoozed.json");
        assert_eq!(write(&path, "1", 0o640).unwrap(), None);
        assert_eq!(mode(&path), 0o640);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o604)).unwrap();
        let backups = ["2", "3"].map(|text| write(&path, text, 0o640).unwrap().unwrap());
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("3", 0o604));
        let kept = backups.map(|backup| (fs::read_to_string(&backup).unwrap(), mode(&backup)));
        assert_eq!(kept, [("1".to_owned(), 0o604), ("2".to_owned(), 0o604)]);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_link_leads_to_the_file_that_is_written() {
        let place = tempfile::tempdir().unwrap();
        let (file, link) = (place.path().join("file"), place.path().join("link"));
        fs::write(&file, "1").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, "2", 0o644).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "2");
    }

    #[test]
    fn a_file_that_cannot_be_written_stays() {
        let failed = write(Path::new("/no/such/place/snoozed.json"), "1", 0o644).unwrap_err();
        assert!(matches!(&failed, Failure::Said { text, .. } if text.contains("/no/such/place")));
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }
}
