//! The promises of the README with slack: the daemon is built for debugging here, and the machine
//! does much else: the best of some tries counts, since noise makes some of them late and a slow
//! daemon all. `cargo xtask bench` measures them as they stand.

use std::time::Duration;

use snooze_tests::promises;
use snooze_tests::setup::Setup;

/// How much slower it may be here.
const SLACK: u32 = 10;

#[test]
fn handlers_read_an_event_in_time_one_as_well_as_ten_side_by_side() {
    let mut setup = Setup::new();
    promises::stamps(&mut setup, "one", 1);
    promises::stamps(&mut setup, "ten", 10);
    let daemon = setup.start();
    promises::wait_until_warm(&daemon);
    for (name, bar) in [("one", Duration::from_millis(10)), ("ten", Duration::from_millis(25))] {
        let best = (0..20).map(|_| promises::to_handlers(&daemon, name)).min().unwrap();
        assert!(best < bar * SLACK, "{name}: {best:?}");
    }
}

#[test]
fn it_is_ready_in_time_and_again_after_a_kill() {
    let mut setup = Setup::new();
    promises::stamps(&mut setup, "usual", 3);
    let first = (0..5).map(|_| promises::to_ready(&setup)).min().unwrap();
    assert!(first < Duration::from_millis(50) * SLACK, "{first:?}");
    let again = (0..5).map(|_| promises::to_ready_again(&setup)).min().unwrap();
    assert!(again < promises::RESTART + Duration::from_millis(50) * SLACK, "{again:?}");
}
