//! `snooze demo`: from a Spot notice to saved data, with real processes and without AWS.
//!
//! ```text
//!  fake metadata service <--poll-- snoozed --> app-checkpointer ---POST---> shop (orders in memory)
//!                                          --> checkpoint (Python)            |
//!                                          --> spot-interrupt-handler         v
//!                                          --> hello (shell)              orders.jsonl
//!                                          --> webhook-notifier ---POST---> receiver
//! ```
//!
//! Invariants: all files are in one temporary directory; all that was started ends with the demo,
//! also when it fails or is interrupted; nothing listens beyond the loopback address.

pub(crate) mod app;
mod http;
mod proof;
mod receiver;
mod scene;
mod stage;
mod story;
mod timeline;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use snoozed::exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use crate::daemon::Context;
use crate::demo::proof::Claim;
use crate::demo::stage::Stage;
use crate::demo::story::Story;
use crate::failure::Failure;
use crate::{files, incident, screen, text};

/// The notice that EC2 gives.
const NOTICE: Duration = Duration::from_secs(120);
/// How long all handlers may take; they need a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the daemon is asked how things stand.
const EVERY: Duration = Duration::from_millis(20);

/// Show the main job on this machine: a Spot notice comes, unsaved data is saved
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: snooze demo --fast

Starts a fake metadata service, a shop that holds its orders in memory only, a webhook receiver
and the real daemon with a handler of each kind; needs no AWS account, no root and no settings.
Exit codes: 0 all was saved in time and it is proven, 1 it was not, 5 something is missing.")]
pub(crate) struct Args {
    /// Poll five times a second and take fewer orders before the notice
    #[arg(long)]
    fast: bool,
    /// The daemon's program; without it, the one beside this program
    #[arg(long, value_name = "PATH")]
    snoozed: Option<PathBuf>,
}

/// How fast the demo goes.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How often the metadata service is asked.
    poll: Duration,
    /// How long the shop takes orders before the notice comes.
    before: Duration,
}

impl Pace {
    fn of(args: &Args) -> Self {
        match args.fast {
            true => Self { poll: Duration::from_millis(200), before: Duration::from_millis(500) },
            false => Self { poll: Duration::from_secs(1), before: Duration::from_secs(2) },
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let snoozed = match &args.snoozed {
        Some(path) => path.clone(),
        None => files::beside("snoozed")?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::system("start the runtime", &source))?;
    runtime.block_on(async {
        let mut stage = Stage::set(Pace::of(args).poll, scene::python().await.as_deref())?;
        let (ending, by_itself) = tokio::select! {
            ending = play(&mut stage, snoozed, Pace::of(args), context.json) => (ending, true),
            interrupted = interrupted() => (Err(interrupted), false),
        };
        stage.clear().await;
        let fine = matches!(ending, Ok(true) | Err(Failure::Closed));
        let log = text::indented(&stage.log(), 2);
        if by_itself && !fine && !log.is_empty() {
            screen::complain(&format!("\nThe last lines of the daemon's log\n{log}"));
        }
        ending.map(|proven| if proven { exit::OK } else { exit::NO })
    })
}

async fn interrupted() -> Failure {
    let waiting = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = waiting(SignalKind::interrupt()) => {}
        () = waiting(SignalKind::terminate()) => {}
        () = waiting(SignalKind::hangup()) => {}
    }
    Failure::new(exit::NO, "the demo was interrupted; all that it started has ended")
}

/// The whole play; says whether everything was saved in time, and proven.
async fn play(
    stage: &mut Stage,
    snoozed: PathBuf,
    pace: Pace,
    json: bool,
) -> Result<bool, Failure> {
    let say = |lines: &str| if json { Ok(()) } else { screen::say(lines) };
    say("CloudSnooze demo: EC2 takes a Spot instance back, played on this machine\n\n")?;
    stage.open_shop().await?;
    say(&stage.told())?;
    let start = Instant::now();
    stage.start_daemon(&snoozed)?;
    stage.ready().await?;
    say(&format!("  snoozed     ready with its plugins in {}\n\n", text::took(start.elapsed())))?;
    sleep(pace.before).await;

    let unsaved = stage.unsaved().await?;
    let noticed = Timestamp::now();
    stage.give_notice(NOTICE);
    say("Seconds since the notice\n")?;
    let first = format!(
        "EC2 will terminate the instance in {NOTICE:?}; {unsaved} orders are in memory only"
    );
    say(&story::line(0.0, &first))?;
    let mut story = Story::begin(noticed);
    let closed = timeout(PATIENCE, async {
        loop {
            let known = stage.incident()?;
            for (seconds, news) in story.news(&known) {
                say(&story::line(seconds, &news))?;
            }
            if incident::is_closed(&known) {
                return Ok(known);
            }
            sleep(EVERY).await;
        }
    });
    let known = closed.await.map_err(|_late| {
        let text = format!("the incident is not closed after {}", text::took(PATIENCE));
        Failure::new(exit::NO, text)
    })??;
    let timeline = story.timeline(&known);
    let claims = proof::claims(stage, unsaved, &known);
    let proven = claims.iter().all(|claim| claim.holds);
    if json {
        screen::raw(text::json(&data(&known, &timeline, &claims, unsaved)).as_bytes())?;
    } else {
        say(&format!("\n{timeline}\nProof\n{}", Claim::list(&claims)))?;
        say(match proven {
            true => "\nEverything worth saving was saved before the instance went.\n",
            false => "\nNOT everything was saved.\n",
        })?;
    }
    Ok(proven)
}

fn data(known: &Value, timeline: &timeline::Timeline, claims: &[Claim], unsaved: usize) -> Value {
    json!({
        "proven": claims.iter().all(|claim| claim.holds),
        "outcome": known.get("outcome"),
        "margin_seconds": known.get("margin_seconds"),
        "heard_after_seconds": timeline.heard,
        "closed_after_seconds": timeline.closed,
        "deadline_after_seconds": timeline.deadline,
        "unsaved_at_notice": unsaved,
        "claims": claims.iter().map(Claim::data).collect::<Vec<_>>(),
        "incident": known,
    })
}
