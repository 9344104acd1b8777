//! The fast, clean stop.

use serde_json::json;

use crate::program::{FLUSHER, Program};
use crate::server::{MariaDb, free_port};

// S0-18
#[test]
fn a_fast_stop_ends_the_server_cleanly_and_waits_until_it_is_gone() {
    let port = free_port();
    let port_option = format!("--port={port}");
    let options = ["--innodb-flush-log-at-trx-commit=0", "--delay-key-write=ALL", &port_option];
    let Some(mut server) = MariaDb::start(&options) else { return };
    let mut client = server.client();
    client.make_tables();
    let by_tcp = format!("root@tcp(127.0.0.1:{port})/");
    for (dsn, fast) in [(server.dsn("root"), 1), (by_tcp, 0)] {
        let mut client = server.client();
        for table in ["t", "m", "a"] {
            client.say(&format!("INSERT INTO d.{table} (v) SELECT seq FROM d.seq_1_to_1000"));
        }
        let config = json!({ "dsn": dsn, "strategy": "fast-stop", "innodb_fast_shutdown": fast, "read_only": true });
        let handled = Program::start(FLUSHER, &config).flush();
        assert_eq!(handled.status.as_deref(), Some("mysql_stopped"), "{handled:?}");
        assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
        assert_eq!(
            (&handled.more["stopped"], &handled.more["read_only"]),
            (&json!(true), &json!(false))
        );
        assert!(server.client_as("root").is_err(), "it is gone when the flusher says so");
        assert_eq!(server.wait_for_its_end().code(), Some(0));
        server.start_again();
    }
    assert!(!server.log().contains("crash recovery"), "{}", server.log());
    let mut client = server.client();
    for table in ["t", "m", "a"] {
        assert_eq!(client.one::<i64>(&format!("SELECT COUNT(*) FROM d.{table}")), 2000);
    }
    assert!(client.can_write());
}

#[test]
fn a_stop_that_the_user_may_not_order_is_no_success() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.say("CREATE USER weak");
    client.say("GRANT RELOAD, READ_ONLY ADMIN ON *.* TO weak");
    let config = json!({ "dsn": server.dsn("weak"), "strategy": "fast-stop", "read_only": true });
    let error = Program::start(FLUSHER, &config).flush().error.unwrap();
    assert!(error.starts_with("`SHUTDOWN` failed on the database server at"), "{error}");
    assert!(error.contains("SHUTDOWN privilege"), "{error}");
    assert_eq!(client.one::<i64>("SELECT @@GLOBAL.read_only"), 0, "undone");
}
