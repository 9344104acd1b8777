//! Those who are told: the instance, people, other systems, the bus, other functions.

use serde_json::{Map, Value, json};
use snooze_cloud::bus::{CLOUD, Entry};
use snooze_cloud::invoke::Reply;
use snooze_cloud::topic::Topic;
use snooze_cloud::web::{Post, host};
use snooze_cloud::{CloudError, Kind};
use snooze_event::{Event, EventType, IncidentKey, wire};
use snooze_policy::cloud_secret;

use super::act::{Work, flag, missing, text};
use super::attempt::timed;
use super::done::{Did, Trouble};
use super::message::News;
use crate::fan;

/// The longest answer of a function that is written down, in characters.
const ANSWER: usize = 200;

/// Publishes the command to the instance again. The instance drops one that it knows by its id.
pub(super) async fn command(work: &Work<'_>) -> Result<Did, Trouble> {
    if work.incident.ended.is_some() {
        return Ok(Did::Skipped("it is over".to_owned()));
    }
    let command = fan::command(work.incident)
        .map_err(|error| Trouble::Config(format!("the stored event is not readable: {error}")))?;
    // No breaker: it is what all the rest is for.
    timed(work.perform.commands.command(&command)).await?;
    Ok(Did::Done(String::new()))
}

/// Tells the operators. SNS standard topics know no repeated message: whoever is killed between
/// the call and the ledger sends an e-mail twice.
pub(super) async fn notify(work: &Work<'_>, config: &Map<String, Value>) -> Result<Did, Trouble> {
    let (event, known) = (work.event()?, work.facts().await);
    let Work { perform, incident, now, .. } = *work;
    let news = News { incident, event: &event, known: &known, config, now };
    let arn = text(config, "topic_arn").unwrap_or(&perform.settings.operators);
    let topic = Topic::new(&perform.aws, arn);
    let (subject, text) = (news.subject(), news.text());
    let call = topic.message(&subject, &text);
    perform.through(&format!("topic/{arn}"), now, call).await?;
    Ok(Did::Done("told".to_owned()))
}

/// Posts the event and the incident. The header `Idempotency-Key` is the same each time, so that
/// whoever listens can drop what comes twice.
pub(super) async fn webhook(work: &Work<'_>, config: &Map<String, Value>) -> Result<Did, Trouble> {
    let (event, known) = (work.event()?, work.facts().await);
    let Work { perform, incident, now, .. } = *work;
    let given = text(config, "url").ok_or_else(|| missing("url"))?;
    let url = secret(work, given).await?.unwrap_or_else(|| given.to_owned());
    let key = match text(config, "secret") {
        Some(given) => Some(secret(work, given).await?.ok_or_else(|| missing("secret"))?),
        None => None,
    };
    let none = Map::new();
    let news = News { incident, event: &event, known: &known, config: &none, now };
    let body = json!({
        "text": format!("{}\n\n{}", news.subject(), news.text()),
        "event": wire::cloudevents::write(&event, Some(&IncidentKey::stored(&incident.id))),
        "incident": news.value(),
        "task": work.task.id,
        "drill": incident.drill,
    });
    let (body, once) = (body.to_string(), work.key());
    let post = Post { url: &url, body: &body, key: &once, secret: key.as_deref() };
    let destination = format!("web/{}", host(&url).ok_or_else(|| missing("url"))?);
    let call = async { accepted(perform.web.post(&post).await?) };
    let status = perform.through(&destination, now, call).await?;
    Ok(Did::Done(format!("status {status}")))
}

/// What a status means.
fn accepted(status: u16) -> Result<u16, CloudError> {
    let (kind, text) = match status {
        200..=299 => return Ok(status),
        408 | 429 | 500.. => (Kind::Later, "it may take it later"),
        300..=399 => (Kind::Invalid, "redirects are not followed: write the new address"),
        _ => (Kind::Invalid, "it does not take such a message"),
    };
    Err(CloudError::new("Webhook", kind, &format!("Status{status}"), text))
}

/// The secret of a reference; `None` for what is none.
async fn secret(work: &Work<'_>, given: &str) -> Result<Option<String>, Trouble> {
    let Some(reference) = cloud_secret(given) else { return Ok(None) };
    let secret = timed(work.perform.secrets.read(&reference)).await?;
    Ok(Some(secret.trim().to_owned()))
}

/// Puts an event of the operator's own on the bus. Its id is the same each time. An event that
/// an action put brings no further one: two policies could else wake each other for ever.
pub(super) async fn put_event(
    work: &Work<'_>,
    config: &Map<String, Value>,
) -> Result<Did, Trouble> {
    let cause = work.event()?;
    if cause.source == CLOUD {
        return Ok(Did::Skipped("the event was itself put by an action".to_owned()));
    }
    let kind = text(config, "type").and_then(|kind| kind.parse().ok());
    let kind = kind.filter(|kind| matches!(kind, EventType::Custom(_)));
    let kind = kind.ok_or_else(|| missing("type"))?;
    let id = work.key().parse().map_err(|error| Trouble::Config(format!("{error}")))?;
    let mut event = Event::new(kind, CLOUD, work.now, id);
    event.instance.clone_from(&cause.instance);
    event.account.clone_from(&cause.account);
    event.region.clone_from(&cause.region);
    event.drill = work.incident.drill;
    event.data = config.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
    let outcome = work.incident.ended.as_ref().map(|ended| json!(ended.outcome));
    let own = [("incident", Some(json!(work.incident.id))), ("outcome", outcome)];
    for (key, value) in own {
        if let Some(value) = value {
            event.data.entry(key).or_insert(value);
        }
    }
    let entry = Entry::of(&event, Some(&IncidentKey::stored(&work.incident.id)));
    let entries = [entry];
    let call = async {
        let taken = work.perform.bus.put(&entries).await?;
        taken.into_iter().next().unwrap_or(Ok(()))
    };
    work.perform.through("bus", work.now, call).await?;
    Ok(Did::Done("put".to_owned()))
}

/// Calls another function as a plugin: it gets the event as a plugin does, and answers
/// `{"handled": true}`. The payload names incident and task, so that the function can drop what
/// comes twice.
pub(super) async fn invoke(work: &Work<'_>, config: &Map<String, Value>) -> Result<Did, Trouble> {
    let (event, known) = (work.event()?, work.facts().await);
    let function = text(config, "function").ok_or_else(|| missing("function"))?;
    let left = event.deadline.unwrap_or(work.now).duration_since(work.now);
    let mut payload = wire::plugin::write(
        &event,
        left.try_into().unwrap_or_default(),
        event.deadline,
        known.facts().and_then(|facts| facts.kind.as_deref()),
        &IncidentKey::stored(&work.incident.id),
        work.task.attempts,
    );
    if let Some(members) = payload.as_object_mut() {
        members.insert("task".to_owned(), json!(work.key()));
        members
            .insert("outcome".to_owned(), json!(work.incident.ended.as_ref().map(|e| &e.outcome)));
        members.insert("config".to_owned(), config.get("config").cloned().unwrap_or(json!({})));
    }
    let wait = flag(config, "wait", true);
    let call = work.perform.functions.call(function, &payload, wait);
    let reply = work.perform.through(&format!("function/{function}"), work.now, call).await?;
    Ok(replied(&reply))
}

/// What the reply of a function means, read as that of a plugin.
fn replied(reply: &Reply) -> Did {
    let cut = |text: &str| text.chars().take(ANSWER).collect::<String>();
    let failed = |text| Did::Failed { error: "FunctionFailed", text };
    match reply {
        Reply::Taken => Did::Done("taken".to_owned()),
        Reply::Fault(kind) => failed(format!("the function failed with `{kind}`")),
        Reply::Answer(answer) => {
            let status = answer.get("status").and_then(Value::as_str).map(cut).unwrap_or_default();
            let error = answer.get("error").filter(|error| !error.is_null());
            let handled = answer.get("handled").or(Some(answer)).and_then(Value::as_bool);
            match (handled.unwrap_or(false), error) {
                (_, Some(error)) => failed(cut(error.as_str().unwrap_or(&error.to_string()))),
                (true, None) => Did::Done(status),
                (false, None) => Did::Skipped("the function did not handle it".to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_whether_to_try_again() {
        let kind = |status| accepted(status).map_err(|error| error.kind);
        assert_eq!((kind(200), kind(204)), (Ok(200), Ok(204)));
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(kind(status), Err(Kind::Later), "{status}");
        }
        for status in [301, 302, 400, 401, 403, 404, 410, 422] {
            assert_eq!(kind(status), Err(Kind::Invalid), "{status}");
        }
    }

    #[test]
    fn a_function_answers_as_a_plugin_does() {
        let did = |answer| replied(&Reply::Answer(answer));
        assert_eq!(
            did(json!({ "handled": true, "status": "moved" })),
            Did::Done("moved".to_owned())
        );
        assert_eq!(did(json!(true)), Did::Done(String::new()));
        assert!(matches!(did(json!({ "handled": false })), Did::Skipped(_)));
        assert!(matches!(did(json!(null)), Did::Skipped(_)));
        let failed = Did::Failed { error: "FunctionFailed", text: "no disk".to_owned() };
        assert_eq!(did(json!({ "handled": true, "error": "no disk" })), failed);
        assert!(matches!(replied(&Reply::Fault("OutOfMemory".to_owned())), Did::Failed { .. }));
    }
}
