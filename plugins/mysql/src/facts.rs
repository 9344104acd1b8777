//! What the server says of itself, as far as it matters here.

use std::collections::BTreeMap;

/// Which of the two servers it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// MySQL, and what calls itself so.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// How the server is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Which server it is.
    pub flavour: Flavour,
    /// Its version: major and minor number.
    pub version: (u32, u32),
    /// `innodb_flush_log_at_trx_commit`.
    pub flush_log_at_trx_commit: Option<u64>,
    /// `sync_binlog`.
    pub sync_binlog: Option<u64>,
    /// It writes a binary log.
    pub binary_log: bool,
    /// It refuses writes of most users.
    pub read_only: bool,
    /// It refuses writes of all users; MySQL only.
    pub super_read_only: bool,
    /// Where it keeps its process id.
    pub pid_file: Option<String>,
    /// Its unix socket.
    pub socket: Option<String>,
}

/// How much is not on disk yet; `None` is what the server does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// How far InnoDB's log was written by all that was done.
    pub log_written: Option<u64>,
    /// How far that log is on disk.
    pub log_on_disk: Option<u64>,
    /// How much of that log a server reads again when it starts after a crash.
    pub log_since_checkpoint: Option<u64>,
    /// Pages of InnoDB in memory that are newer than on disk, in bytes.
    pub dirty: Option<u64>,
    /// Blocks of `MyISAM` indexes in memory that are newer than on disk.
    pub index_blocks: Option<u64>,
}

/// The variables that [`Facts`] are read from.
pub(crate) const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', \
    'innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin', 'read_only', 'super_read_only', \
    'pid_file', 'socket')";

/// The counters that [`Figures`] are read from: the first names are MariaDB's, those with `redo`
/// MySQL's since 8.0.30.
pub(crate) const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_lsn_current', \
    'Innodb_lsn_flushed', 'Innodb_checkpoint_age', 'Innodb_redo_log_current_lsn', \
    'Innodb_redo_log_flushed_to_disk_lsn', 'Innodb_redo_log_checkpoint_lsn', \
    'Innodb_buffer_pool_bytes_dirty', 'Key_blocks_not_flushed')";

impl Facts {
    /// Reads the rows of [`VARIABLES`].
    #[must_use]
    pub fn read(rows: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| rows.get(name).cloned();
        let number = |name: &str| rows.get(name)?.parse().ok();
        let on = |name: &str| matches!(rows.get(name).map(String::as_str), Some("ON" | "1"));
        let version = text("version").unwrap_or_default();
        let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        Self {
            flavour: match version.to_ascii_lowercase().contains("mariadb") {
                true => Flavour::MariaDb,
                false => Flavour::MySql,
            },
            version: (parts.next().unwrap_or(0), parts.next().unwrap_or(0)),
            flush_log_at_trx_commit: number("innodb_flush_log_at_trx_commit"),
            sync_binlog: number("sync_binlog"),
            binary_log: on("log_bin"),
            // MariaDB 12 has more words than two for it.
            read_only: text("read_only").is_some_and(|word| word != "OFF" && word != "0"),
            super_read_only: on("super_read_only"),
            pid_file: text("pid_file"),
            socket: text("socket"),
        }
    }

    /// Whether what a client was told is committed survives a power cut, flushed or not; `None`
    /// when the server does not tell.
    #[must_use]
    pub fn durable_commits(&self) -> Option<bool> {
        let binary_log = !self.binary_log || self.sync_binlog? == 1;
        Some(self.flush_log_at_trx_commit? == 1 && binary_log)
    }

    /// The statement that tells where the binary log ends.
    #[must_use]
    pub fn binary_log_position(&self) -> &'static str {
        match self.flavour == Flavour::MySql && self.version >= (8, 2) {
            true => "SHOW BINARY LOG STATUS",
            false => "SHOW MASTER STATUS",
        }
    }
}

impl Figures {
    /// Reads the rows of [`STATUS`].
    #[must_use]
    pub fn read(rows: &BTreeMap<String, String>) -> Self {
        let number = |name: &str| rows.get(name)?.parse::<u64>().ok();
        let either = |maria: &str, mysql: &str| number(maria).or_else(|| number(mysql));
        let written = either("Innodb_lsn_current", "Innodb_redo_log_current_lsn");
        let checkpoint = number("Innodb_redo_log_checkpoint_lsn");
        let age = written.zip(checkpoint).map(|(end, start)| end.saturating_sub(start));
        Self {
            log_written: written,
            log_on_disk: either("Innodb_lsn_flushed", "Innodb_redo_log_flushed_to_disk_lsn"),
            log_since_checkpoint: number("Innodb_checkpoint_age").or(age),
            dirty: number("Innodb_buffer_pool_bytes_dirty"),
            index_blocks: number("Key_blocks_not_flushed"),
        }
    }

    /// How much of the log was in memory only.
    #[must_use]
    pub fn behind(&self) -> Option<u64> {
        let (written, on_disk) = self.log_written.zip(self.log_on_disk)?;
        Some(written.saturating_sub(on_disk))
    }

    /// Whether all that was done up to `before` is in the log on disk.
    #[must_use]
    pub fn cover(&self, before: &Self) -> Option<bool> {
        let (written, on_disk) = before.log_written.zip(self.log_on_disk)?;
        Some(on_disk >= written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn mariadb_and_mysql_are_told_apart_by_their_version() {
        let maria = Facts::read(&rows("version=10.11.19-MariaDB-0+deb12u1-log log_bin=ON"));
        assert_eq!((maria.flavour, maria.version), (Flavour::MariaDb, (10, 11)));
        assert_eq!(maria.binary_log_position(), "SHOW MASTER STATUS");
        let old = Facts::read(&rows("version=8.0.36 super_read_only=ON read_only=ON"));
        assert_eq!((old.flavour, old.version), (Flavour::MySql, (8, 0)));
        assert!(old.super_read_only && old.read_only && !maria.read_only);
        assert_eq!(old.binary_log_position(), "SHOW MASTER STATUS");
        let new = Facts::read(&rows("version=8.4.0"));
        assert_eq!(new.binary_log_position(), "SHOW BINARY LOG STATUS");
    }

    #[test]
    fn commits_are_durable_only_when_both_logs_are_written_at_each() {
        let durable = |text: &str| Facts::read(&rows(text)).durable_commits();
        let log = "innodb_flush_log_at_trx_commit=1";
        assert_eq!(durable(&format!("{log} log_bin=ON sync_binlog=1")), Some(true));
        assert_eq!(durable(&format!("{log} log_bin=ON sync_binlog=0")), Some(false));
        assert_eq!(durable(&format!("{log} log_bin=OFF sync_binlog=0")), Some(true));
        assert_eq!(durable("innodb_flush_log_at_trx_commit=2 log_bin=OFF"), Some(false));
        assert_eq!(durable("log_bin=OFF"), None);
    }

    #[test]
    fn figures_are_read_by_the_names_of_either_server() {
        let maria = Figures::read(&rows(
            "Innodb_lsn_current=50 Innodb_lsn_flushed=40 Innodb_checkpoint_age=30 \
             Innodb_buffer_pool_bytes_dirty=16384 Key_blocks_not_flushed=2",
        ));
        let mysql = Figures::read(&rows(
            "Innodb_redo_log_current_lsn=50 Innodb_redo_log_flushed_to_disk_lsn=40 \
             Innodb_redo_log_checkpoint_lsn=20 Innodb_buffer_pool_bytes_dirty=16384 \
             Key_blocks_not_flushed=2",
        ));
        assert_eq!(maria, mysql);
        assert_eq!((maria.behind(), maria.log_since_checkpoint), (Some(10), Some(30)));
        let after = Figures { log_on_disk: Some(50), ..Figures::default() };
        assert_eq!((after.cover(&maria), maria.cover(&maria)), (Some(true), Some(false)));
        assert_eq!(Figures::default().cover(&maria), None);
    }
}
