//! The command as a process, and files for it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Run {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

/// Runs the command.
pub(crate) fn snooze<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(args: I) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_snooze"))
        .args(args)
        .env_remove("SNOOZE_SOCKET")
        .env_remove("COLUMNS")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory with files for one test.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// A program, written by another process: what this one has open for writing is handed down
    /// to whatever a test beside this starts, and cannot be run until that has become another.
    pub(crate) fn program(&self, name: &str, text: &str) -> String {
        let path = self.path(name).display().to_string();
        let mut shell = Command::new("sh")
            .args(["-c", "cat >\"$0\" && chmod 755 \"$0\"", &path])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
        path
    }

    pub(crate) fn directory(&self, name: &str, files: &[(&str, &str)]) -> String {
        fs::create_dir(self.path(name)).unwrap();
        for (file, text) in files {
            self.file(&format!("{name}/{file}"), text);
        }
        self.path(name).display().to_string()
    }
}
