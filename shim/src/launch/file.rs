//! Which files may be run, and running the very file that was looked at.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, SealFlags, Stat};
use rustix::io::{Errno, FdFlags};

/// How much of a file decides what it is: the kernel, too, looks at 256 bytes (execve(2)).
const HEAD: usize = 256;

/// The longest plugin that may be pinned: its copy lives in memory.
const PINNED_LIMIT: usize = 256 * 1024 * 1024;

/// So many symbolic links may lead to a plugin directory, as with the kernel (path_resolution(7)).
const LINKS: usize = 40;

/// In a directory with this bit everybody may make files, and rename only their own.
const STICKY: u32 = 0o1000;

/// Why a file is not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Others than root and our own user could have put something there.
    #[error("{0}")]
    Untrusted(String),
    /// The system could not run it.
    #[error("{0}")]
    CannotStart(String),
}

/// Says whether the file `file` in `directory` would be run, without running it.
///
/// # Errors
/// The reason why not. What can only be seen by running it (a missing library, say) is not found.
pub fn inspect(directory: &Path, file: &OsStr, pin: Option<&str>) -> Result<(), Refusal> {
    open(directory, file, pin).map(drop)
}

/// A file that passed every check, held open.
pub(super) struct Checked {
    file: OwnedFd,
    head: Head,
}

#[derive(Debug, PartialEq, Eq)]
enum Head {
    Program,
    Script { interpreter: PathBuf },
}

/// Opens `file` beneath `directory` and checks both.
///
/// A pinned file is copied to sealed memory while it is hashed, so that writing to it in place
/// changes nothing any more.
pub(super) fn open(directory: &Path, file: &OsStr, pin: Option<&str>) -> Result<Checked, Refusal> {
    let (file, stat) = open_beneath(directory, file)?.map_err(|source| cannot("open", source))?;
    if stat.st_mode & 0o111 == 0 {
        return Err(cannot("run", Errno::ACCESS));
    }
    let file = match pin {
        Some(pin) => pinned(&file, pin)?,
        None => file,
    };
    let head = head_of(&file)?;
    Ok(Checked { file, head })
}

/// The text of a file beneath `directory` that nobody else can write; `None` where there is none.
///
/// # Errors
/// Others than root and our own user can write it, it is longer than `limit` bytes, or it cannot
/// be read.
pub fn read_beside(
    directory: &Path,
    file: &OsStr,
    limit: usize,
) -> Result<Option<String>, Refusal> {
    let (file, _) = match open_beneath(directory, file)? {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(None),
        Err(source) => return Err(cannot("open", source)),
    };
    let mut text = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = std::fs::File::from(file).take(most).read_to_end(&mut text);
    read.map_err(|source| Refusal::CannotStart(format!("read: {source}")))?;
    if text.len() > limit {
        return Err(Refusal::Untrusted(format!("longer than {limit} bytes")));
    }
    let text = String::from_utf8(text);
    text.map(Some).map_err(|source| Refusal::Untrusted(format!("it is not text: {source}")))
}

/// Opens a regular file beneath `directory` where nobody else can write to either. The inner error
/// is that of opening the file itself.
fn open_beneath(directory: &Path, file: &OsStr) -> Result<Result<(OwnedFd, Stat), Errno>, Refusal> {
    if Path::new(file).file_name() != Some(file) {
        return Err(Refusal::Untrusted(format!("{file:?} is not the name of a file")));
    }
    check_parents(directory)?;
    let beneath = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let folder = rustix::fs::open(directory, beneath | OFlags::DIRECTORY, Mode::empty())
        .map_err(|source| cannot("directory", source))?;
    check_owner("the directory", &stat(&folder)?)?;
    // One name and `NOFOLLOW` stay in the directory, on kernels without openat2(2) too. Opening a
    // FIFO would wait for its other end without `NONBLOCK`.
    let flags = beneath | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(&folder, file, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::LOOP) => {
            return Err(Refusal::Untrusted("it is a symbolic link".to_owned()));
        }
        Err(source) => return Ok(Err(source)),
    };
    let stat = stat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Refusal::Untrusted("it is not a regular file".to_owned()));
    }
    check_owner("it", &stat)?;
    Ok(Ok((file, stat)))
}

/// Who can rename a directory on the way can put another in its place: each of them, and each
/// link, must be safe as well.
fn check_parents(directory: &Path) -> Result<(), Refusal> {
    let directory = std::path::absolute(directory)
        .map_err(|source| Refusal::CannotStart(format!("directory: {source}")))?;
    let mut left: VecDeque<OsString> = directory.iter().map(OsStr::to_owned).collect();
    let (mut path, mut links) = (PathBuf::from("/"), 0);
    while let Some(name) = left.pop_front() {
        let above = format!("`{}` above it", path.display());
        let stat = rustix::fs::lstat(&path).map_err(|source| cannot(&above, source))?;
        match stat.st_mode & STICKY {
            0 => check_owner(&above, &stat)?,
            _ => check_user(&above, &stat)?,
        }
        if name == ".." {
            path.pop();
            continue;
        }
        let next = path.join(&name);
        let above = format!("`{}` above it", next.display());
        let stat = match rustix::fs::lstat(&next) {
            Ok(stat) => stat,
            // Whoever opens it says so.
            Err(Errno::NOENT) => return Ok(()),
            Err(source) => return Err(cannot(&above, source)),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            path = next;
            continue;
        }
        check_user(&above, &stat)?;
        links += 1;
        if links > LINKS {
            return Err(cannot(&above, Errno::LOOP));
        }
        let target = std::fs::read_link(&next)
            .map_err(|source| Refusal::CannotStart(format!("{above}: {source}")))?;
        target.iter().rev().for_each(|name| left.push_front(name.to_owned()));
    }
    Ok(())
}

impl Checked {
    /// The path by which the descriptor can be run. An interpreter opens it once more after the
    /// `exec`, so a script's descriptor is handed down.
    pub(super) fn runnable(&self) -> Result<PathBuf, Refusal> {
        if matches!(self.head, Head::Script { .. }) {
            rustix::io::fcntl_setfd(&self.file, FdFlags::empty())
                .map_err(|source| cannot("descriptor", source))?;
        }
        Ok(format!("/proc/self/fd/{}", self.file.as_raw_fd()).into())
    }

    /// The reason why it could not be run after all.
    pub(super) fn why_not(&self, source: &std::io::Error) -> String {
        match &self.head {
            Head::Script { interpreter } => format!("interpreter {interpreter:?}: {source}"),
            Head::Program => source.to_string(),
        }
    }
}

fn stat(file: &OwnedFd) -> Result<Stat, Refusal> {
    rustix::fs::fstat(file).map_err(|source| cannot("status", source))
}

/// Only root and the user we run as may be able to write there.
fn check_owner(what: &str, stat: &Stat) -> Result<(), Refusal> {
    check_user(what, stat)?;
    if stat.st_mode & 0o022 != 0 {
        let mode = stat.st_mode & 0o7777;
        return Err(Refusal::Untrusted(format!(
            "{what} can be written by others: mode {mode:04o}"
        )));
    }
    Ok(())
}

fn check_user(what: &str, stat: &Stat) -> Result<(), Refusal> {
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != 0 && stat.st_uid != own {
        let text = format!("{what} belongs to user {}: expected 0 or {own}", stat.st_uid);
        return Err(Refusal::Untrusted(text));
    }
    Ok(())
}

/// A sealed copy of the file, if its sha256 is `pin`.
fn pinned(file: &OwnedFd, pin: &str) -> Result<OwnedFd, Refusal> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 know no EXEC flag; there every such file may be run.
    let copy = rustix::fs::memfd_create("plugin", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("plugin", flags))
        .map_err(|source| cannot("copy", source))?;
    let mut copy = std::fs::File::from(copy);
    let mut hash = Context::new(&SHA256);
    let mut buffer = [0; 64 * 1024];
    let mut length = 0;
    loop {
        let read = rustix::io::read(file, &mut buffer).map_err(|source| cannot("read", source))?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        length += read;
        if length > PINNED_LIMIT {
            return Err(Refusal::CannotStart(format!("longer than {PINNED_LIMIT} bytes")));
        }
        hash.update(part);
        copy.write_all(part).map_err(|source| Refusal::CannotStart(format!("copy: {source}")))?;
    }
    let found: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if !found.eq_ignore_ascii_case(pin) {
        return Err(Refusal::Untrusted(format!("its sha256 is {found}: expected {pin}")));
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals).map_err(|source| cannot("seal", source))?;
    Ok(copy.into())
}

/// What the file is. The C library hands what the kernel cannot run to `/bin/sh`, so this is
/// settled before: an empty file is no plugin that ended well.
fn head_of(file: &OwnedFd) -> Result<Head, Refusal> {
    let head = first_bytes(file)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let interpreter = PathBuf::from(line.split_whitespace().next().unwrap_or_default());
        return match std::fs::metadata(&interpreter) {
            Ok(_) => Ok(Head::Script { interpreter }),
            Err(source) => {
                Err(Refusal::CannotStart(format!("interpreter {interpreter:?}: {source}")))
            }
        };
    }
    let own = std::fs::File::open(super::OWN_PROGRAM)
        .map_err(|source| Refusal::CannotStart(format!("own program: {source}")))?;
    if head.starts_with(b"\x7fELF") && machine(&head) == machine(&first_bytes(&own.into())?) {
        return Ok(Head::Program);
    }
    Err(cannot("run", Errno::NOEXEC))
}

fn first_bytes(file: &OwnedFd) -> Result<Vec<u8>, Refusal> {
    let mut head = vec![0; HEAD];
    let read = rustix::io::pread(file.as_fd(), &mut head, 0).map_err(|s| cannot("read", s))?;
    head.truncate(read);
    Ok(head)
}

/// Word size, byte order and processor in the head of an ELF file (elf(5)); `None` when cut.
fn machine(head: &[u8]) -> Option<(&[u8], &[u8])> {
    Some((head.get(4..6)?, head.get(18..20)?))
}

fn cannot(what: &str, source: Errno) -> Refusal {
    Refusal::CannotStart(format!("{what}: {}", std::io::Error::from(source)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// S3-10, S1-84
    #[test]
    fn i5_only_regular_files_of_the_directory_that_nobody_else_can_write_are_run() {
        let dir = folder();
        let put = |name: &str, mode| {
            fs::write(dir.path().join(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
        };
        put("fine", 0o755);
        put("mine", 0o700);
        put("group", 0o775);
        put("world", 0o757);
        symlink(dir.path().join("fine"), dir.path().join("link")).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("fifo"),
            FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        for (name, file) in [("same", "fine"), ("leak", "world")] {
            fs::hard_link(dir.path().join(file), dir.path().join(name)).unwrap();
        }
        let look = |name: &str| inspect(dir.path(), OsStr::new(name), None);
        for name in ["fine", "mine", "same"] {
            assert_eq!(look(name), Ok(()), "{name}");
        }
        let absolute = dir.path().join("fine").display().to_string();
        let strange = ["../fine", "./fine", "fine/", "folder/../fine", "..", ".", "", &absolute];
        let bad = ["group", "world", "leak", "link", "folder", "fifo"];
        for name in bad.into_iter().chain(strange) {
            assert!(matches!(look(name), Err(Refusal::Untrusted(_))), "{name}: {:?}", look(name));
        }
        assert!(
            matches!(look("fine\0.py"), Err(Refusal::CannotStart(_))),
            "{:?}",
            look("fine\0.py")
        );
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(look("fine"), Err(Refusal::Untrusted(_))));
    }

    #[test]
    fn i4_a_directory_above_that_others_can_write_is_refused_by_its_path() {
        let dir = folder();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("a/b/plugins")).unwrap();
        fs::create_dir(path("elsewhere")).unwrap();
        symlink("../a/b", path("elsewhere/link")).unwrap();
        symlink(path("elsewhere/link/plugins"), path("plugins")).unwrap();
        fs::write(path("a/b/plugins/p"), "#!/bin/sh\n").unwrap();
        let mode = |name: &str, mode| {
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        };
        mode("a/b/plugins/p", 0o755);
        let ways = ["a/b/plugins", "a/../a/./b/plugins", "elsewhere/link/plugins", "plugins"];
        let look = |way: &str| inspect(&path(way), OsStr::new("p"), None);
        for way in ways {
            assert_eq!(look(way), Ok(()), "{way}");
        }
        for (bad, open, above) in
            [("a", 0o775, &ways[..]), ("a/b", 0o757, &ways), ("elsewhere", 0o777, &ways[2..])]
        {
            mode(bad, open);
            for way in ways {
                let told = format!("`{}` above it can be written", path(bad).display());
                let found = look(way).err().map(|refusal| refusal.to_string());
                let is_told = found.as_ref().is_some_and(|text| text.starts_with(&told));
                assert_eq!(is_told, above.contains(&way), "{bad}, {way}: {found:?}");
            }
            // Where only owners may rename, nothing is put in the place of what is ours.
            mode(bad, 0o1777);
            assert_eq!(look("plugins"), Ok(()));
            mode(bad, 0o755);
        }
        symlink("round", path("round")).unwrap();
        assert!(matches!(look("round/plugins"), Err(Refusal::CannotStart(_))));
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(path("a"), Some(63_004), None).unwrap();
            let told = format!("`{}` above it belongs to user 63004", path("a").display());
            let found = look("a/b/plugins").unwrap_err().to_string();
            assert!(found.starts_with(&told), "{found}");
        }
    }

    #[test]
    fn f16_what_the_system_cannot_run_is_found_before() {
        let dir = folder();
        let mut foreign = fs::read("/proc/self/exe").unwrap();
        foreign.truncate(4096);
        foreign[18] ^= 0x40;
        let files: [(&str, &[u8], u32, &str); 6] = [
            ("locked", b"#!/bin/sh\n", 0o644, "run: Permission denied (os error 13)"),
            ("empty", b"", 0o755, "run: Exec format error (os error 8)"),
            ("text", b"echo hello\n", 0o755, "run: Exec format error (os error 8)"),
            ("foreign", &foreign, 0o755, "run: Exec format error (os error 8)"),
            ("cut", b"\x7fELF", 0o755, "run: Exec format error (os error 8)"),
            (
                "lost",
                b"#!/no/such/python -u\n",
                0o755,
                "interpreter \"/no/such/python\": No such file or directory (os error 2)",
            ),
        ];
        for (name, content, mode, expected) in files {
            fs::write(dir.path().join(name), content).unwrap();
            fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap();
            let found = inspect(dir.path(), OsStr::new(name), None);
            assert_eq!(found, Err(Refusal::CannotStart(expected.to_owned())), "{name}");
        }
        assert_eq!(
            inspect(dir.path(), OsStr::new("nothing"), None),
            Err(Refusal::CannotStart("open: No such file or directory (os error 2)".to_owned()))
        );
    }

    /// S1-88
    #[test]
    fn a_pinned_file_must_have_that_very_sha256() {
        let dir = folder();
        fs::write(dir.path().join("p"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(dir.path().join("p"), Permissions::from_mode(0o755)).unwrap();
        let good = "A8076D3D28D21E02012B20EAF7DBF75409A6277134439025F282E368E3305ABF";
        assert_eq!(inspect(dir.path(), OsStr::new("p"), Some(good)), Ok(()));
        let bad = "00".repeat(32);
        let refused = inspect(dir.path(), OsStr::new("p"), Some(&bad));
        assert!(matches!(refused, Err(Refusal::Untrusted(_))));
    }

    #[test]
    fn a_sealed_copy_cannot_be_written() {
        let dir = folder();
        fs::write(dir.path().join("p"), "#!/bin/sh\n").unwrap();
        let file = fs::File::open(dir.path().join("p")).unwrap();
        let good = "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf";
        let copy = pinned(&file.into(), good).unwrap();
        assert!(rustix::io::pwrite(&copy, b"x", 0).is_err());
        assert_eq!(head_of(&copy).unwrap(), Head::Script { interpreter: "/bin/sh".into() });
    }

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        dir
    }
}
