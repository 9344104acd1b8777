//! Fleets and long times, simulated with the decisions of the daemon and the functions: what many
//! instances do to the services at once, and what one hook asks for in two days.

#![cfg(test)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use jiff::Timestamp;
use snooze_event::{Event, EventType};
use snooze_functions::order::Order;
use snooze_functions::perform::done::{Did, verdict};
use snooze_functions::perform::hooks;
use snooze_functions::perform::taking::{self, Start};
use snooze_policy::Facts;
use snooze_policy::ledger::{Finish, HEARTBEAT, Incident, Opening, Shelf};
use snooze_tests::dice::Dice;
use snooze_tests::walk;
use snooze_tests::walk::moves::{self, Move};
use snoozed::cloud::{Backoff, Home};

/// What the settings say where they say nothing.
const STARTUP_JITTER: Duration = Duration::from_secs(10);
/// What the template says where nothing else is asked for.
const DISPATCH_CONCURRENCY: usize = 50;

#[test]
fn e12_a_fleet_that_starts_at_once_calls_spread_over_ten_seconds() {
    let mut calls: BTreeMap<u64, u32> = BTreeMap::new();
    for number in 0..10_000_u32 {
        let facts = Facts {
            id: Some(format!("i-{:017x}", u64::from(number) * 7919).parse().unwrap()),
            region: Some("us-east-1".to_owned()),
            account: Some("123456789012".to_owned()),
            ..Facts::default()
        };
        let home = Home::of(&facts).unwrap();
        let jitter = home.jitter(STARTUP_JITTER);
        assert_eq!(jitter, home.jitter(STARTUP_JITTER), "an instance keeps its place");
        *calls.entry(jitter.as_secs()).or_default() += 1;
    }
    let mean = 10_000 / 10;
    let peak = calls.values().max().unwrap();
    assert!(*peak * 2 < mean * 3, "{calls:?}");
}

#[test]
fn d3_events_that_find_all_places_taken_come_again_and_in_time() {
    // A notice takes six calls of AWS one after the other, 55 ms as docs/scale.md has them; here
    // each takes twice as long, and a place that was not used before starts in half a second.
    let (handler, cold) = (110, 500);
    let waits = throttled(DISPATCH_CONCURRENCY, handler, cold, 1000, 10_000);
    assert_eq!(waits.len(), 1000, "none is lost");
    assert!(waits[waits.len() * 99 / 100] < 5000, "p99 is {} ms", waits[waits.len() * 99 / 100]);
    // The same with all of them in one second does not fit, and is all told in the end.
    let waits = throttled(5, handler, cold, 1000, 1000);
    assert_eq!(waits.len(), 1000);
    assert!(waits[waits.len() * 99 / 100] > 5000, "the simulation must be able to fail");
}

/// From an event to the end of its handler, in milliseconds and in order. Lambda gives an event
/// that found no place again after a second, then after twice as long, up to five minutes
/// (Lambda Developer Guide, "Asynchronous invocation"; from memory, unverified).
fn throttled(places: usize, handler: u64, cold: u64, events: u64, spread: u64) -> Vec<u64> {
    let mut dice = Dice::new(3);
    let mut waiting: BinaryHeap<Reverse<(u64, u64, u32)>> = BinaryHeap::new();
    for _ in 0..events {
        let at = dice.below(spread);
        waiting.push(Reverse((at, at, 0)));
    }
    let mut busy: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let (mut warm, mut waits) = (0, Vec::new());
    while let Some(Reverse((at, since, tries))) = waiting.pop() {
        while busy.peek().is_some_and(|Reverse(until)| *until <= at) {
            busy.pop();
            warm += 1;
        }
        if busy.len() >= places {
            let pause = 1000_u64.saturating_mul(1 << tries.min(9)).min(300_000);
            let pause = pause / 2 + dice.below(pause / 2 + 1);
            waiting.push(Reverse((at + pause, since, tries + 1)));
            continue;
        }
        let takes = if warm > 0 { handler } else { cold + handler };
        warm = usize::saturating_sub(warm, 1);
        busy.push(Reverse(at + takes));
        waits.push(at + takes - since);
    }
    waits.sort_unstable();
    waits
}

#[test]
fn d20_a_fleet_that_lost_the_services_for_five_minutes_does_not_come_back_at_once() {
    // Each instance asks its queue every 20 seconds, and backs off while that fails.
    let (fleet, poll, outage, recovery) = (10_000_u64, 20_000, 60_000..360_000, 360_000_u64);
    let mut dice = Dice::new(20);
    let mut calls: BTreeMap<u64, u64> = BTreeMap::new();
    for _ in 0..fleet {
        let mut backoff = Backoff::default();
        let mut at = dice.below(poll);
        while at < recovery + 400_000 {
            *calls.entry(at / 10_000).or_default() += 1;
            at += match outage.contains(&at) {
                true => {
                    let drawn = u32::try_from(dice.below(u64::from(u32::MAX))).unwrap();
                    u64::try_from(backoff.next(drawn).as_millis()).unwrap()
                }
                false => {
                    backoff = Backoff::default();
                    poll
                }
            };
        }
    }
    let normal = fleet * 10_000 / poll;
    let of = |from: u64, to: u64| {
        calls.range(from / 10_000..to / 10_000).map(|(_, count)| *count).max().unwrap_or_default()
    };
    let (after, in_it) = (of(recovery + 60_000, recovery + 400_000), of(180_000, recovery));
    assert!(after * 10 < normal * 12, "{after} calls in ten seconds, {normal} are normal");
    assert!(of(recovery, recovery + 60_000) * 10 < normal * 12, "not even at first");
    assert!(in_it < normal, "and fewer while nothing answers: {in_it}");
}

#[test]
fn j3_instances_that_all_go_at_once_without_any_cloud_each_save_alone_and_in_time() {
    let network = "0.000 network is=off\n0.000 cloud is=off\n10.000 spot action=terminate ahead=120 time=fine\n";
    for number in 0..300_u64 {
        let mut dice = Dice::new(number);
        let mut lines = network.to_owned();
        for _ in 0..6 {
            let how = ["done", "hangs", "fails", "dies", "late", "stuck"];
            let how = how[usize::try_from(dice.below(6)).unwrap()];
            lines += &format!("0.000 plugin how={how} milliseconds={}\n", dice.below(40_000));
        }
        let story: Vec<Move> = moves::read(&lines).unwrap();
        match walk::live(&story, None) {
            Ok(count) => assert!(count.incidents >= 1 && count.runs >= 4, "{count:?}"),
            Err(broken) => panic!("instance {number}: {broken}\n{lines}"),
        }
    }
}

#[test]
fn b6_a_hook_of_48_hours_is_kept_waiting_at_an_even_pace_and_no_oftener_than_needed() {
    for timeout in [30, 60, 600, 2700] {
        let beats = beats(Duration::from_secs(timeout));
        let apart: Vec<i64> = beats.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (shortest, longest) = (apart.iter().min().unwrap(), apart.iter().max().unwrap());
        let timeout = i64::try_from(timeout).unwrap();
        // Never before a third of the time-out has passed, and never so late that one lost
        // message lets the hook go.
        assert!(shortest * 3 >= timeout, "{timeout}: {shortest} s apart");
        assert!(*longest <= timeout / 2 + 2, "{timeout}: {longest} s apart");
        // A message needs a second on its way.
        let expected = 48 * 3600 / ((timeout / 2).min(900) + 1);
        let count = i64::try_from(beats.len()).unwrap();
        assert!((count - expected).abs() * 20 <= expected, "{timeout}: {count} of {expected}");
    }
    // What Auto Scaling takes at most: its queue holds nothing back for longer than 15 minutes.
    let beats = beats(Duration::from_secs(7200));
    assert!((190..=196).contains(&beats.len()), "{}", beats.len());
}

/// The seconds at which heartbeats are accepted, until nobody waits for the outcome any more.
fn beats(timeout: Duration) -> Vec<i64> {
    let start: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
    let event = hook_event(start);
    let policy = snooze_policy::check(
        r#"{"name":"p","match":{"type":["cloud.instance.termination"]},
            "handlers":[{"plugin":"flush"}],"actions":[{"action":"complete-lifecycle"}]}"#,
    );
    let policies = [policy.unwrap()].into_iter().collect();
    let shelf = Shelf { version: Some(1), policies, faults: Vec::new() };
    let facts = Facts::default();
    let opening = Opening {
        event: &event,
        facts: Some(&facts),
        shelf: &shelf,
        hook_timeout: Some(timeout),
        lifecycle_budget: Duration::from_secs(48 * 3600),
    };
    let mut incident = Incident::open("incident", opening, start);
    incident.sent(HEARTBEAT, start);
    let expires_at = start + Duration::from_secs(3600);
    let mut order =
        Order { incident: "incident".to_owned(), task: HEARTBEAT.to_owned(), expires_at };
    let (mut now, mut beats) = (start, Vec::new());
    for number in 0..100_000 {
        let attempt = number.to_string();
        // The message takes a second on its way.
        now += Duration::from_secs(1);
        assert_eq!(taking::start(&mut incident, &order, &attempt, now), Start::Go, "at {now}");
        let did = match hooks::needless(&incident, now) {
            Some(why) => Did::Done(why.to_owned()),
            None => Did::Beat(incident.hook.as_ref().unwrap().beat().min(LONGEST)),
        };
        let until = taking::until(&incident, &order);
        let verdict = verdict(did, 1, &attempt, LONGEST, now, until);
        if verdict.finish == Finish::Beaten {
            beats.push(now.duration_since(start).as_secs());
        }
        order = taking::next(&order, &incident, &verdict, now);
        let again = verdict.again;
        incident.finish(HEARTBEAT, &attempt, verdict.finish, now);
        let Some(delay) = again else { return beats };
        now += delay;
    }
    panic!("the heartbeats never end");
}

/// A queue holds an order back for this long at most.
const LONGEST: Duration = Duration::from_secs(900);

fn hook_event(time: Timestamp) -> Event {
    let data = serde_json::json!({
        "LifecycleActionToken": "87654321-4321-4321-4321-210987654321",
        "AutoScalingGroupName": "orders", "LifecycleHookName": "save" });
    Event {
        cause: Some(snooze_event::Cause::Lifecycle),
        action: Some(snooze_event::LossAction::Terminate),
        instance: Some("i-0123456789abcdef0".parse().unwrap()),
        data: data.as_object().cloned().unwrap(),
        ..Event::new(
            EventType::InstanceTermination,
            "aws.autoscaling",
            time,
            "e-1".parse().unwrap(),
        )
    }
}
