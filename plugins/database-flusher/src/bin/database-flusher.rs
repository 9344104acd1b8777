//! Has the flusher of a database do its work; `db_type` says which.

use std::path::PathBuf;
use std::process::ExitCode;

use database_flusher::DatabaseFlusher;

fn main() -> ExitCode {
    let program = std::env::current_exe().unwrap_or_default();
    let directory = program.parent().map(PathBuf::from).unwrap_or_default();
    snooze_plugin::serve(DatabaseFlusher::new(directory))
}
