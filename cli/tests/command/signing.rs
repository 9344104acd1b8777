//! `snooze policy sign`, and `check --keys`. A stand-in for minisign says what it was asked for,
//! and hands out a signature that minisign made (`events/policy/samples/signed`).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::fleet::Cloud;
use crate::snooze::{Place, Run, snooze};

const SCOPE: &str = r#"{"account":["123456789012"],"region":["us-east-1"]}"#;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/policy/samples/signed").join(name)
}

/// A place with a policy, a secret key and a directory of public keys.
fn stage() -> (Place, String) {
    let place = Place::new();
    fs::create_dir(place.path("keys")).unwrap();
    fs::copy(sample("team.pub"), place.path("keys/team.pub")).unwrap();
    for (path, mode) in [("keys", 0o755), ("keys/team.pub", 0o644)] {
        fs::set_permissions(place.path(path), Permissions::from_mode(mode)).unwrap();
    }
    place.file("team.key", "secret");
    fs::set_permissions(place.path("team.key"), Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(sample("orders-7.json")).unwrap();
    let file = place.file("orders.json", &text);
    (place, file)
}

/// `snooze policy sign`, with the stand-in.
fn sign(place: &Place, file: &str, more: &[&str]) -> Run {
    let made = sample("orders-7.minisig");
    place.program(
        "minisign",
        &format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >'{}'\nwhile [ \"$1\" != -x ]; do shift; done\n\
             echo told\ncp '{}' \"$2\"\n",
            place.path("asked").display(),
            made.display()
        ),
    );
    let key = place.path("team.key").display().to_string();
    let path = format!("{}:/usr/bin:/bin", place.path("").display());
    let output = Command::new(env!("CARGO_BIN_EXE_snooze"))
        .args(["--json", "policy", "sign", file, "--key-file", &key])
        .args(more)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn check(place: &Place, file: &str) -> Run {
    let keys = place.path("keys").display().to_string();
    snooze(["policy", "check", file, "--keys", &keys])
}

#[test]
fn i1_what_is_signed_for_instances_is_what_they_take() {
    let (place, file) = stage();
    let unsigned = check(&place, &file);
    assert_eq!(unsigned.code, 1, "{unsigned:?}");
    assert!(unsigned.out.contains("signature: it is not signed"), "{unsigned:?}");
    let far = ["--version", "7", "--expires", "2099-01-01", "--scope", SCOPE];
    let signed = sign(&place, &file, &far);
    assert_eq!(signed.code, 0, "{signed:?}");
    let signature = format!("{file}.minisig");
    assert_eq!(
        signed.json(),
        json!({ "signatures": [signature], "says": { "version": 7,
            "expires": "2099-01-01T00:00:00Z",
            "scope": { "account": ["123456789012"], "region": ["us-east-1"] } } })
    );
    assert_eq!(signed.err, "told\n", "what minisign says is none of the data");
    // The very comment that the signature at hand was made over.
    let asked = fs::read_to_string(place.path("asked")).unwrap();
    let comment = format!(r#"{{"expires":"2099-01-01T00:00:00Z","scope":{SCOPE},"version":7}}"#);
    let key = place.path("team.key").display().to_string();
    let words = ["-S", "-t", &comment, "-s", &key, "-m", &file, "-x", &signature];
    assert_eq!(asked.lines().collect::<Vec<_>>(), words);
    let good = check(&place, &file);
    assert_eq!(good.code, 0, "{good:?}");

    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("35", "36")).unwrap();
    let changed = check(&place, &file);
    assert_eq!(changed.code, 1, "{changed:?}");
    assert!(changed.out.contains("that of another text"), "{changed:?}");
}

#[test]
fn what_cannot_be_signed_is_not_and_says_why() {
    let (place, file) = stage();
    for (args, code, why) in [
        (["--expires", "2020-01-01"], 2, "expected a time to come"),
        (["--scope", "{"], 2, "`--scope` is not JSON"),
        (["--scope", r#"{"acount":["1"]}"#], 2, "did you mean `account`?"),
        (["--version", "0"], 2, "--version"),
    ] {
        let refused = sign(&place, &file, &args);
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.err.contains(why), "{refused:?}");
    }
    let bad = place.file("bad.json", "{}");
    let refused = sign(&place, &bad, &[]);
    assert_eq!(refused.code, 3, "{refused:?}");
    fs::set_permissions(place.path("team.key"), Permissions::from_mode(0o640)).unwrap();
    let refused = sign(&place, &file, &[]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("mode 0640; `chmod 600 "), "{refused:?}");
    assert!(!place.path("orders.json.minisig").exists());
}

#[tokio::test]
async fn i1_a_signature_is_stored_with_its_policy_and_a_new_one_is_a_change() {
    let (cloud, (place, file)) = (Cloud::start().await, stage());
    let signature = fs::read_to_string(sample("orders-7.minisig")).unwrap();
    let put = |args: &'static [&'static str]| {
        let file = file.clone();
        let cloud = &cloud;
        async move {
            let args: Vec<&str> =
                ["policy", "put", &file].into_iter().chain(args.iter().copied()).collect();
            cloud.snooze(&args).await
        }
    };
    assert_eq!(put(&[]).await.out, "orders new\nthe table is at version 1\n");
    place.file("orders.json.minisig", &signature);
    assert_eq!(put(&[]).await.out, "orders changed\nthe table is at version 2\n");
    let stored = cloud.policies().all().await.unwrap();
    assert_eq!(stored.documents[0].signature.as_deref(), Some(signature.as_str()));
    assert_eq!(stored.documents[0].text, fs::read_to_string(&file).unwrap());
    assert_eq!(put(&[]).await.out, "orders unchanged\nthe table is at version 2\n");
    fs::remove_file(place.path("orders.json.minisig")).unwrap();
    let lost = put(&["--dry-run"]).await;
    assert!(lost.err.contains("is stored with a signature, and comes without one"), "{lost:?}");
}
