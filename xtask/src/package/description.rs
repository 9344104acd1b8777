//! What is in which package: `infra/packaging/packages.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workplace::Workplace;

/// Where the description stands, from the root.
const FILE: &str = "infra/packaging/packages.json";

/// All packages, and what they have in common.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    pub(crate) homepage: String,
    pub(crate) maintainer: String,
    pub(crate) license: String,
    /// The oldest C library that released programs may ask for.
    pub(crate) glibc: String,
    pub(crate) packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) description: String,
    /// Packages of others that it needs, which each kind of system calls by names of its own.
    #[serde(default)]
    pub(crate) requires: Requires,
    #[serde(default)]
    pub(crate) recommends: Vec<String>,
    #[serde(default)]
    pub(crate) suggests: Vec<String>,
    /// Programs of this workspace, and in which directory each is installed.
    pub(crate) programs: BTreeMap<String, String>,
    /// Where a file or folder is installed, and where it stands in the checkout.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// The same for files that belong to the operator once they are there.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    /// Directories with nothing in them, and their modes.
    #[serde(default)]
    pub(crate) directories: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) scripts: Scripts,
}

/// Names of packages of others.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requires {
    pub(crate) deb: Vec<String>,
    pub(crate) rpm: Vec<String>,
}

/// What runs at the changes of a package, from the root of the checkout.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Scripts {
    /// After it was installed or upgraded.
    pub(crate) installed: Option<String>,
    /// Before it is removed for good.
    pub(crate) removing: Option<String>,
    /// After that.
    pub(crate) removed: Option<String>,
    /// When its settings are removed as well.
    pub(crate) purged: Option<String>,
}

impl Description {
    /// Reads it, and makes sure that no program is in two packages.
    pub(crate) fn read(workplace: &Workplace) -> Result<Self> {
        let path = workplace.root.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
        let description: Self =
            serde_json::from_str(&text).with_context(|| format!("{FILE} is not as expected"))?;
        let mut seen = BTreeSet::new();
        for program in description.programs() {
            if !seen.insert(program) {
                bail!("{FILE}: `{program}` is in two packages");
            }
        }
        Ok(description)
    }

    /// Every program that is packaged.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().flat_map(|package| package.programs.keys()).map(String::as_str)
    }

    /// The package that all others need.
    pub(crate) fn base(&self) -> &str {
        self.packages.first().map_or("", |package| &package.name)
    }
}
