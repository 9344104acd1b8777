//! The processes of the machine, as `/proc` tells of them.

use crate::idle::files::{Files, Trouble};

/// One process. Times are in ticks of [`TICKS`] a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// The name of its program, at most 15 bytes.
    pub(super) comm: String,
    /// Its controlling terminal as major and minor number of a device, 0 and 0 for none.
    pub(super) terminal: (u32, u32),
    /// It is a thread of the kernel and has no program.
    pub(super) is_kernel: bool,
    /// What it has used of processors, dead threads included, dead children not.
    pub(super) ticks: u64,
    /// When it was started, since the boot.
    pub(super) started: u64,
}

/// `USER_HZ`, which is 100 wherever EC2 runs Linux.
pub(super) const TICKS: u64 = 100;

/// The flag of threads of the kernel (`PF_KTHREAD` in `include/linux/sched.h`).
const KERNEL: u32 = 0x0020_0000;

/// What is behind the name in `/proc/PID/stat`, less the state, by place (proc_pid_stat(5)).
const TERMINAL: usize = 3;
const FLAGS: usize = 5;
const USER: usize = 10;
const SYSTEM: usize = 11;
const STARTED: usize = 18;

/// Shows every process to `see`, with the files to look further.
///
/// The first process is there whenever others can be seen: where it is not, `/proc` is
/// restricted (`hidepid`, `ProtectProc=`), and what is seen is not all there is.
pub(super) fn walk(
    files: &mut Files,
    mut see: impl FnMut(&Process, &mut Files) -> Result<(), Trouble>,
) -> Result<(), String> {
    if let Err(trouble) = files.text("proc/1/stat") {
        return Err(format!("other processes cannot be seen: {trouble}"));
    }
    for name in files.names("proc")? {
        let Ok(pid) = name.parse::<u32>() else { continue };
        let path = format!("proc/{pid}/stat");
        let process = match files.text(&path) {
            Ok(text) => process(&text).ok_or_else(|| format!("`/{path}` is not as expected"))?,
            Err(trouble) if trouble.is_gone() => continue,
            Err(trouble) => return Err(trouble.into()),
        };
        match see(&process, files) {
            Ok(()) => {}
            Err(trouble) if trouble.is_gone() => {}
            Err(trouble) => return Err(trouble.into()),
        }
    }
    Ok(())
}

fn process(text: &str) -> Option<Process> {
    let (pid, rest) = text.split_once(" (")?;
    // A name may hold anything, brackets and line breaks included.
    let (comm, rest) = rest.rsplit_once(") ")?;
    let mut fields = [""; STARTED + 1];
    let mut found = rest.split_ascii_whitespace().skip(1);
    for field in &mut fields {
        *field = found.next()?;
    }
    let field = |place: usize| fields.get(place).copied().unwrap_or_default();
    let number = |place: usize| field(place).parse::<u64>().ok();
    let terminal = field(TERMINAL).parse::<i32>().ok()?.cast_unsigned();
    Some(Process {
        pid: pid.parse().ok()?,
        comm: comm.to_owned(),
        terminal: ((terminal >> 8) & 0xfff, (terminal & 0xff) | ((terminal >> 12) & 0xf_ff00)),
        is_kernel: field(FLAGS).parse::<u32>().ok()? & KERNEL != 0,
        ticks: number(USER)?.checked_add(number(SYSTEM)?)?,
        started: number(STARTED)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_a_process_is_read_whatever_its_name() {
        let stat = "4242 (a) R 1 (\n) S 1 4242 4242 34817 4250 4194304 1 2 3 4 700 30 5 6 20 0 1 0 \
                    98765 1234 5678";
        let expected = Process {
            pid: 4242,
            comm: "a) R 1 (\n".to_owned(),
            terminal: (136, 1),
            is_kernel: false,
            ticks: 730,
            started: 98765,
        };
        assert_eq!(process(stat), Some(expected));
        let kernel = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 9 0 0 20 0 1 0 3 0 0";
        assert!(process(kernel).unwrap().is_kernel);
        for weird in ["", "1 (x", "1 (x) S 1 2", "x (x) S 1 1 1 0 0 0 0 0 0 0 1 1 0 0 0 0 0 0 1"] {
            assert_eq!(process(weird), None, "{weird}");
        }
    }
}
