//! Answers to the clients of the socket.

use std::time::Duration;

use serde_json::{Map, Value, json};
use snooze_event::{EventType, wire};
use snooze_plugin::wire::covers;
use snooze_policy::Policy;

use crate::clock::Now;
use crate::idle::monitor::LONGEST_WAKE;
use crate::metrics;
use crate::plugins::{self, PluginState, PluginStatus};
use crate::run::Daemon;
use crate::socket::{BAD_PARAMETERS, FAILED, Reply, Request, UNKNOWN_COMMAND};
use crate::view;
use crate::watch::{Channel, Input};

/// Answers one request; the socket has checked its command and its sender.
pub(crate) fn answer(daemon: &mut Daemon, request: Request) -> Reply {
    let params = &request.params;
    match request.command.as_str() {
        "STATUS" => Reply::data(status(daemon)),
        "CONFIG_GET" => config(daemon, params),
        "PLUGINS_LIST" => Reply::data(plugins_list(daemon)),
        "HISTORY" => history(daemon, params),
        "POLICIES" => Reply::data(view::policies(&daemon.watch)),
        "EXPLAIN" => explain(daemon, params),
        "EVENT" => event(daemon, params),
        "IDLE" => Reply::data(idle(daemon)),
        "METRICS" => Reply::data(figures(daemon).into()),
        "WAKE" => wake(daemon, params),
        "PLUGIN_ENABLE" => switch(daemon, params, true),
        "PLUGIN_DISABLE" => switch(daemon, params, false),
        other => Reply::error(UNKNOWN_COMMAND, format!("unknown command `{other}`")),
    }
}

fn status(daemon: &Daemon) -> Value {
    let now = Now::read();
    let open = |incident: &&crate::incident::Incident| incident.closed.is_none();
    let incidents = daemon.watch.incidents().filter(open);
    let facts = daemon.watch.facts();
    let uptime = now.boot.saturating_sub(daemon.started.boot);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": uptime.as_secs(),
        "instance_id": facts.id.as_ref().map(ToString::to_string),
        "instance_type": facts.kind,
        "region": facts.region,
        "zone": facts.zone,
        "metadata": metadata(daemon),
        "durable": daemon.durable,
        "policies": daemon.watch.policies().len(),
        "ignored_events": daemon.watch.ignored(),
        "faults": shown(faults(daemon)),
        "idle": daemon.idleness.monitor.view(now),
        "not_enforced": view::not_enforced(&daemon.host.status()),
        "cloud": daemon.cloud.as_ref().map(|cloud| {
            let mut shown = cloud.shown();
            if let Some(members) = shown.as_object_mut().filter(|_| cloud.has_policies()) {
                members.insert("policies".to_owned(), daemon.shelf.shown(&daemon.settings.signatures));
            }
            shown
        }),
        "incidents": incidents.map(|known| view::incident(known, now)).collect::<Vec<_>>(),
    })
}

/// All that keeps this instance from being safe, as far as the daemon knows.
pub(crate) fn faults(daemon: &Daemon) -> Vec<(String, String)> {
    let mut faults: Vec<(String, String)> = daemon.health.clone();
    let refused = daemon.refused.iter().chain(&daemon.shelf.faults);
    faults.extend(refused.map(|fault| ("policies".to_owned(), fault.clone())));
    if !daemon.durable {
        let text = "cannot be written: a restart would not know what was done".to_owned();
        faults.push(("journal".to_owned(), text));
    }
    if daemon.watch.policies().iter().all(|policy| !policy.enabled) {
        let text = "none is in force: nothing would be saved".to_owned();
        faults.push(("policies".to_owned(), text));
    }
    for status in daemon.host.status() {
        let is_down = match status.state {
            PluginState::Failed | PluginState::Disabled => true,
            PluginState::Waiting => status.stats.last_error.is_some(),
            PluginState::Starting
            | PluginState::Ready
            | PluginState::Busy
            | PluginState::Stopped => false,
        };
        if let Some(text) = unheard(daemon.watch.policies(), &status) {
            faults.push((status.id.clone(), text));
        }
        if is_down {
            let why = status.stats.last_error.filter(|_| status.state != PluginState::Disabled);
            faults.push((status.id, why.unwrap_or_else(|| status.state.as_str().to_owned())));
        }
    }
    faults
}

/// What is wrong with a handler that leaves alone all that its policy is about.
fn unheard(policies: &[Policy], status: &PluginStatus) -> Option<String> {
    let supported = status.supported.as_ref()?;
    let name = status.id.split('/').next()?;
    let policy = policies.iter().find(|policy| policy.name.as_str() == name)?;
    let types = policy.pattern.exact_strings("type")?;
    let is_heard = |kind: &&str| supported.iter().any(|named| covers(named, kind));
    let text = || format!("handles none of the events of its policy: `{}`", types.join("`, `"));
    (!types.iter().any(is_heard)).then(text)
}

fn shown(faults: Vec<(String, String)>) -> Vec<Value> {
    let faults = faults.into_iter();
    faults.map(|(source, detail)| json!({ "source": source, "detail": detail })).collect()
}

fn metadata(daemon: &Daemon) -> &'static str {
    if !daemon.settings.sources.imds_enabled {
        "disabled"
    } else if daemon.health.iter().any(|(source, _)| source == "metadata") {
        "off"
    } else if daemon.watch.facts().id.is_some() {
        "on"
    } else {
        "waiting"
    }
}

fn config(daemon: &Daemon, params: &Map<String, Value>) -> Reply {
    let whole = daemon.settings.shown();
    match params.get("key").and_then(Value::as_str) {
        None => Reply::data(whole),
        Some(key) => {
            let found = key.split('.').try_fold(&whole, |value, name| value.get(name));
            match found {
                Some(value) => Reply::data(value.clone()),
                None => Reply::error(BAD_PARAMETERS, format!("no setting `{key}`")),
            }
        }
    }
}

fn plugins_list(daemon: &Daemon) -> Value {
    let settings = daemon.settings.host(&daemon.environment);
    let (found, refused) = plugins::discover(&settings);
    view::plugins(&found, &refused, &daemon.host.status(), &settings.sandboxes)
}

fn history(daemon: &Daemon, params: &Map<String, Value>) -> Reply {
    let limit = params.get("limit").and_then(Value::as_u64).unwrap_or(20);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Reply::data(view::history(&daemon.watch, limit, Now::read()))
}

fn explain(daemon: &Daemon, params: &Map<String, Value>) -> Reply {
    let wanted = params.get("incident").and_then(Value::as_str).unwrap_or_default();
    let mut known: Vec<_> = daemon.watch.incidents().collect();
    known.sort_by_key(|incident| std::cmp::Reverse(incident.opened));
    let found = match wanted {
        "" | "last" => known.first(),
        key => known.iter().find(|incident| incident.key.as_str() == key),
    };
    match found {
        Some(known) => Reply::data(view::explain(&daemon.watch, known, Now::read())),
        None => {
            let text = format!("no incident `{wanted}`; `snooze history` lists those there are");
            Reply::error(BAD_PARAMETERS, text)
        }
    }
}

/// An event by hand: a custom one, or a simulated signal, which is a drill.
fn event(daemon: &mut Daemon, params: &Map<String, Value>) -> Reply {
    let now = Now::read();
    let id = uuid::Uuid::new_v4().to_string();
    let Ok(id) = id.parse() else {
        return Reply::error(FAILED, "no event id could be made");
    };
    let mut event = match wire::plugin::read_custom(&Value::Object(params.clone()), now.wall, id) {
        Ok(event) => event,
        Err(error) => return Reply::error(BAD_PARAMETERS, error.to_string()),
    };
    // Only EC2 takes an instance away, or says that it may: by hand it is an exercise.
    event.drill |= event.cause.is_some() || event.kind == EventType::SpotRebalance;
    let id = event.id.clone();
    daemon.turn(Input::Heard { event: Box::new(event), channel: Channel::Command });
    let opened = daemon.watch.incidents().find(|incident| incident.event.id == id);
    let data = json!({
        "event_id": id.as_str(),
        "incident": opened.map(|incident| incident.key.as_str()),
    });
    Reply::data(data)
}

/// How far the instance has fallen asleep, and what decided in the last hour.
fn idle(daemon: &Daemon) -> Value {
    let mut view = daemon.idleness.monitor.view(Now::read());
    if let Some(members) = view.as_object_mut() {
        members.insert("last_hour".to_owned(), daemon.idleness.monitor.spans());
    }
    view
}

fn figures(daemon: &Daemon) -> String {
    let plugins = daemon.host.status();
    let seen = metrics::Seen {
        now: Now::read(),
        started: daemon.started,
        own: metrics::Own::read(),
        watch: &daemon.watch,
        tally: &daemon.tally,
        faults: faults(daemon).len(),
        durable: daemon.durable,
        journal: daemon.journal_length(),
        plugins: &plugins,
        polls: &daemon.polls,
        idle: daemon.idleness.monitor.idle(),
        cloud: daemon.cloud.as_ref(),
    };
    metrics::text(&seen, daemon.settings.metrics.roost_keeper_names)
}

/// Keeps the instance up for so many seconds; none take that back.
fn wake(daemon: &mut Daemon, params: &Map<String, Value>) -> Reply {
    let now = Now::read();
    let longest = LONGEST_WAKE.as_secs();
    let seconds = params.get("seconds").and_then(Value::as_u64);
    let Some(seconds) = seconds.filter(|seconds| *seconds <= longest) else {
        let text = format!("`seconds`: expected a whole number from 0 to {longest}");
        return Reply::error(BAD_PARAMETERS, text);
    };
    let until = now.wall.checked_add(Duration::from_secs(seconds)).ok();
    let until = until.filter(|_| seconds > 0);
    daemon.idleness.monitor.wake(until, now);
    Reply::data(json!({ "awake_until": until.map(|until| until.to_string()) }))
}

fn switch(daemon: &mut Daemon, params: &Map<String, Value>, on: bool) -> Reply {
    let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
    let plugin = match name.parse() {
        Ok(plugin) => plugin,
        Err(error) => {
            let error: snooze_event::NotAPluginName = error;
            return Reply::error(BAD_PARAMETERS, error.to_string());
        }
    };
    let (found, _) = plugins::discover(&daemon.settings.host(&daemon.environment));
    let is_known = found.iter().any(|found| found.name == plugin)
        || daemon.host.status().iter().any(|status| status.plugin == plugin);
    if !is_known {
        let text =
            format!("there is no plugin `{name}`; `snooze plugin list` shows those there are");
        return Reply::error(BAD_PARAMETERS, text);
    }
    if on {
        daemon.host.enable(&plugin);
    } else {
        daemon.host.disable(&plugin);
    }
    Reply::data(json!({ "name": name, "enabled": on }))
}
