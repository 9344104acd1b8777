//! What can be set.

use std::time::Duration;

use mongodb::options::{ClientOptions, ConnectionString, HostInfo, ServerAddress};
use serde_json::{Map, Value};
use snooze_plugin::{Config, PluginError, Setting};

/// The server of this machine.
const DEFAULT_URL: &str = "mongodb://127.0.0.1:27017/";

/// Half of what the shortest usual notice leaves after its reserve.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the server may take to be there. It is on this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How the data gets to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// `fsync`: the server goes on.
    Fsync,
    /// `fsync`, then a clean `shutdown`.
    Shutdown,
}

impl Strategy {
    const ALL: [Self; 2] = [Self::Fsync, Self::Shutdown];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The checked configuration. It holds the password, so that it has no `Debug`.
pub(crate) struct Settings {
    pub(crate) options: ClientOptions,
    /// The one server of these.
    pub(crate) address: ServerAddress,
    pub(crate) strategy: Strategy,
    /// A primary hands its part over before it is flushed.
    pub(crate) step_down: bool,
    pub(crate) timeout: Duration,
    pub(crate) dry_run: bool,
}

/// All settings.
pub(crate) fn all() -> Vec<Setting> {
    let strategies = Strategy::ALL.map(Strategy::as_str);
    let form = "where the server of this instance is: `mongodb://user:password@host:port/?options`";
    let step_down = "a primary hands its part over first, when the instance goes";
    vec![
        Setting::text("connection_string", form).secret().default(DEFAULT_URL),
        Setting::choice("strategy", &strategies, "how the data gets to disk")
            .default(Strategy::Fsync.as_str()),
        Setting::flag("step_down", step_down).default(true),
        Setting::number("timeout_seconds", 0.1..=3600.0, "how long all of it may take at most")
            .default(DEFAULT_TIMEOUT.as_secs()),
        Setting::dry_run(),
    ]
}

impl Settings {
    pub(crate) async fn read(given: &Map<String, Value>) -> Result<Self, PluginError> {
        let known = all();
        let mut config = Config::new(&known, given);
        let text = config.text("connection_string").unwrap_or_default();
        let server = server(&text).await;
        let server = server.map_err(|fault| config.fault("connection_string", fault)).ok();
        let word = config.text("strategy");
        let strategy = Strategy::ALL.into_iter().find(|s| Some(s.as_str()) == word.as_deref());
        let step_down = config.flag("step_down");
        let timeout = config.seconds("timeout_seconds").unwrap_or(DEFAULT_TIMEOUT);
        let dry_run = config.flag("dry_run");
        config.finish()?;
        // Where nothing is wrong there is a server.
        let (options, address) =
            server.ok_or_else(|| PluginError::new("no usable `connection_string`"))?;
        let strategy = strategy.unwrap_or(Strategy::Fsync);
        Ok(Self { options, address, strategy, step_down, timeout, dry_run })
    }
}

/// The server that a URL names. What is wrong with it is told without any of it.
async fn server(text: &str) -> Result<(ClientOptions, ServerAddress), &'static str> {
    const FORM: &str = "expected `mongodb://user:password@host:port/?options`";
    const ONE: &str = "expected one server, the one of this instance, and not a whole set";
    let mut url = ConnectionString::parse(text).map_err(|_secret| FORM)?;
    let HostInfo::HostIdentifiers(hosts) = &url.host_info else { return Err(ONE) };
    let [address] = hosts.as_slice() else { return Err(ONE) };
    let address = address.clone();
    // The server is asked whatever part it has.
    (url.load_balanced, url.replica_set) = (None, None);
    let mut options = ClientOptions::parse(url).await.map_err(|_secret| FORM)?;
    options.direct_connection = Some(true);
    options.app_name = Some("cloudsnooze".to_owned());
    options.connect_timeout = Some(CONNECT_LIMIT);
    options.server_selection_timeout = Some(CONNECT_LIMIT);
    Ok((options, address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::runtime::Builder;

    use super::*;

    fn check(given: Value) -> Result<Settings, String> {
        let runtime = Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(Settings::read(given.as_object().unwrap()));
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_step_down_and_flush_the_server_of_this_machine() {
        let settings = check(json!({})).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.address.to_string(), "127.0.0.1:27017");
        assert_eq!((settings.strategy, settings.step_down), (Strategy::Fsync, true));
    }

    #[test]
    fn faults_are_told_together_and_no_value_is_shown() {
        for (url, fault) in [
            ("hunter2", "`mongodb://user:password@host:port/?options`"),
            ("redis://u:hunter2@h", "`mongodb://user:password@host:port/?options`"),
            ("mongodb://u:hunter2@h:x/", "`mongodb://user:password@host:port/?options`"),
            ("mongodb://u:hunter2@a:1,b:2/?replicaSet=s", "expected one server"),
            (
                "mongodb+srv://u:hunter2@cluster.example.com/",
                "`mongodb://user:password@host:port/?options`",
            ),
        ] {
            let given = json!({ "connection_string": url, "strategy": "lock" });
            let error = check(given).err().unwrap();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains(fault) && error.contains("`strategy`: expected"), "{error}");
        }
    }
}
