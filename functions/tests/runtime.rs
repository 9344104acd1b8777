//! The programs themselves, spoken to as Lambda speaks to them.

#![expect(clippy::unwrap_used, reason = "the helpers below are part of the tests")]

use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snooze_cloud::fake::{ACCOUNT, Fault, REGION, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time;

/// Far beyond what a program takes to start, on a machine that does other things.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_event_goes_in_and_an_answer_and_figures_come_out() {
    let server = Server::start().await.unwrap();
    let (path, body, child) = once(&server, &spot().to_string()).await;
    assert!(path.ends_with("/response"), "{path}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let why = "an instance that never said hello, and no policy";
    assert_eq!(answer, json!({ "events": [{ "event": "e-1", "ignored": why }] }));
    let out = output(child).await;
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let figures = lines.iter().find(|line| line["_aws"].is_object() && line["Cause"] == "spot");
    let figures = figures.unwrap();
    assert_eq!((&figures["Unprotected"], &figures["Function"]), (&json!(1), &json!("dispatch")));
    let logged = lines.iter().find(|line| line["fields"]["message"] == "event taken").unwrap();
    assert_eq!(logged["span"]["id"], "e-1");
}

#[tokio::test]
async fn d16_a_failure_bears_its_fixed_name() {
    let server = Server::start().await.unwrap();
    server.standing("GetItem", Fault::error(400, "AccessDeniedException"));
    let (path, body, _child) = once(&server, &spot().to_string()).await;
    assert!(path.ends_with("/error"), "{path}: {body}");
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(error["errorType"], "AccessDenied");
}

#[tokio::test]
async fn c9_a_payload_that_nests_too_deeply_is_acknowledged() {
    let server = Server::start().await.unwrap();
    let bomb = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let (path, body, _child) = once(&server, &bomb).await;
    assert!(path.ends_with("/response"), "{path}: {body}");
    assert!(body.contains("unreadable"), "{body}");
}

#[tokio::test]
async fn a_program_without_its_environment_names_all_that_is_missing() {
    for program in
        [env!("CARGO_BIN_EXE_dispatch"), env!("CARGO_BIN_EXE_record"), env!("CARGO_BIN_EXE_sweep")]
    {
        let run = Command::new(program).env_clear().kill_on_drop(true).output();
        let output = time::timeout(LIMIT, run).await.unwrap().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        for name in ["STACK", "INCIDENTS_TABLE", "COMMANDS_TOPIC_ARN"] {
            assert!(text.contains(name), "{program}: {text}");
        }
    }
}

fn spot() -> Value {
    json!({
        "version": "0", "id": "e-1", "detail-type": "EC2 Spot Instance Interruption Warning",
        "source": "aws.ec2", "account": ACCOUNT, "region": REGION, "resources": [],
        "time": Timestamp::now().to_string(),
        "detail": { "instance-id": "i-0123456789abcdef0", "instance-action": "terminate" },
    })
}

/// Starts `dispatch`, gives it one event, and answers with what it says to that: the path and the
/// body of its request.
async fn once(server: &Server, event: &str) -> (String, String, Child) {
    let lambda = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let child = start(server, &lambda.local_addr().unwrap().to_string());
    let said = time::timeout(LIMIT, async {
        let mut given = false;
        loop {
            let (mut stream, _) = lambda.accept().await.unwrap();
            while let Some((path, body)) = request(&mut stream).await {
                if !path.ends_with("/next") {
                    return (path, body);
                }
                if given {
                    break;
                }
                given = true;
                let deadline = Timestamp::now().as_millisecond() + 15_000;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: r-1\r\n\
                     Lambda-Runtime-Deadline-Ms: {deadline}\r\n\
                     Lambda-Runtime-Invoked-Function-Arn: arn\r\n\
                     Content-Length: {}\r\n\r\n",
                    event.len()
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(event.as_bytes()).await.unwrap();
            }
        }
    });
    let (path, body) = said.await.unwrap();
    (path, body, child)
}

fn start(server: &Server, lambda: &str) -> Child {
    let queue = server.make_queue("s-actions");
    Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", lambda)
        .env("AWS_LAMBDA_FUNCTION_NAME", "s-dispatch")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_ENDPOINT_URL", server.url())
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("STACK", "s")
        .env("POLICIES_TABLE", "s-policies")
        .env("INSTANCES_TABLE", "s-instances")
        .env("INCIDENTS_TABLE", "s-incidents")
        .env("ACTIONS_QUEUE_URL", queue)
        .env("COMMANDS_TOPIC_ARN", server.topic_arn("s-commands"))
        .env("OPERATORS_TOPIC_ARN", server.topic_arn("s-operators"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// All that a program wrote, which ends with it.
async fn output(mut child: Child) -> String {
    child.start_kill().unwrap();
    let output = time::timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The next request on a connection: its path and its body; `None` at its end.
async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(chunk.get(..read)?);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            let path = head.split(' ').nth(1)?;
            return Some((path.to_owned(), body.to_owned()));
        }
    }
}
