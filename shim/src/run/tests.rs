//! The daemon's parts together, without its loop.

use serde_json::json;
use snooze_event::wire;

use super::*;

fn daemon(directory: &Path) -> Daemon {
    let text = json!({ "state_directory": directory, "run_directory": directory,
        "policies_directory": directory.join("none") });
    let settings = settings::check(&text.to_string()).unwrap();
    let host = Host::new(settings.host(&Environment::default()), mpsc::channel(QUEUE).0);
    let (idleness, _looked) = Idleness::new(&settings, "boot", Now::read());
    Daemon::restore(settings, Environment::default(), host, None, idleness).unwrap()
}

fn custom(daemon: &mut Daemon, number: usize) {
    custom_only(daemon, number);
    daemon.compact_when_large();
}

fn custom_only(daemon: &mut Daemon, number: usize) {
    let now = Now::read();
    let id = format!("event-{number}").parse().unwrap();
    let value = json!({ "type": "custom", "data": { "text": "x".repeat(50_000) } });
    let event = Box::new(wire::plugin::read_custom(&value, now.wall, id).unwrap());
    daemon.turn(Input::Heard { event, channel: Channel::Command });
}

#[tokio::test]
async fn a_journal_does_not_grow_without_end_while_the_daemon_runs() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = daemon(directory.path());
    let mut longest = 0;
    for number in 0..500 {
        custom(&mut daemon, number);
        longest = longest.max(fs::metadata(directory.path().join("journal")).unwrap().len());
    }
    // A hundred incidents are kept.
    assert!(longest < 3 * 100 * 50_000, "{longest}");
    let known = daemon.watch.incidents().cloned().collect::<Vec<_>>();
    drop(daemon);
    let again = self::daemon(directory.path());
    assert_eq!(again.watch.incidents().cloned().collect::<Vec<_>>(), known);
}

#[tokio::test(start_paused = true)]
async fn i13_questions_without_end_do_not_keep_time_from_going_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = daemon(directory.path());
    // A journal that is to be compacted at the next turn.
    for number in 0..150 {
        custom_only(&mut daemon, number);
    }
    let (asked, questions) = mpsc::channel(1);
    let (_heard, hearing) = mpsc::channel(1);
    let (_reports, reported) = mpsc::channel(1);
    let flood = async {
        loop {
            let request = serde_json::from_str(r#"{ "command": "STATUS" }"#).unwrap();
            let (reply, answer) = tokio::sync::oneshot::channel();
            asked.send(Asked { request, reply }).await.unwrap();
            answer.await.unwrap();
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    };
    let journal = directory.path().join("journal");
    let before = fs::metadata(&journal).unwrap().len();
    let signals = Signals::listen().unwrap();
    let enough = Duration::from_secs(5);
    let (_looks, mut looked) = mpsc::channel(1);
    let (_news, mut told) = mpsc::channel(1);
    let all = async {
        let listen = daemon.listen(signals, hearing, reported, questions, &mut looked, &mut told);
        tokio::join!(listen, flood);
    };
    assert!(tokio::time::timeout(enough, all).await.is_err());
    assert!(fs::metadata(&journal).unwrap().len() < before);
}

// E11
#[tokio::test]
async fn the_socket_can_be_reached_by_its_group_and_the_journal_by_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let mode = |name: &str| {
        fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777
    };
    make_directory(&directory.path().join("run"), 0o711).unwrap();
    let _lock = lock(&directory.path().join("state")).await.unwrap();
    assert_eq!(mode("run") & 0o077, 0o011);
    assert_eq!((mode("state"), mode("state/lock")), (0o700, 0o600));
}
