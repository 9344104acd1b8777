use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use proptest::prelude::*;
use snooze_event::wire::command::{Kind, write};

use super::*;

const OURS: &str = "i-0a1b2c3d4e5f60718";
const OTHER: &str = "i-0123456789abcdef0";

fn start() -> Timestamp {
    "2026-03-14T09:26:53Z".parse().unwrap()
}

fn command(id: u32, instance: Option<&str>, seconds: i64) -> Command {
    Command {
        id: format!("incident-{id}#command"),
        kind: Kind::PoliciesChanged,
        instance: instance.map(|id| id.parse().unwrap()),
        issued_at: start(),
        expires_at: start() + seconds.seconds(),
        policies: None,
        correlation: None,
    }
}

fn inbox() -> Inbox {
    Inbox::new(OURS.parse().unwrap())
}

/// Takes what is to be taken, as the daemon does.
fn receive(inbox: &mut Inbox, message: &str, command: &Command, now: Timestamp) -> bool {
    match inbox.judge(message, &write(command).to_string(), now) {
        Verdict::Take(read) => {
            assert_eq!(*read, *command);
            inbox.take(message, command, now);
            true
        }
        Verdict::Drop(_) => false,
    }
}

#[test]
fn e3_the_same_message_is_taken_once_within_the_time_in_which_it_would_pass() {
    let command = command(1, Some(OURS), 3600);
    for (again, seconds) in [(false, 1), (false, 540), (false, 660), (false, 899)] {
        let mut inbox = inbox();
        assert!(receive(&mut inbox, "m-1", &command, start()));
        let later = start() + i64::from(seconds).seconds();
        assert_eq!(receive(&mut inbox, "m-1", &command, later), again, "{seconds} s later");
        // Nor when the same command was published a second time.
        assert_eq!(receive(&mut inbox, "m-2", &command, later), again, "{seconds} s later");
        assert_eq!(inbox.counts, Counts { taken: 1, repeated: 2, ..Counts::default() });
    }
    // A day later it has long expired; by then the envelope is refused, too.
    let mut inbox = inbox();
    assert!(receive(&mut inbox, "m-1", &command, start()));
    assert!(!receive(&mut inbox, "m-1", &command, start() + 24.hours()));
}

#[test]
fn a_message_that_was_not_taken_may_come_again() {
    let mut inbox = inbox();
    let command = command(1, Some(OURS), 60);
    let text = write(&command).to_string();
    for _ in 0..3 {
        assert!(matches!(inbox.judge("m-1", &text, start()), Verdict::Take(_)));
    }
    assert_eq!(inbox.counts, Counts::default());
}

#[test]
fn c12_a_command_of_another_version_is_refused() {
    let mut inbox = inbox();
    let mut text = write(&command(1, Some(OURS), 60));
    text["version"] = 2.into();
    let verdict = inbox.judge("m-1", &text.to_string(), start());
    assert!(matches!(&verdict, Verdict::Drop(Why::Unreadable(_))), "{verdict:?}");
    assert!(matches!(inbox.judge("m-2", "hello", start()), Verdict::Drop(Why::Unreadable(_))));
    assert_eq!(inbox.counts.refused, 2);
}

/// Which command, for whom, how long it is good, and after how many seconds it is delivered.
type Delivery = (u32, Option<&'static str>, i64, i64);

fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
    let whom = prop::sample::select(vec![Some(OURS), Some(OURS), Some(OTHER), None]);
    // A command is what its id says: whom it is for and how long it is good follow from it.
    let commands = prop::collection::vec((whom, 1..600_i64), 8);
    (commands, prop::collection::vec((0..8_u32, 0..900_i64), 0..60)).prop_map(
        |(commands, deliveries)| {
            let of = |(id, at): (u32, i64)| {
                let (whom, good) = commands[usize::try_from(id).unwrap()];
                (id, whom, good, at)
            };
            deliveries.into_iter().map(of).collect()
        },
    )
}

proptest! {
    #[test]
    fn e7_whatever_is_lost_doubled_reordered_or_misled_each_command_is_taken_at_most_once(
        mut deliveries in deliveries(),
    ) {
        // Time goes on, whatever the order of publication was.
        deliveries.sort_by_key(|(_, _, _, at)| *at);
        let mut inbox = inbox();
        let mut taken: BTreeMap<u32, u32> = BTreeMap::new();
        let mut due = BTreeSet::new();
        for (number, (id, whom, good, at)) in deliveries.iter().enumerate() {
            let now = start() + at.seconds();
            if *whom != Some(OTHER) && at < good {
                due.insert(*id);
            }
            // SNS gives a message that it delivers again the same id, the queue does not care.
            let message = format!("m-{}", if number % 2 == 0 { *id } else { 100 + *id });
            if receive(&mut inbox, &message, &command(*id, *whom, *good), now) {
                *taken.entry(*id).or_default() += 1;
            }
        }
        prop_assert!(taken.values().all(|times| *times == 1), "{taken:?}");
        prop_assert_eq!(taken.keys().copied().collect::<BTreeSet<_>>(), due);
        let Counts { taken, repeated, expired, foreign, refused } = inbox.counts;
        let all = u64::try_from(deliveries.len()).unwrap();
        prop_assert_eq!(taken + repeated + expired + foreign + refused, all);
    }
}
