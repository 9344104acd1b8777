//! The two layouts in which a configuration file names handlers: `event_handlers` by event type,
//! and `plugins.plugin_configs` by plugin. Both become one local policy for each event type.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use snooze_event::PluginName;
use snooze_pattern::Pattern;

use crate::Fault;
use crate::check::{dispatch, drill, known_type, reserve};
use crate::fault::{member, shown};
use crate::fields::{Fields, Unknown, broken_references, handler, timed};
use crate::policy::{DEFAULT_RESERVE, Dispatch, Drill, Handler, Policy};

/// The policies of a configuration file: `event_handlers`, and `plugin_configs` of its
/// `plugins`. Each is named for its event type: `local.cloud.spot.interrupt`.
///
/// What cannot be read is reported and the rest is there. An event type that is switched off
/// gives a policy that is switched off; a plugin that is switched off for an event type is not
/// among its handlers. A plugin that stands for the same event type in both is reported, and the
/// entry in `event_handlers` holds. The paths of faults begin at the root of the file.
#[must_use]
pub fn from_settings(
    event_handlers: Option<&Value>,
    plugin_configs: Option<&Value>,
) -> (Vec<Policy>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    if let Some(value) = event_handlers {
        by_event("$.event_handlers", value, &mut drafts, &mut faults);
    }
    if let Some(value) = plugin_configs {
        by_plugin("$.plugins.plugin_configs", value, &mut drafts, &mut faults);
    }
    let mut policies = Vec::new();
    for (kind, draft) in drafts {
        // An entry that only sets the poll interval names no handler and makes no policy.
        if !draft.handlers.is_empty() {
            policies.extend(draft.policy(&kind, &mut faults));
        }
    }
    (policies, faults)
}

/// What is known of one event type.
struct Draft {
    /// Where it was first named.
    path: String,
    enabled: bool,
    dispatch: Dispatch,
    reserve: Duration,
    drill: Drill,
    handlers: Vec<Handler>,
}

impl Draft {
    fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            enabled: true,
            dispatch: Dispatch::All,
            reserve: DEFAULT_RESERVE,
            drill: Drill::Run,
            handlers: Vec::new(),
        }
    }

    fn policy(self, kind: &str, faults: &mut Vec<Fault>) -> Option<Policy> {
        let mut report = |text: String| faults.push(Fault::new(&self.path, text));
        let name = format!("local.{kind}").parse();
        let name = name.map_err(|_long| report("the event type is too long".to_owned())).ok();
        let pattern = Pattern::compile_value(&json!({ "type": [kind] }));
        let pattern = pattern.map_err(|error| report(error.to_string())).ok();
        Some(Policy {
            name: name?,
            enabled: self.enabled,
            pattern: pattern?,
            dispatch: self.dispatch,
            reserve: self.reserve,
            drill: self.drill,
            handlers: self.handlers,
            undo: Vec::new(),
            actions: Vec::new(),
        })
    }
}

const EVENT_KEYS: [&str; 6] =
    ["enabled", "polling_interval_seconds", "plugins", "dispatch", "reserve_seconds", "drill"];

fn by_event(
    path: &str,
    value: &Value,
    drafts: &mut BTreeMap<String, Draft>,
    faults: &mut Vec<Fault>,
) {
    let Some(fields) = Fields::of(path, value, faults) else { return };
    for (kind, entry) in fields.members() {
        let path = member(path, kind);
        let Some(kind) = known_type(&path, kind, faults) else { continue };
        let Some(fields) = Fields::of(&path, entry, faults) else { continue };
        fields.expect(&EVENT_KEYS, Unknown::Refuse, faults);
        let plugins = fields.list("plugins", faults);
        let handlers = plugins
            .into_iter()
            .filter_map(|(path, value)| handler(&path, value, "name", Unknown::Refuse, faults));
        let handlers = handlers.collect();
        let draft = Draft {
            enabled: fields.flag("enabled", true, faults),
            dispatch: dispatch(&fields, faults),
            reserve: reserve(&fields, faults),
            drill: drill(&fields, faults),
            handlers,
            path,
        };
        drafts.insert(kind.as_str().to_owned(), draft);
    }
}

fn by_plugin(
    path: &str,
    value: &Value,
    drafts: &mut BTreeMap<String, Draft>,
    faults: &mut Vec<Fault>,
) {
    let Some(fields) = Fields::of(path, value, faults) else { return };
    // A plugin without events only votes; its configuration is none of a policy.
    let switched = fields.members().filter(|(_, entry)| entry.get("events").is_some());
    let mut added: Vec<(String, Handler)> = Vec::new();
    for (plugin, entry) in switched {
        let path = member(path, plugin);
        match plugin.parse::<PluginName>() {
            Err(error) => faults.push(Fault::new(&path, error.to_string())),
            Ok(plugin) => of_plugin(&path, &plugin, entry, drafts, &mut added, faults),
        }
    }
    for (kind, handler) in added {
        let draft = drafts.entry(kind.clone());
        let path = member(path, handler.plugin.as_str());
        draft.or_insert_with(|| Draft::new(&path)).handlers.push(handler);
    }
}

const SWITCH_KEYS: [&str; 6] =
    ["priority", "enabled", "timeout_seconds", "minimum_seconds", "repeatable", "instant"];

/// The handlers of one plugin, one for each of its `events`.
fn of_plugin(
    path: &str,
    plugin: &PluginName,
    entry: &Value,
    drafts: &BTreeMap<String, Draft>,
    added: &mut Vec<(String, Handler)>,
    faults: &mut Vec<Fault>,
) {
    let Some(fields) = Fields::of(path, entry, faults) else { return };
    let mut config: Map<String, Value> =
        fields.members().map(|(key, value)| (key.clone(), value.clone())).collect();
    let Some(events) = config.remove("events") else { return };
    for (key, value) in &config {
        broken_references(&member(path, key), value, faults);
    }
    let timeout = fields.timeout(faults);
    let path = member(path, "events");
    let Some(events) = Fields::of(&path, &events, faults) else { return };
    for (kind, switch) in events.members() {
        let path = member(&path, kind);
        let Some(kind) = known_type(&path, kind, faults) else { continue };
        let kind = kind.as_str();
        let Some(fields) = Fields::of(&path, switch, faults) else { continue };
        fields.expect(&SWITCH_KEYS, Unknown::Refuse, faults);
        let timeout = fields.timeout(faults).or(timeout);
        let handler = timed(&fields, timeout, faults)(plugin.clone(), config.clone());
        let same = |draft: &Draft| draft.handlers.iter().any(|other| other.plugin == *plugin);
        if drafts.get(kind).is_some_and(same) {
            let text = format!(
                "{} is a handler of {} in `event_handlers` too: keep one of the two entries",
                shown(plugin.as_str()),
                shown(kind)
            );
            faults.push(Fault::new(&path, text));
        } else if fields.flag("enabled", true, faults) {
            added.push((kind.to_owned(), handler));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::samples::{listed, seconds, spot};
    use crate::{Facts, document, select, steps};

    // S0-46, S0-47, S0-48, S0-49, S0-50, S0-51
    const BY_EVENT: &str = r##"{
      "event_handlers": {
        "cloud.spot.interrupt": {
          "enabled": true,
          "polling_interval_seconds": 5,
          "plugins": [
            {
              "name": "mysql-flusher",
              "priority": 100,
              "timeout_seconds": 30,
              "config": {
                "connection_string": "user:pass@tcp(localhost:3306)/db"
              }
            },
            {
              "name": "app-checkpointer",
              "priority": 80,
              "timeout_seconds": 45,
              "config": {
                "app_endpoint": "http://localhost:8080/checkpoint",
                "verify_success": true
              }
            },
            {
              "name": "slack-notifier",
              "priority": 10,
              "config": {
                "webhook_url": "https://hooks.slack.com/services/...",
                "channel": "#cloud-events"
              }
            }
          ]
        }
      }
    }"##;

    // S1-61, S1-62, S1-63
    const BY_PLUGIN: &str = r#"{
      "plugins": {
        "plugin_configs": {
          "spot-interrupt-handler": {
            "shutdown_script_path": "/usr/local/bin/graceful_shutdown.sh",
            "timeout_seconds": 90,
            "events": {
              "cloud.spot.interrupt": {
                "priority": 100,
                "enabled": true
              }
            }
          },
          "database-flusher": {
            "db_type": "mysql",
            "connection_string": "user:pass@tcp(localhost:3306)/mydb",
            "events": {
              "cloud.spot.interrupt": {
                "priority": 50,
                "enabled": true
              },
              "system.disk.low": {
                "priority": 80,
                "enabled": true
              }
            }
          }
        }
      }
    }"#;

    // S0-46, S0-48
    #[test]
    fn handlers_by_event_become_a_local_policy() {
        settings(
            &[BY_EVENT],
            expect![[r#"
            local.cloud.spot.interrupt enabled=true
              mysql-flusher 100 within 30s
              app-checkpointer 80 within 45s
              slack-notifier 10 within 10s
        "#]],
        );
        let (policies, _) = read(&[BY_EVENT]);
        assert_eq!(policies[0].handlers[1].config["verify_success"], true);
        assert_eq!(select(&policies, &document(&spot(), &Facts::default())).len(), 1);
    }

    // S1-61, S1-62, S1-63
    #[test]
    fn handlers_by_plugin_become_local_policies() {
        settings(
            &[BY_PLUGIN],
            expect![[r#"
            local.cloud.spot.interrupt enabled=true
              database-flusher 50 within 45s
              spot-interrupt-handler 100 within 90s
            local.system.disk.low enabled=true
              database-flusher 80 within 60s
        "#]],
        );
        let (policies, _) = read(&[BY_PLUGIN]);
        let config = &policies[0].handlers[1].config;
        // S1-46: the plugin sees its own `timeout_seconds`.
        assert_eq!(config["timeout_seconds"], 90);
        assert_eq!(config.get("events"), None);
    }

    // D-6
    #[test]
    fn both_layouts_merge_into_one_policy_for_each_event_type() {
        settings(
            &[BY_EVENT, BY_PLUGIN],
            expect![[r#"
            local.cloud.spot.interrupt enabled=true
              mysql-flusher 100 within 30s
              app-checkpointer 80 within 45s
              slack-notifier 10 within 10s
              database-flusher 50 within 45s
              spot-interrupt-handler 100 within 90s
            local.system.disk.low enabled=true
              database-flusher 80 within 60s
        "#]],
        );
        let (policies, _) = read(&[BY_EVENT, BY_PLUGIN]);
        let selected: Vec<&Policy> = policies.iter().take(1).collect();
        let order: Vec<_> =
            steps(&selected, &spot()).into_iter().map(|step| step.id.to_string()).collect();
        assert_eq!(order[1], "local.cloud.spot.interrupt/spot-interrupt-handler");
    }

    // D-6
    #[test]
    fn a_plugin_in_both_layouts_for_one_event_is_a_fault_with_a_clear_message() {
        let twice = BY_PLUGIN.replace("database-flusher", "mysql-flusher");
        let (policies, faults) = read(&[BY_EVENT, &twice]);
        expect![[r#"
            $.plugins.plugin_configs["mysql-flusher"].events["cloud.spot.interrupt"]: `mysql-flusher` is a handler of `cloud.spot.interrupt` in `event_handlers` too: keep one of the two entries
        "#]].assert_eq(&listed(&faults));
        assert_eq!(policies[0].handlers.len(), 4);
        let kept = policies[0].handlers.iter().find(|handler| handler.priority == 100);
        assert_eq!(kept.map(|handler| handler.timeout), Some(seconds(30)));
    }

    #[test]
    fn what_is_switched_off_does_not_run() {
        let off = BY_EVENT.replace(r#""enabled": true"#, r#""enabled": false"#);
        let (policies, faults) = read(&[&off]);
        assert_eq!((policies[0].enabled, faults.len()), (false, 0));
        let off = BY_PLUGIN.replacen(r#""enabled": true"#, r#""enabled": false"#, 1);
        settings(
            &[&off],
            expect![[r#"
            local.cloud.spot.interrupt enabled=true
              database-flusher 50 within 45s
            local.system.disk.low enabled=true
              database-flusher 80 within 60s
        "#]],
        );
    }

    // D-1, S1-48
    #[test]
    fn an_event_type_says_how_it_is_dispatched_and_what_stays_free() {
        let text = r#"{"event_handlers":{"custom.deploy":{"dispatch":"first_handled",
            "reserve_seconds":15,"drill":"rehearse","plugins":[{"name":"script"}]}}}"#;
        let (policies, _) = read(&[text]);
        assert_eq!(policies[0].dispatch, Dispatch::FirstHandled);
        assert_eq!((policies[0].reserve, policies[0].drill), (seconds(15), Drill::Rehearse));
    }

    #[test]
    fn settings_without_handlers_make_no_policy() {
        assert!(from_settings(None, None).0.is_empty());
        let text = r#"{"event_handlers":{"cloud.spot.interrupt":{"polling_interval_seconds":1}},
            "plugins":{"plugin_configs":{"mysql-monitor":{"dsn":"x"},"redis-monitor":7}}}"#;
        settings(&[text, text], expect![[r#""#]]);
    }

    #[test]
    fn one_bad_entry_never_stops_the_others() {
        let text = r#"{
            "event_handlers": {
                "cloud.spot.interupt": { "plugins": [{ "name": "a" }] },
                "cloud.spot.interrupt": { "polling_interval": 1, "plugins": [
                    { "name": "a", "timeout_seconds": "30" }, { "plugin": "b" }, { "name": "c" }] },
                "custom": []
            },
            "plugins": { "plugin_configs": {
                "Bad": { "events": {} },
                "d": { "timeout_seconds": -1, "password": "env:", "events": {
                    "system.cpu.high": { "prio": 1 }, "x": {}, "custom": { "enabled": "yes" } } },
                "e": { "events": [] }
            } }
        }"#;
        let (_, faults) = read(&[text, text]);
        expect![[r#"
            $.event_handlers["cloud.spot.interrupt"]: unknown key `polling_interval`: did you mean `polling_interval_seconds`?
            $.event_handlers["cloud.spot.interrupt"].plugins[0].timeout_seconds: expected a number of seconds from 0.001 to 172800
            $.event_handlers["cloud.spot.interrupt"].plugins[1]: unknown key `plugin`: expected one of `name`, `priority`, `timeout_seconds`, `minimum_seconds`, `repeatable`, `instant`, `config`
            $.event_handlers["cloud.spot.interrupt"].plugins[1]: the key `name` is missing
            $.event_handlers["cloud.spot.interupt"]: unknown event type `cloud.spot.interupt`: did you mean `cloud.spot.interrupt`? (your own begin with `custom.`)
            $.event_handlers.custom: expected an object, found a list
            $.plugins.plugin_configs.Bad: "Bad" is not a plugin name: expected a lower-case letter, then up to 31 lower-case letters, digits and hyphens
            $.plugins.plugin_configs.d.password: begins like a reference to a secret, and what follows is no name of one
            $.plugins.plugin_configs.d.timeout_seconds: expected a number of seconds from 0.001 to 172800
            $.plugins.plugin_configs.d.events.custom.enabled: expected true or false, found a string
            $.plugins.plugin_configs.d.events["system.cpu.high"]: unknown key `prio`: did you mean `priority`?
            $.plugins.plugin_configs.d.events.x: unknown event type `x`: expected one of `cloud.spot.interrupt`, `cloud.spot.rebalance`, `cloud.instance.termination`, `cloud.autoscaling.scale`, `system.disk.low`, `system.cpu.high`, `system.memory.pressure`, `system.network.down`, `instance.idle`, `instance.active`, `instance.registered`, `instance.updated`, `instance.deleted`, `incident.phase`, `incident.outcome`, `health.changed`, `trigger.teardown`, `trigger.scale`, `trigger.update`, `trigger.start` (your own begin with `custom.`)
            $.plugins.plugin_configs.e.events: expected an object, found a list
        "#]].assert_eq(&listed(&faults));
        settings(
            &[text, text],
            expect![[r#"
            local.cloud.spot.interrupt enabled=true
              a 50 within 45s
              c 50 within 45s
            local.custom enabled=true
              d 50 within 45s
            local.system.cpu.high enabled=true
              d 50 within 45s
        "#]],
        );
    }

    #[test]
    fn an_event_type_that_is_too_long_for_a_name_is_a_fault() {
        let kind = format!("custom.{}", "x".repeat(60));
        let text = format!(r#"{{"event_handlers":{{"{kind}":{{"plugins":[{{"name":"a"}}]}}}}}}"#);
        let (policies, faults) = read(&[&text]);
        assert_eq!((policies.len(), faults.len()), (0, 1));
    }

    /// The first text gives the handlers by event, the last those by plugin.
    fn read(texts: &[&str]) -> (Vec<Policy>, Vec<Fault>) {
        let value = |text: &&str| serde_json::from_str::<Value>(text).unwrap();
        let (first, last) = (texts.first().map(value).unwrap(), texts.last().map(value).unwrap());
        from_settings(first.get("event_handlers"), last.pointer("/plugins/plugin_configs"))
    }

    fn settings(texts: &[&str], expected: Expect) {
        let (policies, _) = read(texts);
        let lines = policies.iter().map(|policy| {
            let handlers = policy.handlers.iter().map(|handler| {
                let (plugin, timeout) = (&handler.plugin, handler.timeout);
                format!("  {plugin} {} within {timeout:?}\n", handler.priority)
            });
            format!("{} enabled={}\n{}", policy.name, policy.enabled, handlers.collect::<String>())
        });
        expected.assert_eq(&lines.collect::<String>());
    }
}
