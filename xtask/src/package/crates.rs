//! What the programs of a package are made of: the crates, their licences, and the bill of
//! materials that is published with a release (CycloneDX 1.5).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::workplace::Workplace;

/// All crates of the workspace and of its dependencies, as cargo resolved them.
#[derive(Debug)]
pub(crate) struct Crates {
    each: BTreeMap<String, Crate>,
    /// What a crate needs to run, by id.
    needs: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Crate {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// Absent for those of the workspace.
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Crate>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Need>,
}

#[derive(Debug, Deserialize)]
struct Need {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Crates {
    /// Asks cargo, for the processor and system of `triple`.
    pub(crate) fn read(workplace: &Workplace, triple: &str) -> Result<Self> {
        let mut cargo = workplace.cargo();
        cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", triple]);
        let output = cargo.output().context("cannot start `cargo metadata`")?;
        let metadata: Metadata = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        let is_normal = |need: &Need| need.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let needs = |node: Node| {
            let needs = node.deps.into_iter().filter(is_normal).map(|need| need.pkg);
            (node.id, needs.collect())
        };
        Ok(Self {
            each: metadata.packages.into_iter().map(|each| (each.id.clone(), each)).collect(),
            needs: metadata.resolve.nodes.into_iter().map(needs).collect(),
        })
    }

    /// What these programs are made of, sorted by name and version. What is needed only to build
    /// them is left out.
    fn of<'a>(&'a self, programs: impl IntoIterator<Item = &'a str>) -> Vec<&'a Crate> {
        let programs: Vec<&str> = programs.into_iter().collect();
        let roots = self.each.values().filter(|each| each.holds(&programs));
        let mut open: Vec<&str> = roots.map(|each| each.id.as_str()).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.needs.get(id).into_iter().flatten().map(String::as_str));
            }
        }
        let mut found: Vec<&Crate> = seen.iter().filter_map(|id| self.each.get(*id)).collect();
        found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        found
    }

    /// The crates of this workspace that these programs are in.
    pub(crate) fn owners(&self, programs: &[&str]) -> BTreeSet<String> {
        let owned = |each: &&Crate| each.holds(programs);
        self.each.values().filter(owned).map(|each| each.name.clone()).collect()
    }

    /// The licences of the crates of others in these programs, each text once.
    pub(crate) fn licences<'a>(
        &'a self,
        programs: impl IntoIterator<Item = &'a str>,
        own: &str,
    ) -> Result<String> {
        let mut text = "These programs hold work of others, under these licences.\n\n".to_owned();
        let mut shared: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for each in self.of(programs).into_iter().filter(|each| each.source.is_some()) {
            let name = format!("{} {}", each.name, each.version);
            let licence = each.license.as_deref().unwrap_or("see its text below");
            writeln!(text, "{name}: {licence}")?;
            let mut texts = texts_of(each)?;
            if texts.is_empty() && licence.contains("Apache-2.0") {
                texts.push(own.to_owned());
            }
            for licence in texts {
                shared.entry(licence).or_default().push(name.clone());
            }
        }
        for (licence, names) in shared {
            write!(text, "\n{}\n{}\n\n{}\n", "-".repeat(72), names.join(", "), licence.trim_end())?;
        }
        Ok(text)
    }

    /// The bill of materials of these programs.
    pub(crate) fn bill<'a>(
        &'a self,
        programs: impl IntoIterator<Item = &'a str>,
        version: &str,
    ) -> Result<String> {
        let all = self.of(programs);
        let reference = |each: &Crate| format!("pkg:cargo/{}@{}", each.name, each.version);
        let component = |each: &&Crate| {
            // An older way to write `OR`.
            let licence = each.license.as_ref().map(|licence| licence.replace('/', " OR "));
            let licences = licence.map(|expression| json!({ "expression": expression }));
            json!({
                "type": "library", "bom-ref": reference(each), "purl": reference(each),
                "name": each.name, "version": each.version,
                "licenses": licences.into_iter().collect::<Vec<_>>(),
            })
        };
        let needs = |each: &&Crate| {
            let needs = self.needs.get(&each.id).into_iter().flatten();
            let needs: Vec<String> =
                needs.filter_map(|id| self.each.get(id)).map(reference).collect();
            json!({ "ref": reference(each), "dependsOn": needs })
        };
        let bill: Value = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": { "component": {
                "type": "application", "bom-ref": "cloudsnooze", "name": "cloudsnooze",
                "version": version, "licenses": [{ "expression": "Apache-2.0" }],
            } },
            "components": all.iter().map(component).collect::<Vec<_>>(),
            "dependencies": all.iter().map(needs).collect::<Vec<_>>(),
        });
        Ok(format!("{}\n", serde_json::to_string_pretty(&bill)?))
    }
}

impl Crate {
    /// Whether it is ours, and one of the programs is in it.
    fn holds(&self, programs: &[&str]) -> bool {
        let is_program = |target: &Target| {
            target.kind.iter().any(|kind| kind == "bin") && programs.contains(&target.name.as_str())
        };
        self.source.is_none() && self.targets.iter().any(is_program)
    }
}

/// The texts of the licences and notices that a crate brings.
fn texts_of(each: &Crate) -> Result<Vec<String>> {
    let folder = each.manifest_path.parent().unwrap_or(Path::new("/"));
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let is_licence = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_uppercase();
        ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let read = |path: &PathBuf| {
        fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
            .with_context(|| format!("cannot read {}", path.display()))
    };
    paths.iter().filter(is_licence).map(read).collect()
}
