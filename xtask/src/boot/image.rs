//! What the guest boots from.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::report;
use crate::workplace::{Workplace, done};

/// What the guest has beside a minimal Debian.
const PACKAGES: &str =
    "systemd,systemd-sysv,udev,dbus,kmod,e2fsprogs,redis-server,linux-image-cloud-amd64";

/// What makes the base, as files in a folder: `$1` is the root, before anything is booted.
const LAYOUT: &str = "cp \"$1\"/boot/vmlinuz-* vmlinuz && rm -rf \"$1\"/boot/* \
    \"$1\"/var/cache/apt/* \"$1\"/var/lib/apt/lists/* && base=$PWD/base.cpio && cd \"$1\" && \
    find . -xdev -not -path './proc/*' -not -path './sys/*' -not -path './dev/*' | \
    cpio --create --format=newc --quiet >\"$base\"";

/// Units that start when the guest does; that of the daemon does not.
const STARTED: [&str; 2] = ["boot-agent.service", "boot-metadata.service"];

/// Our packages that are installed there.
pub(crate) const OURS: [&str; 3] =
    ["cloudsnooze", "cloudsnooze-plugins-host", "cloudsnooze-plugins-redis"];

/// Where an operator reads how a plugin gets a unit of its own, and which plugin that is.
const GUIDE: (&str, &str) = ("docs/install.md", "cloudsnooze-plugin@unit-stopper.socket");

/// The modes of the hostile plugin that are tried.
const HOSTILE: [&str; 4] = ["bomb", "eat", "daemon", "hang"];

/// What the guest boots from, and the disk that outlives it.
#[derive(Debug)]
pub(crate) struct Image {
    /// The folder of all that belongs to the guest.
    pub(crate) folder: PathBuf,
    /// Its kernel.
    pub(crate) kernel: PathBuf,
    /// Its first root.
    pub(crate) root: PathBuf,
    /// Its disk, empty.
    pub(crate) disk: PathBuf,
}

impl Image {
    /// Makes it with the packages of a folder; the base is made once.
    pub(crate) fn make(workplace: &Workplace, packages: &Path) -> Result<Self> {
        let folder = workplace.local().join("boot");
        let base = base(workplace, &folder)?;
        report::progress("laying out the guest");
        let overlay = folder.join("overlay");
        // The first time there is none.
        let _ = fs::remove_dir_all(&overlay);
        lay_out(workplace, packages, &overlay).context("cannot lay out the guest")?;
        let root = folder.join("root.cpio");
        fs::copy(base.join("base.cpio"), &root).context("cannot copy the base")?;
        let end = OpenOptions::new().append(true).open(&root).context("cannot open the root")?;
        let mut pack = workplace.command("sh");
        pack.current_dir(&overlay).stdout(end);
        pack.args(["-c", "find . | cpio --create --format=newc --quiet --owner=+0:+0"]);
        done(&mut pack)?;
        let disk = folder.join("disk");
        let empty = File::create(&disk).and_then(|file| file.set_len(64 << 20));
        empty.context("cannot make a disk")?;
        Ok(Self { kernel: base.join("vmlinuz"), root, disk, folder })
    }
}

/// The Debian that is the same for all runs, made anew when what it holds changes.
fn base(workplace: &Workplace, folder: &Path) -> Result<PathBuf> {
    let base = folder.join("base");
    let made = base.join("packages");
    if fs::read_to_string(&made).is_ok_and(|packages| packages == PACKAGES) {
        return Ok(base);
    }
    report::progress("making a Debian in .local/boot, once, which takes some minutes");
    fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
    let mut bootstrap = workplace.command("mmdebstrap");
    bootstrap.current_dir(&base).args(["--quiet", "--variant=minbase", "--format=null"]);
    bootstrap.arg(format!("--include={PACKAGES}"));
    for unread in ["doc", "man", "locale"] {
        bootstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{unread}/*"));
    }
    bootstrap.arg(format!("--customize-hook={LAYOUT}")).args(["bookworm", "/dev/null"]);
    // There is no need for a first file system of its own, which takes the longest.
    done(bootstrap.env("INITRD", "No"))?;
    fs::write(&made, PACKAGES).with_context(|| format!("cannot write {}", made.display()))?;
    Ok(base)
}

fn lay_out(workplace: &Workplace, packages: &Path, overlay: &Path) -> Result<()> {
    copy(&workplace.root.join("xtask/boot"), overlay)?;
    let wants = overlay.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    for unit in STARTED {
        symlink(format!("../{unit}"), wants.join(unit))?;
    }
    let inside = overlay.join("packages");
    let mut found = 0;
    fs::create_dir_all(&inside)?;
    for entry in fs::read_dir(packages).with_context(|| packages.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".deb") && OURS.iter().any(|ours| name.starts_with(&format!("{ours}_"))) {
            fs::copy(entry.path(), inside.join(name))?;
            found += 1;
        }
    }
    if found != OURS.len() {
        bail!("`{}` does not hold one package for each of {}", packages.display(), OURS.join(", "));
    }
    let put = |program: &str, to: &Path| {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        let mut strip = workplace.command("strip");
        done(strip.arg("-o").arg(to).arg(workplace.built("debug", program)))
    };
    put("metadata", &overlay.join("usr/local/bin/metadata"))?;
    let plugins = overlay.join("usr/lib/cloudsnooze/plugins");
    let hostile = plugins.join("hostile-echo");
    put("hostile", &hostile)?;
    for mode in HOSTILE {
        fs::hard_link(&hostile, plugins.join(format!("hostile-{mode}")))?;
    }
    let (guide, text) = GUIDE;
    let guide = fs::read_to_string(workplace.root.join(guide)).with_context(|| guide.to_owned())?;
    let commands = commands(&guide, text).with_context(|| format!("no commands with {text}"))?;
    // The guest has but one user, and no `sudo`.
    let script = format!("set -e\nsudo() {{ \"$@\"; }}\n{commands}");
    fs::write(overlay.join("usr/local/share/boot/unit.sh"), script)?;
    Ok(())
}

/// The first block of commands in a document that holds this text.
fn commands<'a>(document: &'a str, text: &str) -> Option<&'a str> {
    let mut blocks = document.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.contains(text))
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_that_an_operator_reads_are_found() {
        let document = "One:\n```sh\none\n```\n```json\n{ \"two\": 2 }\n```\n```sh\ntwo\n```\n";
        assert_eq!(commands(document, "two"), Some("two\n"));
        assert_eq!(commands(document, "three"), None);
    }
}
