//! A plugin that speaks the protocol, and misbehaves as its file name says: `hostile-MODE`.
//!
//! Whatever it starts carries the path of its file as first argument, so that a test can find it.

#![expect(clippy::indexing_slicing, reason = "an absent member of a JSON value is null")]

use std::io::{BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use serde_json::{Value, json};

#[path = "hostile/attack.rs"]
mod attack;

/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let mut args = std::env::args();
    let own = PathBuf::from(args.next().unwrap_or_default());
    match args.next().as_deref() {
        Some("forever") => wait(FOREVER),
        Some("session") => {
            let _ = rustix::process::setsid();
            wait(FOREVER);
        }
        // The middle of a double fork: its child becomes an orphan.
        Some("middle") => drop(again(&own, &args.next().unwrap_or_default()).spawn()),
        Some("nothing") => {}
        Some("late") => {
            wait(Duration::from_secs(2));
            let id: Value = args.next().unwrap_or_default().parse().unwrap_or_default();
            say(&json!({ "result": { "handled": true, "status": "late" }, "id": id }));
        }
        Some(_) | None => return serve(&own),
    }
    ExitCode::SUCCESS
}

fn serve(own: &std::path::Path) -> ExitCode {
    let name = own.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mode = name.trim_start_matches("hostile-");
    let mut config = Value::Null;
    for line in std::io::stdin().lock().lines() {
        let Ok(request) = line.unwrap_or_default().parse::<Value>() else { continue };
        let id = &request["id"];
        let result = match request["method"].as_str().unwrap_or_default() {
            "Info" if mode == "mute" => continue,
            "Info" if mode == "slow" => {
                wait(Duration::from_millis(300));
                json!({ "name": name, "version": "1.0.0" })
            }
            "Info" if mode == "crash-start" => return ExitCode::from(3),
            "Info" if mode == "newer" => {
                json!({ "name": "newer", "protocol": { "min": 2, "max": 3 } })
            }
            "Info" if mode == "later" => json!({ "name": "later", "min_host_version": "99.1" }),
            "Info" if mode == "strict" => json!({ "name": "strict", "config_schema": {
                "mode": { "type": "string", "constraints": { "one_of": ["fast", "full"] } },
                "path": { "type": "string", "required": true },
            } }),
            "Info" => json!({ "name": name, "version": "1.0.0" }),
            "Configure" if mode == "leak-start" => {
                json!({ "error": format!("cannot use {}", request["params"]["config"]["dsn"]) })
            }
            "Configure" => {
                config = request["params"]["config"].clone();
                json!({ "success": true })
            }
            "Initialize" => json!({ "success": true }),
            "GetSupportedEvents" => {
                if mode == "held" {
                    // Whoever traces it may hold it in its end.
                    let _ = rustix::process::set_ptracer(rustix::process::PTracer::Any);
                }
                say(&json!({ "result": ["cloud.spot.*", "custom"], "id": id }));
                after_start(mode);
                continue;
            }
            "CheckIdle" => json!({ "is_idle": true, "reason": config["dsn"] }),
            "HandleEvent" => match handle(mode, own, &request, &config) {
                Ok(result) => result,
                Err(code) => return ExitCode::from(code),
            },
            "Shutdown" if mode == "clinging" => continue,
            "Shutdown" => {
                say(&json!({ "result": { "success": true }, "id": id }));
                return ExitCode::SUCCESS;
            }
            other => json!({ "error": format!("Unknown method: {other}") }),
        };
        say(&json!({ "result": result, "id": id }));
        if let Some(code) = mode.strip_prefix("exit-after-")
            && request["method"] == "HandleEvent"
        {
            return ExitCode::from(code.parse::<u8>().unwrap_or_default());
        }
    }
    if mode == "clinging" {
        wait(FOREVER);
    }
    ExitCode::SUCCESS
}

/// What it does once it is ready.
fn after_start(mode: &str) {
    match mode {
        "shut-in" => {
            let _ = null().map(rustix::stdio::dup2_stdin);
            wait(FOREVER);
        }
        "unread" => wait(FOREVER),
        "garbage-unasked" => say(&json!({ "result": {}, "id": 1 })),
        "crash-idle" => std::process::abort(),
        _ => {}
    }
}

/// What it does with an event: the result to answer with, or the code to exit with.
fn handle(mode: &str, own: &std::path::Path, request: &Value, config: &Value) -> Result<Value, u8> {
    let id = &request["id"];
    let done = json!({ "handled": true, "status": "done" });
    match mode {
        "hang" | "held" => wait(FOREVER),
        "deaf" => deaf(own, &["forever"]),
        "late" => deaf(own, &["late", &id.to_string()]),
        "stop" => drop(rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)),
        "crash" => std::process::abort(),
        "spin" => spin(64),
        "steady" => wait(Duration::from_secs(1)),
        "exit-before-0" => return Err(0),
        "exit-before-3" => return Err(3),
        "daemon" => {
            drop(again(own, "middle").arg("session").status());
            return Err(0);
        }
        "brood" => {
            for _ in 0..3 {
                drop(again(own, "middle").arg("session").status());
                drop(again(own, "session").spawn());
            }
            deaf(own, &["forever"]);
        }
        "orphan" => {
            for _ in 0..20 {
                drop(again(own, "middle").arg("nothing").status());
            }
        }
        "flood" => loop {
            raw(&[b'x'; 8192]);
        },
        "flood-lines" => loop {
            raw(&b"{\"result\":{},\"id\":0}\n".repeat(400));
        },
        "noise" => {
            let line = format!("{}\n", "noise ".repeat(100)).repeat(100);
            for _ in 0..100 {
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
            let _ = std::io::stderr().write_all(b"the last line\n");
        }
        "garbage-text" => raw(b"saved 3 tables\n"),
        "garbage-half" => raw(b"{\"result\":{\"handled\":\n"),
        "garbage-id" => say(&json!({ "result": done, "id": 4711 })),
        "garbage-two" => say(&json!({ "result": done, "id": id })),
        "garbage-binary" => raw(b"\x00\xff\x7f\x1b[2J\n"),
        "garbage-wide" => {
            let text = format!("{}\n", json!({ "result": done, "id": id }));
            raw(&text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        }
        "shut-out" => {
            let _ = null().map(rustix::stdio::dup2_stdout);
            wait(FOREVER);
        }
        "bomb" => return Ok(bomb(own)),
        "eat" => {
            let bytes: Vec<Vec<u8>> = (0..128).map(|_| vec![1; 8 * 1024 * 1024]).collect();
            return Ok(json!({ "handled": true, "ate": bytes.len() }));
        }
        "fill" => return Ok(fill(config["path"].as_str().unwrap_or_default())),
        "imds" => return Ok(json!({ "handled": true, "reached": attack::reach(config) })),
        "attack" => return Ok(json!({ "handled": true, "refused": attack::daemon(config) })),
        "touch" => return Ok(json!({ "handled": true, "refused": attack::files(config) })),
        "dump" => return Ok(json!({ "handled": true, "status": "dumped", "dump": dump() })),
        "leak" => {
            let secret = config["dsn"].as_str().unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "connecting to {secret}");
            return Ok(json!({
                "handled": true, "status": secret, "error": format!("no route to {secret}"),
                secret: [secret],
            }));
        }
        "leak-broken" => {
            raw(format!("connecting to {}\n", config["dsn"].as_str().unwrap_or_default())
                .as_bytes());
        }
        "refuse" => return Ok(json!({ "handled": false, "error": "no database" })),
        "degraded" => return Ok(json!({ "handled": true, "success": false, "error": "half" })),
        "echo" => return Ok(json!({ "handled": true, "event": request["params"]["event"] })),
        _ => {}
    }
    Ok(done)
}

/// Starts children until it may not.
fn bomb(own: &std::path::Path) -> Value {
    for children in 0..200 {
        if let Err(source) = again(own, "forever").spawn() {
            return json!({ "handled": true, "children": children, "end": source.to_string() });
        }
    }
    json!({ "handled": true, "children": 200, "end": null })
}

/// Keeps so many threads busy, this one too.
fn spin(threads: usize) {
    if threads > 1 {
        std::thread::spawn(move || spin(threads - 1));
    }
    loop {
        std::hint::spin_loop();
    }
}

/// Writes a file until it may not.
fn fill(path: &str) -> Value {
    let Ok(mut file) = std::fs::File::create(path) else { return json!({ "handled": false }) };
    let written = (0..256).take_while(|_| file.write_all(&[7; 1024 * 1024]).is_ok());
    json!({ "handled": true, "written": written.count() })
}

/// Becomes a process that ignores all signals that can be ignored.
fn deaf(own: &std::path::Path, args: &[&str]) {
    let program = std::env::current_exe().unwrap_or_default();
    let script = "trap '' HUP INT QUIT TERM USR1 USR2 PIPE; exec \"$0\" \"$@\"";
    let mut shell = Command::new("/bin/bash");
    shell.args(["-c", &script.replace("exec ", "exec -a \"$OWN\" ")]);
    let _ = shell.arg(program).args(args).env("OWN", own).exec();
}

/// This program once more, as something else.
fn again(own: &std::path::Path, role: &str) -> Command {
    // Another user may not come to the file by its path.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(own).arg(role).stdin(Stdio::null());
    command
}

/// What it finds in its surroundings.
fn dump() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let line = |path: &str, start: &str| {
        read(path).lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
    };
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let files: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
    // The descriptor by which they were listed is closed, and its link gone.
    let files = files.into_iter().filter(|path| path.read_link().is_ok());
    let files = files.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let stat = read("/proc/self/stat");
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    json!({
        "environment": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
        "files": files.collect::<std::collections::BTreeSet<_>>(),
        "directory": std::env::current_dir().unwrap_or_default(),
        "umask": line("/proc/self/status", "Umask:"),
        "core": line("/proc/self/limits", "Max core file size"),
        "no_new_privileges": line("/proc/self/status", "NoNewPrivs:"),
        "blocked_signals": line("/proc/self/status", "SigBlk:"),
        "ignored_signals": ignored(&line("/proc/self/status", "SigIgn:")),
        "leads_its_session": words.get(3) == Some(&std::process::id().to_string().as_str()),
        "arguments": std::env::args().skip(1).collect::<Vec<_>>(),
    })
}

/// The numbers of the ordinary signals in a mask of `/proc/self/status`.
fn ignored(mask: &str) -> Vec<u32> {
    let digits = mask.rsplit('\t').next().unwrap_or_default();
    let mask = u64::from_str_radix(digits, 16).unwrap_or_default();
    (1..32).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}

fn null() -> rustix::io::Result<rustix::fd::OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

fn say(reply: &Value) {
    raw(format!("{reply}\n").as_bytes());
}

fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        wait(FOREVER);
    }
}

#[expect(clippy::disallowed_methods, reason = "doing nothing is what this program is for")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
