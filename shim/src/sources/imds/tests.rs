//! The source against the fake metadata service, in real but short times.

use std::process::Command;

use snooze_event::{EventType, LossAction};
use snooze_imds::fake::{Fake, INSTANCE_ID, Mode, Notice, NoticeTime, Reply};
use snooze_imds::{Settings, TOKEN_PATH};
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinSet;

use super::*;

const INTERVAL: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_millis(400);

/// How long a test waits for what must come; never reached when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

const SPOT: &str = SignalPath::SpotInstanceAction.as_str();

#[tokio::test]
async fn every_signal_is_heard_and_says_when_it_is_gone() {
    let fake = Fake::on_loopback().await.unwrap();
    let mut ears = listen(&fake);
    let steps: [(SignalPath, EventType, &dyn Fn()); 4] = [
        (SignalPath::SpotInstanceAction, EventType::SpotInterrupt, &|| {
            fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
        }),
        (SignalPath::Rebalance, EventType::SpotRebalance, &|| fake.rebalance()),
        (SignalPath::TargetLifecycleState, EventType::InstanceTermination, &|| {
            fake.lifecycle("Terminated");
        }),
        (SignalPath::MaintenanceScheduled, EventType::InstanceTermination, &|| {
            fake.maintenance(include_str!(
                "../../../../events/samples/imds-maintenance-scheduled.json"
            ));
        }),
    ];
    for (path, kind, show) in steps {
        show();
        let event = ears.named().await;
        assert_eq!((&event.kind, event.instance.as_ref().unwrap().as_str()), (&kind, INSTANCE_ID));
        assert_eq!(ears.event().await.id, event.id, "told again while it stands");
        fake.clear_signals();
        ears.until(|heard| *heard == Heard::Gone(path)).await;
    }
    assert_eq!(fake.most_in_flight(), 1);
    assert_eq!(fake.asked("/latest/meta-data/spot/termination-time"), 0);
}

#[tokio::test]
async fn a_notice_that_stands_at_the_start_is_the_first_thing_told_and_names_its_instance() {
    let fake = Fake::on_loopback().await.unwrap();
    let time = NoticeTime::Sliding(Duration::from_secs(120));
    fake.spot(Notice { action: "stop".to_owned(), time });
    let mut ears = listen(&fake);
    let Heard::Event(event) = ears.next().await else { panic!("not an event") };
    assert_eq!(event.action, Some(LossAction::Stop));
    assert_eq!(ears.named().await.instance.unwrap().as_str(), INSTANCE_ID);
}

#[tokio::test]
async fn facts_are_told_once_and_again_when_they_change() {
    let fake = Fake::on_loopback().await.unwrap();
    let client = client(&fake, PATIENCE);
    let (sender, mut heard) = mpsc::channel(16);
    let mut source = ImdsSource::new(client, Duration::from_secs(5));
    let mut facts = Vec::new();
    for minute in 0..4 {
        if minute == 2 {
            fake.set("/latest/meta-data/tags/instance/role", [Reply::ok("web")]);
        }
        for _ in 0..3 {
            assert!(source.tick(&sender).await.is_ok());
        }
        while let Ok(told) = heard.try_recv() {
            if let Heard::Facts(told) = told {
                facts.push((minute, told.tags.unwrap().get("role").cloned()));
            }
        }
        time::pause();
        time::advance(FACTS_EVERY).await;
        time::resume();
    }
    assert_eq!(facts, [(0, Some("orders-db".to_owned())), (2, Some("web".to_owned()))]);
    // Four times read, not twelve.
    assert_eq!(fake.asked(&Path::Identity.as_str()), 4);
}

#[tokio::test]
async fn a1_a_notice_behind_a_refused_token_is_heard_in_the_same_tick() {
    let fake = Fake::on_loopback().await.unwrap();
    let (sender, mut heard) = mpsc::channel(16);
    let mut source = ImdsSource::new(client(&fake, PATIENCE), Duration::from_secs(5));
    assert!(source.tick(&sender).await.is_ok());
    while heard.try_recv().is_ok() {}
    let puts = fake.puts();
    let notice = r#"{"action":"terminate","time":"2026-03-14T09:28:53Z"}"#;
    fake.set(SPOT, [Reply::status(401), Reply::ok(notice)]);
    assert!(source.tick(&sender).await.is_ok());
    assert!(matches!(heard.try_recv(), Ok(Heard::Event(_))));
    assert_eq!(fake.puts(), puts + 1);
}

#[tokio::test]
async fn a2_a_token_that_is_refused_is_one_fault_of_health_and_the_polls_go_on() {
    let fake = Fake::on_loopback().await.unwrap();
    fake.set(TOKEN_PATH, [Reply::status(500)]);
    let mut ears = listen_with(client(&fake, PATIENCE), INTERVAL);
    assert_eq!(ears.next().await, health(false, "spot/instance-action: no token: status 500"));
    fake.clear(TOKEN_PATH);
    let well = ears.until(|heard| matches!(heard, Heard::Health { .. })).await;
    assert_eq!(well, health(true, ""));
}

#[tokio::test]
async fn a4_broken_answers_tell_nothing_until_a_whole_one_comes() {
    let fake = Fake::on_loopback().await.unwrap();
    let notice = r#"{"action":"terminate","time":"2026-03-14T09:28:53Z"}"#;
    fake.set(
        SPOT,
        [
            Reply::status(503),
            Reply::reset(),
            Reply::status(404),
            Reply::ok(notice).mode(Mode::CutAfter(30)),
            Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            Reply::status(404),
            Reply::ok(""),
            Reply::ok("<html>busy</html>"),
            Reply::ok(notice),
        ],
    );
    let mut ears = listen_with(client(&fake, PATIENCE), INTERVAL);
    let mut told = Vec::new();
    while !told.iter().any(|heard| matches!(heard, Heard::Event(_))) {
        told.push(ears.next().await);
    }
    assert!(!told.iter().any(|heard| matches!(heard, Heard::Gone(_))), "{told:?}");
    assert!(!told.iter().any(|heard| matches!(heard, Heard::Health { ok: false, .. })), "{told:?}");
    assert!(fake.asked(SPOT) >= 9);
}

#[tokio::test]
async fn a5_slow_answers_never_queue_up_and_the_ticks_keep_their_distance() {
    let limit = Duration::from_secs(2);
    let fake = Fake::on_loopback().await.unwrap();
    let notice = r#"{"action":"terminate","time":"2026-03-14T09:28:53Z"}"#;
    let slow = [
        Reply::hang(),
        Reply::ok(notice).after(Duration::from_secs(30)),
        Reply::ok(notice).mode(Mode::Drip(Duration::from_secs(1))),
        Reply::ok(notice).after(limit / 8),
    ];
    for path in &SignalPath::ALL[1..] {
        fake.set(path.as_str(), [Reply::hang()]);
    }
    // A good answer in between, so that no three misses come in a row.
    fake.set(SPOT, slow.into_iter().flat_map(|reply| [reply, Reply::ok(notice)]));
    let (sender, mut heard) = mpsc::channel(64);
    let mut source = ImdsSource::new(client(&fake, limit), INTERVAL);
    for tick in 0..8 {
        let start = Instant::now();
        assert!(source.tick(&sender).await.is_ok());
        let took = start.elapsed();
        // Far more than promised, for a busy machine; far less than the slow answers take.
        assert!(took < INTERVAL + limit * 5, "tick {tick} took {took:?}");
    }
    let mut events = 0;
    while let Ok(told) = heard.try_recv() {
        events += usize::from(matches!(told, Heard::Event(_)));
    }
    assert_eq!((events, fake.asked(SPOT), fake.most_in_flight()), (5, 8, 1));
}

#[tokio::test]
async fn a5_what_there_was_no_time_for_comes_first_in_the_next_tick() {
    let fake = Fake::on_loopback().await.unwrap();
    for path in SignalPath::ALL {
        fake.set(path.as_str(), [Reply::status(404).after(Duration::from_millis(40))]);
    }
    let (sender, _heard) = mpsc::channel(64);
    // Time for the Spot notice and one path more.
    let mut source = ImdsSource::new(client(&fake, PATIENCE), Duration::from_millis(60));
    let asked = |path: &SignalPath| fake.asked(path.as_str());
    for tick in 1.. {
        assert!(source.tick(&sender).await.is_ok());
        assert_eq!(fake.asked(SPOT), tick);
        let beside: Vec<_> = SignalPath::ALL.iter().skip(1).map(asked).collect();
        let (least, most) = (beside.iter().min().unwrap(), beside.iter().max().unwrap());
        assert!(most - least <= 1, "{beside:?}");
        if *least > 0 {
            break;
        }
    }
}

#[tokio::test]
async fn a7_a_throttled_service_is_asked_less_and_heard_again_when_it_answers() {
    let fake = Fake::on_loopback().await.unwrap();
    fake.set(SPOT, vec![Reply::status(429); 5].into_iter().chain([Reply::status(404)]));
    let (sender, _heard) = mpsc::channel(64);
    let mut source = ImdsSource::new(client(&fake, PATIENCE), Duration::from_secs(1));
    let mut waits = Vec::new();
    for _ in 0..6 {
        assert!(source.tick(&sender).await.is_ok());
        waits.push(source.hearing.wait().as_secs());
    }
    assert_eq!(waits, [1, 1, 2, 4, 5, 1]);
}

#[tokio::test]
async fn a8_a_redirect_leads_to_a_fault_of_health() {
    let fake = Fake::on_loopback().await.unwrap();
    let elsewhere = Fake::on_loopback().await.unwrap();
    fake.set(SPOT, [Reply::status(302).header("Location", &elsewhere.url())]);
    let mut ears = listen(&fake);
    let told = ears.until(|heard| matches!(heard, Heard::Health { ok: false, .. })).await;
    let Heard::Health { detail, .. } = told else { panic!("{told:?}") };
    assert!(detail.contains("redirect (status 302)"), "{detail}");
    assert!(elsewhere.counts().is_empty());
}

#[tokio::test]
async fn a9_metadata_that_is_off_is_said_so_and_nothing_ends() {
    let cases = [(Reply::status(403), "metadata is off"), (Reply::hang(), "no whole answer")];
    for (reply, said) in cases {
        let fake = Fake::on_loopback().await.unwrap();
        fake.set(TOKEN_PATH, [reply]);
        let mut ears = listen(&fake);
        let Heard::Health { ok: false, detail, .. } = ears.next().await else { panic!("{said}") };
        assert!(detail.contains(said), "{detail}");
        assert_eq!(ears.source.len(), 1, "still running");
    }
}

#[tokio::test]
async fn it_ends_when_nobody_listens_also_in_the_middle_of_a_question() {
    let fake = Fake::on_loopback().await.unwrap();
    fake.set(SPOT, [Reply::hang()]);
    let Ears { mut source, heard } = listen_with(client(&fake, PATIENCE), PATIENCE);
    while fake.asked(SPOT) == 0 {
        tokio::task::yield_now().await;
    }
    drop(heard);
    let ended = time::timeout(PATIENCE / 2, source.join_next()).await;
    assert!(ended.unwrap().unwrap().is_ok());
}

#[test]
fn a3_polls_without_news_leave_no_log_and_no_memory_behind() {
    // In a process of its own, since memory and log are shared by all tests of one.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "sources::imds::tests::child_that_polls", "--nocapture"]);
    let output = child.env(CHILD, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the log");
    let growth = told.lines().find_map(|line| line.strip_prefix("growth ")).unwrap();
    assert!(growth.parse::<u64>().unwrap() < 256, "{growth} KiB more");
}

const CHILD: &str = "SNOOZE_TEST_CHILD";

#[test]
#[expect(clippy::disallowed_methods, reason = "how the parent process says who is asked")]
fn child_that_polls() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    // The HTTP library has something to say of each connection it takes up again.
    let log = tracing_subscriber::fmt().with_env_filter("debug,hyper_util=info");
    let _log = tracing::subscriber::set_default(log.with_writer(std::io::stderr).finish());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fake = Fake::on_loopback().await.unwrap();
        let (sender, _heard) = mpsc::channel(16);
        let mut source = ImdsSource::new(client(&fake, PATIENCE), PATIENCE);
        for _ in 0..500 {
            assert!(source.tick(&sender).await.is_ok());
        }
        let before = resident_kib();
        for _ in 0..3_000 {
            assert!(source.tick(&sender).await.is_ok());
        }
        println!("\ngrowth {}", resident_kib().saturating_sub(before));
    });
}

/// Memory of its own: pages of the program itself come in whenever they are first used.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A running source and what it tells.
struct Ears {
    source: JoinSet<()>,
    heard: Receiver<Heard>,
}

fn listen(fake: &Fake) -> Ears {
    listen_with(client(fake, LIMIT), INTERVAL)
}

fn listen_with(client: Client, interval: Duration) -> Ears {
    let (sender, heard) = mpsc::channel(16);
    let mut source = JoinSet::new();
    source.spawn(ImdsSource::new(client, interval).run(sender));
    Ears { source, heard }
}

impl Ears {
    async fn next(&mut self) -> Heard {
        time::timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap()
    }

    async fn until(&mut self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            let heard = self.next().await;
            if wanted(&heard) {
                return heard;
            }
        }
    }

    /// The next event that names its instance: on a busy machine the first reading of the
    /// identity may have to wait for the next tick.
    async fn named(&mut self) -> snooze_event::Event {
        loop {
            let event = self.event().await;
            if event.instance.is_some() {
                return event;
            }
        }
    }

    async fn event(&mut self) -> snooze_event::Event {
        let heard = self.until(|heard| matches!(heard, Heard::Event(_))).await;
        let Heard::Event(event) = heard else { panic!("{heard:?}") };
        *event
    }
}

fn client(fake: &Fake, timeout: Duration) -> Client {
    Client::new(Settings { timeout, ..Settings::at(&fake.url()) }).unwrap()
}

fn health(ok: bool, detail: &str) -> Heard {
    Heard::Health { source: SOURCE, ok, detail: detail.to_owned() }
}
