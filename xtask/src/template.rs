//! `cargo xtask lint-template`: what others, and we, have to say about `template.yaml`.
//!
//! `sam validate`, cfn-lint on the template as it stands and on what CloudFormation makes of it
//! (it does not look behind the transform), checkov on each way to deploy it. What we ask of it
//! beyond that are tests (`tests/tests/template`).

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::workplace::{Workplace, done};
use crate::{report, tools};

const TEMPLATE: &str = "template.yaml";
/// The translation with its conditions, and with them decided in each of three ways; see
/// `xtask/translate.py`.
const TRANSLATED: &str = "translated.json";
const WAYS: [&str; 3] = ["default.json", "everything.json", "nothing.json"];
/// Where a stack would be; nothing is asked there.
const REGION: &str = "eu-central-1";

/// A Python environment in `.local`, and what it holds.
struct Environment {
    name: &'static str,
    requirements: &'static str,
    content: &'static str,
}

const SAM: Environment = Environment {
    name: "template",
    requirements: "xtask/template-requirements.txt",
    content: include_str!("../template-requirements.txt"),
};

const CHECKOV: Environment = Environment {
    name: "checkov",
    requirements: "xtask/checkov-requirements.txt",
    content: include_str!("../checkov-requirements.txt"),
};

/// Checks, and runs our own tests of the template.
pub(crate) fn run(workplace: &Workplace) -> Result<ExitCode> {
    install(workplace)?;
    check(workplace)?;
    report::progress("our own tests of the template");
    // The whole workspace is selected, so that nothing is built for these tests alone.
    done(workplace.cargo().args(["test", "--workspace", "--test", "template"]))?;
    report::say("the template has no faults");
    Ok(ExitCode::SUCCESS)
}

/// Brings the checkers.
pub(crate) fn install(workplace: &Workplace) -> Result<()> {
    [SAM, CHECKOV].iter().try_for_each(|environment| environment.install(workplace))
}

/// Checks the template with the programs of others.
pub(crate) fn check(workplace: &Workplace) -> Result<()> {
    let folder = workplace.local().join("translated");
    report::progress("translating the template");
    let mut translate = SAM.program(workplace, "python");
    done(translate.args(["xtask/translate.py", TEMPLATE]).arg(&folder))?;

    report::progress("sam validate");
    let mut validate = SAM.program(workplace, "sam");
    quiet(validate.args(["validate", "--template", TEMPLATE, "--region", REGION]))?;

    report::progress("cfn-lint on the template and on its translation");
    let files: Vec<PathBuf> = WAYS.iter().map(|way| folder.join(way)).collect();
    let mut lint = SAM.program(workplace, "cfn-lint");
    done(
        lint.args(["--regions", REGION, "--", TEMPLATE]).arg(folder.join(TRANSLATED)).args(&files),
    )?;

    report::progress("checkov on each way to deploy it");
    let mut checkov = CHECKOV.program(workplace, "checkov");
    // What it would download are links to its documentation.
    checkov.args(["--framework", "cloudformation", "--compact", "--quiet", "--skip-download"]);
    for file in &files {
        checkov.arg("--file").arg(file);
    }
    quiet(&mut checkov)
}

impl Environment {
    fn folder(&self, workplace: &Workplace) -> PathBuf {
        workplace.local().join(self.name)
    }

    fn program(&self, workplace: &Workplace, name: impl AsRef<OsStr>) -> Command {
        let program = self.folder(workplace).join("bin").join(name.as_ref());
        let mut command = workplace.command(program);
        command.env("SAM_CLI_TELEMETRY", "0").env("AWS_DEFAULT_REGION", REGION);
        command
    }

    fn install(&self, workplace: &Workplace) -> Result<()> {
        tools::python(workplace, self.name, self.requirements, self.content).map(drop)
    }
}

/// Runs a program that says much, and shows it when it failed.
fn quiet(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_owned();
    let name = name.display();
    let output = command.output().with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        report::say(&String::from_utf8_lossy(&output.stdout));
        report::complain(&String::from_utf8_lossy(&output.stderr));
        bail!("`{name}` failed: {}", output.status);
    }
    Ok(())
}
