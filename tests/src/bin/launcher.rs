//! What `snoozed` is to its plugins, and a small daemon to be killed: for tests that need both
//! beside their own process.
//!
//! `launcher launch …` is the launcher. `launcher daemon PLUGINS RUN NAME` hands one event to the
//! plugin `NAME` and prints the reports. With a number of milliseconds behind that, which is then
//! the budget of the step, it waits for a line on its standard input before.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use snoozed::plugins::{Entry, Host, HostSettings, Limits, Run, SecretStore};
use snoozed::sandbox::Sandboxes;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(verb) if verb == snoozed::launch::VERB => snoozed::launch::main(args),
        Some(_) => daemon(args).unwrap_or(ExitCode::FAILURE),
        None => ExitCode::FAILURE,
    }
}

fn daemon(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let (plugins, run, name) = (args.next()?, args.next()?, args.next()?);
    let settings = HostSettings {
        program: "/proc/self/exe".into(),
        builtins: Vec::new(),
        directories: vec![plugins.into()],
        allowed: None,
        pins: BTreeMap::new(),
        unsigned: None,
        run_directory: run.into(),
        secrets: SecretStore::default(),
        limits: Limits::default(),
        sandboxes: Sandboxes::default(),
    };
    let plugin = name.to_str()?.parse().ok()?;
    let budget = args.next().and_then(|text| text.to_str()?.parse().ok());
    snoozed::plugins::adopt_orphans().ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async move {
        let (reports, mut inbox) = tokio::sync::mpsc::channel(16);
        let mut host = Host::new(settings, reports);
        host.set_entries(vec![Entry {
            id: "p/step".to_owned(),
            plugin,
            config: Default::default(),
        }]);
        let mut run = Some(Run {
            run_id: 1,
            entry_id: "p/step".to_owned(),
            event: serde_json::json!({ "type": "custom" }),
            budget: Duration::from_millis(budget.unwrap_or(60_000)),
            grace: Duration::from_millis(budget.unwrap_or(1000)),
        });
        let read = || std::io::stdin().read_line(&mut String::new());
        let mut line = tokio::task::spawn_blocking(move || budget.is_some().then(read));
        loop {
            tokio::select! {
                _ = &mut line, if run.is_some() => run.take().into_iter().for_each(|run| host.handle(run)),
                report = inbox.recv() => {
                    let _ = writeln!(std::io::stdout(), "{report:?}");
                }
            }
        }
    })
}
