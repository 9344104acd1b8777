//! `directory-syncer` against S3: what is in the bucket afterwards, and what is sent for that.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use snooze_cloud::objects::sha256;
use snooze_plugin::Handled;
use snooze_tests::cloud::http::Message;
use snooze_tests::cloud::relay::{Call, Relay, Road};
use snooze_tests::cloud::throttle::Throttle;
use snooze_tests::cloud::{Cloud, emulator, tool};
use snooze_tests::{place, wait};
use tempfile::TempDir;

use super::plugin::{Plugin, notice};

const MIB: usize = 1024 * 1024;
/// The least that S3 takes.
const PART: usize = 5 * MIB;

#[test]
fn a_directory_is_in_the_bucket_and_a_foreign_client_brings_it_back() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "whole");
    side.write("models/new.bin", &noise(2 * PART + 17, 1), 10);
    side.write("logs/run.log", b"hello", 20);
    side.write("empty", b"", 30);
    side.write("skipped.tmp", b"x", 1);
    std::os::unix::fs::symlink("/etc/passwd", side.directory().join("link")).unwrap();
    let handled = side.sync(json!({ "exclude": ["*.tmp"] }));
    assert_eq!(handled.status.as_deref(), Some("directory_synced"), "{handled:?}");
    assert_eq!((handled.verified, &handled.more["files_sent"]), (Some(true), &json!(3)));
    assert_eq!(handled.more["links_and_devices"], 1);
    assert_eq!(handled.more["target"], format!("s3://{}/i-1/", side.bucket));
    let back = side.folder.path().join("back");
    let mut aws = cloud.foreign(tool("aws"));
    let from = format!("s3://{}/i-1/", side.bucket);
    let _said = place::output(aws.args(["s3", "sync", &from]).arg(&back));
    for path in ["models/new.bin", "logs/run.log", "empty"] {
        let (there, here) = (back.join(path), side.directory().join(path));
        assert_eq!(sha256(&fs::read(there).unwrap()), sha256(&fs::read(here).unwrap()), "{path}");
    }
    assert!(!back.join("link").exists() && !back.join("skipped.tmp").exists());
    let manifest = side.manifest(true).unwrap();
    assert_eq!((&manifest["version"], &manifest["complete"]), (&json!(1), &json!(true)));
    let sum = hexadecimal(&sha256(b"hello"));
    let entry = manifest["files"].as_array().unwrap().iter().find(|file| file["size"] == 5);
    let entry = entry.unwrap();
    assert_eq!((&entry["key"], &entry["sha256"]), (&json!("i-1/logs/run.log"), &json!(sum)));
}

#[test]
fn what_has_not_changed_is_not_sent_again_and_what_was_removed_there_is() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "again");
    side.write("large", &noise(PART + 1, 2), 10);
    side.write("small", b"one", 20);
    side.write("touched", b"two", 30);
    side.write("removed", b"three", 40);
    side.sync(json!({}));
    side.write("touched", b"two", 5);
    side.write("small", b"six", 6);
    let removed = json!({ "Bucket": side.bucket, "Key": "i-1/removed" });
    let _gone = cloud.aws.call("s3", "delete_object", removed);
    let handled = side.sync(json!({}));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    let sent: BTreeSet<_> = side.sent().iter().skip(5).map(key).collect();
    let expected = ["i-1.complete.json", "i-1/removed", "i-1/small"];
    assert_eq!(sent, expected.map(str::to_owned).into());
    assert_eq!((&handled.more["files"], &handled.more["files_sent"]), (&json!(4), &json!(2)));
    // Same size, same time, other bytes: only whoever reads it notices.
    side.write("small", b"ten", 6);
    assert_eq!(side.sync(json!({})).more["files_sent"], 0);
    assert_eq!(side.sync(json!({ "checksum": true })).more["files_sent"], 1);
}

#[test]
fn a_killed_upload_is_continued_and_no_part_is_sent_twice() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "killed");
    let bytes = noise(6 * PART + 4321, 3);
    side.write("model", &bytes, 10);
    let mut plugin = side.plugin(json!({ "concurrency": 2 }));
    plugin.give(notice("i-1", 100));
    let through = || side.parts().into_iter().filter(|call| call.status == 200);
    wait::until("parts to get through", || (through().count() >= 3).then_some(()));
    side.relay.road(Road::Deaf);
    plugin.kill();
    side.relay.drain();
    side.relay.road(Road::Open);
    let before: BTreeSet<u32> = through().map(|call| number(&call)).collect();
    let since = side.parts().len();
    let handled = side.sync(json!({ "concurrency": 2 }));
    let after: Vec<u32> = side.parts().iter().skip(since).map(number).collect();
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert!(after.iter().all(|part| !before.contains(part)), "{before:?} {after:?}");
    assert_eq!(after.len() + before.len(), 7, "{before:?} {after:?}");
    assert_eq!(handled.more["parts_kept"], before.len());
    assert_eq!(side.object("i-1/model"), sha256(&bytes));
    assert!(side.uploads().is_empty());
}

#[test]
fn parts_of_a_file_that_changed_are_sent_again() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "changed");
    let mut bytes = noise(5 * PART, 4);
    side.write("model", &bytes, 10);
    let mut plugin = side.plugin(json!({ "concurrency": 1 }));
    plugin.give(notice("i-1", 100));
    wait::until("parts to get through", || {
        (side.parts().iter().filter(|call| call.status == 200).count() >= 2).then_some(())
    });
    side.relay.road(Road::Deaf);
    plugin.kill();
    side.relay.drain();
    side.relay.road(Road::Open);
    bytes[PART + 7] ^= 1;
    side.write("model", &bytes, 5);
    let handled = side.sync(json!({}));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert!(handled.more["parts_kept"].as_u64().unwrap() >= 1, "{handled:?}");
    assert_eq!(side.object("i-1/model"), sha256(&bytes));
}

#[test]
fn h7_a_slow_target_is_measured_what_does_not_fit_is_aborted_and_the_newest_whole_copy_stays() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "slow");
    side.write("state", b"first", 30);
    side.write("model", b"small as yet", 20);
    let first = side.sync(json!({}));
    let whole = side.manifest(true).unwrap();
    side.write("model", &noise(12 * PART, 5), 10);
    side.write("state", b"second", 15);
    let line = Throttle::start(cloud.address(), 1_000_000);
    let slow = json!({ "unfinished": "abort", "endpoint_url": line.url() });
    let mut plugin = side.plugin(slow);
    let handled = plugin.handle(notice("i-1", 45));
    assert_eq!(handled.status.as_deref(), Some("directory_synced_in_part"), "{handled:?}");
    assert_eq!(handled.verified, Some(false));
    // It is rated, given up before the end, and leaves the time to the others.
    let left_out = &handled.more["left_out"];
    assert_eq!((&left_out[0]["what"], left_out[1].is_null()), (&json!("model"), true));
    assert!(left_out[0]["why"].as_str().unwrap().contains("bytes a second"), "{left_out}");
    let rate = handled.more["bytes_per_second"].as_f64().unwrap();
    assert!(rate > 0.0 && rate < 2e6, "{rate}");
    let sent = handled.more["bytes_sent"].as_u64().unwrap();
    assert!(sent > 0 && sent < u64::try_from(12 * PART).unwrap(), "{sent}");
    assert!(side.uploads().is_empty(), "nothing is left that costs");
    assert_eq!(side.object("i-1/state"), sha256(b"second"));
    // The newest complete manifest is the first one still.
    assert_eq!(handled.more["newest_complete"], whole["written"]);
    assert_eq!(first.more["newest_complete"], whole["written"]);
    assert_eq!(side.manifest(true).unwrap(), whole);
    let part = side.manifest(false).unwrap();
    assert_eq!((&part["complete"], &part["left_out"]), (&json!(false), &json!(1)));
    assert_eq!(handled.more["manifest"], format!("s3://{}/i-1.incomplete.json", side.bucket));
    // With a better line the rest follows.
    let handled = side.sync(json!({}));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert_eq!(handled.more["files_sent"], 1);
}

#[test]
fn h7_parts_that_a_slow_line_carried_are_kept_after_all_that_fits_is_through() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "kept");
    let bytes = noise(16 * PART, 13);
    side.write("model", &bytes, 10);
    side.write("state", b"old but small", 20);
    let line = Throttle::start(cloud.address(), 3_000_000);
    let mut plugin = side.plugin(json!({ "endpoint_url": line.url() }));
    let handled = plugin.handle(notice("i-1", 20));
    assert_eq!(handled.status.as_deref(), Some("directory_synced_in_part"), "{handled:?}");
    assert_eq!((&handled.more["unfinished"], side.uploads().len()), (&json!(1), 1));
    // On a busy machine the last two seconds may be too few for it.
    match handled.more.get("manifest_error") {
        Some(error) => assert_eq!(error, "no time was left for it"),
        None => assert_eq!(
            handled.more["manifest"],
            format!("s3://{}/i-1.incomplete.json", side.bucket)
        ),
    }
    assert_eq!(side.object("i-1/state"), sha256(b"old but small"));
    assert_eq!(handled.more.get("newest_complete"), None);
    let handled = side.sync(json!({}));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert!(handled.more["parts_kept"].as_u64().unwrap() >= 1, "{handled:?}");
    assert_eq!(side.object("i-1/model"), sha256(&bytes));
}

#[test]
fn a_bucket_that_stops_answering_costs_the_step_its_time_and_no_more() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "deaf");
    let bytes = noise(8 * PART, 6);
    side.write("model", &bytes, 10);
    let mut plugin = side.plugin(json!({ "concurrency": 1 }));
    plugin.give(notice("i-1", 20));
    wait::until("a part to get through", || {
        side.parts().iter().any(|call| call.status == 200).then_some(())
    });
    side.relay.road(Road::Deaf);
    let handled = plugin.handled();
    side.relay.road(Road::Open);
    assert!(!handled.handled && handled.verified == Some(false), "{handled:?}");
    assert_eq!(handled.error.as_deref(), Some("model: no time was left for it"));
    assert_eq!((&handled.more["unfinished"], side.uploads().len()), (&json!(1), 1));
    assert!(handled.more["manifest_error"].is_string(), "{handled:?}");
    let handled = plugin.handle(notice("i-1", 100));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert!(handled.more["parts_kept"].as_u64().unwrap() >= 1, "{handled:?}");
    assert_eq!(side.object("i-1/model"), sha256(&bytes));
}

#[test]
fn a_large_file_that_changes_while_it_is_sent_is_left_out_and_told() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "moving");
    side.write("model", &noise(3 * PART, 11), 10);
    side.write("other", b"x", 20);
    let path = side.directory().join("model");
    let changed = AtomicU32::new(0);
    let relay = Relay::start(
        cloud.address(),
        Some(Box::new(move |call, _| {
            if call.operation.contains("partNumber=1&") && changed.fetch_add(1, SeqCst) == 0 {
                let mut file = fs::File::options().append(true).open(&path).unwrap();
                file.write_all(b"more").unwrap();
            }
        })),
    );
    let side = Side { relay, ..side };
    let handled = side.sync(json!({ "concurrency": 1 }));
    assert_eq!(handled.status.as_deref(), Some("directory_synced_in_part"), "{handled:?}");
    let why = handled.more["left_out"][0]["why"].as_str().unwrap();
    assert!(why.contains("changed while it was read"), "{handled:?}");
    assert!(side.fetch("i-1/model").is_none() && side.manifest(true).is_none());
    let handled = side.sync(json!({}));
    assert_eq!((handled.verified, &handled.more["files_sent"]), (Some(true), &json!(1)));
}

#[test]
fn a_store_that_fails_now_and_then_is_asked_again_and_one_that_always_does_is_not() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "unwell");
    side.write("model", &noise(2 * PART + 1, 12), 10);
    let slow_down = "<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>";
    let first = AtomicU32::new(0);
    side.relay.stand(Some(Box::new(move |call| {
        let hit = call.operation.contains("partNumber=2&") && first.fetch_add(1, SeqCst) == 0;
        hit.then(|| Message::xml(503, slow_down))
    })));
    let handled = side.sync(json!({}));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    for (age, path) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        side.write(path, b"x", age.try_into().unwrap());
    }
    side.relay.stand(Some(Box::new(move |call| {
        let hit = call.operation.starts_with("PUT ") && call.operation.contains("/i-1/");
        hit.then(|| Message::xml(503, slow_down))
    })));
    let handled = side.sync(json!({ "concurrency": 1 }));
    assert_eq!(handled.status.as_deref(), Some("directory_synced_in_part"), "{handled:?}");
    assert_eq!(handled.more["files_left_out"], 5);
    assert!(handled.more["left_out"][4]["why"].as_str().unwrap().contains("SlowDown"));
    let tried: BTreeSet<_> = side.sent().iter().map(key).collect();
    assert!(tried.contains("i-1/c") && !tried.contains("i-1/d"), "{tried:?}");
    // What was there before is in the manifest still.
    assert_eq!(side.manifest(false).unwrap()["files"][0]["key"], "i-1/model");
}

#[test]
fn a_store_that_does_not_confirm_the_digest_is_not_believed() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "mute");
    side.write("a", b"x", 10);
    let mute = |_: &Call, answer: &mut Message| {
        answer.headers.retain(|(name, _)| name != "x-amz-checksum-sha256");
    };
    let side = Side { relay: Relay::start(cloud.address(), Some(Box::new(mute))), ..side };
    let handled = side.sync(json!({}));
    assert_eq!(handled.status.as_deref(), Some("directory_synced"), "{handled:?}");
    assert_eq!((handled.verified, handled.degraded()), (Some(false), true));
}

#[test]
fn nothing_is_sent_in_a_dry_run_and_no_more_than_wanted_otherwise() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "dry");
    side.write("new", &noise(3000, 7), 10);
    side.write("large", &noise(5000, 8), 20);
    side.write("old", &noise(1000, 9), 30);
    let handled = side.sync(json!({ "dry_run": true }));
    assert_eq!(handled.status.as_deref(), Some("directory_would_be_synced"));
    assert_eq!(handled.more["would"], json!(["send new", "send large", "send old"]));
    assert_eq!((&handled.more["bytes_to_send"], side.sent().len()), (&json!(9000), 0));
    let handled = side.sync(json!({ "max_bytes": 4500 }));
    assert_eq!(handled.more["files_sent"], 2, "{handled:?}");
    assert_eq!(handled.more["left_out"][0]["what"], "large");
    assert_eq!(handled.more["bytes_left_out"], 5000);
    assert!(side.manifest(true).is_none());
}

#[test]
fn what_aws_refuses_is_told_with_what_to_do() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "refused");
    side.write("a", b"x", 1);
    let handled = side.sync(json!({ "bucket": "not-there-at-all" }));
    let error = handled.error.unwrap();
    assert!(error.contains("NoSuchBucket") && error.contains("check `bucket`"), "{error}");
    let mut plugin = side.plugin(json!({ "bucket": "not-there-at-all" }));
    assert!(plugin.health().unwrap_err().contains("check `bucket`"));
    assert_eq!(side.plugin(json!({})).health(), Ok(()));
    let handled = side.sync(json!({ "directory": "/not/there" }));
    assert!(handled.error.unwrap().contains("cannot read `directory`"));
    let mut plugin = side.plugin(json!({}));
    let handled = plugin.handle(json!({ "type": "custom.x", "data": {} }));
    assert!(handled.error.unwrap().contains("take `{instance}` out of `prefix`"));
    assert_eq!(plugin.handle(json!({ "type": "system.disk.low" })), Handled::not_mine());
}

#[test]
fn a_directory_that_is_empty_all_at_once_replaces_no_manifest() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "empty");
    side.write("a", b"x", 1);
    side.sync(json!({}));
    let whole = side.manifest(true).unwrap();
    fs::remove_file(side.directory().join("a")).unwrap();
    let handled = side.sync(json!({}));
    assert_eq!(handled.status.as_deref(), Some("nothing_to_sync"), "{handled:?}");
    assert_eq!((handled.verified, side.manifest(true)), (None, Some(whole)));
}

#[test]
fn the_statement_of_the_page_is_enough_and_what_it_lacks_has_a_name() {
    let Some(cloud) = emulator() else { return };
    let side = Side::new(cloud, "role");
    side.write("large", &noise(PART + 1, 10), 10);
    side.write("small", b"x", 20);
    let page = fs::read_to_string(place::root().join("docs/plugins/directory-syncer.md")).unwrap();
    let statement = page.split("```json").find(|block| block.contains("\"Statement\"")).unwrap();
    let statement = statement.split("```").next().unwrap().replace("BUCKET", &side.bucket);
    let all: Value = serde_json::from_str(&statement).unwrap();
    let keys = keys(cloud, "syncer", &all);
    let handled = side.sync_as(&keys, json!({}));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    let mut less = all.clone();
    less["Statement"]
        .as_array_mut()
        .unwrap()
        .retain(|statement| !statement["Action"].to_string().contains("s3:PutObject"));
    let keys = self::keys(cloud, "reader", &less);
    side.write("small", b"y!", 5);
    let handled = side.sync_as(&keys, json!({}));
    let why = handled.more["left_out"][0]["why"].as_str().unwrap_or_default();
    assert!(why.contains("AccessDenied") && why.contains("give the role"), "{handled:?}");
}

/// A directory, a bucket, and a relay between them.
struct Side {
    cloud: &'static Cloud,
    folder: TempDir,
    bucket: String,
    relay: Relay,
}

impl Side {
    fn new(cloud: &'static Cloud, name: &str) -> Self {
        let bucket = format!("sync-{name}");
        let _made = cloud.aws.call("s3", "create_bucket", json!({ "Bucket": bucket }));
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        Self { cloud, folder, bucket, relay: Relay::start(cloud.address(), None) }
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file that was changed so many seconds before a fixed moment.
    fn write(&self, path: &str, bytes: &[u8], age: u64) {
        let path = self.directory().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - age);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    fn config(&self, more: &Value) -> Value {
        let mut config = json!({ "directory": self.directory(), "bucket": self.bucket,
            "part_size_mb": 5, "timeout_seconds": 300 });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    fn plugin(&self, more: Value) -> Plugin {
        let config = self.config(&more);
        Plugin::start(self.cloud, "directory-syncer", &self.relay.url(), &config)
    }

    fn sync(&self, more: Value) -> Handled {
        self.plugin(more).handle(notice("i-1", 300))
    }

    fn sync_as(&self, keys: &Value, more: Value) -> Handled {
        let config = self.config(&more);
        let url = self.relay.url();
        let mut plugin = Plugin::start_as(self.cloud, "directory-syncer", &url, &config, keys);
        plugin.handle(notice("i-1", 300))
    }

    /// All that was written.
    fn sent(&self) -> Vec<Call> {
        let calls = self.relay.calls().into_iter();
        calls.filter(|call| call.operation.starts_with("PUT ")).collect()
    }

    fn parts(&self) -> Vec<Call> {
        self.sent().into_iter().filter(|call| call.operation.contains("partNumber=")).collect()
    }

    fn uploads(&self) -> Vec<Value> {
        let args = json!({ "Bucket": self.bucket });
        let answer = self.cloud.aws.call("s3", "list_multipart_uploads", args);
        answer["Uploads"].as_array().cloned().unwrap_or_default()
    }

    fn manifest(&self, complete: bool) -> Option<Value> {
        let name = if complete { "complete" } else { "incomplete" };
        let bytes = self.fetch(&format!("i-1.{name}.json"))?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    fn object(&self, key: &str) -> [u8; 32] {
        sha256(&self.fetch(key).unwrap())
    }

    /// What a foreign client fetches.
    fn fetch(&self, key: &str) -> Option<Vec<u8>> {
        let to = self.folder.path().join("fetched");
        let mut aws = self.cloud.foreign(tool("aws"));
        aws.args(["s3api", "get-object", "--bucket", &self.bucket, "--key", key]).arg(&to);
        let output = aws.output().unwrap();
        output.status.success().then(|| read_and_remove(&to))
    }
}

fn read_and_remove(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    bytes
}

/// Keys of a user who may do this.
fn keys(cloud: &Cloud, name: &str, policy: &Value) -> Value {
    let user = json!({ "UserName": name });
    let _made = cloud.aws.call("iam", "create_user", user.clone());
    let inline =
        json!({ "UserName": name, "PolicyName": "own", "PolicyDocument": policy.to_string() });
    let _put = cloud.aws.call("iam", "put_user_policy", inline);
    cloud.aws.call("iam", "create_access_key", user)["AccessKey"].clone()
}

/// The key of an object that was written.
fn key(call: &Call) -> String {
    let path = call.operation.trim_start_matches("PUT /").split('?').next().unwrap();
    path.split_once('/').unwrap().1.to_owned()
}

fn number(call: &Call) -> u32 {
    let number = call.operation.split("partNumber=").nth(1).unwrap();
    number.split('&').next().unwrap().parse().unwrap()
}

/// Bytes that are not alike in any two parts.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
