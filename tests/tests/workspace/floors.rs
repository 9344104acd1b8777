//! The floors of the crates, held against what they really depend on.

use std::collections::BTreeMap;

use serde_json::Value;
use snooze_tests::place;

/// What thinking crates may not have: I/O, async, the cloud.
const DOING: [&str; 5] = ["tokio", "reqwest", "sysinfo", "lambda_runtime", "aws-"];

/// The SDKs that the daemon may link: that of the table of policies, and that of STS, which comes
/// with `aws-config`, whatever is switched off there. Other services are called without one.
const CALLED: [&str; 2] = ["aws-sdk-dynamodb", "aws-sdk-sts"];

/// What the daemon may not link: clouds that it does not call, and drivers that belong to plugins.
const FOREIGN: [&str; 13] = [
    "aws_lambda_events",
    "lambda_runtime",
    "jsonschema",
    "krafka",
    "mongodb",
    "mysql_async",
    "native-tls",
    "openssl-sys",
    "redis",
    "ring",
    "rusqlite",
    "tokio-postgres",
    "wasmtime",
];

#[test]
fn a_crate_stands_on_lower_floors_only() {
    let packages = packages();
    let floors: BTreeMap<&str, u64> = packages.iter().map(|p| (name(p), floor(p))).collect();
    for package in &packages {
        for dependency in dependencies(package).filter(|d| d["kind"] != "dev") {
            let Some(below) = floors.get(name(dependency)) else { continue };
            let (own, above) = (name(package), floor(package));
            assert!(*below < above, "{own} ({above}) stands on {} ({below})", name(dependency));
        }
    }
}

#[test]
fn what_thinks_does_not_do() {
    for package in packages().iter().filter(|package| floor(package) < 2) {
        let direct = dependencies(package).map(|dependency| name(dependency).to_owned());
        let tree = tree(name(package));
        for found in direct.chain(tree) {
            let doing = DOING.iter().any(|doing| is(&found, doing));
            assert!(!doing, "{} depends on {found}", name(package));
        }
    }
}

#[test]
fn the_daemon_links_no_foreign_cloud_and_no_database_driver() {
    let tree = tree("snoozed");
    assert!(tree.iter().any(|name| name == "tokio"), "the tree was read: {tree:?}");
    for found in tree {
        let is_foreign = FOREIGN.contains(&found.as_str())
            || is(&found, "aws-sdk-") && !CALLED.contains(&found.as_str());
        assert!(!is_foreign, "snoozed depends on {found}");
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in packages() {
        let manifest = package["manifest_path"].as_str().unwrap();
        let text = std::fs::read_to_string(manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest}");
    }
}

/// Whether a crate is the one, or of the family when that ends with a hyphen.
fn is(found: &str, wanted: &str) -> bool {
    if wanted.ends_with('-') { found.starts_with(wanted) } else { found == wanted }
}

fn packages() -> Vec<Value> {
    let mut cargo = place::cargo();
    let text = place::output(cargo.args(["metadata", "--no-deps", "--format-version", "1"]));
    let metadata: Value = serde_json::from_str(&text).expect("cargo writes JSON");
    metadata["packages"].as_array().cloned().expect("there are packages")
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("a package has a name")
}

fn floor(package: &Value) -> u64 {
    let floor = package["metadata"]["floor"].as_u64();
    floor.unwrap_or_else(|| panic!("{} says on which floor it is", name(package)))
}

fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().into_iter().flatten()
}

/// The names of all crates that a crate is built with.
fn tree(package: &str) -> Vec<String> {
    let mut cargo = place::cargo();
    cargo.args(["tree", "--edges", "normal", "--prefix", "none", "--package", package]);
    let text = place::output(&mut cargo);
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.map(ToOwned::to_owned).collect()
}
