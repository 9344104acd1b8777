//! Servers that cannot be reached, and those that are reached by TLS only.

use std::net::TcpListener;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use snooze_plugin::Handled;

use crate::cluster::own;
use crate::program::{Program, config, notice};
use crate::server::Server;
use crate::sql::Sql;

#[test]
fn h1_a_server_that_is_absent_silent_or_full_is_named_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = silent.local_addr().unwrap();
    let config = json!({
        "connection_string": format!("postgres://u:hunter2@{place}/d"), "timeout_seconds": 30,
    });
    let mut flusher = Program::flusher(config);
    let handled = flusher.handle(&notice());
    assert_eq!(
        handled.error.unwrap(),
        format!("PostgreSQL at `{place}` lets nobody in: no answer in time")
    );
    drop(silent);
    for error in [flusher.handle(&notice()).error.unwrap(), flusher.unwell()] {
        assert!(
            error.starts_with(&format!("cannot connect to PostgreSQL at `{place}`")),
            "{error}"
        );
        assert!(error.contains("refused") && !error.contains("hunter2"), "{error}");
    }

    // Of five slots three are kept for superusers, one has the boss, and one has the guest.
    let settings = ["max_connections=5", "superuser_reserved_connections=3"];
    let Some(server) = Server::start(&settings) else { return };
    let boss = server.sql();
    boss.tell("CREATE ROLE guest LOGIN; GRANT pg_checkpoint TO guest");
    let guest = Sql::open(server.folder.path(), "user=guest").unwrap();
    let words = format!("host={} user=guest dbname=postgres", server.folder.path().display());
    let full = crate::program::flush(&server, json!({ "connection_string": words }));
    let error = full.error.unwrap();
    assert!(error.starts_with("cannot connect to") && error.contains("slots"), "{error}");
    assert_eq!(crate::program::flush(&server, json!({})).verified, Some(true));
    drop((boss, guest));
}

#[test]
fn tls_checks_the_server_and_a_password_opens_the_door_and_is_never_told() {
    let Some((server, ca_file, port)) = tls_server() else { return };
    let flush = |words: &str, ca_file: Option<&Path>| -> Handled {
        let words = format!("port={port} user=app dbname=postgres {words}");
        let mut more = json!({ "connection_string": words });
        if let Some(path) = ca_file {
            more["ca_file"] = json!(path);
        }
        Program::flusher(config(&server, more)).handle(&notice())
    };
    let good = flush("host=localhost password=hunter2", Some(&ca_file));
    assert_eq!((good.error.as_ref(), good.verified), (None, Some(true)), "{good:?}");
    let url = format!("postgres://app:hunter2@localhost:{port}/postgres?sslmode=verify-full");
    let more = json!({ "connection_string": url, "ca_file": ca_file });
    let by_url = Program::flusher(config(&server, more)).handle(&notice());
    assert_eq!(by_url.verified, Some(true), "{by_url:?}");
    for (words, ca_file, said) in [
        ("host=localhost password=hunter3", Some(&*ca_file), "password authentication failed"),
        ("host=localhost password=hunter2 sslmode=require", None, "certificate"),
        ("host=127.0.0.1 password=hunter2", Some(&*ca_file), "certificate"),
        ("host=localhost password=hunter2 sslmode=disable", None, "no encryption"),
    ] {
        let error = flush(words, ca_file).error.unwrap();
        assert!(error.contains(said) && !error.contains("hunter"), "{words}: {error}");
    }
}

/// A server that lets in a role with a password, over TLS only; with its authority and its port.
fn tls_server() -> Option<(Server, std::path::PathBuf, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start(&[])?;
    server.sql().tell("CREATE ROLE app LOGIN PASSWORD 'hunter2'; GRANT pg_checkpoint TO app");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let ca_file = server.folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    for (name, text) in [
        ("server.crt", certificate.pem()),
        ("server.key", key.serialize_pem()),
        ("pg_hba.conf", "local all all trust\nhostssl all all all scram-sha-256\n".to_owned()),
    ] {
        let path = server.data().join(name);
        std::fs::write(&path, text).unwrap();
        own(&path);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    let server = server.with(&["ssl=on", "listen_addresses=localhost", &format!("port={port}")]);
    Some((server, ca_file, port))
}
