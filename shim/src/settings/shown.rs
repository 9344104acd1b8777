//! What people are shown of the settings.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{LocalAction, Settings};
use crate::cloud;

impl Settings {
    /// The settings in force, without what may be a secret.
    #[must_use]
    pub fn shown(&self) -> Value {
        let path = |path: &PathBuf| path.display().to_string();
        let configs = self.plugins.configs.clone().unwrap_or(json!({}));
        let (limits, sandbox) = self.plugins.sandbox.shown();
        json!({
            "file": self.file.as_ref().map(path),
            "state_directory": path(&self.state_directory),
            "run_directory": path(&self.run_directory),
            "log_level": self.log_level,
            "polling_interval_seconds": self.sources.polling_interval.as_secs_f64(),
            "socket": {
                "path": path(&self.socket.path),
                "mode": format!("{:04o}", self.socket.mode),
                "group": self.socket.group,
            },
            "sources": { "imds": {
                "enabled": self.sources.imds_enabled,
                "endpoints": self.sources.imds_endpoints,
            }},
            "policies_directory": path(&self.policies_directory),
            "policies": self.inline_policies.iter().cloned().map(masked_configs).collect::<Vec<_>>(),
            "event_handlers": self.event_handlers.clone().map(masked_configs),
            "plugins": {
                "enabled": self.plugins.enabled,
                "directories": self.plugins.directories.iter().map(path).collect::<Vec<_>>(),
                "allowed": self.plugins.allowed.as_ref().map(|names| {
                    names.iter().map(ToString::to_string).collect::<Vec<_>>()
                }),
                "unsigned": self.plugins.unsigned.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "limits": limits,
                "sandbox": sandbox,
                "plugin_configs": masked(configs),
            },
            "cloud": self.cloud.as_ref().map(cloud::Settings::shown),
            "metrics": self.metrics.shown(),
            "traces": { "endpoint": self.traces },
            "policy_signatures": self.signatures.shown(),
            "maintenance_lead_seconds": self.limits.maintenance_lead.as_secs_f64(),
            "lifecycle_budget_seconds": self.limits.lifecycle_budget.as_secs_f64(),
            "shutdown_budget_seconds": self.limits.shutdown_budget.as_secs_f64(),
            "idle": self.idle.shown(),
            "local_action": match &self.local_action {
                None => Value::Null,
                Some(LocalAction::PowerOff) => json!({ "do": "poweroff" }),
                Some(LocalAction::StopInstance) => json!({ "do": "stop-instance" }),
                Some(LocalAction::Script(script)) => {
                    json!({ "do": "script", "script": path(script) })
                }
            },
        })
    }
}

/// Masks what stands below any key `config`.
fn masked_configs(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(key, value)| {
                let value = if key == "config" { masked(value) } else { masked_configs(value) };
                (key, value)
            })
            .collect(),
        Value::Array(values) => values.into_iter().map(masked_configs).collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

/// Masks every text that is no reference to a secret: any of them may be one.
fn masked(value: Value) -> Value {
    match value {
        Value::String(text) if snooze_policy::secret_reference(&text).is_some() => text.into(),
        Value::String(_) => "***".into(),
        Value::Object(members) => {
            members.into_iter().map(|(key, value)| (key, masked(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(masked).collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}
