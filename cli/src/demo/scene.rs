//! What stands in the files of the demo.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

/// The variable that holds the key of the webhook's signatures; the policy only refers to it.
pub(super) const SECRET: &str = "SNOOZE_DEMO_WEBHOOK_SECRET";

/// How long Python may take to say where it is.
const PYTHON: Duration = Duration::from_secs(5);
const PYTHON_PLUGIN: &str = include_str!("../../../plugins/examples/checkpoint.py");
const SHELL_PLUGIN: &str = include_str!("../../../plugins/examples/hello.sh");

/// The places of the demo, all in one directory.
#[derive(Debug, Clone)]
pub(super) struct Places {
    root: PathBuf,
    /// There is a Python plugin.
    pub(super) python: bool,
}

impl Places {
    /// The daemon's settings.
    pub(super) fn settings(&self) -> PathBuf {
        self.root.join("snoozed.json")
    }

    /// The daemon's socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.root.join("run/snoozed.sock")
    }

    /// The daemon's log.
    pub(super) fn log(&self) -> PathBuf {
        self.root.join("snoozed.log")
    }

    /// Where the shop saves its orders.
    pub(super) fn orders(&self) -> PathBuf {
        self.root.join("orders.jsonl")
    }

    /// Where the Python plugin saves its state.
    pub(super) fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint.json")
    }

    /// What the script leaves.
    pub(super) fn drained(&self) -> PathBuf {
        self.root.join("drained.txt")
    }

    fn script(&self) -> PathBuf {
        self.root.join("drain.sh")
    }

    fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    fn policies(&self) -> PathBuf {
        self.root.join("policies.d")
    }

    /// Makes the directories, the plugins and the script.
    pub(super) fn furnish(root: &Path, python: Option<&str>) -> io::Result<Self> {
        let places = Self { root: root.to_owned(), python: python.is_some() };
        for directory in [places.plugins(), places.policies()] {
            fs::create_dir(&directory)?;
            fs::set_permissions(&directory, PermissionsExt::from_mode(0o755))?;
        }
        if let Some(python) = python {
            // Plugins run in a clean environment, where `env python3` may find another one.
            let rest = PYTHON_PLUGIN.split_once('\n').map_or("", |(_, rest)| rest);
            let text = format!("#!{python}\n{rest}");
            executable(&places.plugins().join("checkpoint.py"), &text)?;
        }
        executable(&places.plugins().join("hello.sh"), SHELL_PLUGIN)?;
        executable(&places.script(), &script(&places.drained()))?;
        Ok(places)
    }

    /// Writes the settings and the policy of the daemon.
    pub(super) fn set_up(
        &self,
        metadata: &str,
        shop: &str,
        webhook: &str,
        poll: Duration,
    ) -> io::Result<()> {
        let settings = json!({
            "polling_interval_seconds": poll.as_secs_f64(),
            "state_directory": self.root.join("state"),
            "run_directory": self.root.join("run"),
            "policies_directory": self.policies(),
            "sources": { "imds": { "endpoints": [metadata] } },
            "plugins": { "directories": [self.plugins()], "unsigned": ["checkpoint", "hello"] },
        });
        write(&self.settings(), &format!("{settings:#}\n"), 0o600)?;
        let policy = format!("{:#}\n", self.policy(shop, webhook));
        write(&self.policies().join("shop.json"), &policy, 0o600)
    }

    /// Everything that is to be saved, the most important first.
    fn policy(&self, shop: &str, webhook: &str) -> Value {
        let python = self.python.then(|| {
            json!({ "plugin": "checkpoint", "priority": 80, "timeout_seconds": 20,
                "config": { "path": self.checkpoint() } })
        });
        let others = [
            json!({ "plugin": "app-checkpointer", "priority": 100, "timeout_seconds": 30,
                "repeatable": true,
                "config": { "app_endpoint": shop, "verify_success": true } }),
            json!({ "plugin": "spot-interrupt-handler", "priority": 60, "timeout_seconds": 20,
                "config": { "shutdown_script_path": self.script() } }),
            json!({ "plugin": "hello", "priority": 40, "timeout_seconds": 30 }),
            json!({ "plugin": "webhook-notifier", "priority": 10,
                "config": { "url": webhook, "secret": format!("env:{SECRET}") } }),
        ];
        json!({
            "name": "shop",
            "match": { "type": ["cloud.spot.interrupt"] },
            "handlers": python.into_iter().chain(others).collect::<Vec<_>>(),
        })
    }
}

/// The Python that is here, by its own word; a wrapper in the path is none.
pub(super) async fn python() -> Option<String> {
    let print = "import sys; print(sys.executable)";
    let asked = Command::new("python3")
        .args(["-c", print])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let asked = timeout(PYTHON, asked).await.ok()?.ok()?;
    let path = String::from_utf8(asked.stdout).ok()?.trim().to_owned();
    (asked.status.success() && path.starts_with('/') && !path.contains(' ')).then_some(path)
}

fn script(drained: &Path) -> String {
    format!(
        "#!/bin/sh\n# Stands for what an operator has: take the machine out of the load balancer.\n\
         echo \"no new customers, ${{CLOUDSNOOZE_TIME_REMAINING%.*}} s left\" > '{}'\n\
         echo drained\n",
        drained.display()
    )
}

fn executable(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o755)
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, PermissionsExt::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_takes_what_is_written_for_it() {
        for (python, handlers) in [(None, 4), (Some("/usr/bin/python3"), 5)] {
            let root = tempfile::tempdir().unwrap();
            let places = Places::furnish(root.path(), python).unwrap();
            let at = "http://127.0.0.1:1";
            places.set_up(at, &format!("{at}/checkpoint"), at, Duration::from_secs(1)).unwrap();
            let settings = snoozed::settings::read(Some(&places.settings())).unwrap();
            assert_eq!(settings.socket.path, places.socket());
            let (policies, faults) = settings.policies();
            assert_eq!((policies.len(), faults), (1, Vec::new()));
            assert_eq!(policies[0].handlers.len(), handlers);
        }
    }
}
