//! Jobs go back into the queue, and it is read back that they did.
//!
//! Slurm needs a cluster, so that its commands are stand-ins here: a file for each job holds its
//! state. What they say when they refuse is what Slurm 22.05 says.

use std::fs;
use std::path::PathBuf;

use host_plugins::{Programs, SlurmRequeue};
use serde_json::{Value, json};
use snooze_plugin::{Handled, Info, Plugin};
use tempfile::TempDir;

use crate::common::{self, event, handle, notice, script};

#[test]
fn the_jobs_of_the_node_are_requeued_after_it_was_drained() {
    let slurm = Slurm::new();
    slurm.job("17", "RUNNING");
    slurm.job("18", "RUNNING");
    let handled = slurm.handle(&json!({ "node": "gpu-1" }));
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert_eq!(handled.status.as_deref(), Some("jobs_requeued"));
    assert_eq!(handled.more["saved"], json!(["job 17", "job 18"]));
    assert_eq!(slurm.state("17"), "PENDING");
    assert_eq!(
        slurm.orders(),
        [
            "scontrol update nodename=gpu-1 state=drain reason=cloudsnooze: the instance goes away",
            "scontrol requeue 17",
            "scontrol requeue 18",
        ]
    );
    assert!(slurm.log().contains("--nodelist=gpu-1 "), "{}", slurm.log());
}

#[test]
fn jobs_may_save_first_and_those_that_requeue_themselves_are_left_alone() {
    let slurm = Slurm::new();
    slurm.job("17", "RUNNING");
    slurm.job("18", "RUNNING");
    // As PyTorch Lightning does on this signal.
    slurm.on_signal("18", "PENDING");
    let config = json!({ "signal": "USR1", "signal_seconds": 2, "drain": false, "hold": true });
    let handled = slurm.handle(&config);
    assert_eq!(handled.verified, Some(true), "{handled:?}");
    assert_eq!(
        slurm.orders(),
        [
            "scancel --signal=USR1 --batch 17",
            "scancel --signal=USR1 --batch 18",
            "scontrol requeuehold 17",
        ]
    );
}

#[test]
fn a_job_that_cannot_be_requeued_or_has_ended_is_told() {
    let slurm = Slurm::new();
    slurm.job("17", "RUNNING");
    slurm.job("66", "RUNNING");
    slurm.job("19", "RUNNING");
    slurm.on_signal("19", "gone");
    let handled = slurm.handle(&json!({ "signal": "USR1", "signal_seconds": 2 }));
    assert_eq!((handled.handled, handled.verified), (true, Some(false)));
    assert_eq!(handled.more["saved"], json!(["job 17"]));
    let told = handled.more["not_done"].to_string();
    assert!(told.contains("job 66") && told.contains("Requested operation is presently disabled"));
    assert!(told.contains("job 19") && told.contains("it has ended and is not in the queue"));
}

#[test]
fn a_job_that_stays_on_the_node_is_not_said_to_be_requeued() {
    let slurm = Slurm::new();
    slurm.job("55", "RUNNING");
    let handled = slurm.handle(&json!({ "timeout_seconds": 6 }));
    assert_eq!((handled.handled, handled.verified), (false, Some(false)));
    let error = handled.error.unwrap();
    assert!(error.starts_with("job 55: "), "{error}");
}

#[test]
fn a_node_without_jobs_is_drained_all_the_same() {
    let slurm = Slurm::new();
    let handled = slurm.handle(&json!({ "node": "gpu-1" }));
    assert_eq!(handled.status.as_deref(), Some("nothing_to_requeue"));
    assert!(slurm.orders()[0].contains("state=drain"));
}

#[test]
fn without_slurm_it_says_so_also_before_the_notice() {
    let mut plugin = SlurmRequeue::new(Programs::of(vec!["/nowhere".into()]));
    let refusal = "`squeue` is not installed: it is in none of /nowhere";
    assert_eq!(handle(&mut plugin, &json!({}), &notice()).error.as_deref(), Some(refusal));
    assert_eq!(plugin.health().unwrap_err().to_string(), refusal);
}

#[test]
fn a_drill_a_dry_run_and_a_warning_change_nothing() {
    let slurm = Slurm::new();
    slurm.job("17", "RUNNING");
    let config = json!({ "node": "gpu-1", "signal": "USR1" });
    let told = json!(["drain gpu-1", "send USR1 to job 17", "requeue job 17"]);
    let drill = event("cloud.spot.interrupt", json!({ "drill": true }));
    let handled = handle(&mut slurm.plugin(), &config, &drill);
    assert_eq!((handled.status.as_deref(), &handled.more["would"]), (Some("dry_run"), &told));
    let warning = event("cloud.spot.rebalance", json!({}));
    assert_eq!(handle(&mut slurm.plugin(), &config, &warning), Handled::not_mine());
    assert!(slurm.orders().is_empty());
}

#[test]
fn the_program_says_who_it_is() {
    let info = common::info_of(env!("CARGO_BIN_EXE_slurm-requeue"));
    assert_eq!(Info::read(&info).unwrap().name, "slurm-requeue");
}

/// The stand-ins, and the jobs that they know. Job 66 may not be requeued, job 55 never leaves.
struct Slurm {
    folder: TempDir,
}

const COMMANDS: [(&str, &str); 3] = [
    (
        "squeue",
        r#"for job in *; do
             [ -e "$job" ] || continue
             state=$(cat "$job")
             case " $* " in
             *" --nodelist="*) [ "$state" = PENDING ] && continue ;;
             *" --jobs="*) case ",${2#--jobs=}," in *",$job,"*) ;; *) continue ;; esac ;;
             esac
             found=yes
             echo "$job|$state"
           done
           case " $* " in *" --jobs="*) [ $found ] || { echo 'Invalid job id specified' >&2; exit 1; } ;; esac"#,
    ),
    (
        "scontrol",
        r#"case $1-$2 in
           requeue*-66) echo 'Requested operation is presently disabled for job 66' >&2; exit 1 ;;
           requeue*-55) echo COMPLETING > 55 ;;
           requeue*) echo PENDING > "$2" ;;
           esac"#,
    ),
    (
        "scancel",
        r#"then=$(cat "../then-$3" 2>/dev/null)
           case $then in '') ;; gone) rm "$3" ;; *) echo "$then" > "$3" ;; esac"#,
    ),
];

impl Slurm {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("jobs")).unwrap();
        for (name, text) in COMMANDS {
            let text = format!(
                "#!/bin/sh\ncd \"$(dirname \"$0\")/jobs\" || exit 1\n\
                 echo {name} \"$@\" >> ../log\n{text}\nexit 0\n"
            );
            script(&folder.path().join(name), &text);
        }
        Self { folder }
    }

    fn job(&self, id: &str, state: &str) {
        fs::write(self.path("jobs").join(id), state).unwrap();
    }

    /// What becomes of a job that gets a signal.
    fn on_signal(&self, id: &str, then: &str) {
        fs::write(self.path(&format!("then-{id}")), then).unwrap();
    }

    fn state(&self, id: &str) -> String {
        fs::read_to_string(self.path("jobs").join(id)).unwrap().trim().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn plugin(&self) -> SlurmRequeue {
        SlurmRequeue::new(Programs::of(vec![self.folder.path().to_owned()]))
    }

    fn handle(&self, config: &Value) -> Handled {
        handle(&mut self.plugin(), config, &notice())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// What was changed, in order.
    fn orders(&self) -> Vec<String> {
        let log = self.log();
        log.lines().filter(|line| !line.starts_with("squeue")).map(str::to_owned).collect()
    }
}
