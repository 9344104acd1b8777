//! What the server says of its data on disk.

/// The figures of `INFO` that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// A background save runs.
    pub(crate) saving: bool,
    /// The append-only file is being rewritten, and no background save can start meanwhile.
    pub(crate) rewriting: bool,
    /// The last background save went well.
    pub(crate) last_save_ok: bool,
    /// When the last good save ended, in seconds since 1970 by the server's clock.
    pub(crate) last_save: u64,
    /// How many changes the last save does not have.
    pub(crate) changes: u64,
    /// The append-only file is on.
    pub(crate) aof: bool,
    /// What clients wrote is in the file and was given to the disk, as far as the server says.
    pub(crate) aof_settled: bool,
    /// The last write to the append-only file went well, or there was none.
    pub(crate) aof_ok: bool,
    /// How many keys all databases hold.
    pub(crate) keys: u64,
    /// What the data takes in memory; 0 when the server does not say.
    pub(crate) bytes: u64,
    /// `master` or `slave`, as the server itself says.
    pub(crate) role: String,
    /// It is a node of a cluster.
    pub(crate) cluster: bool,
    /// How many clients are connected, this one included.
    pub(crate) clients: u64,
}

impl State {
    /// Reads the text of `INFO`. What a server does not say counts as quiet: old ones know less.
    pub(crate) fn read(info: &str) -> Self {
        let said = |key: &str| {
            info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
        };
        let number = |key: &str| said(key).and_then(|text| text.parse().ok()).unwrap_or(0);
        let on = |key: &str| number(key) == 1;
        let ok = |key: &str| said(key).is_none_or(|text| text == "ok");
        Self {
            saving: on("rdb_bgsave_in_progress"),
            rewriting: on("aof_rewrite_in_progress"),
            last_save_ok: ok("rdb_last_bgsave_status"),
            last_save: number("rdb_last_save_time"),
            changes: number("rdb_changes_since_last_save"),
            aof: on("aof_enabled"),
            aof_settled: number("aof_buffer_length") == 0 && number("aof_pending_bio_fsync") == 0,
            aof_ok: ok("aof_last_write_status"),
            keys: info.lines().filter_map(keys).sum(),
            bytes: number("used_memory_dataset"),
            role: said("role").unwrap_or("master").to_owned(),
            cluster: on("cluster_enabled"),
            clients: number("connected_clients"),
        }
    }
}

/// The number of keys in a line such as `db0:keys=3,expires=0,avg_ttl=0`.
fn keys(line: &str) -> Option<u64> {
    let (number, figures) = line.strip_prefix("db")?.split_once(':')?;
    let is_database = number.bytes().all(|digit| digit.is_ascii_digit());
    let keys = figures.strip_prefix("keys=")?.split(',').next()?;
    is_database.then(|| keys.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_busy_server_are_read() {
        let state = State::read(
            "# Persistence\r\nrdb_changes_since_last_save:12\r\nrdb_bgsave_in_progress:1\r\n\
             rdb_last_save_time:1700000000\r\nrdb_last_bgsave_status:err\r\naof_enabled:1\r\n\
             aof_last_write_status:err\r\naof_pending_bio_fsync:1\r\n# Memory\r\n\
             used_memory_dataset:77\r\n# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\n\
             db11:keys=4,expires=1,avg_ttl=9\r\n",
        );
        assert!(state.saving && state.aof && !state.last_save_ok && !state.aof_ok);
        assert!(!state.aof_settled && !state.rewriting);
        assert_eq!((state.changes, state.last_save), (12, 1_700_000_000));
        assert_eq!((state.keys, state.bytes), (7, 77));
    }

    #[test]
    fn a_server_that_says_nothing_is_quiet() {
        let state = State::read("");
        assert!(!state.saving && state.last_save_ok && state.aof_ok && state.aof_settled);
    }
}
