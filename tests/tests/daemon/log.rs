//! A log that nobody reads.

use std::io::{PipeWriter, Write, pipe};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::json;
use snooze_imds::fake::Notice;
use snooze_tests::setup::Setup;
use snooze_tests::{plugins, wait};

#[test]
fn d18_g13_a_log_that_nobody_reads_holds_no_step_up() {
    let mut setup = Setup::new();
    let done = setup.path("done");
    setup.script("plugins/saver.sh", &plugins::recorder("saver", &done, 0.0));
    setup.policy("orders", json!([{ "plugin": "saver", "priority": 100 }]));
    setup.set("log_level", json!("trace"));
    setup.write_settings();
    let (_unread, mut log) = pipe().unwrap();
    fill(&mut log);
    let mut daemon = setup.command().stderr(log).spawn().unwrap();
    setup.fake.spot(Notice::ahead("terminate", Duration::from_secs(120)));
    wait::until("the plugin to save", || {
        let finished = setup.lines("done").iter().any(|line| line.starts_with("finish saver"));
        finished.then_some(())
    });
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// Leaves no room for a single byte; the daemon finds a pipe whose writers wait.
fn fill(log: &mut PipeWriter) {
    fcntl_setfl(&*log, OFlags::NONBLOCK).unwrap();
    while log.write(&[b'\n'; 4096]).is_ok() || log.write(b"\n").is_ok() {}
    fcntl_setfl(&*log, OFlags::empty()).unwrap();
}
