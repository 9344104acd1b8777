//! An instance: a fake metadata service, a daemon that is the real one, and a relay to the cloud.

use std::time::Duration;

use serde_json::{Value, json};
use snooze_imds::fake::{Keys, Reply, Role};

use super::aws::{ACCOUNT, REGION};
use super::relay::Relay;
use super::stack::STACK;
use super::{Cloud, signing};
use crate::plugins;
use crate::setup::{Daemon, Setup};
use crate::wait;

/// How long the credentials of a role live.
const LIFE: Duration = Duration::from_secs(3600);

/// An instance. Its daemon is killed when it is dropped.
#[derive(Debug)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its metadata service, settings and folder.
    pub setup: Setup,
    /// Its network.
    pub relay: Relay,
    cloud: &'static Cloud,
}

impl Instance {
    /// An instance with the role of the template, the tag `role`, and the plugin `saver`, which
    /// notes in the file `done` what it does.
    #[must_use]
    pub fn new(cloud: &'static Cloud, id: &str, role: &str) -> Self {
        let mut setup = Setup::new();
        identify(&setup, id, role);
        let relay = signing(cloud);
        setup.set(
            "cloud",
            json!({
                "stack": STACK,
                "signing_certificates": cloud.certificates(),
                "startup_jitter_seconds": 0,
            }),
        );
        setup.environment.insert("AWS_ENDPOINT_URL".to_owned(), relay.url().into());
        let instance = Self { id: id.to_owned(), setup, relay, cloud };
        instance.plugin("saver", 0.0);
        instance.attach();
        instance
    }

    /// Writes a plugin that notes in the file `done` when it starts and ends.
    pub fn plugin(&self, name: &str, seconds: f64) {
        let text = plugins::recorder(name, &self.setup.path("done"), seconds);
        self.setup.script(&format!("plugins/{name}.sh"), &text);
    }

    /// Gives it the role of the template, as its instance profile does.
    pub fn attach(&self) {
        let name = self.cloud.output("InstanceRoleName");
        let args = json!({
            "RoleArn": format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
            // EC2 names the session as the instance.
            "RoleSessionName": self.id,
        });
        let session = self.cloud.aws.call("sts", "assume_role", args);
        let text = |key: &str| session["Credentials"][key].as_str().unwrap_or_default().to_owned();
        let keys = Keys {
            id: text("AccessKeyId"),
            secret: text("SecretAccessKey"),
            token: text("SessionToken"),
        };
        self.setup.fake.role(Some(Role { name, life: LIFE, keys: Some(keys) }));
    }

    /// Starts the daemon, and waits until the cloud knows the instance, and its queue is heard.
    #[must_use]
    pub fn start(&self) -> Daemon {
        let daemon = self.setup.start();
        self.wait_until_known(&daemon);
        daemon
    }

    /// Waits until the cloud knows the instance, and its queue is heard.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn wait_until_known(&self, daemon: &Daemon) {
        let status = || daemon.ask("STATUS", json!({}))["cloud"].clone();
        let missed =
            || format!("the cloud to know {}: {:#}\n{}", self.id, status(), self.setup.log());
        wait::until_or(missed, || {
            let parts = parts(daemon);
            let is_on = |part: &str| parts[part]["state"] == "on";
            ["hello", "policies", "commands", "reports"].into_iter().all(is_on).then_some(())
        });
        let missed = || format!("the item of {}", self.id);
        wait::until_or(missed, || {
            self.cloud.item("instances", "instance_id", &self.id).map(|_| ())
        });
    }

    /// The plugins that started, in order, each as often as it did.
    #[must_use]
    pub fn started(&self) -> Vec<String> {
        let lines = self.setup.lines("done");
        let names = lines.iter().filter_map(|line| line.strip_prefix("start ")?.split(' ').next());
        names.map(ToOwned::to_owned).collect()
    }

    /// The incident of the ledger, once there is one that is so.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn incident(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let found = || self.cloud.incidents(&self.id);
        let missed = || format!("an incident of {} that is {what}: {:#?}", self.id, found());
        wait::until_or(missed, || found().into_iter().find(|incident| is_so(incident)))
    }

    /// The incident of the ledger, once it ended by the word of the instance.
    #[must_use]
    pub fn ended(&self) -> Value {
        self.incident("ended by the instance", |incident| incident["ended"]["by"] == "instance")
    }
}

/// How the parts of the cloud side of a daemon fare, by their names.
#[must_use]
pub fn parts(daemon: &Daemon) -> Value {
    let status = daemon.ask("STATUS", json!({}));
    let parts = status["cloud"]["parts"].as_array().into_iter().flatten();
    let name = |part: &Value| part["part"].as_str().unwrap_or_default().to_owned();
    parts.map(|part| (name(part), part.clone())).collect()
}

/// Lets the metadata service tell of this instance.
fn identify(setup: &Setup, id: &str, role: &str) {
    let identity = json!({
        "accountId": ACCOUNT,
        "architecture": "x86_64",
        "availabilityZone": "us-east-1b",
        "imageId": "ami-0123456789abcdef0",
        "instanceId": id,
        "instanceType": "m6i.large",
        "pendingTime": "2026-03-14T08:00:11Z",
        "privateIp": "10.158.112.84",
        "region": REGION,
        "version": "2017-09-30",
    });
    let identity = identity.to_string();
    for (path, text) in [
        ("/latest/dynamic/instance-identity/document", identity.as_str()),
        ("/latest/meta-data/instance-id", id),
        ("/latest/meta-data/tags/instance/role", role),
    ] {
        setup.fake.set(path, [Reply::ok(text)]);
    }
}
