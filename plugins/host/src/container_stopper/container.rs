//! A container as its engine describes it (`inspect` of Docker and Podman).

use std::time::Duration;

use serde_json::Value;

/// The label that says when a container is stopped: those with the lowest number first.
const ORDER: &str = "cloudsnooze.order";

/// What a container exits with that was killed: 128 and the number of SIGKILL.
const KILLED: i64 = 137;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) order: i64,
    /// How long it may take to end, where it says so itself.
    pub(super) patience: Option<Duration>,
    /// The engine's word: `running`, `paused`, `exited` and others.
    pub(super) status: String,
    exit_code: i64,
}

impl Container {
    /// Reads what `inspect` says: a list of objects.
    pub(super) fn read_all(said: &str) -> Option<Vec<Self>> {
        serde_json::from_str::<Vec<Value>>(said).ok()?.iter().map(Self::read).collect()
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str);
        let labels = value.pointer("/Config/Labels");
        let order = labels.and_then(|labels| labels.get(ORDER)?.as_str()?.trim().parse().ok());
        let patience = value.pointer("/Config/StopTimeout").and_then(Value::as_i64);
        Some(Self {
            id: text("/Id")?.to_owned(),
            name: text("/Name")?.trim_start_matches('/').to_owned(),
            order: order.unwrap_or(0),
            // A negative one waits for ever.
            patience: patience.map(|s| u64::try_from(s).map_or(Duration::MAX, Duration::from_secs)),
            status: text("/State/Status")?.to_owned(),
            exit_code: value.pointer("/State/ExitCode").and_then(Value::as_i64).unwrap_or(0),
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "exited" | "stopped" | "dead" | "created" | "configured")
    }

    pub(super) fn was_killed(&self) -> bool {
        self.exit_code == KILLED
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_read_as_docker_and_podman_write_it() {
        let docker = json!({
            "Id": "2a8b94417827", "Name": "/web", "State": { "Status": "running", "ExitCode": 0 },
            "Config": { "Labels": { "cloudsnooze.order": "20" } },
        });
        let web = Container::read(&docker).unwrap();
        assert_eq!((web.name.as_str(), web.order, web.patience), ("web", 20, None));
        assert!(!web.has_ended());
        let podman = json!({
            "Id": "4959f402f0a5", "Name": "db", "State": { "Status": "exited", "ExitCode": 137 },
            "Config": { "Labels": null, "StopTimeout": 30 },
        });
        let db = Container::read(&podman).unwrap();
        assert_eq!((db.name.as_str(), db.order), ("db", 0));
        assert_eq!(db.patience, Some(Duration::from_secs(30)));
        assert!(db.has_ended() && db.was_killed());
        let both = format!("[{docker}, {podman:#}]\n");
        assert_eq!(Container::read_all(&both), Some(vec![web, db]));
        assert_eq!(Container::read_all("[{}]"), None);
        assert_eq!(Container::read_all("none"), None);
    }

    #[test]
    fn a_container_that_waits_for_ever_has_all_the_time_that_there_is() {
        let value = json!({
            "Id": "x", "Name": "x", "State": { "Status": "running" }, "Config": { "StopTimeout": -1 },
        });
        assert_eq!(Container::read(&value).unwrap().patience, Some(Duration::MAX));
    }
}
