//! The door: from HTTP to a call, and from what is played to the form of each protocol.

use std::collections::BTreeMap;
use std::future;
use std::panic;

use axum::body::{Body, to_bytes};
use axum::extract::State as Shared;
use axum::http::request::Parts;
use axum::http::{Request, Response};
use serde_json::{Map, Value, json};
use tokio::time;

use super::stage::{Stage, State};
use super::{Call, Fault, bus, queues, tables, topics};

/// The longest body that is read: DynamoDB takes transactions of 4 MB.
const LONGEST: usize = 8 << 20;

/// A call that is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) text: String,
    /// Further members of the answer.
    pub(super) more: Map<String, Value>,
}

impl Refusal {
    pub(super) fn new(code: &str, text: &str) -> Self {
        Self { status: 400, code: code.to_owned(), text: text.to_owned(), more: Map::new() }
    }

    /// What the service would refuse, or the fake does not play.
    pub(super) fn invalid(text: &str) -> Self {
        Self::new("ValidationException", text)
    }
}

/// What a call is answered with: JSON, or the XML inside the result of the query protocol.
pub(super) enum Played {
    Json(Value),
    Xml(String),
}

pub(super) type Outcome = Result<Played, Refusal>;

/// Answers one request.
pub(super) async fn answer(Shared(stage): Shared<Stage>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST).await else { hang_up() };
    let call = call(&parts, &body);
    if stage.is_closed() {
        hang_up();
    }
    let fault = stage.hear(&call);
    match &fault {
        Some(Fault::Hang) => future::pending().await,
        Some(Fault::Refuse) => hang_up(),
        Some(Fault::Answer { status, body }) => return response(*status, &call, body, None),
        Some(Fault::Error { status, code, text }) => {
            let refusal = Refusal { status: *status, ..Refusal::new(code, text) };
            return refused(&call, &refusal);
        }
        Some(Fault::Slow(_) | Fault::DropAfter | Fault::HangAfter | Fault::Entries { .. })
        | None => {}
    }
    let failing = match &fault {
        Some(Fault::Entries { at, code }) => Some((at.as_slice(), code.as_str())),
        Some(_) | None => None,
    };
    let canned = stage.state().answer(&call.operation);
    let answer = match canned {
        Some((status, body)) if status < 300 && body.is_empty() => {
            let nothing = if is_json(&call) { Played::Json(json!({})) } else { Played::Xml(body) };
            played(&call, Ok(nothing))
        }
        Some((status, body)) => response(status, &call, &body, None),
        None if (call.service.as_str(), call.operation.as_str()) == ("sqs", "ReceiveMessage") => {
            played(&call, queues::receive(&stage, &call.json()).await)
        }
        None => {
            let outcome = play(&mut stage.state(), stage.url(), &call, failing);
            stage.wake();
            played(&call, outcome)
        }
    };
    match fault {
        Some(Fault::DropAfter) => hang_up(),
        Some(Fault::HangAfter) => future::pending().await,
        Some(Fault::Slow(time)) => time::sleep(time).await,
        Some(_) | None => {}
    }
    answer
}

fn play(state: &mut State, url: &str, call: &Call, failing: Option<(&[usize], &str)>) -> Outcome {
    let operation = call.operation.as_str();
    match call.service.as_str() {
        "dynamodb" => tables::play(&mut state.tables, operation, &call.json()),
        "sqs" => queues::play(&mut state.queues, url, operation, &call.json(), failing),
        "sns" => topics::play(state, operation, &call.params()),
        "events" => bus::play(&mut state.entries, operation, &call.json(), failing),
        _ => Err(not_played(operation)),
    }
}

pub(super) fn not_played(operation: &str) -> Refusal {
    Refusal::new("NotPlayed", &format!("`{operation}` has no answer: register one"))
}

/// Closes the connection without an answer: its task ends with this, and hyper gives up the
/// socket. No hook is called and nothing is printed.
fn hang_up() -> ! {
    panic::resume_unwind(Box::new("hung up"))
}

/// The call that a request is.
fn call(parts: &Parts, body: &[u8]) -> Call {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    // `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...`
    let scope = header("authorization").and_then(|text| text.split("Credential=").nth(1));
    let service = scope.and_then(|scope| scope.split('/').nth(3)).unwrap_or_default();
    let body = String::from_utf8_lossy(body).into_owned();
    let path = parts.uri.path();
    let target = header("x-amz-target").and_then(|target| target.rsplit('.').next());
    let operation = match target {
        Some(operation) => operation.to_owned(),
        None if path.ends_with("/invocations") => "Invoke".to_owned(),
        None => form(&body).remove("Action").unwrap_or_else(|| format!("{} {path}", parts.method)),
    };
    Call { service: service.to_owned(), operation, path: parts.uri.to_string(), body }
}

/// The parameters of a form.
pub(super) fn form(body: &str) -> BTreeMap<String, String> {
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => rest.next().and_then(hex).zip(rest.next().and_then(hex)).map_or(b'?', join),
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn join((high, low): (u8, u8)) -> u8 {
    high << 4 | low
}

fn is_json(call: &Call) -> bool {
    !matches!(
        call.service.as_str(),
        "sns" | "autoscaling" | "ec2" | "elasticloadbalancing" | "iam" | "sts"
    )
}

fn played(call: &Call, outcome: Outcome) -> Response<Body> {
    let operation = &call.operation;
    match outcome {
        Ok(Played::Json(value)) => response(200, call, &value.to_string(), None),
        Ok(Played::Xml(result)) if call.service == "ec2" => {
            let body = format!(
                "<{operation}Response><requestId>r</requestId>{result}</{operation}Response>"
            );
            response(200, call, &body, None)
        }
        Ok(Played::Xml(result)) => {
            let body = format!(
                "<{operation}Response><{operation}Result>{result}</{operation}Result>\
                 <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
                 </{operation}Response>"
            );
            response(200, call, &body, None)
        }
        Err(refusal) => refused(call, &refusal),
    }
}

fn refused(call: &Call, refusal: &Refusal) -> Response<Body> {
    let Refusal { status, code, text, more } = refusal;
    let body = if is_json(call) {
        let mut members = more.clone();
        members.insert("__type".to_owned(), json!(code));
        members.insert("message".to_owned(), json!(text));
        Value::Object(members).to_string()
    } else if call.service == "ec2" {
        format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>{}</Message></Error></Errors>\
             <RequestID>r</RequestID></Response>",
            escaped(text)
        )
    } else {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{}</Message></Error><RequestId>r</RequestId></ErrorResponse>",
            escaped(text)
        )
    };
    response(*status, call, &body, Some(code))
}

/// A text inside XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn response(status: u16, call: &Call, body: &str, code: Option<&str>) -> Response<Body> {
    let content = if is_json(call) { "application/x-amz-json-1.0" } else { "text/xml" };
    let mut response = Response::builder()
        .status(status)
        .header("content-type", content)
        .header("x-amzn-requestid", "r");
    if let Some(code) = code {
        response = response.header("x-amzn-errortype", code);
        // SQS tells the code of its older protocol beside the new one.
        if let Some(older) = (call.service == "sqs").then(|| queues::older(code)).flatten() {
            response = response.header("x-amzn-query-error", format!("{older};Sender"));
        }
    }
    response.body(Body::from(body.to_owned())).unwrap_or_default()
}
