//! `snooze plugin install`, `update` and `uninstall`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;
use snooze_event::PluginName;
use snoozed::exit;
use snoozed::launch::inspect;
use snoozed::plugins::Approval;

use super::package::{LARGEST, Package, sha256, signer};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::{screen, text};

/// Where plugins are installed that came in no package of the system.
const DIRECTORY: &str = "/usr/local/share/cloudsnooze/plugins";
/// The keys that may sign plugins.
const KEYS: &str = "/etc/cloudsnooze/keys";

/// The most that is read of a signature, in bytes: four short lines.
const LONGEST_SIGNATURE: u64 = 64 << 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Install {
    /// The archive: `.tar` or `.tar.gz` with `manifest.json` and the plugin's file
    #[arg(value_name = "ARCHIVE")]
    archive: PathBuf,
    /// Its signature, made by `minisign -S`; the archive's name with `.minisig` if not said
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// What its sha256 must be
    #[arg(long, value_name = "SUM")]
    sha256: Option<String>,
    /// Take it without a signature, if it is the plugin of this name
    #[arg(long, value_name = "NAME")]
    unsigned: Option<PluginName>,
    /// Approve its permissions without being asked
    #[arg(long)]
    approve: bool,
    /// The directory of the keys that may sign plugins
    #[arg(long, value_name = "DIR", default_value = KEYS)]
    keys: PathBuf,
    /// One of the daemon's plugin directories
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    directory: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Update {
    #[command(flatten)]
    install: Install,
    /// Take an older version, too
    #[arg(long)]
    downgrade: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Uninstall {
    /// Its name
    name: PluginName,
    /// The plugin directory that it is in
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    directory: PathBuf,
}

pub(crate) fn install(args: &Install, context: &Context) -> Result<u8, Failure> {
    let (package, signer) = checked(args)?;
    if let Some(there) = files_of(&args.directory, &package.name)?.first() {
        let text =
            format!("`{}` is there already; `snooze plugin update` replaces it", there.display());
        return Err(Failure::new(exit::NO, text));
    }
    put(args, &package, signer, None, context)
}

pub(crate) fn update(args: &Update, context: &Context) -> Result<u8, Failure> {
    let Update { install: args, downgrade } = args;
    let (package, signer) = checked(args)?;
    let name = &package.name;
    if files_of(&args.directory, name)?.is_empty() {
        let text = format!(
            "there is no `{name}` in `{}`; `snooze plugin install` puts it there",
            args.directory.display()
        );
        return Err(Failure::new(exit::NO, text));
    }
    let before = Approval::read(&args.directory, name);
    let before = before.map_err(|refusal| Failure::file(args.directory.display(), refusal))?;
    let version = before.as_ref().and_then(|approval| approval.manifest.get("version")?.as_str());
    let newer = version.filter(|version| !downgrade && package.info.is_older_than(version));
    if let Some(version) = newer {
        let text = format!(
            "`{name}` {} is older than {version}, which is installed; --downgrade takes it",
            package.info.version
        );
        return Err(Failure::new(exit::NO, text));
    }
    put(args, &package, signer, before.as_ref(), context)
}

pub(crate) fn uninstall(args: &Uninstall, context: &Context) -> Result<u8, Failure> {
    let Uninstall { name, directory } = args;
    let files = files_of(directory, name)?;
    if files.is_empty() {
        let text = format!("there is no `{name}` in `{}`", directory.display());
        return Err(Failure::new(exit::NO, text));
    }
    for file in &files {
        fs::remove_file(file)
            .map_err(|source| Failure::system(format!("remove `{}`", file.display()), &source))?;
    }
    let record = directory.join(Approval::file_name(name));
    match fs::remove_file(&record) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::system(format!("remove `{}`", record.display()), &source));
        }
        Ok(()) | Err(_) => {}
    }
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let data = json!({ "name": name.as_str(), "removed": files });
    screen::show(context.json, &data, |_| {
        format!("removed {}\nHandlers that name it fail from now on.\n", files.join(", "))
    })?;
    Ok(exit::OK)
}

/// The archive's content, and who signed it: nothing that is in it counts before that.
fn checked(args: &Install) -> Result<(Package, Option<String>), Failure> {
    let fault = |why: &dyn std::fmt::Display| Failure::file(args.archive.display(), why);
    let mut archive = Vec::new();
    let file = File::open(&args.archive).map_err(|source| fault(&source))?;
    file.take(LARGEST + 1).read_to_end(&mut archive).map_err(|source| fault(&source))?;
    if u64::try_from(archive.len()).is_ok_and(|length| length > LARGEST) {
        return Err(fault(&format!("longer than {LARGEST} bytes")));
    }
    let sum = sha256(&archive);
    if let Some(wanted) = args.sha256.as_ref().filter(|wanted| !wanted.eq_ignore_ascii_case(&sum)) {
        return Err(fault(&format!("its sha256 is {sum}: expected {wanted}")));
    }
    let beside = || PathBuf::from(format!("{}.minisig", args.archive.display()));
    let path = args.signature.clone().unwrap_or_else(beside);
    let is_missing = |source: &io::Error| source.kind() == io::ErrorKind::NotFound;
    let signer = match (signature(&path), &args.unsigned) {
        (Ok(signature), _) => {
            Some(signer(&archive, &signature, &args.keys).map_err(|why| fault(&why))?)
        }
        // One that is there and cannot be read is not taken for none.
        (Err(source), Some(_)) if is_missing(&source) => None,
        (Err(source), Some(_)) => return Err(Failure::file(path.display(), source)),
        (Err(source), None) => {
            let text = format!(
                "no signature `{}`: {source}; --unsigned NAME takes a plugin without one",
                path.display()
            );
            return Err(fault(&text));
        }
    };
    let package = Package::read(&archive).map_err(|why| fault(&why))?;
    if let Some(name) = args.unsigned.as_ref().filter(|name| **name != package.name) {
        return Err(fault(&format!("it is the plugin `{}`, not `{name}`", package.name)));
    }
    Ok((package, signer))
}

/// The text of a signature, as much of it as one may have.
fn signature(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST_SIGNATURE).read_to_string(&mut text)?;
    Ok(text)
}

fn put(
    args: &Install,
    package: &Package,
    signer: Option<String>,
    before: Option<&Approval>,
    context: &Context,
) -> Result<u8, Failure> {
    let news = described(package, signer.as_deref(), before);
    if !args.approve && !is_approved(&news)? {
        return Err(Failure::new(exit::NO, "nothing was installed"));
    }
    let approval = Approval {
        sha256: package.sha256.clone(),
        permissions: package.info.permissions.clone(),
        signer,
        approved_at: Timestamp::now().to_string(),
        manifest: package.manifest.clone(),
    };
    let path = args.directory.join(&package.file);
    let old = files_of(&args.directory, &package.name)?;
    let record = args.directory.join(Approval::file_name(&package.name));
    let text = serde_json::to_string_pretty(&approval)
        .map_err(|source| Failure::file(record.display(), source))?;
    DirBuilder::new().recursive(true).mode(0o755).create(&args.directory).map_err(|source| {
        Failure::system(format!("make `{}`", args.directory.display()), &source)
    })?;
    write(&path, &package.program, 0o755)?;
    write(&record, text.as_bytes(), 0o644)?;
    for file in old.iter().filter(|file| **file != path) {
        fs::remove_file(file)
            .map_err(|source| Failure::system(format!("remove `{}`", file.display()), &source))?;
    }
    // What the daemon would refuse is better known now than at a notice.
    inspect(&args.directory, package.file.as_ref(), Some(&package.sha256))
        .map_err(|refusal| Failure::file(path.display(), refusal))?;
    let data = json!({
        "name": package.name.as_str(),
        "version": package.info.version,
        "path": path.display().to_string(),
        "sha256": approval.sha256,
        "signer": approval.signer,
        "permissions": approval.permissions,
    });
    screen::show(context.json, &data, |_| {
        let told = if args.approve { news.as_str() } else { "" };
        format!(
            "{told}installed {}\nThe daemon runs it once it starts anew: `systemctl restart \
             snoozed`.\n",
            path.display()
        )
    })?;
    Ok(exit::OK)
}

/// What an operator has to know before approving.
fn described(package: &Package, signer: Option<&str>, before: Option<&Approval>) -> String {
    let info = &package.info;
    let by = if info.author.is_empty() { "nobody named" } else { &info.author };
    let mut out = format!("{} {} by {by}\n", package.name, info.version);
    if !info.description.is_empty() {
        out.push_str(&format!("  {}\n", info.description));
    }
    match signer {
        Some(key) => out.push_str(&format!("  signed by {key}\n")),
        None => out.push_str("  NOT SIGNED\n"),
    }
    if info.permissions.is_empty() {
        out.push_str("  it asks for no permissions\n");
    }
    for permission in &info.permissions {
        let is_new = before.is_some_and(|before| !before.permissions.contains(permission));
        let mark = if is_new { ", which it did not have" } else { "" };
        out.push_str(&format!("  it may use: {}{mark}\n", text::shown(permission)));
    }
    out
}

fn is_approved(news: &str) -> Result<bool, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        screen::complain(news);
        let text = "nobody can be asked here; --approve approves what stands above";
        return Err(Failure::usage(text));
    }
    screen::complain(&format!("{news}Approve? [y/N] "));
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|source| Failure::system("read", &source))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The files in the directory that are the plugin of this name.
fn files_of(directory: &Path, name: &PluginName) -> Result<Vec<PathBuf>, Failure> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(Failure::system(format!("read `{}`", directory.display()), &source));
        }
    };
    let is_it = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str());
        file.is_some_and(|file| file.split('.').next() == Some(name.as_str()))
    };
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_it).collect())
}

/// All of the file or nothing of it.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.new"));
    let failed =
        |source: io::Error| Failure::system(format!("write `{}`", path.display()), &source);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)
        .map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)?;
    // The mode that was asked for is cut by the mask of the process.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(&new, mode).and_then(|()| fs::rename(&new, path)).map_err(failed)?;
    let folder = path.parent().map(File::open).transpose();
    folder.and_then(|folder| folder.map_or(Ok(()), |f| f.sync_all())).map_err(failed)
}
