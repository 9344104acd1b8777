//! What an operator approved, as `snooze plugin install` writes it down beside a plugin's file.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use snooze_event::PluginName;

use crate::launch::{Refusal, read_beside};

/// The longest record that is read, in bytes.
const LONGEST: usize = 256 << 10;

/// An approval of one version of a plugin: of that very file, with these permissions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// The sha256 of the plugin's file, in hexadecimal digits. Only that file runs.
    pub sha256: String,
    /// What the plugin may do beyond its own process.
    pub permissions: Vec<String>,
    /// The file of the key that signed it; `None` where the operator took it unsigned.
    pub signer: Option<String>,
    /// When it was approved, in RFC 3339.
    pub approved_at: String,
    /// What the plugin says of itself, as `Info` does.
    pub manifest: Map<String, Value>,
}

impl Approval {
    /// The name of the file that holds the approval of a plugin. It begins with a full stop, so
    /// that it is taken for no plugin.
    #[must_use]
    pub fn file_name(name: &PluginName) -> String {
        format!(".{name}.approved.json")
    }

    /// Reads the approval that stands beside a plugin, if there is one. It counts only where
    /// nobody but root and our own user can write it, as with the plugin itself.
    ///
    /// # Errors
    /// Somebody else could have written it, or it cannot be read.
    pub fn read(directory: &Path, name: &PluginName) -> Result<Option<Self>, Refusal> {
        let file = Self::file_name(name);
        let Some(text) = read_beside(directory, file.as_ref(), LONGEST)? else { return Ok(None) };
        Self::parse(&text).map(Some).map_err(|source| {
            Refusal::Untrusted(format!("its approval `{file}` cannot be read: {source}"))
        })
    }

    /// Reads the text of an approval.
    ///
    /// # Errors
    /// It is no approval.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
