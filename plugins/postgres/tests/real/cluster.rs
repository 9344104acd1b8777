//! The files and processes of real servers, without a client of them.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// A folder with the files of a new server in `data`; `None` where no server is installed, which it
/// need not be.
pub(crate) fn copy() -> Option<TempDir> {
    let template = template()?;
    let folder = new_folder();
    let copied = Command::new("cp").arg("-a").arg(template).arg(data(folder.path())).status();
    assert!(copied.unwrap().success());
    Some(folder)
}

/// A new cluster, made once for all builds in a target directory.
fn template() -> Option<&'static Path> {
    static TEMPLATE: OnceLock<Option<PathBuf>> = OnceLock::new();
    TEMPLATE.get_or_init(make_template).as_deref()
}

fn make_template() -> Option<PathBuf> {
    let Some(programs) = programs() else {
        let needed = std::env::vars().any(|(name, value)| name == "SNOOZE_FULL" && value == "1");
        assert!(!needed, "SNOOZE_FULL=1 needs the server of PostgreSQL");
        println!("not tested: PostgreSQL is not installed");
        return None;
    };
    let version = programs.parent().and_then(Path::file_name).unwrap_or_default();
    let name = format!("postgres-{}-short-wal", version.display());
    let target = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let template = target.join(name);
    if !template.join("PG_VERSION").exists() {
        // Short WAL files, since each is written in full when it is begun.
        let folder = new_cluster(&["--wal-segsize=1"]);
        let made = template.with_extension(std::process::id().to_string());
        let mut copy = Command::new("cp");
        assert!(copy.arg("-a").arg(data(folder.path())).arg(&made).status().unwrap().success());
        // Another run may have been quicker.
        let _ = fs::rename(&made, &template);
    }
    Some(template)
}

/// A folder with the data of a new server.
pub(crate) fn new_cluster(more: &[&str]) -> TempDir {
    let folder = new_folder();
    let mut initdb = command("initdb");
    initdb.args(["-A", "trust", "-U", "postgres", "--no-locale"]).args(more);
    let made = initdb.arg("-D").arg(data(folder.path())).stdout(Stdio::null()).status();
    assert!(made.unwrap().success());
    folder
}

/// A folder that the servers' user owns.
pub(crate) fn new_folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    own(folder.path());
    folder
}

/// Starts a server on a folder, where its socket is too.
pub(crate) fn spawn(folder: &Path, settings: &[String]) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    let mut server = command("postgres");
    server.arg("-D").arg(data(folder)).arg("-k").arg(folder);
    server.args(["-c", "listen_addresses=", "-c", "shared_buffers=32MB"]);
    // A kill takes nothing out of the system's memory; where it matters it is switched on again.
    server.args(["-c", "fsync=off"]);
    server.args(settings.iter().flat_map(|setting| ["-c", setting]));
    server.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// A program of PostgreSQL, as a user that it accepts: it refuses to run as root.
pub(crate) fn command(program: &str) -> Command {
    let program = programs().unwrap().join(program);
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command.current_dir("/");
    command
}

/// Where the newest installed server's programs are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    folders.filter(|folder| folder.join("initdb").exists()).max()
}

/// Gives a folder to the user that servers run as.
pub(crate) fn own(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let number = |which| {
            let told = Command::new("id").args([which, "postgres"]).output().unwrap();
            String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
        };
        chown(path, Some(number("-u")), Some(number("-g"))).unwrap();
    }
    if path.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }
}

pub(crate) fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}
