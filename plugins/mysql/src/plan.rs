//! What is said to the server, and in which order.

use crate::facts::{Facts, Flavour};
use crate::settings::{Hold, Settings, Strategy};

/// One statement that saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Writes are refused; on MariaDB not those of users who may write nevertheless.
    ReadOnly,
    /// All tables are closed and written, and writes wait.
    Lock,
    /// The binary log is on disk, and a new file begins.
    BinaryLogs,
    /// What is committed from here on is in InnoDB's log at once (1), or later.
    CommitsAt(u64),
    /// What was committed is in InnoDB's log on disk.
    EngineLogs,
    /// The pages that the log speaks of are on disk; MariaDB only.
    Checkpoint,
    /// How InnoDB ends.
    FastShutdown(i64),
}

/// What comes after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There was no lock.
    Nothing,
    /// Writes go on.
    Unlock,
    /// The lock stays until the instance goes.
    Hold,
    /// The server ends.
    Stop,
}

/// All that is said, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What saves.
    pub steps: Vec<Step>,
    /// What comes after that.
    pub end: End,
}

impl Plan {
    /// Decides. Whatever takes the server away from its clients beyond the flush itself is done
    /// only when the instance `leaves`: the event says when it goes.
    #[must_use]
    pub fn new(settings: &Settings, facts: &Facts, leaves: bool) -> Self {
        let strategy = match settings.strategy {
            Strategy::FastStop if !leaves => Strategy::Lock,
            Strategy::Lock | Strategy::Logs | Strategy::FastStop => settings.strategy,
        };
        let locks = strategy == Strategy::Lock;
        let refuses = settings.read_only && leaves && !already_read_only(facts);
        let end = match strategy {
            Strategy::Lock if leaves && settings.hold == Hold::Deadline => End::Hold,
            Strategy::Lock => End::Unlock,
            Strategy::Logs => End::Nothing,
            Strategy::FastStop => End::Stop,
        };
        // MariaDB flushes the log of InnoDB only as well as it does at a commit (measured: with 0
        // not at all), and MySQL wholly.
        let lax = facts.flush_log_at_trx_commit.filter(|at| {
            *at != 1 && facts.flavour == Flavour::MariaDb && settings.flush_engine_logs
        });
        let fast = settings.innodb_fast_shutdown.filter(|_| end == End::Stop);
        let steps = [
            Some(Step::ReadOnly).filter(|_| refuses),
            Some(Step::Lock).filter(|_| locks),
            Some(Step::BinaryLogs).filter(|_| settings.flush_binary_logs && facts.binary_log),
            lax.map(|_| Step::CommitsAt(1)),
            Some(Step::EngineLogs).filter(|_| settings.flush_engine_logs),
            lax.map(Step::CommitsAt),
            Some(Step::Checkpoint)
                .filter(|_| settings.checkpoint && facts.flavour == Flavour::MariaDb),
            fast.map(Step::FastShutdown),
        ];
        Self { steps: steps.into_iter().flatten().collect(), end }
    }

    /// Something is left that has to be undone when the machine lives on.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.end {
            End::Hold => true,
            End::Stop => false,
            End::Nothing | End::Unlock => self.steps.contains(&Step::ReadOnly),
        }
    }

    /// The statements as they are sent.
    #[must_use]
    pub fn statements(&self, facts: &Facts) -> Vec<String> {
        let steps = self.steps.iter().map(|step| step.sql(facts));
        steps.chain(self.end.sql().map(str::to_owned)).collect()
    }
}

impl Step {
    /// The statement. None of them goes to replicas.
    #[must_use]
    pub fn sql(self, facts: &Facts) -> String {
        match self {
            Self::ReadOnly => match facts.flavour {
                Flavour::MySql => "SET GLOBAL super_read_only = 1".to_owned(),
                Flavour::MariaDb => "SET GLOBAL read_only = 1".to_owned(),
            },
            Self::Lock => "FLUSH TABLES WITH READ LOCK".to_owned(),
            Self::BinaryLogs => "FLUSH LOCAL BINARY LOGS".to_owned(),
            Self::CommitsAt(when) => {
                format!("SET GLOBAL innodb_flush_log_at_trx_commit = {when}")
            }
            Self::EngineLogs => "FLUSH LOCAL ENGINE LOGS".to_owned(),
            Self::Checkpoint => "SET GLOBAL innodb_log_checkpoint_now = 1".to_owned(),
            Self::FastShutdown(how) => format!("SET GLOBAL innodb_fast_shutdown = {how}"),
        }
    }

    /// What is on disk after it, as the word for results.
    #[must_use]
    pub fn saves(self) -> Option<&'static str> {
        match self {
            Self::Lock => Some("tables"),
            Self::BinaryLogs => Some("binary_logs"),
            Self::EngineLogs => Some("engine_logs"),
            Self::Checkpoint => Some("checkpoint"),
            Self::ReadOnly | Self::CommitsAt(_) | Self::FastShutdown(_) => None,
        }
    }
}

impl End {
    /// The statement, if there is one.
    #[must_use]
    pub fn sql(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Hold => None,
            Self::Unlock => Some("UNLOCK TABLES"),
            Self::Stop => Some("SHUTDOWN"),
        }
    }
}

/// Whether writes are refused without us, which is then not ours to undo.
fn already_read_only(facts: &Facts) -> bool {
    match facts.flavour {
        Flavour::MySql => facts.super_read_only,
        Flavour::MariaDb => facts.read_only,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    const MARIA: &str = "10.11.6-MariaDB";
    const MYSQL: &str = "8.4.2";

    fn check(settings: &Value, server: &[(&str, &str)], leaves: bool, expected: &[&str]) -> bool {
        let mut settings = settings.as_object().unwrap().clone();
        settings.insert("dsn".to_owned(), "/".into());
        let settings = Settings::read(&settings).unwrap_or_else(|error| panic!("{error}"));
        let rows: BTreeMap<String, String> =
            server.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let facts = Facts::read(&rows);
        let plan = Plan::new(&settings, &facts, leaves);
        assert_eq!(plan.statements(&facts), expected);
        plan.holds()
    }

    // S0-59, D-20
    #[test]
    fn by_default_tables_are_locked_logs_flushed_and_tables_unlocked() {
        let server = [("version", MARIA), ("log_bin", "ON")];
        let expected = [
            "FLUSH TABLES WITH READ LOCK",
            "FLUSH LOCAL BINARY LOGS",
            "FLUSH LOCAL ENGINE LOGS",
            "UNLOCK TABLES",
        ];
        assert!(!check(&json!({}), &server, true, &expected));
    }

    // D-20
    #[test]
    fn a_lock_is_held_and_writes_are_refused_only_when_the_instance_leaves() {
        let settings = json!({ "hold": "deadline", "read_only": true });
        let holding =
            ["SET GLOBAL read_only = 1", "FLUSH TABLES WITH READ LOCK", "FLUSH LOCAL ENGINE LOGS"];
        assert!(check(&settings, &[("version", MARIA)], true, &holding));
        let [_, lock, logs] = holding;
        assert!(!check(&settings, &[("version", MARIA)], false, &[lock, logs, "UNLOCK TABLES"]));
        let stop = json!({ "strategy": "fast-stop" });
        assert!(!check(&stop, &[("version", MARIA)], false, &[lock, logs, "UNLOCK TABLES"]));
    }

    #[test]
    fn mysql_refuses_writes_of_all_and_has_no_checkpoint_at_will() {
        let settings = json!({ "strategy": "logs", "read_only": true, "checkpoint": true });
        let expected = ["SET GLOBAL super_read_only = 1", "FLUSH LOCAL ENGINE LOGS"];
        assert!(check(&settings, &[("version", MYSQL)], true, &expected));
        let both = [("version", MYSQL), ("super_read_only", "ON"), ("read_only", "ON")];
        assert!(!check(&settings, &both, true, &expected[1..]), "not ours to undo");
        let expected = ["FLUSH LOCAL ENGINE LOGS", "SET GLOBAL innodb_log_checkpoint_now = 1"];
        assert!(!check(&settings, &[("version", MARIA), ("read_only", "ON")], true, &expected));
    }

    #[test]
    fn mariadb_is_made_to_flush_its_log_where_it_does_not_at_a_commit() {
        let settings = json!({ "strategy": "logs" });
        let lax = ("innodb_flush_log_at_trx_commit", "2");
        let expected = [
            "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
            "FLUSH LOCAL ENGINE LOGS",
            "SET GLOBAL innodb_flush_log_at_trx_commit = 2",
        ];
        check(&settings, &[("version", MARIA), lax], true, &expected);
        check(&settings, &[("version", MYSQL), lax], true, &expected[1..2]);
        let none = json!({ "strategy": "logs", "flush_engine_logs": false });
        check(&none, &[("version", MARIA), lax], true, &[]);
    }

    #[test]
    fn a_stop_locks_nothing_since_a_clean_end_writes_all_there_is() {
        let settings = json!({ "strategy": "fast-stop", "innodb_fast_shutdown": 2 });
        let expected = [
            "FLUSH LOCAL BINARY LOGS",
            "FLUSH LOCAL ENGINE LOGS",
            "SET GLOBAL innodb_fast_shutdown = 2",
            "SHUTDOWN",
        ];
        assert!(!check(&settings, &[("version", MARIA), ("log_bin", "ON")], true, &expected));
    }
}
