//! The simulation of mass reclaims, and the document that shows it.

use std::fs;
use std::time::Duration;

use snooze_tests::dice::Dice;
use snooze_tests::{place, scale};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn d14_a_mass_reclaim_is_told_in_time_with_calls_that_grow_with_the_notices_alone() {
    for (fleet, notices) in scale::FLEETS {
        let drain = scale::drain(&scale::ours(), notices, MINUTE, &mut Dice::new(7));
        assert_eq!(drain.calls, notices * 6, "{fleet}: calls");
        if notices <= 10_000 {
            assert!(drain.p99 < Duration::from_secs(10), "{fleet}: {drain:?}");
            assert_eq!(drain.too_late, 0, "{fleet}");
        }
    }
}

#[test]
fn d14_a_describe_call_for_each_notice_would_come_too_late() {
    let drain = |quotas, notices| scale::drain(quotas, notices, MINUTE, &mut Dice::new(7));
    let theirs = scale::with_describe();
    // 1,000 at once would need (1,000 - 100) / 20 = 45 s; 10,000 need 495 s.
    let at_once = scale::drain(&theirs, 1000, Duration::ZERO, &mut Dice::new(7));
    assert!((44.0..48.0).contains(&at_once.drained.as_secs_f64()), "{at_once:?}");
    let many = drain(&theirs, 10_000);
    assert!((490.0..500.0).contains(&many.drained.as_secs_f64()), "{many:?}");
    assert!(many.too_late > 5000, "{many:?}");
}

#[test]
fn the_table_of_the_document_is_the_one_of_the_simulation() {
    let path = place::root().join("docs/scale.md");
    let text = fs::read_to_string(&path).unwrap();
    let table = scale::table();
    if !text.contains(&table) {
        panic!("docs/scale.md shows another table than this one:\n{table}");
    }
}
