//! Who may, and what is said to those who may not.

use std::net::TcpListener;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use snooze_plugin::wire::Method;

use crate::program::{FLUSHER, MONITOR, Program, notice};
use crate::server::{MariaDb, free_port, open_to_all};

#[test]
fn a_password_opens_the_door_and_is_never_told() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    client.say("CREATE USER flusher IDENTIFIED BY 'hunter2'");
    client.say("GRANT RELOAD ON *.* TO flusher");
    let socket = server.socket().display().to_string();
    let flush = |dsn: String| Program::start(FLUSHER, &json!({ "connection_string": dsn })).flush();

    let error = flush(format!("flusher:wrong-secret@unix({socket})/")).error.unwrap();
    assert!(error.starts_with("cannot connect to the database server at"), "{error}");
    assert!(error.contains("Access denied") && !error.contains("wrong-secret"), "{error}");
    let escaped = socket.replace('/', "%2F");
    for dsn in [
        format!("flusher:hunter2@unix({socket})/"),
        format!("mysql://flusher:hunter2@localhost/?socket={escaped}"),
    ] {
        let handled = flush(dsn);
        assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
        assert!(!handled.to_value().to_string().contains("hunter2"));
    }

    client.say("CREATE USER weak");
    let error = flush(format!("weak@unix({socket})/")).error.unwrap();
    assert!(error.starts_with("`FLUSH TABLES WITH READ LOCK` failed on"), "{error}");
    assert!(error.contains("RELOAD privilege"), "{error}");
}

#[test]
fn a_login_by_the_users_name_on_the_machine_needs_no_password() {
    let Some(server) = MariaDb::start(&[]) else { return };
    let mut client = server.client();
    let name = Command::new("id").arg("-un").output().unwrap().stdout;
    let name = String::from_utf8(name).unwrap().trim().to_owned();
    client.say(&format!("CREATE OR REPLACE USER {name}@localhost IDENTIFIED VIA unix_socket"));
    client.say(&format!("GRANT RELOAD ON *.* TO {name}@localhost"));
    let handled = Program::start(FLUSHER, &json!({ "dsn": server.dsn(&name) })).flush();
    assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
}

#[test]
fn tls_checks_who_the_server_is() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ca_file = file("ca.pem", authority.pem());
    let certificate = format!("--ssl-cert={}", file("server.pem", certificate.pem()));
    let key = format!("--ssl-key={}", file("server.key", key.serialize_pem()));
    open_to_all(folder.path());
    let port = free_port();
    let port_option = format!("--port={port}");
    let Some(server) = MariaDb::start(&[&certificate, &key, &port_option]) else { return };
    let mut client = server.client();
    client.say("CREATE USER secret IDENTIFIED BY 'hunter2' REQUIRE SSL");
    client.say("GRANT RELOAD ON *.* TO secret");

    let flush = |host: &str, tls: &str, ca_file: Option<&String>| {
        let dsn = format!("secret:hunter2@tcp({host}:{port})/?tls={tls}");
        Program::start(FLUSHER, &json!({ "dsn": dsn, "ca_file": ca_file })).flush()
    };
    for handled in
        [flush("localhost", "true", Some(&ca_file)), flush("127.0.0.1", "skip-verify", None)]
    {
        assert_eq!((&handled.error, handled.verified), (&None, Some(true)), "{handled:?}");
    }
    for (handled, why) in [
        (flush("localhost", "true", None), "UnknownIssuer"),
        (flush("127.0.0.1", "true", Some(&ca_file)), "not valid for name"),
        (flush("localhost", "false", None), "Access denied"),
    ] {
        let error = handled.error.unwrap();
        assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
    }
}

// H1
#[test]
fn h1_a_server_that_never_answers_and_one_that_is_not_there_are_named() {
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = hung.local_addr().unwrap().to_string();
    let dsn = format!("u:hunter2@tcp({place})/");
    let mut flusher = Program::start(FLUSHER, &json!({ "dsn": dsn, "timeout_seconds": 0.3 }));
    let hung_error = flusher.handle(notice(60.0)).error.unwrap();
    drop(hung);
    let gone_error = flusher.handle(notice(60.0)).error.unwrap();
    let unwell = flusher.ask(Method::Health, json!({})).done().unwrap_err();
    let mut monitor = Program::start(MONITOR, &json!({ "dsn": dsn }));
    let vote = monitor.vote();
    assert_eq!(vote.verdict.as_str(), "unknown");
    for error in [hung_error, gone_error, unwell, vote.reason] {
        let start = format!("cannot connect to the database server at `{place}`; check that");
        assert!(error.starts_with(&start), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_without_its_values() {
    let mut flusher = Program::unconfigured(FLUSHER);
    let config = json!({ "connection_string": "postgres://u:hunter2@h/", "hold": "always" });
    let error = flusher.ask(Method::Configure, json!({ "config": config })).done().unwrap_err();
    assert!(error.contains("`hold`: expected `release` or `deadline`"), "{error}");
    assert!(error.contains("`connection_string`: expected") && !error.contains("hunter2"));
    let error = flusher.flush().error.unwrap();
    assert!(error.starts_with("no usable `connection_string`"), "{error}");
}
