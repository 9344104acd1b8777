//! The answers that the reference matcher gave.

use snooze_pattern::suite::Suite;

const VECTORS: &str = include_str!("../../samples/eventbridge-pattern-conformance.json");

#[test]
fn every_vector_of_the_reference_matcher_passes() {
    let report = Suite::read(VECTORS).unwrap().run();
    assert_eq!(report.disagreements, Vec::<String>::new());
    assert_eq!((report.passed, report.failed), (59, 0));
}
