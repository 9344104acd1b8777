//! A new plugin: a project that works, with its own test.
//!
//! The templates are projects in themselves, of a plugin `my-plugin`, under `plugins/templates`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snooze_event::PluginName;
use snoozed::exit;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::screen;

/// The name of the plugin that the templates make.
const NAME: &str = "my-plugin";
/// Where a template in Rust finds `snooze-plugin`.
const SDK: &str = "\"../../sdk\"";
/// Where a checkout has it.
const SDK_IN_CHECKOUT: &str = "plugins/sdk";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name: a lower-case letter, then up to 31 lower-case letters, digits and hyphens
    name: String,
    /// What it is written in
    #[arg(long)]
    lang: Language,
    /// The folder of the project; it must not exist yet, or be empty [default: ./NAME]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// For Rust: the folder of `snooze-plugin` [default: that of the checkout that you are in]
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Rust,
    Python,
    Go,
    Node,
    Sh,
}

/// A file of a template.
struct Template {
    path: &'static str,
    text: &'static str,
    /// It can be run as it is.
    is_program: bool,
}

macro_rules! template {
    ($language:literal / $path:literal $(, $is_program:literal)?) => {
        Template {
            path: $path,
            text: include_str!(concat!("../../../plugins/templates/", $language, "/", $path)),
            is_program: false $(|| $is_program)?,
        }
    };
}

const RUST: &[Template] = &[
    template!("rust" / ".gitignore"),
    template!("rust" / "Cargo.toml"),
    template!("rust" / "README.md"),
    template!("rust" / "src/main.rs"),
    template!("rust" / "tests/plugin.rs"),
];
const PYTHON: &[Template] = &[
    template!("python" / ".gitignore"),
    template!("python" / "README.md"),
    template!("python" / "my-plugin.py", true),
    template!("python" / "test_plugin.py"),
];
const GO: &[Template] = &[
    template!("go" / ".gitignore"),
    template!("go" / "README.md"),
    template!("go" / "go.mod"),
    template!("go" / "lines.go"),
    template!("go" / "main.go"),
    template!("go" / "main_test.go"),
];
const NODE: &[Template] = &[
    template!("node" / "README.md"),
    template!("node" / "my-plugin.mjs", true),
    template!("node" / "package.json"),
    template!("node" / "plugin.test.mjs"),
];
const SH: &[Template] = &[
    template!("sh" / "README.md"),
    template!("sh" / "my-plugin.sh", true),
    template!("sh" / "test.sh", true),
];

impl Language {
    fn templates(self) -> &'static [Template] {
        match self {
            Self::Rust => RUST,
            Self::Python => PYTHON,
            Self::Go => GO,
            Self::Node => NODE,
            Self::Sh => SH,
        }
    }

    /// What to do in the project, in this order.
    fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["cargo test", "snooze plugin test ./target/debug/my-plugin"],
            Self::Python => &["python3 -m unittest", "snooze plugin test ./my-plugin.py"],
            Self::Go => &["go test", "go build", "snooze plugin test ./my-plugin"],
            Self::Node => &["node --test", "snooze plugin test ./my-plugin.mjs"],
            Self::Sh => &["sh test.sh", "snooze plugin test ./my-plugin.sh"],
        }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    let name: PluginName = args.name.parse().map_err(|why| Failure::usage(format!("{why}")))?;
    if snoozed::builtins::find(name.as_str()).is_some() {
        let text = format!("`{name}` is the name of a built-in plugin: choose another one");
        return Err(Failure::usage(text));
    }
    let sdk = match args.lang {
        Language::Rust => Some(sdk(args.sdk.as_deref())?),
        Language::Python | Language::Go | Language::Node | Language::Sh => None,
    };
    let folder = args.dir.clone().unwrap_or_else(|| name.as_str().into());
    open(&folder)?;
    let mut files = Vec::new();
    for template in args.lang.templates() {
        let path = template.path.replace(NAME, name.as_str());
        let mut text = template.text.replace(NAME, name.as_str());
        if let Some(sdk) = &sdk {
            text = text.replace(SDK, &json!(sdk).to_string());
        }
        write(&folder.join(&path), &text, template.is_program)?;
        files.push(path);
    }
    let next = args.lang.commands().iter().map(|command| command.replace(NAME, name.as_str()));
    let data = json!({ "name": name.as_str(), "directory": folder.display().to_string(),
        "files": files, "next": next.collect::<Vec<_>>() });
    screen::show(context.json, &data, person)?;
    Ok(exit::OK)
}

fn person(data: &Value) -> String {
    let words = |key| crate::text::list(data, key).iter().filter_map(Value::as_str);
    let directory = crate::text::cell(data, "directory");
    let mut out = format!("wrote {directory}: {}\n", words("files").collect::<Vec<_>>().join(", "));
    out.push_str(&format!("next:\n  cd {directory}\n"));
    words("next").for_each(|command| out.push_str(&format!("  {command}\n")));
    out
}

/// Makes the folder; one that is there must be empty.
fn open(folder: &Path) -> Result<(), Failure> {
    // Neither group nor others may write there, or the daemon refuses what it holds.
    let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    made.map_err(|source| Failure::file(folder.display(), source))?;
    let mut entries =
        folder.read_dir().map_err(|source| Failure::file(folder.display(), source))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => {
            let text = "there is something in it already: nothing was written";
            Err(Failure::file(folder.display(), text))
        }
    }
}

fn write(path: &Path, text: &str, is_program: bool) -> Result<(), Failure> {
    let failed = |source| Failure::system(format!("write `{}`", path.display()), &source);
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
    }
    let mode = if is_program { 0o755 } else { 0o644 };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// Where `snooze-plugin` is: it is on no registry.
fn sdk(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return usable_sdk(path)
            .ok_or_else(|| Failure::file(path.display(), "is not the folder of `snooze-plugin`"));
    }
    let here = std::env::current_dir()
        .map_err(|source| Failure::system("tell the current directory", &source))?;
    here.ancestors().find_map(|folder| usable_sdk(&folder.join(SDK_IN_CHECKOUT))).ok_or_else(|| {
        Failure::usage(format!(
            "a plugin in Rust needs `--sdk PATH`: `snooze-plugin` is not on crates.io; PATH is \
             `{SDK_IN_CHECKOUT}` in a checkout of CloudSnooze"
        ))
    })
}

fn usable_sdk(path: &Path) -> Option<PathBuf> {
    let manifest = std::fs::read_to_string(path.join("Cargo.toml")).ok()?;
    manifest.contains("name = \"snooze-plugin\"").then(|| path.canonicalize().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_file_of_a_template_is_written() {
        for language in Language::value_variants() {
            let name = language.to_possible_value().unwrap();
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../plugins/templates")
                .join(name.get_name());
            let mut there = BTreeSet::new();
            let mut folders = vec![folder.clone()];
            while let Some(next) = folders.pop() {
                for entry in next.read_dir().unwrap() {
                    let path = entry.unwrap().path();
                    let is_made = ["target", "__pycache__", "Cargo.lock"].map(|n| next.join(n));
                    if path.is_dir() && !is_made.contains(&path) {
                        folders.push(path);
                    } else if !is_made.contains(&path) {
                        let path = path.strip_prefix(&folder).unwrap();
                        there.insert(path.to_str().unwrap().to_owned());
                    }
                }
            }
            let written = language.templates().iter().map(|file| file.path.to_owned()).collect();
            assert_eq!(there, written, "{name:?}");
        }
    }

    #[test]
    fn a_template_in_rust_names_the_sdk_once() {
        let manifest = RUST.iter().find(|file| file.path == "Cargo.toml").unwrap();
        assert_eq!(manifest.text.matches(SDK).count(), 1);
    }
}
