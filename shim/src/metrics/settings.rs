//! The settings of metrics.

use std::net::SocketAddr;

use serde_json::{Value, json};
use snooze_policy::Fault;
use snooze_policy::strict::{Fields, Unknown};

/// How metrics are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where `GET /metrics` is answered; `None` for nowhere. Always a loopback address.
    pub address: Option<SocketAddr>,
    /// Whether the names of another system are shown, too.
    pub roost_keeper_names: bool,
}

impl Settings {
    /// As they stand in the file.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({
            "address": self.address.map(|address| address.to_string()),
            "roost_keeper_names": self.roost_keeper_names,
        })
    }
}

/// The settings under `metrics`.
pub fn read(root: &Fields<'_>, faults: &mut Vec<Fault>) -> Settings {
    let Some(fields) = root.object("metrics", faults) else { return Settings::default() };
    fields.expect(&["address", "roost_keeper_names"], Unknown::Refuse, faults);
    let address = fields.text("address", faults).and_then(|text| {
        let address = text.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback());
        if address.is_none() {
            let text = "expected a loopback address with a port, as `127.0.0.1:9480`";
            faults.push(fields.fault("address", text));
        }
        address
    });
    Settings { address, roost_keeper_names: fields.flag("roost_keeper_names", false, faults) }
}
