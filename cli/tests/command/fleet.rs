//! Verbs of the fleet, as real processes against a fake of AWS.

mod diagnosis;
mod drills;
mod ledger;
mod policies;

use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use snooze_cloud::Aws;
use snooze_cloud::fake::{REGION, Server};
use snooze_cloud::incidents::Incidents;
use snooze_cloud::instances::{Instance, Instances};
use snooze_cloud::policies::Policies;
use snooze_policy::Facts;
use tokio::process::Command;

use crate::snooze::Run;

/// An instance that the tests know.
pub(crate) const ID: &str = "i-0a1b2c3d4e5f60718";

/// A policy that the tests store.
pub(crate) const ORDERS: &str = r#"{
    "name": "orders-db",
    "match": { "type": ["cloud.spot.interrupt"], "instance": { "tags": { "role": ["db"] } } },
    "handlers": [{ "plugin": "redis-flusher", "priority": 100, "timeout_seconds": 30 }],
    "actions": [{ "action": "notify" }]
}"#;

const KEEP: Duration = Duration::from_secs(90 * 24 * 3600);

/// A fake of AWS, and the command that uses it.
pub(crate) struct Cloud {
    pub(crate) server: Server,
    aws: Aws,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        let server = Server::start().await.unwrap();
        let aws = server.aws().await;
        Self { server, aws }
    }

    pub(crate) fn policies(&self) -> Policies {
        Policies::new(&self.aws, "cloudsnooze-policies")
    }

    pub(crate) fn instances(&self) -> Instances {
        Instances::new(&self.aws, "cloudsnooze-instances", KEEP)
    }

    pub(crate) fn incidents(&self) -> Incidents {
        Incidents::new(&self.aws, "cloudsnooze-incidents", KEEP)
    }

    /// An instance that said hello just now.
    pub(crate) async fn hello(&self, id: &str) -> Instance {
        let text = |text: &str| Some(text.to_owned());
        let queue = format!("cloudsnooze-instance-{id}");
        let instance = Instance {
            facts: Facts {
                id: Some(id.parse().unwrap()),
                kind: text("m7g.large"),
                zone: text("eu-central-1a"),
                region: text(REGION),
                asg: text("orders"),
                tags: [("role".to_owned(), "db".to_owned())].into(),
                ..Facts::default()
            },
            queue_url: Some(self.server.make_queue(&queue)),
            subscription: text("arn:aws:sns:eu-central-1:123456789012:cloudsnooze-commands:1"),
            version: text("0.1.0"),
            policies: Some(1),
            last_seen: Some(Timestamp::now()),
            drilled_at: Some(Timestamp::now()),
            ..Instance::default()
        };
        self.instances().update(&instance).await.unwrap();
        instance
    }

    /// Runs the command; the fake goes on meanwhile.
    pub(crate) async fn snooze(&self, args: &[&str]) -> Run {
        run(args, &[("AWS_ENDPOINT_URL", self.server.url()), ("AWS_REGION", REGION)]).await
    }
}

/// Runs the command with these settings of AWS and no others.
pub(crate) async fn run(args: &[&str], settings: &[(&str, &str)]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_snooze"))
        .args(args)
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("SNOOZE_SOCKET", "/no/such/socket")
        .env("USER", "operator")
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
