//! A plugin as a process, with the keys of the account.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Map, Value, json};
use snooze_plugin::Handled;
use snooze_plugin::wire::{Answer, Method, read_reply, request_line};
use snooze_tests::cloud::Cloud;
use snooze_tests::programs;

/// A plugin. It is killed when this is dropped.
pub(crate) struct Plugin {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Plugin {
    /// Starts one that speaks to AWS at this address.
    pub(crate) fn start(cloud: &Cloud, name: &str, url: &str, config: &Value) -> Self {
        let keys = json!({ "AccessKeyId": "test", "SecretAccessKey": "test" });
        Self::start_as(cloud, name, url, config, &keys)
    }

    /// The same with other keys.
    pub(crate) fn start_as(
        cloud: &Cloud,
        name: &str,
        url: &str,
        config: &Value,
        keys: &Value,
    ) -> Self {
        let mut command = cloud.operator(programs::path(name));
        command.env("AWS_ACCESS_KEY_ID", keys["AccessKeyId"].as_str().unwrap());
        command.env("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"].as_str().unwrap());
        command.env("AWS_ENDPOINT_URL", url).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut plugin = Self { child, stdin, stdout };
        plugin.tell(Method::Configure, json!({ "config": config }));
        plugin.answer().done().unwrap_or_else(|error| panic!("{config}: {error}"));
        plugin
    }

    /// Gives it an event, and does not wait.
    pub(crate) fn give(&mut self, event: Value) {
        self.tell(Method::HandleEvent, json!({ "event": event }));
    }

    /// What it says of the event that it was given.
    pub(crate) fn handled(&mut self) -> Handled {
        match self.answer() {
            Answer::Result(value) => Handled::read(&value),
            Answer::Failed(text) => Handled::failed(text),
            Answer::NotSupported => panic!("it handles no events"),
        }
    }

    /// Gives it an event; what it says of it.
    pub(crate) fn handle(&mut self, event: Value) -> Handled {
        self.give(event);
        self.handled()
    }

    /// What it says of its health.
    pub(crate) fn health(&mut self) -> Result<(), String> {
        self.tell(Method::Health, json!({}));
        self.answer().done()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn tell(&mut self, method: Method, params: Value) {
        let params: Map<String, Value> = params.as_object().cloned().unwrap();
        self.stdin.write_all(request_line(method, params, 1, false).as_bytes()).unwrap();
    }

    fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        read_reply(line.trim_end().as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}")).answer
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A notice for an instance with so many seconds left.
pub(crate) fn notice(instance: &str, seconds: u32) -> Value {
    json!({
        "type": "cloud.spot.interrupt", "id": "e-1", "severity": 2,
        "timestamp": "2026-03-01T12:00:00Z", "deadline": "2026-03-01T12:02:00Z",
        "data": { "incident": format!("{instance}/b/spot/terminate"), "action": "terminate",
            "instanceID": instance, "timeRemaining": seconds },
    })
}
