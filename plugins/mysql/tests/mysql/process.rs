//! The files and processes of real servers, without a client of them.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A folder with the files of a new server in `data`; `None` where no server is installed, which it
/// need not be.
pub(crate) fn copy() -> Option<TempDir> {
    let folder = tempfile::Builder::new().prefix("maria").tempdir().unwrap();
    let Some(template) = template() else {
        let needed = std::env::vars().any(|(name, value)| name == "SNOOZE_FULL" && value == "1");
        assert!(!needed, "SNOOZE_FULL=1 needs mariadbd and mariadb-install-db");
        println!("not tested: mariadb-server is not installed");
        return None;
    };
    copy_all(&template, &folder.path().join("data"));
    give_away(folder.path());
    Some(folder)
}

/// Starts a server on a folder; its socket is `s` in that.
pub(crate) fn spawn(folder: &Path, options: &[String]) -> Child {
    let path = |name: &str| folder.join(name).display().to_string();
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    as_nobody(Command::new(mariadbd()))
        .arg("--no-defaults")
        .arg(format!("--datadir={}", path("data")))
        .arg(format!("--socket={}", path("s")))
        .arg(format!("--pid-file={}", path("pid")))
        // At its start a server removes what others left in the common one, and used still.
        .arg(format!("--tmpdir={}", folder.display()))
        .args(["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M"])
        .args(["--skip-name-resolve", "--log-bin=bin", "--server-id=1", "--bind-address=127.0.0.1"])
        .args(match options.iter().any(|option| option.starts_with("--port")) {
            true => &[][..],
            false => &["--skip-networking"][..],
        })
        .args(options)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Debian has it where only root looks.
fn mariadbd() -> &'static Path {
    let debian = Path::new("/usr/sbin/mariadbd");
    if debian.exists() { debian } else { Path::new("mariadbd") }
}

/// Making the files of a server takes seconds, so that they are made once and copied. `None`
/// where there is no server.
fn template() -> Option<PathBuf> {
    let version = Command::new(mariadbd()).arg("--version").output().ok()?;
    let name = String::from_utf8_lossy(&version.stdout).replace(|c: char| !c.is_ascii_digit(), "");
    // Three levels above a program of Cargo is the folder of all that Cargo makes.
    let cache = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("tmp");
    std::fs::create_dir_all(&cache).unwrap();
    let made = cache.join(format!("mariadb-{name}"));
    if made.exists() {
        return Some(made);
    }
    let folder = tempfile::Builder::new().prefix("maria").tempdir().unwrap();
    give_away(folder.path());
    let data = folder.path().join("data");
    let installed = as_nobody(Command::new("mariadb-install-db"))
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--tmpdir={}", folder.path().display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .arg("--innodb-log-file-size=8M")
        .output()
        .ok()?;
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let copied = tempfile::Builder::new().tempdir_in(&cache).unwrap();
    copy_all(&data, &copied.path().join("data"));
    // Another test may have been quicker, and its files are as good.
    let _ = std::fs::rename(copied.path().join("data"), &made);
    Some(made)
}

fn copy_all(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// The server does not run as root.
fn as_nobody(mut command: Command) -> Command {
    if let Some((user, group)) = nobody() {
        command.uid(user).gid(group);
    }
    command
}

fn give_away(folder: &Path) {
    if let Some((user, group)) = nobody() {
        let owner = format!("{user}:{group}");
        assert!(Command::new("chown").arg("-R").arg(owner).arg(folder).status().unwrap().success());
    }
}

/// `None` for tests that are not root themselves.
fn nobody() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let mut fields = users.lines().find(|line| line.starts_with("nobody:"))?.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
