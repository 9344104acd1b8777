//! A folder of files as a package of Debian, a package of RPM, and an archive.
//!
//! `dpkg-deb`, `rpmbuild` and `tar` write them. All times in them are that of the commit, all owners
//! are root, all lists are sorted: the same files give the same bytes.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::description::{Description, Package};
use super::floor::Version;
use super::stage::write;
use crate::functions::Arch;
use crate::workplace::{Workplace, done};

/// What all packages of a release have in common.
#[derive(Debug)]
pub(super) struct Release<'a> {
    pub(super) workplace: &'a Workplace,
    pub(super) description: &'a Description,
    pub(super) version: &'a str,
    pub(super) arch: Arch,
    /// Seconds since 1970: the time of everything (<https://reproducible-builds.org/specs/source-date-epoch/>).
    pub(super) epoch: &'a str,
    /// Where the results go.
    pub(super) out: &'a Path,
}

impl Release<'_> {
    /// Writes `NAME_VERSION_ARCH.deb` of the files in `folder`, which ask for that C library.
    pub(super) fn deb(
        &self,
        package: &Package,
        folder: &Path,
        glibc: Option<Version>,
    ) -> Result<PathBuf> {
        let control = folder.join("DEBIAN");
        write(&control.join("control"), self.control(package, glibc)?.as_bytes())?;
        let settings: String = package.settings.keys().map(|path| format!("{path}\n")).collect();
        if !settings.is_empty() {
            write(&control.join("conffiles"), settings.as_bytes())?;
        }
        let scripts = &package.scripts;
        let change =
            "[ \"$1\" = configure ] || exit 0\nchange=install\n[ -z \"$2\" ] || change=upgrade\n";
        for (name, parts) in [
            ("postinst", vec![(change, &scripts.installed)]),
            ("prerm", vec![("[ \"$1\" = remove ] || exit 0\n", &scripts.removing)]),
            (
                "postrm",
                vec![
                    ("if [ \"$1\" = remove ]; then\n", &scripts.removed),
                    ("fi\nif [ \"$1\" = purge ]; then\n", &scripts.purged),
                    ("fi\n", &None),
                ],
            ),
        ] {
            if parts.iter().all(|(_, file)| file.is_none()) {
                continue;
            }
            let mut text = "#!/bin/sh\nset -e\n".to_owned();
            for (head, file) in parts {
                text += head;
                text += &self.script(file.as_deref())?;
            }
            let path = control.join(name);
            write(&path, text.as_bytes())?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let arch = match self.arch {
            Arch::Arm64 => "arm64",
            Arch::X86_64 => "amd64",
        };
        let path = self.out.join(format!("{}_{}_{arch}.deb", package.name, self.version));
        let mut build = self.workplace.command("dpkg-deb");
        build.args(["--root-owner-group", "-Zxz", "--build"]).arg(folder).arg(&path);
        build.env("SOURCE_DATE_EPOCH", self.epoch).stdout(std::process::Stdio::null());
        done(&mut build)?;
        fs::remove_dir_all(&control)?;
        Ok(path)
    }

    fn control(&self, package: &Package, glibc: Option<Version>) -> Result<String> {
        let arch = match self.arch {
            Arch::Arm64 => "arm64",
            Arch::X86_64 => "amd64",
        };
        let mut text = String::new();
        writeln!(text, "Package: {}\nVersion: {}", package.name, self.version)?;
        writeln!(text, "Architecture: {arch}\nMaintainer: {}", self.description.maintainer)?;
        writeln!(text, "Section: admin\nPriority: optional")?;
        writeln!(text, "Homepage: {}", self.description.homepage)?;
        let mut depends = package.requires.deb.clone();
        if let Some((major, minor)) = glibc {
            depends.push(format!("libc6 (>= {major}.{minor}), libgcc-s1"));
        }
        if package.name != self.description.base() {
            depends.push(format!("{} (= {})", self.description.base(), self.version));
        }
        for (key, names) in [
            ("Depends", &depends),
            ("Recommends", &package.recommends),
            ("Suggests", &package.suggests),
        ] {
            if !names.is_empty() {
                writeln!(text, "{key}: {}", names.join(", "))?;
            }
        }
        writeln!(text, "Description: {}\n {}", package.summary, package.description)?;
        Ok(text)
    }

    /// Writes `NAME-VERSION-1.ARCH.rpm` of the files in `folder`.
    pub(super) fn rpm(&self, package: &Package, folder: &Path) -> Result<PathBuf> {
        let arch = self.rpm_arch();
        let work = folder.with_extension("rpmbuild");
        let spec = work.join("package.spec");
        write(&spec, self.spec(package, folder)?.as_bytes())?;
        let name = format!("{}-{}-1.{arch}.rpm", package.name, self.version);
        let mut build = self.workplace.command("rpmbuild");
        build.args(["-bb", "--quiet", "--target", &format!("{arch}-linux")]);
        for (key, value) in [
            ("_topdir", work.display().to_string()),
            ("_dbpath", work.join("db").display().to_string()),
            ("_rpmdir", self.out.display().to_string()),
            ("_build_name_fmt", name.clone()),
            ("_buildhost", "reproducible".to_owned()),
            ("_binary_payload", "w6.gzdio".to_owned()),
            ("_build_id_links", "none".to_owned()),
            ("use_source_date_epoch_as_buildtime", "1".to_owned()),
            ("clamp_mtime_to_source_date_epoch", "1".to_owned()),
            ("source_date_epoch_from_changelog", "0".to_owned()),
            // Nothing is compiled here, so nothing is taken apart and nothing is compressed anew.
            ("debug_package", "%{nil}".to_owned()),
            ("__os_install_post", "%{nil}".to_owned()),
        ] {
            build.args(["--define", &format!("{key} {value}")]);
        }
        build.arg(&spec).env("SOURCE_DATE_EPOCH", self.epoch);
        let output = build.output().context("cannot start `rpmbuild`")?;
        if !output.status.success() {
            bail!("`rpmbuild` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        fs::remove_dir_all(&work)?;
        Ok(self.out.join(name))
    }

    fn rpm_arch(&self) -> &'static str {
        match self.arch {
            Arch::Arm64 => "aarch64",
            Arch::X86_64 => "x86_64",
        }
    }

    fn spec(&self, package: &Package, folder: &Path) -> Result<String> {
        let mut text = String::new();
        let (description, base) = (self.description, self.description.base());
        writeln!(text, "Name: {}\nVersion: {}\nRelease: 1", package.name, self.version)?;
        writeln!(text, "Summary: {}\nLicense: {}", package.summary, description.license)?;
        writeln!(text, "URL: {}", description.homepage)?;
        if package.name != base {
            writeln!(text, "Requires: {base} = {}-1", self.version)?;
        }
        for name in &package.requires.rpm {
            writeln!(text, "Requires: {name}")?;
        }
        for name in &package.recommends {
            writeln!(text, "Recommends: {name}")?;
        }
        for name in &package.suggests {
            writeln!(text, "Suggests: {name}")?;
        }
        writeln!(text, "%description\n{}", package.description)?;
        writeln!(text, "%install\ncp -a '{}/.' '%{{buildroot}}/'", folder.display())?;
        let scripts = &package.scripts;
        let change = "change=install\n[ \"$1\" -lt 2 ] || change=upgrade\n";
        let last = "[ \"$1\" -eq 0 ] || exit 0\n";
        for (name, head, file) in [
            ("post", change, &scripts.installed),
            ("preun", last, &scripts.removing),
            ("postun", last, &scripts.removed),
        ] {
            if file.is_some() {
                // What `%` begins would be a macro.
                let script = self.script(file.as_deref())?.replace('%', "%%");
                write!(text, "%{name}\n{head}{script}")?;
            }
        }
        text += "%files\n";
        for (path, is_directory) in files(folder)? {
            let place = format!("/{}", path.strip_prefix(folder)?.display());
            let mode = fs::metadata(&path)?.permissions().mode() & 0o7777;
            let kind = match is_directory {
                // Other directories belong to the system.
                true if !place.contains("cloudsnooze") => continue,
                true => "%dir ",
                false if package.settings.contains_key(&place) => "%config(noreplace) ",
                false => "",
            };
            writeln!(text, "{kind}%attr({mode:04o},root,root) \"{place}\"")?;
        }
        Ok(text)
    }

    /// Writes `NAME-VERSION-linux-ARCH.tar.gz` of a folder, in a folder of that name.
    pub(super) fn archive(&self, folder: &Path) -> Result<PathBuf> {
        let name =
            format!("{}-{}-linux-{}", self.description.base(), self.version, self.rpm_arch());
        let path = self.out.join(format!("{name}.tar.gz"));
        let mut tar = self.workplace.command("tar");
        tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
            .args(["--format=gnu", &format!("--mtime=@{}", self.epoch)])
            .arg(format!("--transform=s,^\\.,{name},"))
            .args(["--use-compress-program", "gzip --no-name -9", "--file"])
            .arg(&path)
            .arg("--directory")
            .arg(folder)
            .arg(".");
        done(&mut tar)?;
        Ok(path)
    }

    fn script(&self, file: Option<&str>) -> Result<String> {
        let Some(file) = file else { return Ok(String::new()) };
        let path = self.workplace.root.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))
    }
}

/// Everything below the folder, sorted, and whether it is a directory.
fn files(folder: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let is_directory = path.is_dir();
            if is_directory {
                open.push(path.clone());
            }
            found.push((path, is_directory));
        }
    }
    found.sort();
    Ok(found)
}
