//! The example plugins as real processes. Without `python3` the Python ones are left out with a
//! line; with `SNOOZE_FULL=1` in the environment that is a failure.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the helpers of a test may do what a test may"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use snooze_plugin::wire::{Answer, Method, Reply, read_reply, request_line};
use snooze_plugin::{Handled, Info, Metrics, Verdict, Vote};

#[test]
fn the_shell_plugin_says_who_it_is_handles_events_and_knows_what_it_does_not_know() {
    let mut hello = Example::start("hello.sh").unwrap();
    let Answer::Result(info) = hello.ask(Method::Info, json!({})) else { panic!("no info") };
    assert_eq!(Info::read(&info).unwrap(), Info::new("hello", "1.0.0"));
    assert_eq!(hello.ask(Method::Initialize, json!({})), Answer::NotSupported);
    let event =
        json!({ "event": { "type": "cloud.spot.interrupt", "data": { "id": "\"id\":7}" } } });
    let Answer::Result(handled) = hello.ask(Method::HandleEvent, event) else { panic!("failed") };
    assert_eq!(Handled::read(&handled), Handled::with_status("synced"));
    assert_eq!(hello.ask(Method::Shutdown, json!({})), Answer::NotSupported);
}

#[test]
fn the_python_plugin_saves_durably_and_votes() {
    let Some(mut checkpoint) = Example::python("checkpoint.py") else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("state.json");
    let config = json!({ "config": { "path": path, "cpu_threshold": 10 } });
    assert_eq!(checkpoint.ask(Method::Configure, config).done(), Ok(()));
    let events = checkpoint.ask(Method::GetSupportedEvents, json!({})).supported_events();
    assert_eq!(events.unwrap(), ["cloud.spot.interrupt"]);

    let event =
        json!({ "type": "cloud.spot.interrupt", "id": "e", "data": { "timeRemaining": 9.5 } });
    let answer = checkpoint.ask(Method::HandleEvent, json!({ "event": event }));
    let Answer::Result(handled) = answer else { panic!("{answer:?}") };
    let handled = Handled::read(&handled);
    assert_eq!((handled.handled, handled.verified), (true, Some(true)), "{handled:?}");
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(saved["data"]["timeRemaining"], 9.5);

    let other = json!({ "event": { "type": "system.disk.low" } });
    let answer = checkpoint.ask(Method::HandleEvent, other);
    assert_eq!(answer, Answer::Result(json!({ "handled": false })));
    assert_eq!(checkpoint.vote(3.0).verdict, Verdict::Idle);
    assert_eq!(checkpoint.vote(30.0).verdict, Verdict::Busy);
    assert_eq!(checkpoint.ask(Method::Health, json!({})), Answer::NotSupported);
}

#[test]
fn the_python_plugin_says_why_it_could_not_save() {
    let Some(mut checkpoint) = Example::python("checkpoint.py") else { return };
    let config = json!({ "config": { "path": "/no/such/folder/state.json" } });
    checkpoint.ask(Method::Configure, config);
    let event = json!({ "event": { "type": "cloud.spot.interrupt" } });
    let answer = checkpoint.ask(Method::HandleEvent, event);
    let Answer::Result(handled) = answer else { panic!("{answer:?}") };
    assert!(Handled::read(&handled).error.unwrap().starts_with("cannot save: "));
    let refused = checkpoint.ask(Method::Configure, json!({ "config": { "pth": "" } }));
    assert_eq!(refused, Answer::Failed("unknown settings: pth".to_owned()));
}

// S1-23, S1-26 to S1-28
#[test]
fn the_redis_voter_counts_clients_and_answers_as_the_printed_plugin_does() {
    let Some(mut monitor) = Example::python("redis-monitor.py") else { return };
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", server.local_addr().unwrap());
    thread::spawn(move || answer_info(&server, &[3, 5]));
    let config = json!({ "config": { "redis_url": url, "connection_threshold": 5 } });
    assert_eq!(monitor.ask(Method::Configure, config), Answer::Result(json!({ "success": true })));
    let vote = monitor.vote(1.0);
    assert_eq!(vote.verdict, Verdict::Idle);
    assert_eq!(vote.reason, "Redis has only 3 connections (below threshold 5)");
    assert_eq!(monitor.vote(1.0).verdict, Verdict::Busy);
    // The listener is gone after two answers.
    assert_eq!(monitor.vote(1.0).verdict, Verdict::Unknown);
    assert_eq!(monitor.ask(Method::HandleEvent, json!({})), Answer::NotSupported);
    let stale = monitor.say("no json\n");
    assert!(matches!(stale, Reply { id: Some(5), answer: Answer::Failed(_) }), "{stale:?}");
}

/// A Redis that knows `INFO`, once for each figure.
fn answer_info(server: &TcpListener, figures: &[u32]) {
    for figure in figures {
        let (mut stream, _) = server.accept().unwrap();
        let mut request = [0; 256];
        let _ = stream.read(&mut request).unwrap();
        let text = format!("# Clients\r\nconnected_clients:{figure}\r\n");
        write!(stream, "${}\r\n{text}\r\n", text.len()).unwrap();
    }
}

/// An example as a child process; it ends with the value.
struct Example {
    child: Child,
    replies: BufReader<ChildStdout>,
    asked: u64,
}

impl Example {
    fn python(file: &str) -> Option<Self> {
        let example = Self::start(file);
        let there = Command::new("python3").arg("-V").stdout(Stdio::null()).status();
        if example.is_some() && there.is_ok_and(|status| status.success()) {
            return example;
        }
        let needed = std::env::vars().any(|(name, value)| name == "SNOOZE_FULL" && value == "1");
        assert!(!needed, "SNOOZE_FULL=1 needs python3");
        println!("not tested: python3 is not installed");
        None
    }

    fn start(file: &str) -> Option<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut command = Command::new(folder.join(file));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let replies = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, replies, asked: 0 })
    }

    fn ask(&mut self, method: Method, params: Value) -> Answer {
        self.asked += 1;
        let params = params.as_object().unwrap().clone();
        let reply = self.say(&request_line(method, params, self.asked, false));
        assert_eq!(reply.id, Some(self.asked));
        reply.answer
    }

    fn say(&mut self, line: &str) -> Reply {
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        read_reply(reply.trim_end().as_bytes()).unwrap()
    }

    fn vote(&mut self, cpu_usage: f64) -> Vote {
        let metrics = Metrics { cpu_usage, ..Metrics::default() };
        let params = json!({ "metrics": metrics.to_value() });
        Vote::of(&self.ask(Method::CheckIdle, params)).unwrap()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
