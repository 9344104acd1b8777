//! What plugins cannot do, by those that try. Where this machine cannot put something on them,
//! the plan must say so.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Map, Value, json};
use snooze_tests::wait;
use snoozed::plugins::{Entry, Outcome, PluginState, StepOutcome};
use snoozed::sandbox::{Abilities, Amounts, Sandbox, User};

use super::bench::{Bench, bench_entry, check, ms};

/// Long enough for a slow machine.
const BUDGET: u64 = 30_000;

#[test]
fn f7_a_fork_bomb_stops_at_its_limit_and_its_neighbours_work_on() {
    check(&["echo", "bomb"], async |bench| {
        let amounts = Amounts { processes: Some(20), ..Amounts::default() };
        let sandbox = Sandbox { amounts, user: user(63_007), permissions: None };
        if !bench.confined(&["echo", "bomb"], "bomb", sandbox, json!({})).await {
            return bench.told("limits.processes");
        }
        let outcome = bench.run("hostile-bomb", ms(BUDGET)).await;
        // Itself is one of the twenty.
        assert_eq!(outcome.result.get("children"), Some(&json!(19)), "{outcome:?}");
        let end = outcome.result.get("end").and_then(Value::as_str).unwrap();
        assert!(end.contains("temporarily unavailable"), "{end}");
        // A child that has just begun bears no name for a moment.
        wait::until("the names of all children", || {
            (bench.named("hostile-bomb forever") == 19).then_some(())
        });
        for _ in 0..20 {
            assert_eq!(bench.run("hostile-echo", ms(BUDGET)).await.outcome, Outcome::Done);
        }
        assert_eq!(bench.status("hostile-echo").stats.failures, 0);
    });
}

#[test]
fn f8_a_memory_hog_dies_at_its_limit_and_the_daemon_does_not_grow() {
    check(&["echo", "eat"], async |bench| {
        let amounts = Amounts { memory_mb: Some(64), ..Amounts::default() };
        let sandbox = Sandbox { amounts, ..Sandbox::default() };
        bench.confined(&["echo", "eat"], "eat", sandbox, json!({})).await;
        bench.told("limits.memory_mb");
        bench.until(PluginState::Ready, "hostile-eat").await;
        let before = resident_mib();
        let outcome = bench.run("hostile-eat", ms(BUDGET)).await;
        // Its allocator gives up.
        assert_eq!(outcome.outcome, Outcome::Killed { signal: 6 }, "{outcome:?}");
        assert!(resident_mib() < before + 32, "{before} MiB before, {} after", resident_mib());
        assert_eq!(bench.run("hostile-echo", ms(BUDGET)).await.outcome, Outcome::Done);
    });
}

#[test]
fn f8_the_kernel_ends_plugins_before_the_daemon() {
    check(&["hang"], async |bench| {
        bench.until(PluginState::Ready, "hang").await;
        let score = |pid: i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
            text.trim().parse::<i32>().unwrap()
        };
        let own = score(std::process::id().try_into().unwrap());
        let keeper = bench.keeper("hang");
        let plugin = snoozed::launch::children_of(keeper)[0];
        assert_eq!(score(keeper.as_raw_nonzero().get()), own);
        assert_eq!(score(plugin.as_raw_nonzero().get()), 500);
    });
}

#[test]
fn f18_without_permission_no_way_leads_to_the_metadata_service() {
    check(&["imds"], async |bench| {
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        service.set_nonblocking(true).unwrap();
        let address = service.local_addr().unwrap();
        let port = format!("network:{}", address.port());
        let config = json!({ "address": address.to_string() });
        let ways = ["tcp", "mapped", "multipath", "fast_open"];
        for (permissions, closed) in [
            (&[][..], &["tcp", "mapped", "multipath", "fast_open", "datagram"][..]),
            (&["network:1"], &ways),
            (&[&port], &["multipath", "fast_open"]),
        ] {
            let sandbox = permitted(permissions);
            bench.confined(&["imds"], "imds", sandbox, config.clone()).await;
            if bench.gaps("imds").iter().any(|gap| gap.starts_with("network")) {
                continue;
            }
            let outcome = bench.run("hostile-imds", ms(BUDGET)).await;
            let open = not_refused(&outcome, "reached");
            let is_open = |way: &&str| open.iter().any(|name| name == way);
            assert!(!closed.iter().any(&is_open), "{permissions:?}: {outcome:?}");
            let came = service.accept().is_ok();
            let may = permissions.contains(&port.as_str());
            assert_eq!((is_open(&"tcp"), came), (may, may), "{permissions:?}: {outcome:?}");
        }
    });
}

#[test]
fn f19_walls_keep_a_plugin_of_the_same_user_from_the_daemon() {
    check(&["attack"], async |bench| {
        let config = targets(bench);
        // All that its user may: these tests would not notice attacks that never work.
        bench.confined(&["attack"], "attack", Sandbox::default(), config.clone()).await;
        let outcome = bench.run("hostile-attack", ms(BUDGET)).await;
        let open = not_refused(&outcome, "refused");
        assert!(["kill", "state"].iter().all(|way| open.iter().any(|name| name == way)));
        bench.confined(&["attack"], "attack", permitted(&[]), config).await;
        let outcome = bench.run("hostile-attack", ms(BUDGET)).await;
        let gaps = bench.gaps("attack");
        let mut open = not_refused(&outcome, "refused");
        open.retain(|way| way != "kill" || !gaps.iter().any(|gap| gap.starts_with("signal")));
        open.retain(|way| way != "user" || !gaps.iter().any(|gap| gap.starts_with("root")));
        assert!(open.is_empty() || told_no_landlock(&gaps), "{outcome:?}");
    });
}

#[test]
fn f19_a_user_of_its_own_keeps_a_plugin_from_the_daemon() {
    check(&["attack"], async |bench| {
        let config = targets(bench);
        let sandbox = Sandbox { user: user(63_019), ..Sandbox::default() };
        if !bench.confined(&["attack"], "attack", sandbox, config).await {
            return bench.told("user");
        }
        let outcome = bench.run("hostile-attack", ms(BUDGET)).await;
        assert_eq!(outcome.outcome, Outcome::Done);
        assert_eq!(not_refused(&outcome, "refused"), Vec::<String>::new(), "{outcome:?}");
    });
}

#[test]
fn f20_a_file_ends_where_its_limit_is() {
    check(&["fill"], async |bench| {
        let path = bench.run_directory().join("filled");
        let amounts = Amounts { file_size_mb: Some(3), ..Amounts::default() };
        let sandbox = Sandbox { amounts, ..Sandbox::default() };
        bench.confined(&["fill"], "fill", sandbox, json!({ "path": path })).await;
        let outcome = bench.run("hostile-fill", ms(BUDGET)).await.outcome;
        // SIGXFSZ
        assert_eq!(outcome, Outcome::Killed { signal: 25 });
        assert_eq!(fs::metadata(path).unwrap().len(), 3 * 1024 * 1024);
    });
}

#[test]
fn a_plugin_reads_and_writes_where_it_may_and_its_own_files_go_with_it() {
    check(&["touch"], async |bench| {
        let place = |name: &str| {
            let path = bench.run_directory().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("file"), "x").unwrap();
            path
        };
        let (open, closed) = (place("open"), place("closed"));
        let config = json!({
            "write": [open, closed, "/var/tmp"],
            "read": [open.join("file"), closed.join("file"), "/etc/passwd"],
        });
        let show = |path: &Path| path.to_str().unwrap().to_owned();
        let (write, read) = (format!("write:{}", show(&open)), format!("read:{}", show(&open)));
        let sandbox = permitted(&[&write, &read]);
        bench.confined(&["touch"], "touch", sandbox, config).await;
        if told_no_landlock(&bench.gaps("touch")) {
            return;
        }
        let outcome = bench.run("hostile-touch", ms(BUDGET)).await;
        let mut expected =
            [show(&open), show(&open.join("file")), "/etc/passwd".into(), "own".into()];
        expected.sort();
        assert_eq!(not_refused(&outcome, "refused"), expected, "{outcome:?}");
        let own = outcome.result.get("refused").and_then(|refused| refused["place"].as_str());
        let own = Path::new(own.unwrap()).to_owned();
        assert!(own.join("x").exists() && own.starts_with(bench.run_directory()));
        bench.host.stop(ms(300)).await;
        assert!(!own.exists(), "its own directory is left");
    });
}

#[test]
fn interpreters_work_behind_walls() {
    check(&["voter.py", "once.sh"], async |bench| {
        for name in ["voter", "once"] {
            let sandbox = Sandbox { user: user(63_025), ..permitted(&["read:/etc"]) };
            bench.settings.sandboxes.each.insert(name.parse().unwrap(), sandbox);
        }
        bench.restart(&["voter", "once"]).await;
        bench.until(PluginState::Ready, "voter").await;
        assert_eq!(bench.run("once", ms(BUDGET)).await.outcome, Outcome::Done);
    });
}

#[test]
fn a_permission_for_a_place_that_is_not_there_is_told_at_the_start() {
    check(&["echo"], async |bench| {
        let sandbox = permitted(&["write:/nonexistent/backups"]);
        bench.confined(&["echo"], "echo", sandbox, json!({})).await;
        if told_no_landlock(&bench.gaps("echo")) {
            return;
        }
        let outcome = bench.run("hostile-echo", ms(BUDGET)).await.outcome;
        let Outcome::CannotStart(text) = outcome else { panic!("{outcome:?}") };
        assert!(text.contains("permission for `/nonexistent/backups`"), "{text}");
    });
}

impl Bench {
    /// Starts `hostile-NAME`s anew, `name` in this sandbox and with this configuration; whether it
    /// has the user that it should have.
    async fn confined(
        &mut self,
        all: &[&str],
        name: &str,
        sandbox: Sandbox,
        config: Value,
    ) -> bool {
        let is_root = Abilities::probe().may_switch_user;
        let plugin = format!("hostile-{name}");
        self.settings.sandboxes.each.insert(plugin.parse().unwrap(), sandbox);
        self.restart(&[]).await;
        let config = config.as_object().cloned().unwrap_or_else(Map::new);
        let entries = all.iter().map(|other| {
            let entry = bench_entry(&format!("hostile-{other}"));
            if *other == name { Entry { config: config.clone(), ..entry } } else { entry }
        });
        self.host.set_entries(entries.collect());
        is_root
    }

    fn gaps(&self, name: &str) -> Vec<String> {
        let sandboxes = &self.settings.sandboxes;
        let sandbox = sandboxes.of(&format!("hostile-{name}").parse().unwrap(), None);
        sandbox.plan(&sandboxes.abilities, Path::new("")).gaps
    }

    /// What is not enforced is told.
    fn told(&self, start: &str) {
        let sandboxes = &self.settings.sandboxes;
        let plans =
            sandboxes.each.values().map(|each| each.plan(&sandboxes.abilities, Path::new("")));
        let gaps: Vec<String> = plans.flat_map(|plan| plan.gaps).collect();
        assert!(gaps.iter().any(|gap| gap.starts_with(start)), "{gaps:?}");
    }
}

pub(super) fn permitted(permissions: &[&str]) -> Sandbox {
    let permissions = permissions.iter().map(|text| text.parse().unwrap()).collect();
    Sandbox { permissions: Some(permissions), ..Sandbox::default() }
}

fn user(uid: u32) -> Option<User> {
    User::find(&uid.to_string(), "", "")
}

fn targets(bench: &Bench) -> Value {
    let state = bench.run_directory().join("state");
    fs::create_dir(&state).unwrap();
    json!({ "pid": std::process::id(), "state": state, "plugins": bench.plugins() })
}

fn told_no_landlock(gaps: &[String]) -> bool {
    gaps.iter().any(|gap| gap.starts_with("paths"))
}

/// The attempts that went well.
fn not_refused(outcome: &StepOutcome, key: &str) -> Vec<String> {
    let attempts = outcome.result.get(key).and_then(Value::as_object);
    let attempts = attempts.unwrap_or_else(|| panic!("{outcome:?}"));
    attempts.iter().filter(|(_, error)| error.is_null()).map(|(name, _)| name.clone()).collect()
}

pub(super) fn resident_mib() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
