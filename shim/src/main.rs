//! The daemon, the launcher of its plugins, and its built-in plugins, in one file.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use snoozed::exit;
use snoozed::run::RunError;
use snoozed::settings::{self, Environment, Settings};
use snoozed::{builtins, launch, logging};

const USAGE: &str = "\
snoozed, the CloudSnooze daemon: hears that the instance goes, and saves what is worth saving

Usage: snoozed [--config FILE] [--check]

Options:
  --config FILE  settings (default: /etc/cloudsnooze/snoozed.json, if it is there)
  --check        check settings and policies, print every fault, and end
  --version      print the version
  --help         print this

Exit codes: 0 ended when asked, 2 wrong usage, 3 bad settings, 4 another snoozed runs,
5 a directory or file cannot be used. SIGHUP reads the policies again. See docs/exit-codes.md.
";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == launch::VERB => launch::main(args),
        Some(verb) if verb == launch::BUILTIN_VERB => builtin(args.next()),
        first => daemon(first.into_iter().chain(args)),
    }
}

fn builtin(name: Option<OsString>) -> ExitCode {
    let name = name.unwrap_or_default();
    match name.to_str().and_then(builtins::find) {
        Some(mut plugin) => snooze_plugin::serve_dyn(plugin.as_mut()),
        None => {
            say("no such built-in plugin\n");
            ExitCode::from(exit::USAGE)
        }
    }
}

fn daemon(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut file = None;
    let mut check = false;
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--config") => match args.next() {
                Some(path) => file = Some(PathBuf::from(path)),
                None => return usage("--config needs a file"),
            },
            Some("--check") => check = true,
            Some("--version") => {
                say(concat!("snoozed ", env!("CARGO_PKG_VERSION"), "\n"));
                return ExitCode::SUCCESS;
            }
            Some("--help" | "-h") => {
                say(USAGE);
                return ExitCode::SUCCESS;
            }
            Some(other) => return usage(&format!("unknown argument `{other}`")),
            None => return usage("unknown argument"),
        }
    }
    let settings = match settings::read(file.as_deref()) {
        Ok(settings) => settings,
        Err(faults) => {
            for fault in faults {
                complain(&format!("bad settings: {fault}\n"));
            }
            return ExitCode::from(exit::BAD_SETTINGS);
        }
    };
    if check {
        return check_policies(&settings);
    }
    start(settings)
}

fn check_policies(settings: &Settings) -> ExitCode {
    let (policies, faults) = settings.policies();
    for fault in &faults {
        complain(&format!("bad policy: {fault}\n"));
    }
    if !faults.is_empty() {
        return ExitCode::from(exit::BAD_SETTINGS);
    }
    say(&format!("settings are fine; {} policies\n", policies.len()));
    ExitCode::SUCCESS
}

fn start(settings: Settings) -> ExitCode {
    let environment = Environment { variables: std::env::vars_os().filter_map(utf8).collect() };
    let journal = environment.variables.get("JOURNAL_STREAM").map(String::as_str);
    let _log = logging::start(&settings.log_level, journal);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(snoozed::run::run(settings, environment));
            // A name that nobody resolves is looked up in a thread, which must not hold us up.
            runtime.shutdown_background();
            ended
        }
        Err(source) => Err(RunError::System("start the runtime", source)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit::of(&error);
            complain(&format!("snoozed: {:#}\n", anyhow::Error::from(error)));
            ExitCode::from(code)
        }
    }
}

fn utf8((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

fn usage(text: &str) -> ExitCode {
    complain(&format!("snoozed: {text}; `snoozed --help` tells the usage\n"));
    ExitCode::from(exit::USAGE)
}

fn say(text: &str) {
    // Whoever closed our output does not want it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn complain(text: &str) {
    // As above.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
