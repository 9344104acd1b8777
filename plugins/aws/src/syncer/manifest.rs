//! The manifest: what a bucket holds of a directory, with a digest for each file.
//!
//! There are two of them beside the objects of a prefix: `PREFIX.complete.json` is written only when
//! every file is there, `PREFIX.incomplete.json` otherwise, so that the newest complete one stays.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of this format.
const VERSION: u32 = 1;

/// The longest manifest that is read, in bytes.
pub(crate) const LONGEST: u64 = 64 * 1024 * 1024;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its key in the bucket.
    pub(crate) key: String,
    /// In bytes.
    pub(crate) size: u64,
    /// When the file was changed last.
    #[serde(rename = "mtime")]
    pub(crate) changed: Timestamp,
    /// The SHA-256 of the whole file in hexadecimal digits.
    pub(crate) sha256: String,
    /// What S3 calls the content.
    pub(crate) etag: String,
    /// The version of the object, in a bucket that keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version_id: Option<String>,
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The version of this format.
    pub(crate) version: u32,
    /// Whether every file of the directory is in the bucket as it was then.
    pub(crate) complete: bool,
    /// When it was written.
    pub(crate) written: Timestamp,
    /// Where the files came from.
    pub(crate) directory: String,
    /// The instance that they came from, where the event said it.
    #[serde(default)]
    pub(crate) instance: Option<String>,
    /// How many files are not in the bucket as they are on the instance.
    pub(crate) left_out: usize,
    /// What the bucket holds.
    pub(crate) files: Vec<Entry>,
}

impl Manifest {
    /// One of these files, by key.
    pub(crate) fn new(
        directory: String,
        instance: Option<String>,
        written: Timestamp,
        left_out: usize,
        files: BTreeMap<String, Entry>,
    ) -> Self {
        let files = files.into_values().collect();
        let complete = left_out == 0;
        Self { version: VERSION, complete, written, directory, instance, left_out, files }
    }

    /// Where it is written.
    pub(crate) fn key(prefix: &str, complete: bool) -> String {
        format!("{prefix}.{}.json", if complete { "complete" } else { "incomplete" })
    }

    /// Reads one; what is of another version or none at all says nothing.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|manifest: &Self| manifest.version == VERSION)
    }

    /// Its text.
    pub(crate) fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }
}

/// What two manifests say of each key: the later word counts.
pub(crate) fn known(manifests: [Option<Manifest>; 2]) -> BTreeMap<String, Entry> {
    let mut manifests: Vec<Manifest> = manifests.into_iter().flatten().collect();
    manifests.sort_by_key(|manifest| manifest.written);
    let entries = manifests.into_iter().flat_map(|manifest| manifest.files);
    entries.map(|entry| (entry.key.clone(), entry)).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn manifest(written: i64, sha256: &str, left_out: usize) -> Manifest {
        let changed = "2026-03-01T12:00:00.000000001Z".parse().unwrap();
        let entry = Entry {
            key: "p/a".to_owned(),
            size: 3,
            changed,
            sha256: sha256.to_owned(),
            etag: "\"e\"".to_owned(),
            version_id: None,
        };
        let files = BTreeMap::from([(entry.key.clone(), entry)]);
        let written = Timestamp::from_second(written).unwrap();
        Manifest::new("/data".to_owned(), Some("i-1".to_owned()), written, left_out, files)
    }

    #[test]
    fn the_text_is_for_people_and_programs() {
        let manifest = manifest(1_772_366_400, "abc", 0);
        let text = String::from_utf8(manifest.write().unwrap()).unwrap();
        expect![[r#"
            {
              "version": 1,
              "complete": true,
              "written": "2026-03-01T12:00:00Z",
              "directory": "/data",
              "instance": "i-1",
              "left_out": 0,
              "files": [
                {
                  "key": "p/a",
                  "size": 3,
                  "mtime": "2026-03-01T12:00:00.000000001Z",
                  "sha256": "abc",
                  "etag": "\"e\""
                }
              ]
            }"#]]
        .assert_eq(&text);
        assert_eq!(Manifest::read(text.as_bytes()), Some(manifest));
    }

    #[test]
    fn the_later_word_counts_and_what_cannot_be_read_says_nothing() {
        let known = known([Some(manifest(20, "new", 1)), Some(manifest(10, "old", 0))]);
        assert_eq!(known["p/a"].sha256, "new");
        let other = manifest(1, "x", 0);
        let other = Manifest { version: 2, ..other }.write().unwrap();
        assert_eq!(Manifest::read(&other), None);
        assert_eq!(Manifest::read(b"{}"), None);
    }
}
