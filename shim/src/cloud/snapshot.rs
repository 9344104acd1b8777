//! The policies of the table, and the snapshot of them on disk.
//!
//! One line: the CRC-32 of the JSON in eight hexadecimal digits, a space, the JSON. The snapshot
//! belongs to one stack in one account and Region; what belongs elsewhere is not used. It also
//! keeps the highest version that was ever seen, below which nothing is taken. Where signatures
//! are required, it holds what they let in, each policy has a version of its own, and all are
//! verified again when it is read.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snooze_cloud::policies::{Contents, Document};
use snooze_event::PluginName;
use snooze_policy::signed::Statement;
use snooze_policy::{Facts, Handler, Policy, PolicyName};

use super::trust::{Refused, Seen, Signatures, Trust};

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
    /// What the signatures say, where they are required.
    pub signed: BTreeMap<PolicyName, Statement>,
    /// What was not taken for want of a good signature.
    pub refused: Vec<Refused>,
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
    /// The versions that signatures name, by policy: also of those that went.
    #[serde(default)]
    seen: BTreeMap<String, Seen>,
    #[serde(default)]
    refused: Vec<Refused>,
    /// The text of the list of revocations.
    #[serde(default)]
    revocations: Option<String>,
}

/// A policy as the table holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) text: String,
    version: u64,
    enabled: bool,
    pub(super) sha256: String,
    types: Vec<String>,
    by: String,
    at: Timestamp,
    #[serde(default)]
    pub(super) signature: Option<String>,
}

/// What decides whether a signed policy is in force: where, and when.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// What is known of the instance.
    pub facts: &'a Facts,
    /// The time.
    pub now: Timestamp,
    /// How long a policy serves after its signature expired.
    pub grace: Duration,
}

impl Here<'_> {
    /// Whether a policy is in force by what its signature says, and what is wrong.
    fn allows(&self, name: &PolicyName, said: &Statement) -> (bool, Option<String>) {
        // Before the metadata service told who we are, what was taken here counts here.
        if self.facts.id.is_some() && !said.is_for(self.facts) {
            return (false, None);
        }
        let expires = said.expires;
        if self.now < expires {
            return (true, None);
        }
        let end = expires.checked_add(self.grace).unwrap_or(Timestamp::MAX);
        let mend = "sign it anew and put it again";
        match self.now < end {
            true => {
                let text = format!(
                    "{name}: its signature expired at {expires}: it serves until {end}; {mend}"
                );
                (true, Some(text))
            }
            false => {
                let text =
                    format!("{name}: its signature expired at {expires}: not in force; {mend}");
                (false, Some(text))
            }
        }
    }
}

impl Table {
    /// When what [`merge`] says changes by time alone, next after `now`.
    #[must_use]
    pub fn due(&self, now: Timestamp, grace: Duration) -> Option<Timestamp> {
        let ends = self.signed.values().flat_map(|said| {
            [Some(said.expires), said.expires.checked_add(grace).ok()].into_iter().flatten()
        });
        ends.filter(|end| *end > now).min()
    }
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
    here: Here<'_>,
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
        if let Some(said) = table.signed.get(&policy.name) {
            let (is_in_force, fault) = here.allows(&policy.name, said);
            faults.extend(fault);
            if !is_in_force {
                continue;
            }
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
pub(crate) fn load(directory: &Path, stack: &str, signatures: &Signatures) -> Option<Table> {
    let snapshot = read(directory).ok()?.filter(|snapshot| snapshot.stack == stack)?;
    let trust = signatures.trust(snapshot.revocations.as_deref());
    Some(snapshot.table(trust.as_ref()))
}

/// Keeps the snapshot of one stack.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    directory: PathBuf,
    stack: String,
    /// The account and the Region.
    place: (String, String),
    signatures: Signatures,
    /// What was kept last.
    last: Option<Snapshot>,
    /// The highest version that was ever seen; where signatures are required, the last one, since
    /// whoever can write the table can write any.
    pub(super) highest: u64,
}

impl Keeper {
    pub(super) fn new(
        directory: &Path,
        stack: &str,
        place: (String, String),
        signatures: Signatures,
    ) -> Self {
        let last = read(directory).ok().flatten().filter(|known| {
            known.stack == stack && known.account == place.0 && known.region == place.1
        });
        Self {
            directory: directory.to_owned(),
            stack: stack.to_owned(),
            place,
            signatures,
            highest: last.as_ref().map_or(0, |last| last.version),
            last,
        }
    }

    /// Whether the table is to be read when it is at this version.
    pub(super) fn wants(&self, version: u64) -> bool {
        // What was refused may count by now: a key came, or the instance has other tags.
        let is_refusing = || self.last.as_ref().is_some_and(|last| !last.refused.is_empty());
        match self.signatures.required {
            true => version != self.highest || is_refusing(),
            false => version > self.highest,
        }
    }

    /// Whether the table has gone back, which counts where nothing else tells new from old.
    pub(super) fn is_behind(&self, version: u64) -> bool {
        !self.signatures.required && version < self.highest
    }

    /// Takes what the table holds, and keeps it on disk before anybody acts on it. Says what
    /// kept it from the disk: the policies count all the same. Answers with none when nothing
    /// has changed.
    pub(super) fn keep(
        &mut self,
        contents: Contents,
        facts: &Facts,
        now: Timestamp,
    ) -> Option<(Table, Option<io::Error>)> {
        let (account, region) = self.place.clone();
        let before = self.last.take();
        let known = before.as_ref().and_then(|before| before.revocations.as_deref());
        let trust = self.signatures.trust(known);
        let documents = contents.documents.into_iter().map(Kept::from).collect();
        let mut snapshot = Snapshot {
            stack: self.stack.clone(),
            account,
            region,
            version: contents.version,
            policies: Vec::new(),
            faults: contents.faults,
            seen: before.as_ref().map(|before| before.seen.clone()).unwrap_or_default(),
            refused: Vec::new(),
            revocations: known.map(str::to_owned),
        };
        match &trust {
            None => snapshot.policies = documents,
            Some(trust) => {
                let kept = before.as_ref().map(|before| before.policies.as_slice());
                let seen = std::mem::take(&mut snapshot.seen);
                let judged = trust.judge(documents, kept.unwrap_or_default(), seen, facts, now);
                snapshot.policies = judged.taken;
                snapshot.seen = judged.seen;
                snapshot.refused = judged.refused;
                snapshot.revocations.clone_from(&trust.list);
            }
        }
        self.highest = match self.signatures.required {
            true => snapshot.version,
            false => self.highest.max(snapshot.version),
        };
        let is_same = before.is_some_and(|before| before == snapshot);
        self.last = Some(snapshot.clone());
        if is_same {
            return None;
        }
        let kept = write(&self.directory, &snapshot);
        let table = Table { is_snapshot: false, ..snapshot.table(trust.as_ref()) };
        Some((table, kept.err()))
    }
}

impl Snapshot {
    /// The policies that can be used, as far as they are to be trusted.
    fn table(mut self, trust: Option<&Trust>) -> Table {
        let mut signed = BTreeMap::new();
        if let Some(trust) = trust {
            self.faults.extend(trust.faults.iter().cloned());
            self.policies.retain(|kept| match (trust.verify_kept(kept), kept.name.parse()) {
                (Ok(said), Ok(name)) => {
                    signed.insert(name, said);
                    true
                }
                (Ok(_), Err(_)) => false,
                (Err(refusal), _) => {
                    self.refused.retain(|refused| refused.policy != kept.name);
                    self.refused.push(Refused {
                        policy: kept.name.clone(),
                        why: format!("refused: {refusal}; none of that name is in force"),
                        is_elsewhere: false,
                    });
                    false
                }
            });
        } else {
            self.refused.clear();
        }
        let documents = self.policies.into_iter().filter_map(Kept::document).collect();
        let contents = Contents { version: self.version, documents, faults: self.faults };
        let shelf = contents.shelf();
        let mut faults: Vec<String> = shelf.faults.iter().map(ToString::to_string).collect();
        let refused = self.refused.iter().filter(|refused| !refused.is_elsewhere);
        faults.extend(refused.map(|refused| format!("{}: {}", refused.policy, refused.why)));
        Table {
            version: self.version,
            policies: shelf.policies.to_vec(),
            faults,
            signed,
            refused: self.refused,
            is_snapshot: true,
            place: (self.account, self.region),
        }
    }
}

impl From<Document> for Kept {
    fn from(document: Document) -> Self {
        let Document { name, text, version, enabled, sha256, types, by, at, signature } = document;
        Self { name: name.to_string(), text, version, enabled, sha256, types, by, at, signature }
    }
}

impl Kept {
    fn document(self) -> Option<Document> {
        let Self { name, text, version, enabled, sha256, types, by, at, signature } = self;
        let name: PolicyName = name.parse().ok()?;
        Some(Document { name, text, version, enabled, sha256, types, by, at, signature })
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
