//! How the promises about the functions are measured.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{place, wait};

/// The functions, as their programs are called.
pub const FUNCTIONS: [&str; 4] = ["dispatch", "perform", "record", "sweep"];

/// Where a function asks for its first event, in the runtime API of Lambda.
/// (AWS Lambda Developer Guide, "Using the Lambda runtime API", checked 2026-11.)
const NEXT: &str = "GET /2018-06-01/runtime/invocation/next ";

/// How long it takes from the start of the process until it asks for its first event.
///
/// # Panics
/// When it does not.
#[must_use]
pub fn to_next(program: &Path) -> Duration {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be bound");
    listener.set_nonblocking(true).expect("a socket can be set so");
    let address = listener.local_addr().expect("it is bound");
    let mut command = Command::new(program);
    command.env_clear().envs(environment()).env("AWS_LAMBDA_RUNTIME_API", address.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().expect("the function can be started");
    let asked = wait::soon(Duration::from_micros(100), || {
        if child.try_wait().expect("our child").is_some() {
            return Some(None);
        }
        match listener.accept() {
            Ok((stream, _)) => Some(Some(stream)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("cannot listen: {error}"),
        }
    });
    let Some(stream) = asked else {
        let said = child.wait_with_output().map(|output| output.stderr).unwrap_or_default();
        panic!("{} ended: {}", program.display(), String::from_utf8_lossy(&said));
    };
    stream.set_nonblocking(false).expect("a socket can be set so");
    let mut line = String::new();
    let _length = BufReader::new(stream).read_line(&mut line).expect("it sends a request");
    let time = start.elapsed();
    assert!(line.starts_with(NEXT), "{}: {line}", program.display());
    child.kill().expect("our child can be killed");
    let _status = child.wait().expect("our child can be waited for");
    time
}

/// The size of its deployment package, in bytes.
///
/// # Panics
/// When it cannot be zipped.
#[must_use]
pub fn zipped(program: &Path) -> u64 {
    let folder = TempDir::new().expect("a folder can be made");
    let bootstrap = folder.path().join("bootstrap");
    let _length = fs::copy(program, &bootstrap).expect("the function can be copied");
    let package = folder.path().join("function.zip");
    let mut zip = Command::new("python3");
    zip.args(["-m", "zipfile", "--create"]).arg(&package).arg(&bootstrap);
    let _nothing = place::output(&mut zip);
    fs::metadata(package).map_or(u64::MAX, |file| file.len())
}

/// How many instructions one event costs `planning`, an example of `snooze-policy`, with so many
/// policies.
///
/// # Panics
/// When valgrind or the program fails.
#[must_use]
pub fn instructions(planning: &Path, policies: u32) -> u64 {
    const FEW: u64 = 10;
    const MANY: u64 = 110;
    let count = |times: u64| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        valgrind.arg(planning).arg(times.to_string()).arg(policies.to_string());
        let output = valgrind.output();
        let output = output.expect("valgrind starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{} {times}: {said}", planning.display());
        let number = said.lines().find_map(|line| line.split_once("Collected : "));
        let number = number.and_then(|(_, number)| number.trim().parse::<u64>().ok());
        number.unwrap_or_else(|| panic!("valgrind counts: {said}"))
    };
    count(MANY).saturating_sub(count(FEW)) / (MANY - FEW)
}

/// What the template says to the functions, all of them, and what Lambda does.
fn environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        ("STACK", "cloudsnooze"),
        ("POLICIES_TABLE", "cloudsnooze-policies"),
        ("INSTANCES_TABLE", "cloudsnooze-instances"),
        ("INCIDENTS_TABLE", "cloudsnooze-incidents"),
        (
            "ACTIONS_QUEUE_URL",
            "https://sqs.us-east-1.amazonaws.com/123456789012/cloudsnooze-actions",
        ),
        ("COMMANDS_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:cloudsnooze-commands"),
        ("OPERATORS_TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:cloudsnooze-operators"),
        ("BUS_NAME", "cloudsnooze"),
        ("INSTANCE_QUEUE_PREFIX", "cloudsnooze-instance-"),
        ("POLICY_CACHE_SECONDS", "30"),
        ("LIFECYCLE_BUDGET_SECONDS", "120"),
        ("RETENTION_DAYS", "90"),
        ("TAG_PREFIX", "CloudSnooze"),
        ("LEGACY_TAGS", "false"),
        ("MAX_STOPS_PER_HOUR", "20"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_SESSION_TOKEN", "test"),
        ("AWS_LAMBDA_FUNCTION_NAME", "cloudsnooze"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/cloudsnooze"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("_HANDLER", "bootstrap"),
    ]
    .into_iter()
}
