//! The Redis voter in Python with a real Redis: the one that is printed in the source document,
//! unmodified, where that document is there, and ours, written from the contract.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use snooze_plugin::{Metrics, Verdict, Vote};
use snooze_tests::{place, programs, wait};
use snoozed::plugins::{
    Entry, Host, HostSettings, Limits, Outcome, PluginState, Report, Run, SecretStore,
};
use snoozed::sandbox::Sandboxes;
use tempfile::TempDir;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

/// The document that prints the plugin, beside the workspace.
const DOCUMENT: &str = "../shared/seeds/S1-plugin-architecture.md";
/// The first line of the block that is the plugin, below the one that names the interpreter.
const NAME: &str = "# redis_monitor.py";
/// The id of the entry.
const ENTRY: &str = "idle/redis-monitor";

// S1-22, S1-28
#[test]
fn the_printed_redis_voter_runs_unmodified() {
    let Ok(document) = fs::read_to_string(place::root().join(DOCUMENT)) else {
        println!("not tested: the document is not there");
        return;
    };
    let library = place::root().join(".local/python");
    let has_library = place::there("the Python package redis", library.join("redis").is_dir());
    if !has_library || !place::has("python3") || !place::has("redis-server") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let printed = folder.path().join("redis_monitor.py");
    fs::write(&printed, block(&document)).unwrap();
    // The plugin's environment is clean: the wrapper alone knows where its library is.
    let text = format!(
        "#!/bin/sh\nPYTHONPATH={} exec {} {}\n",
        library.display(),
        python().display(),
        printed.display(),
    );
    let plugin = folder.path().join("plugins/redis-monitor.sh");
    place::install("/dev/stdin".as_ref(), &plugin, Some(&text));
    votes(folder.path());
}

// S1-22, S1-28
#[test]
fn our_redis_voter_does_the_same_without_a_library() {
    if !place::has("python3") || !place::has("redis-server") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let plugin = folder.path().join("plugins/redis-monitor.py");
    place::install(&place::root().join("plugins/examples/redis-monitor.py"), &plugin, None);
    votes(folder.path());
}

/// What a Redis voter in `plugins` must do.
fn votes(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut redis = Redis::start(folder);
        let (mut host, mut reports) = host(folder, &redis.url());
        let status = async |host: &Host| host.status().remove(0);
        while status(&host).await.state != PluginState::Ready {
            let report = timeout(wait::PATIENCE, reports.recv()).await;
            assert!(report.is_ok(), "the plugin is not ready: {:?}", status(&host).await);
        }
        let info = status(&host).await.info.expect("it was asked");
        assert_eq!((info.name.as_str(), info.version.as_str()), ("redis-monitor", "1.0.0"));
        // It knows no GetSupportedEvents.
        assert_eq!(status(&host).await.supported, None);

        let vote = ask(&mut host, &mut reports).await;
        assert_eq!(vote.verdict, Verdict::Idle, "{vote:?}");
        assert!(vote.reason.starts_with("Redis has only "), "{vote:?}");
        let clients: Vec<TcpStream> = (0..5).map(|_| redis.connect()).collect();
        let vote = ask(&mut host, &mut reports).await;
        assert_eq!(vote.verdict, Verdict::Busy, "{vote:?}");
        drop(clients);

        assert_eq!(event(&mut host, &mut reports).await, Outcome::NotHandled);
        redis.stop();
        let vote = ask(&mut host, &mut reports).await;
        assert_eq!(vote.verdict, Verdict::Unknown, "{vote:?}");
        host.stop(wait::PATIENCE).await;
    });
}

fn host(folder: &Path, url: &str) -> (Host, Receiver<Report>) {
    let run_directory = folder.join("run");
    fs::create_dir(&run_directory).unwrap();
    let settings = HostSettings {
        program: programs::path("snoozed"),
        builtins: Vec::new(),
        directories: vec![folder.join("plugins")],
        allowed: None,
        pins: BTreeMap::new(),
        unsigned: None,
        run_directory,
        secrets: SecretStore::default(),
        limits: Limits::default(),
        sandboxes: Sandboxes::default(),
    };
    let (sender, reports) = mpsc::channel(100);
    let mut host = Host::new(settings, sender);
    let config = json!({ "redis_url": url, "connection_threshold": 4 });
    let Value::Object(config) = config else { unreachable!("it is one") };
    let plugin = "redis-monitor".parse().unwrap();
    host.set_entries(vec![Entry { id: ENTRY.to_owned(), plugin, config }]);
    (host, reports)
}

async fn ask(host: &mut Host, reports: &mut Receiver<Report>) -> Vote {
    host.check_idle(ENTRY, &Metrics::read(&json!({ "cpu_usage": 1.0 })));
    loop {
        let report = timeout(wait::PATIENCE, reports.recv()).await.expect("it votes in time");
        if let Some(Report::Vote { vote, .. }) = report {
            return vote.expect("it votes");
        }
    }
}

async fn event(host: &mut Host, reports: &mut Receiver<Report>) -> Outcome {
    host.handle(Run {
        run_id: 1,
        entry_id: ENTRY.to_owned(),
        event: json!({ "type": "cloud.spot.interrupt", "data": {} }),
        budget: wait::PATIENCE,
        grace: wait::PATIENCE,
    });
    loop {
        let report = timeout(wait::PATIENCE, reports.recv()).await.expect("it ends in time");
        if let Some(Report::Ended { outcome, .. }) = report {
            return outcome.outcome;
        }
    }
}

/// The plugin as the document prints it.
fn block(document: &str) -> String {
    let blocks = document.split("```python\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| Some(rest.split_once("\n```")?.0));
    let found = blocks.find(|block| block.contains(NAME)).expect("the document prints it");
    format!("{found}\n")
}

/// The interpreter itself: what is on the search path may be a script that needs its environment.
fn python() -> PathBuf {
    let mut python = Command::new("python3");
    place::output(python.args(["-c", "import sys; print(sys.executable)"])).trim().into()
}

/// A Redis of our own. It ends with the value.
struct Redis {
    server: Child,
    port: u16,
}

impl Redis {
    fn start(folder: &Path) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &free.to_string(), "--save", ""]);
        command.arg("--dir").arg(folder).stdout(Stdio::null());
        let redis = Self { server: command.spawn().unwrap(), port: free };
        let address = ("127.0.0.1", free);
        wait::until("redis-server", || TcpStream::connect(address).ok());
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).unwrap()
    }

    fn stop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
