//! A plugin as an archive: its manifest and its program, with or without a signature.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path};

use aws_lc_rs::digest::{SHA256, digest};
use flate2::read::GzDecoder;
use minisign_verify::{PublicKey, Signature};
use serde_json::{Map, Value};
use snooze_event::PluginName;
use snooze_plugin::Info;
use snoozed::launch::read_beside;
use snoozed::sandbox::Permission;

/// The most that an archive and what it holds may be, in bytes.
pub(super) const LARGEST: u64 = 256 << 20;

/// The longest manifest, key and signature, in bytes.
const LONGEST_TEXT: usize = 256 << 10;

/// The first bytes of a gzip file (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What stands in an archive.
#[derive(Debug)]
pub(super) struct Package {
    /// The plugin's name, which is also that of its file.
    pub(super) name: PluginName,
    /// What the manifest says, as `Info` does.
    pub(super) info: Info,
    /// The manifest as it stands.
    pub(super) manifest: Map<String, Value>,
    /// The name of the program's file.
    pub(super) file: String,
    /// The program.
    pub(super) program: Vec<u8>,
    /// Its sha256, in hexadecimal digits.
    pub(super) sha256: String,
}

/// Why an archive is not installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackageFault {
    #[error("it is no archive `.tar` or `.tar.gz`")]
    NoArchive(#[source] io::Error),
    #[error("`{0}` is no plain file at the top of the archive")]
    Path(String),
    #[error("what it holds is longer than {LARGEST} bytes")]
    TooLong,
    #[error("it holds no `{0}`")]
    Missing(String),
    #[error("`manifest.json`: {0}")]
    Manifest(String),
    #[error("`{file}` has the sha256 {found}: the manifest says {said}")]
    Sum { file: String, found: String, said: String },
}

impl Package {
    /// Reads an archive. Only its manifest and the one file that the manifest names count.
    pub(super) fn read(archive: &[u8]) -> Result<Self, PackageFault> {
        let mut files = match archive.starts_with(&GZIP) {
            true => unpack(GzDecoder::new(archive)),
            false => unpack(archive),
        }?;
        let missing = |name: &str| PackageFault::Missing(name.to_owned());
        let text = files.remove("manifest.json").ok_or_else(|| missing("manifest.json"))?;
        let bad = |text: String| PackageFault::Manifest(text);
        let manifest: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|source| bad(source.to_string()))?;
        let said = |key: &str| {
            let text = manifest.get(key).and_then(Value::as_str).map(str::to_owned);
            text.ok_or_else(|| bad(format!("`{key}` is missing")))
        };
        let (file, sum) = (said("file")?, said("sha256")?);
        let info = Info::read(&Value::Object(manifest.clone())).map_err(|e| bad(e.to_string()))?;
        let name: PluginName = info
            .name
            .parse()
            .map_err(|fault: snooze_event::NotAPluginName| bad(format!("`name`: {fault}")))?;
        for permission in &info.permissions {
            let known = permission.parse::<Permission>();
            known.map_err(|fault| bad(format!("`permissions`: {fault}")))?;
        }
        if info.version.is_empty() {
            return Err(bad("`version` is missing".to_owned()));
        }
        if file.split('.').next() != Some(name.as_str()) || file.contains('/') {
            return Err(bad(format!("`file` is not `{name}` or `{name}.EXTENSION`")));
        }
        info.host_is_new_enough(env!("CARGO_PKG_VERSION")).map_err(bad)?;
        let program = files.remove(&file).ok_or_else(|| missing(&file))?;
        let sha256 = sha256(&program);
        if !sha256.eq_ignore_ascii_case(&sum) {
            return Err(PackageFault::Sum { file, found: sha256, said: sum });
        }
        Ok(Self { name, info, manifest, file, program, sha256 })
    }
}

/// The sha256 of bytes, in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name of the key by which `archive` is signed: a file `*.pub` of the directory, which, like
/// the file, nobody but root and our own user can write.
pub(super) fn signer(archive: &[u8], signature: &str, keys: &Path) -> Result<String, String> {
    let signature = Signature::decode(signature)
        .map_err(|fault| format!("the signature cannot be read: {fault}"))?;
    let files = fs::read_dir(keys)
        .map_err(|source| format!("there are no keys in `{}`: {source}", keys.display()))?;
    let mut names: Vec<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".pub"))
        .collect();
    names.sort();
    for name in &names {
        let text = read_beside(keys, name.as_ref(), LONGEST_TEXT);
        let text = text.map_err(|refusal| format!("key `{name}`: {refusal}"))?;
        let key = PublicKey::decode(text.unwrap_or_default().trim());
        let key = key.map_err(|fault| format!("key `{name}`: {fault}"))?;
        // Signatures of the old kind are over the bytes and not over their sum; they are refused.
        if key.verify(archive, &signature, false).is_ok() {
            return Ok(name.clone());
        }
    }
    Err(format!("none of the keys in `{}` signed it ({})", keys.display(), names.join(", ")))
}

fn unpack(archive: impl Read) -> Result<BTreeMap<String, Vec<u8>>, PackageFault> {
    let mut files = BTreeMap::new();
    let mut left = LARGEST;
    let mut archive = tar::Archive::new(archive.take(LARGEST.saturating_mul(2)));
    for entry in archive.entries().map_err(PackageFault::NoArchive)? {
        let mut entry = entry.map_err(PackageFault::NoArchive)?;
        let path = entry.path().map_err(PackageFault::NoArchive)?.into_owned();
        if entry.header().entry_type().is_dir() && path.as_os_str() == "." {
            continue;
        }
        let names: Vec<Component<'_>> =
            path.components().filter(|part| *part != Component::CurDir).collect();
        let name = match names.as_slice() {
            [Component::Normal(name)] if entry.header().entry_type().is_file() => name.to_str(),
            _ => None,
        };
        let name = name.ok_or_else(|| PackageFault::Path(path.display().to_string()))?;
        let mut content = Vec::new();
        (&mut entry).take(left + 1).read_to_end(&mut content).map_err(PackageFault::NoArchive)?;
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(length).ok_or(PackageFault::TooLong)?;
        if files.insert(name.to_owned(), content).is_some() {
            return Err(PackageFault::Path(name.to_owned()));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PROGRAM: &[u8] = b"#!/bin/sh\n";

    fn manifest() -> Value {
        json!({ "name": "backup", "version": "1.2.0", "file": "backup.sh", "sha256": sha256(PROGRAM) })
    }

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(u64::try_from(content.len()).unwrap());
            header.set_mode(0o644);
            // `set_path` would refuse what a hostile archive may hold.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn read(manifest: &Value, program: &[u8]) -> Result<Package, String> {
        let text = manifest.to_string();
        let files = [("manifest.json", text.as_bytes()), ("backup.sh", program)];
        Package::read(&archive(&files)).map_err(|fault| fault.to_string())
    }

    #[test]
    fn an_archive_holds_a_manifest_and_the_program_that_it_names() {
        let package = read(&manifest(), PROGRAM).unwrap();
        assert_eq!((package.name.as_str(), package.info.version.as_str()), ("backup", "1.2.0"));
        assert_eq!((package.file.as_str(), package.program.as_slice()), ("backup.sh", PROGRAM));
    }

    #[test]
    fn i3_a_program_that_is_not_the_one_of_the_manifest_is_refused() {
        let fault = read(&manifest(), b"#!/bin/sh\nrm -rf /\n").unwrap_err();
        assert!(fault.starts_with("`backup.sh` has the sha256 "), "{fault}");
    }

    // S1-09, S1-13
    #[test]
    fn what_a_manifest_lacks_is_named() {
        for (key, value, told) in [
            ("name", json!(null), "the answer to Info has no `name`"),
            ("name", json!("Back Up"), "`name`: "),
            ("version", json!(null), "`version` is missing"),
            ("file", json!(null), "`file` is missing"),
            ("file", json!("other.sh"), "`file` is not `backup` or `backup.EXTENSION`"),
            ("file", json!("backup.d/x"), "`file` is not `backup` or `backup.EXTENSION`"),
            ("sha256", json!(7), "`sha256` is missing"),
            ("permissions", json!(["docker"]), "`permissions`: `docker` is no permission"),
            ("min_host_version", json!("99.0"), "the plugin wants CloudSnooze 99.0 or later"),
        ] {
            let mut manifest = manifest();
            manifest[key] = value;
            let fault = read(&manifest, PROGRAM).unwrap_err();
            assert!(fault.starts_with(&format!("`manifest.json`: {told}")), "{fault}");
        }
    }

    #[test]
    fn nothing_but_plain_files_at_the_top_is_unpacked() {
        let text = manifest().to_string();
        for path in ["../backup.sh", "/etc/passwd", "a/b", ".."] {
            let files = [("manifest.json", text.as_bytes()), (path, PROGRAM)];
            let fault = Package::read(&archive(&files)).unwrap_err().to_string();
            assert!(fault.ends_with("is no plain file at the top of the archive"), "{fault}");
        }
        let twice =
            [("manifest.json", text.as_bytes()), ("backup.sh", PROGRAM), ("backup.sh", b"")];
        assert!(Package::read(&archive(&twice)).is_err());
        let mut link = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        link.append_link(&mut header, "backup.sh", "/bin/sh").unwrap();
        assert!(Package::read(&link.into_inner().unwrap()).is_err());
    }

    #[test]
    fn what_is_no_archive_or_cut_is_told() {
        let whole = archive(&[("manifest.json", manifest().to_string().as_bytes())]);
        for bytes in [b"PK\x03\x04".repeat(400), whole[..600].to_vec(), vec![0x1f, 0x8b, 8, 0]] {
            assert!(Package::read(&bytes).is_err());
        }
        let fault = Package::read(&whole).unwrap_err().to_string();
        assert_eq!(fault, "it holds no `backup.sh`");
    }
}
