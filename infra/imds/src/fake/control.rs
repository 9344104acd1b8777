//! The control path: what another process can tell the fake to do.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::stage::from_now;
use super::{Keys, Mode, Notice, NoticeTime, Reply, Role, Stage};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSpot {
    action: String,
    time: Option<String>,
    in_seconds: Option<u64>,
    #[serde(default)]
    sliding: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLifecycle {
    state: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRole {
    name: String,
    life_seconds: u64,
    access_key: Option<String>,
    secret_key: Option<String>,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClear {
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSet {
    path: String,
    answers: Vec<RawReply>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReply {
    status: Option<u16>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    mode: Option<String>,
    #[serde(default)]
    after: usize,
    #[serde(default)]
    every_ms: u64,
}

/// Does what a request on the control path says.
pub(super) fn answer(stage: &Stage, method: &str, verb: &str, body: &[u8]) -> Reply {
    let done = match (method, verb) {
        ("GET", "counts") => return counts(stage),
        ("PUT", "spot") => json(body).and_then(notice).map(|notice| stage.spot(notice)),
        ("PUT", "rebalance") => {
            stage.rebalance();
            Ok(())
        }
        ("PUT", "lifecycle") => json(body).map(|raw: RawLifecycle| stage.lifecycle(&raw.state)),
        ("PUT", "maintenance") => {
            stage.maintenance(&String::from_utf8_lossy(body));
            Ok(())
        }
        ("PUT", "role") if body.is_empty() => {
            stage.role(None);
            Ok(())
        }
        ("PUT", "role") => json(body).and_then(role).map(|role| stage.role(Some(role))),
        ("PUT", "clear") => clear(stage, body),
        ("PUT", "set") => json(body).and_then(|raw| set(stage, raw)),
        ("PUT", "down") => {
            stage.down();
            Ok(())
        }
        ("PUT", "up") => {
            stage.up();
            Ok(())
        }
        ("PUT", "forget-tokens") => {
            stage.forget_tokens();
            Ok(())
        }
        _ => return Reply { status: 404, ..Reply::ok(format!("no control `{method} {verb}`\n")) },
    };
    match done {
        Ok(()) => Reply::ok(""),
        Err(why) => Reply { status: 400, ..Reply::ok(format!("{why}\n")) },
    }
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn notice(raw: RawSpot) -> Result<Notice, String> {
    let time = match (raw.time, raw.in_seconds) {
        (Some(text), None) if !raw.sliding => {
            NoticeTime::Pinned(text.parse::<Timestamp>().map_err(|error| error.to_string())?)
        }
        (None, Some(seconds)) if raw.sliding => NoticeTime::Sliding(Duration::from_secs(seconds)),
        (None, Some(seconds)) => NoticeTime::Pinned(from_now(Duration::from_secs(seconds))),
        _ => return Err("expected `time`, or `in_seconds` and perhaps `sliding`".to_owned()),
    };
    Ok(Notice { action: raw.action, time })
}

fn role(raw: RawRole) -> Result<Role, String> {
    let keys = match (raw.access_key, raw.secret_key, raw.token) {
        (Some(id), Some(secret), Some(token)) => Some(Keys { id, secret, token }),
        (None, None, None) => None,
        _ => return Err("expected `access_key`, `secret_key` and `token` together".to_owned()),
    };
    Ok(Role { name: raw.name, life: Duration::from_secs(raw.life_seconds), keys })
}

fn clear(stage: &Stage, body: &[u8]) -> Result<(), String> {
    if body.is_empty() {
        stage.clear_signals();
        return Ok(());
    }
    let raw: RawClear = json(body)?;
    match raw.path {
        Some(path) => stage.clear(&path),
        None => stage.clear_signals(),
    }
    Ok(())
}

fn set(stage: &Stage, raw: RawSet) -> Result<(), String> {
    let replies = raw.answers.into_iter().map(reply).collect::<Result<Vec<_>, String>>()?;
    stage.set(&raw.path, replies);
    Ok(())
}

fn reply(raw: RawReply) -> Result<Reply, String> {
    let mode = match raw.mode.as_deref() {
        None | Some("whole") => Mode::Whole,
        Some("hang") => Mode::Hang,
        Some("reset") => Mode::Reset,
        Some("cut") => Mode::CutAfter(raw.after),
        Some("drip") => Mode::Drip(Duration::from_millis(raw.every_ms)),
        Some("raw") => Mode::Raw,
        Some(other) => {
            return Err(format!(
                "{other:?} is not a mode: expected whole, hang, reset, cut, drip or raw"
            ));
        }
    };
    Ok(Reply {
        delay: Duration::from_millis(raw.delay_ms),
        status: raw.status.unwrap_or(200),
        headers: raw.headers.into_iter().collect(),
        body: raw.body.into_bytes(),
        mode,
    })
}

fn counts(stage: &Stage) -> Reply {
    let counts = serde_json::json!({
        "asked": stage.counts(),
        "most_in_flight": stage.most_in_flight(),
    });
    Reply::ok(counts.to_string()).header("Content-Type", "application/json")
}
