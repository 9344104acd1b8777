//! `snooze doctor` on an instance of files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};
use snooze_imds::fake::{Role, Server};

use crate::snooze::{Place, snooze};

/// The parts of the findings on the instance of these settings, but for what the machine of the
/// test is.
fn parts(place: &Place, settings: &Value) -> Vec<String> {
    let file = place.file("snoozed.json", &settings.to_string());
    let socket = place.path("socket").display().to_string();
    let run = snooze(["--json", "--socket", &socket, "doctor", "--local", "--config", &file]);
    let found = run.json();
    let part = |finding: &Value| finding["part"].as_str().unwrap().to_owned();
    let of_machine = ["systemd", "unit", "kernel", "state-space", "core-dumps"];
    let parts = found.as_array().unwrap().iter().map(part);
    parts.filter(|part| !of_machine.iter().any(|own| part.starts_with(own))).collect()
}

#[test]
fn each_misconfiguration_is_found_and_gone_once_it_is_mended() {
    let place = Place::new();
    let keys = place.directory("keys", &[("team.key", "untrusted comment: minisign secret key\n")]);
    let state = place.path("state").display().to_string();
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = json!({
        "state_directory": state,
        "sources": { "imds": { "endpoints": [format!("http://{gone}")] } },
        "plugins": { "directories": [place.directory("plugins", &[("odd", "#!/bin/sh\n")])] },
        "policies": [{ "name": "orders", "match": { "type": ["cloud.spot.interrupt"] },
            "handlers": [{ "plugin": "nowhere" }] }],
        "policy_signatures": { "required": true, "keys": keys },
        "cloud": {},
    });
    assert_eq!(
        parts(&place, &settings),
        [
            "plugin-file",
            "plugin-missing",
            "signing-keys",
            "secret-key",
            "socket",
            "metadata-silent",
            "state-missing"
        ]
    );

    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
    fs::remove_file(place.path("keys/team.key")).unwrap();
    fs::remove_file(place.path("plugins/odd")).unwrap();
    settings["policies"][0]["handlers"][0]["plugin"] = json!("slack-notifier");
    settings["plugins"]["allowed"] = json!(["webhook-notifier"]);
    settings["policy_signatures"]["required"] = json!(false);
    settings["sources"]["imds"] = json!({ "enabled": false });
    assert_eq!(
        parts(&place, &settings),
        ["plugin-not-allowed", "signatures", "socket", "state-shared"]
    );

    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    settings["plugins"].as_object_mut().unwrap().remove("allowed");
    settings.as_object_mut().unwrap().remove("cloud");
    assert_eq!(parts(&place, &settings), ["socket"]);
    settings["sauces"] = json!({});
    assert_eq!(parts(&place, &settings), ["settings", "socket"]);
}

#[test]
fn the_metadata_service_is_asked_for_its_version_and_for_a_role() {
    let fake = Server::spawn().unwrap();
    let place = Place::new();
    let state = place.directory("state", &[]);
    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    let settings = json!({
        "state_directory": state, "cloud": { "parts": { "policies": false } },
        "sources": { "imds": { "endpoints": [fake.url()] } },
        "plugins": { "directories": [] },
    });
    assert_eq!(parts(&place, &settings), ["socket", "role"]);
    fake.role(Some(Role::lasting("orders", Duration::from_secs(3600))));
    assert_eq!(parts(&place, &settings), ["socket"]);
}
