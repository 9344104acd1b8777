//! The policies of the table, and the snapshot of them on disk.
//!
//! One line: the CRC-32 of the JSON in eight hexadecimal digits, a space, the JSON. The snapshot
//! belongs to one stack in one account and Region; what belongs elsewhere is not used. It also
//! keeps the highest version that was ever seen, below which nothing is taken.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use snooze_cloud::policies::{Contents, Document};
use snooze_event::PluginName;
use snooze_policy::{Handler, Policy, PolicyName};

/// The name of the file in the state directory.
const NAME: &str = "policies";
/// The plugin that runs a script.
const SCRIPTS: &str = crate::builtins::SCRIPTS;
/// A larger snapshot is not read: ten thousand policies of usual length are less.
const LARGEST: u64 = 64 << 20;

/// The policies of the table at one version.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The version.
    pub version: u64,
    /// Those that can be used.
    pub policies: Vec<Policy>,
    /// What is wrong with the others.
    pub faults: Vec<String>,
    /// It was read from the disk; the table itself was not reached yet.
    pub is_snapshot: bool,
    /// The account and the Region of the table.
    pub place: (String, String),
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Snapshot {
    stack: String,
    account: String,
    region: String,
    version: u64,
    policies: Vec<Kept>,
    #[serde(default)]
    faults: Vec<String>,
}

/// A policy as the table holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    name: String,
    text: String,
    version: u64,
    enabled: bool,
    sha256: String,
    types: Vec<String>,
    by: String,
    at: jiff::Timestamp,
}

/// The policies in force: the instance's own, and those of the table whose names are not taken;
/// what is wrong with them; and the names that were taken.
///
/// A policy says which plugins run, never what they run: whoever can write the table must not
/// choose a program on the instance. So the plugin that runs a script of the instance takes part
/// in a policy of the table only where `plugins.allowed` names it.
#[must_use]
pub fn merge(
    local: &[Policy],
    table: Option<&Table>,
    allowed: Option<&[PluginName]>,
) -> (Vec<Policy>, Vec<String>, Vec<String>) {
    let mut policies = local.to_vec();
    let Some(table) = table else { return (policies, Vec::new(), Vec::new()) };
    let mut faults = table.faults.clone();
    let mut taken = Vec::new();
    let is_named = |name: &PluginName| allowed.is_some_and(|names| names.contains(name));
    for policy in &table.policies {
        if local.iter().any(|own| own.name == policy.name) {
            taken.push(policy.name.to_string());
            continue;
        }
        let mut policy = policy.clone();
        for handlers in [&mut policy.handlers, &mut policy.undo] {
            handlers.retain(|Handler { plugin, .. }| {
                let is_kept = plugin.as_str() != SCRIPTS || is_named(plugin);
                if !is_kept {
                    faults.push(format!(
                        "{}: `{SCRIPTS}` runs a script: a policy of the table may name it only \
                         where `plugins.allowed` does",
                        policy.name
                    ));
                }
                is_kept
            });
        }
        policies.push(policy);
    }
    (policies, faults, taken)
}

/// Reads the snapshot of a stack; `None` when there is none that can be used.
pub(crate) fn load(directory: &Path, stack: &str) -> Option<Table> {
    let snapshot = read(directory).ok()?.filter(|snapshot| snapshot.stack == stack)?;
    Some(snapshot.table())
}

/// Keeps the snapshot of one stack.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    directory: PathBuf,
    stack: String,
    /// The account and the Region.
    place: (String, String),
    /// The highest version that was ever seen.
    pub(super) highest: u64,
}

impl Keeper {
    pub(super) fn new(directory: &Path, stack: &str, place: (String, String)) -> Self {
        let known = read(directory).ok().flatten().filter(|known| {
            known.stack == stack && known.account == place.0 && known.region == place.1
        });
        Self {
            directory: directory.to_owned(),
            stack: stack.to_owned(),
            place,
            highest: known.map_or(0, |known| known.version),
        }
    }

    /// Takes what the table holds, and keeps it on disk before anybody acts on it. Says what
    /// kept it from the disk: the policies count all the same.
    pub(super) fn keep(&mut self, contents: Contents) -> (Table, Option<io::Error>) {
        let (account, region) = self.place.clone();
        let snapshot = Snapshot {
            stack: self.stack.clone(),
            account,
            region,
            version: contents.version,
            policies: contents.documents.into_iter().map(Kept::from).collect(),
            faults: contents.faults,
        };
        self.highest = self.highest.max(snapshot.version);
        let kept = write(&self.directory, &snapshot);
        (Table { is_snapshot: false, ..snapshot.table() }, kept.err())
    }
}

impl Snapshot {
    fn table(self) -> Table {
        let documents = self.policies.into_iter().filter_map(Kept::document).collect();
        let contents = Contents { version: self.version, documents, faults: self.faults };
        let shelf = contents.shelf();
        Table {
            version: self.version,
            policies: shelf.policies.to_vec(),
            faults: shelf.faults.iter().map(ToString::to_string).collect(),
            is_snapshot: true,
            place: (self.account, self.region),
        }
    }
}

impl From<Document> for Kept {
    fn from(document: Document) -> Self {
        let Document { name, text, version, enabled, sha256, types, by, at } = document;
        Self { name: name.to_string(), text, version, enabled, sha256, types, by, at }
    }
}

impl Kept {
    fn document(self) -> Option<Document> {
        let Self { name, text, version, enabled, sha256, types, by, at } = self;
        let name: PolicyName = name.parse().ok()?;
        Some(Document { name, text, version, enabled, sha256, types, by, at })
    }
}

fn read(directory: &Path) -> io::Result<Option<Snapshot>> {
    let mut bytes = Vec::new();
    File::open(directory.join(NAME))?.take(LARGEST).read_to_end(&mut bytes)?;
    let whole = bytes.strip_suffix(b"\n").and_then(|line| {
        let (sum, json) = line.split_at_checked(8)?;
        let json = json.strip_prefix(b" ")?;
        let expected = format!("{:08x}", crc32fast::hash(json));
        (sum == expected.as_bytes()).then(|| serde_json::from_slice(json).ok())?
    });
    Ok(whole)
}

/// All at once or not at all.
fn write(directory: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let path = directory.join(NAME);
    let beside = directory.join(format!("{NAME}.new"));
    let json = serde_json::to_vec(snapshot)?;
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    write!(file, "{:08x} ", crc32fast::hash(&json))?;
    file.write_all(&json)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
