//! The file of a plugin, without running it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use snooze_event::PluginName;
use snoozed::launch::{Refusal, inspect};
use snoozed::plugins::Approval;
use snoozed::settings::USUAL_DIRECTORIES;

use super::{Finding, Verdict, directory, program, quoted, stem};

/// All that can be said of it; `is_found` is whether the daemon says that it may run.
pub(super) fn look(path: &Path, is_found: bool) -> Vec<Finding> {
    let mut findings = vec![name(path)];
    let status = match path.symlink_metadata() {
        Ok(status) => status,
        Err(source) => {
            findings.push(Finding::bad("file", source.to_string(), "put it there again"));
            return findings;
        }
    };
    if status.is_symlink() {
        let todo = "put the file itself there: the daemon follows no link";
        findings.push(Finding::bad("file", "it is a symbolic link", todo));
        return findings;
    }
    if !status.is_file() {
        let todo = "move it away: a directory of plugins holds plugins only";
        findings.push(Finding::bad("file", "it is not a regular file", todo));
        return findings;
    }
    findings.extend([owner(path, &status), mode(path, &status)]);
    findings.extend(mount(path));
    findings.extend(directory::look(path));
    findings.push(program::look(path));
    let approval = approval(path);
    if let Ok(None) = approval
        && !is_found
        && path.parent().is_some_and(is_usual)
    {
        let text = "nobody approved it: it runs only where the settings name it";
        let todo = "snooze plugin install its archive, or name it in `plugins.unsigned`";
        findings.push(Finding::odd("approval", text, todo));
    }
    findings.extend(as_the_daemon(path, approval, &findings));
    findings
}

fn name(path: &Path) -> Finding {
    let name = stem(path);
    match name.parse::<PluginName>() {
        Ok(name) => Finding::fine("name", name.as_str()),
        Err(why) => Finding::bad("name", why.to_string(), "rename the file"),
    }
}

fn owner(path: &Path, status: &Metadata) -> Finding {
    let own = rustix::process::geteuid().as_raw();
    match status.uid() {
        owner if owner == 0 || owner == own => Finding::fine("owner", format!("user {owner}")),
        owner => Finding::bad(
            "owner",
            format!("it belongs to user {owner}: expected 0 or {own}"),
            format!("chown root {}, or ask as the user of the daemon", quoted(path)),
        ),
    }
}

fn mode(path: &Path, status: &Metadata) -> Finding {
    let (mode, word) = (status.mode() & 0o7777, quoted(path));
    if mode & 0o111 == 0 {
        let text = format!("nobody may run it: mode {mode:04o}");
        return Finding::bad("mode", text, format!("chmod 755 {word}"));
    }
    if mode & 0o022 != 0 {
        let text = format!("it can be written by others: mode {mode:04o}");
        return Finding::bad("mode", text, format!("chmod go-w {word}"));
    }
    Finding::fine("mode", format!("{mode:04o}"))
}

fn mount(path: &Path) -> Option<Finding> {
    let flags = rustix::fs::statvfs(path).ok()?.f_flag;
    flags.contains(StatVfsMountFlags::NOEXEC).then(|| {
        let text = "it is on a file system that is mounted `noexec`";
        Finding::bad("mount", text, "put it on another one, such as that of /usr")
    })
}

fn is_usual(directory: &Path) -> bool {
    USUAL_DIRECTORIES.iter().any(|usual| directory == Path::new(usual))
}

/// What stands beside the file, where an operator approved it.
fn approval(path: &Path) -> Result<Option<Approval>, Refusal> {
    match (path.parent(), stem(path).parse()) {
        (Some(directory), Ok(name)) => Approval::read(directory, &name),
        (None, _) | (_, Err(_)) => Ok(None),
    }
}

/// What the daemon itself would say, where nothing else was found.
fn as_the_daemon(
    path: &Path,
    approval: Result<Option<Approval>, Refusal>,
    findings: &[Finding],
) -> Option<Finding> {
    if findings.iter().any(|finding| finding.verdict == Verdict::Bad) {
        return None;
    }
    let approval = match approval {
        Ok(approval) => approval,
        Err(refusal) => {
            let todo = "snooze plugin install its archive again";
            return Some(Finding::bad("approval", refusal.to_string(), todo));
        }
    };
    let sum = approval.as_ref().map(|approval| approval.sha256.as_str());
    match (inspect(path.parent()?, path.file_name()?, sum), approval) {
        (Ok(()), None) => None,
        (Ok(()), Some(approval)) => {
            let text = format!("for this very file, on {}", approval.approved_at);
            Some(Finding::fine("approval", text))
        }
        (Err(refusal), None) => Some(Finding::bad("file", refusal.to_string(), "mend that")),
        (Err(refusal), Some(_)) => {
            let todo = "snooze plugin update its archive, or put the approved file back";
            Some(Finding::bad("approval", refusal.to_string(), todo))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use expect_test::{Expect, expect};
    use tempfile::TempDir;

    use super::*;

    /// What is not fine.
    fn check(place: &TempDir, file: &str, expected: Expect) {
        let folder = place.path().display().to_string();
        let told: String = look(&place.path().join(file), false)
            .into_iter()
            .filter(|finding| finding.verdict != Verdict::Fine)
            // What lies above the directory of the test is not its business.
            .filter(|found| found.check != "directory" || found.text.contains(&folder))
            .map(|found| {
                let verdict = found.verdict.as_str();
                format!("{verdict} {}: {}\n  {}\n", found.check, found.text, found.todo)
            })
            .collect();
        expected.assert_eq(&told.replace(&folder, "DIR"));
    }

    fn put(place: &TempDir, file: &str, content: &[u8], mode: u32) {
        fs::write(place.path().join(file), content).unwrap();
        fs::set_permissions(place.path().join(file), Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_good_file_is_fine() {
        let place = tempfile::tempdir().unwrap();
        put(&place, "fine.sh", b"#!/bin/sh\n", 0o755);
        put(&place, "program", &fs::read("/proc/self/exe").unwrap(), 0o700);
        check(&place, "fine.sh", expect![[""]]);
        check(&place, "program", expect![[""]]);
    }

    #[test]
    fn names_modes_and_kinds_are_told_with_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        put(&place, "Back_up.sh", b"#!/bin/sh\n", 0o755);
        put(&place, "locked", b"#!/bin/sh\n", 0o644);
        put(&place, "it is open", b"#!/bin/sh\n", 0o777);
        symlink("/bin/sh", place.path().join("link")).unwrap();
        fs::create_dir(place.path().join("folder")).unwrap();
        check(
            &place,
            "Back_up.sh",
            expect![[r#"
                FAIL name: "Back_up" is not a plugin name: expected a lower-case letter, then up to 31 lower-case letters, digits and hyphens
                  rename the file
            "#]],
        );
        check(
            &place,
            "locked",
            expect![[r#"
                FAIL mode: nobody may run it: mode 0644
                  chmod 755 DIR/locked
            "#]],
        );
        check(
            &place,
            "it is open",
            expect![[r#"
                FAIL name: "it is open" is not a plugin name: expected a lower-case letter, then up to 31 lower-case letters, digits and hyphens
                  rename the file
                FAIL mode: it can be written by others: mode 0777
                  chmod go-w 'DIR/it is open'
            "#]],
        );
        check(
            &place,
            "link",
            expect![[r#"
                FAIL file: it is a symbolic link
                  put the file itself there: the daemon follows no link
            "#]],
        );
        check(
            &place,
            "folder",
            expect![[r#"
                FAIL file: it is not a regular file
                  move it away: a directory of plugins holds plugins only
            "#]],
        );
    }

    #[test]
    fn only_the_very_file_that_was_approved_is_fine() {
        let place = tempfile::tempdir().unwrap();
        put(&place, "backup.sh", b"#!/bin/sh\n", 0o755);
        let approve = |sum: &str| {
            let text = format!(
                r#"{{"sha256":"{sum}","permissions":[],"signer":null,"approved_at":"then",
                "manifest":{{}}}}"#
            );
            put(&place, ".backup.approved.json", text.as_bytes(), 0o644);
        };
        approve("a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf");
        let found = look(&place.path().join("backup.sh"), false);
        let approval = found.iter().find(|finding| finding.check == "approval").unwrap();
        assert_eq!(approval, &Finding::fine("approval", "for this very file, on then"));
        approve(&"00".repeat(32));
        let found = look(&place.path().join("backup.sh"), false);
        let approval = found.iter().find(|finding| finding.check == "approval").unwrap();
        assert!(approval.text.contains("its sha256 is a8076d3d"), "{approval:?}");
        put(&place, ".backup.approved.json", b"{}", 0o644);
        let found = look(&place.path().join("backup.sh"), false);
        assert!(found.last().unwrap().text.contains("cannot be read"), "{found:?}");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_a_fault_and_so_is_one_above() {
        let place = tempfile::tempdir().unwrap();
        let inner = place.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        put(&place, "inner/fine", b"#!/bin/sh\n", 0o755);
        fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
        check(
            &place,
            "inner/fine",
            expect![[r#"
                FAIL directory: `DIR` can be written by others: mode 0777
                  chmod go-w DIR
            "#]],
        );
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o775)).unwrap();
        check(
            &place,
            "inner/fine",
            expect![[r#"
                FAIL directory: `DIR/inner` can be written by others: mode 0775
                  chmod go-w DIR/inner
            "#]],
        );
    }

    #[test]
    fn f16_what_the_system_cannot_run_is_told_in_words() {
        let place = tempfile::tempdir().unwrap();
        let mut foreign = fs::read("/proc/self/exe").unwrap();
        foreign.truncate(4096);
        foreign[18] = 0;
        foreign[19] = 0;
        put(&place, "empty", b"", 0o755);
        put(&place, "text", b"echo hello\n", 0o755);
        put(&place, "foreign", &foreign, 0o755);
        put(&place, "cut", b"\x7fELF", 0o755);
        put(&place, "lost", b"#!/no/such/python -u\n", 0o755);
        put(&place, "windows", b"#!/bin/sh\r\n", 0o755);
        put(&place, "bom", b"\xef\xbb\xbf#!/bin/sh\n", 0o755);
        put(&place, "near", b"#!sh\n", 0o755);
        put(&place, "env", b"#!/usr/bin/env -S no-such-python -u\n", 0o755);
        for (file, part) in [
            ("empty", "it is empty"),
            ("text", "neither a program nor a script"),
            ("foreign", "it is for the machine 0 of elf(5), this machine is"),
            ("cut", "it is cut off"),
            ("lost", "its interpreter `/no/such/python` is missing"),
            ("windows", "its first line ends with a carriage return"),
            ("bom", "a byte order mark stands before `#!`"),
            ("near", "its first line names no absolute path: `sh`"),
            ("env", "`env` finds no `no-such-python` in the PATH of the daemon"),
        ] {
            let findings = look(&place.path().join(file), false);
            let bad: Vec<_> =
                findings.iter().filter(|finding| finding.verdict == Verdict::Bad).collect();
            assert_eq!(bad.len(), 1, "{file}: {findings:?}");
            assert!(bad[0].text.contains(part) && !bad[0].todo.is_empty(), "{file}: {bad:?}");
        }
    }
}
