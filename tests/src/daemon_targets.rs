//! The targets that need the daemon, or the SDKs that stand below it; see `targets.rs`.

use std::cell::OnceCell;
use std::path::PathBuf;

use serde_json::Value;
use snooze_cloud::envelope::{Refused, Rules, Verifier};
use snooze_event::wire;
use snoozed::plugins::Approval;
use snoozed::{journal, launch, settings, socket};

use crate::targets::{Target, now, short, value};

/// The targets of the daemon.
pub const DAEMON: [Target; 6] = [
    Target { name: "approval", feed: approval },
    Target { name: "envelope", feed: envelope },
    Target { name: "journal", feed: journal },
    Target { name: "launcher", feed: launcher },
    Target { name: "settings", feed: settings },
    Target { name: "socket", feed: socket },
];

/// The approval beside a plugin.
pub fn approval(bytes: &[u8]) {
    let Some(read) = wire::text(bytes).ok().and_then(|text| Approval::parse(text).ok()) else {
        return;
    };
    let again = serde_json::to_string(&read).expect("what was read can be written");
    assert_eq!(Approval::parse(&again).ok(), Some(read));
}

/// The envelope of SNS. Without a certificate nothing may be opened, and none may be looked for
/// anywhere but at the one address.
pub fn envelope(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let rules = Rules {
        topic_arn: "arn:aws:sns:eu-central-1:123456789012:commands".to_owned(),
        region: "eu-central-1".to_owned(),
        certificates: Some(PathBuf::from("/nonexistent")),
    };
    let mut verifier = Verifier::new(rules).expect("the rules are fine");
    let refused = waited(verifier.verify(text, now())).expect_err("nobody signed it");
    short(&refused.to_string());
    if let Refused::Unreachable(_) = refused {
        let value: Value = serde_json::from_str(text).expect("it was read");
        let address = value.get("SigningCertURL").and_then(Value::as_str).expect("it was read");
        let file = address.strip_prefix("https://sns.eu-central-1.amazonaws.com/");
        let file = file.expect("the one host");
        assert!(!file.contains(['/', '\\', '?', '#', '%', '@', ':', '\0']), "{file}");
        assert!(file.ends_with(".pem"), "{file}");
    }
}

/// The journal: what is read of it is what begins it, and is written as it stands there.
pub fn journal(bytes: &[u8]) {
    let (entries, valid) = journal::decode(bytes);
    let (prefix, _) = bytes.split_at_checked(valid).expect("the valid part is a part");
    assert_eq!(journal::decode(prefix).1, valid, "the valid part is valid");
    let mut lines = Vec::new();
    for entry in &entries {
        journal::write_line(&mut lines, entry).expect("what was read can be written");
    }
    assert_eq!(journal::decode(&lines).0, entries);
}

/// What the launcher of a plugin says, which the plugin could say too.
pub fn launcher(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(fault) = launch::Fault::of_line(line) else { continue };
        let again = serde_json::to_vec(&fault).expect("what was read can be written");
        assert_eq!(launch::Fault::of_line(&again), Some(fault));
    }
}

/// Settings files, with both layouts of handlers.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match settings::check(text) {
        Ok(settings) => drop(settings.shown()),
        Err(faults) => faults.iter().for_each(|fault| short(&fault.to_string())),
    }
    let Some(value) = value(bytes) else { return };
    let plugins = value.get("plugins").and_then(|plugins| plugins.get("plugin_configs"));
    let (_, faults) = snooze_policy::from_settings(value.get("event_handlers"), plugins);
    faults.iter().for_each(|fault| short(&fault.to_string()));
}

/// Requests on the socket; a stranger never gets what changes something.
pub fn socket(bytes: &[u8]) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.ends_with(b"\n");
        let changes = |name: &str| socket::COMMANDS.iter().find(|(known, _)| *known == name);
        match socket::read_request(line, whole, false) {
            Ok(request) => assert_eq!(changes(&request.command).map(|(_, it)| *it), Some(false)),
            Err(reply) => {
                assert!(!reply.success && reply.code != 0, "{reply:?}");
                short(&reply.error);
            }
        }
        if let Ok(request) = socket::read_request(line, whole, true) {
            assert!(changes(&request.command).is_some(), "{request:?}");
            let again = serde_json::to_vec(&request).expect("what was read can be written");
            assert_eq!(socket::read_request(&again, true, true), Ok(request));
        }
    }
}

thread_local! {
    static RUNTIME: OnceCell<tokio::runtime::Runtime> = const { OnceCell::new() };
}

fn waited<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| {
        let make = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.get_or_init(|| make().expect("a runtime can be made")).block_on(future)
    })
}
