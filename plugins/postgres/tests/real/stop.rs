//! The fast stop.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::program::{Program, config, flush, notice, text};
use crate::server::Server;

// S0-18
#[test]
fn a_fast_stop_ends_with_a_server_that_is_shut_down() {
    let Some(mut server) = Server::start(&[]) else { return };
    let sql = server.sql();
    sql.tell("CREATE TABLE t (who text); INSERT INTO t VALUES ('kept')");
    let open = server.sql();
    open.tell("BEGIN; INSERT INTO t VALUES ('never committed')");
    let handled = flush(&server, json!({ "strategy": "fast-stop" }));
    assert_eq!((handled.error.as_ref(), handled.verified), (None, Some(true)), "{handled:?}");
    assert!(text(&handled, "saved").ends_with("the server is shut down"), "{handled:?}");
    assert_eq!(server.state(), "shut down");
    server.wait_until_ended();
    server.restart();
    assert!(server.log().contains("database system was shut down at"), "{}", server.log());
    assert_eq!(server.sql().one::<String>("SELECT string_agg(who, ',') FROM t"), "kept");
}

#[test]
fn h2_a_stop_that_takes_too_long_is_told_and_goes_on() {
    let Some(mut server) = Server::start(&[]) else { return };
    server.sql().tell("CREATE TABLE t ()");
    let hung = server.worker("checkpointer").hang();
    let handled = flush(&server, json!({ "strategy": "fast-stop", "timeout_seconds": 12 }));
    assert_eq!((handled.handled, handled.verified), (false, Some(false)), "{handled:?}");
    let error = handled.error.unwrap();
    assert!(error.contains("could not CHECKPOINT in time"), "{error}");
    assert!(error.contains("did not stop in time"), "{error}");
    drop(hung);
    server.wait_until_ended();
    assert_eq!(server.state(), "shut down");
}

#[test]
fn only_the_server_itself_is_ever_signalled() {
    let Some(server) = Server::start(&[]) else { return };
    let folder = TempDir::new().unwrap();
    let stop = || {
        let directory = folder.path().to_str().unwrap();
        let more = json!({ "strategy": "fast-stop", "data_directory": directory });
        let mut flusher = Program::flusher(config(&server, more));
        let unwell = flusher.unwell();
        let handled = flusher.handle(&notice());
        let error = handled.error.unwrap();
        assert_eq!(error, unwell);
        // The checkpoint is a good thing all the same.
        assert_eq!((handled.handled, handled.verified), (true, Some(false)));
        error
    };
    assert!(stop().starts_with("cannot read `"));
    let control = folder.path().join("global/pg_control");
    fs::create_dir(folder.path().join("global")).unwrap();
    fs::write(&control, "PostgreSQL").unwrap();
    assert!(stop().ends_with("is not what PostgreSQL writes there"));
    let mut bytes = fs::read(server.data().join("global/pg_control")).unwrap();
    bytes[0] ^= 1;
    fs::write(&control, &bytes).unwrap();
    assert!(stop().contains("belongs to another server"));
    bytes[0] ^= 1;
    fs::write(&control, &bytes).unwrap();
    assert!(stop().starts_with("cannot read `"), "there is no postmaster.pid");
    for text in ["", "-5\n", "0\n", "x\n"] {
        fs::write(folder.path().join("postmaster.pid"), text).unwrap();
        assert!(stop().ends_with("is not what PostgreSQL writes there"), "{text:?}");
    }
    // The number of a server in a container is another process here.
    let text = format!("{}\n", std::process::id());
    fs::write(folder.path().join("postmaster.pid"), text).unwrap();
    let error = stop();
    assert!(error.contains("is it in a container?"), "{error}");
    server.sql().tell("SELECT");
}
