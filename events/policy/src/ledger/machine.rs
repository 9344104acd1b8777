//! What an instance was, kept with its incident: a stop or a loss is worth what its instance cost.

use serde::{Deserialize, Serialize};

/// What an instance was when its incident was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its type, for example `m7g.large`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its Availability Zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How it is bought: `spot`, `on-demand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
    /// The boot that the event tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}
