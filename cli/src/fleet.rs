//! The fleet: the tables, the bus, the topics and the queues of a stack, for the verbs that look
//! at more than this instance.
//!
//! Credentials, endpoints and profiles are those of the SDK's own settings. Each verb connects
//! once, on a runtime of its own.

pub(crate) mod breaker;
pub(crate) mod doctor;
pub(crate) mod drill;
mod drill_event;
mod explain;
pub(crate) mod findings;
pub(crate) mod iam;
pub(crate) mod incidents;
pub(crate) mod instances;
mod intrinsics;
mod ledger;
pub(crate) mod policies;
mod refusal;
pub(crate) mod replay;
pub(crate) mod savings;
pub(crate) mod timing;

use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use snooze_cloud::breakers::Breakers;
use snooze_cloud::bus::Bus;
use snooze_cloud::incidents::Incidents;
use snooze_cloud::instances::Instances;
use snooze_cloud::policies::Policies;
use snooze_cloud::queue::Queues;
use snooze_cloud::{Aws, CloudError, Role};
use tokio::runtime::{Builder, Runtime};
use tokio::time;

use crate::daemon::Context;
use crate::failure::Failure;
use crate::screen;

/// A person who waits longer than this is told what for.
const QUIET: Duration = Duration::from_secs(2);
/// What the tables keep unless they are told otherwise: `last` looks so far back. The command
/// itself writes no instance and no incident.
const KEEP: Duration = Duration::from_secs(90 * 24 * 3600);

/// Which stack, and where.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Options {
    /// The stack that the fleet belongs to
    #[arg(
        long,
        global = true,
        env = "SNOOZE_STACK",
        default_value = "cloudsnooze",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub(crate) stack: String,
    /// The Region of the stack; without it, the one of the AWS settings
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
}

/// A stack that can be asked.
#[derive(Debug)]
pub(crate) struct Fleet {
    runtime: Runtime,
    aws: Aws,
    stack: String,
}

impl Fleet {
    /// Reads the AWS settings; nothing is asked yet.
    pub(crate) fn connect(context: &Context) -> Result<Self, Failure> {
        let Options { stack, region } = &context.fleet;
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if stack.is_empty() || stack.len() > 128 || !stack.chars().all(fine) {
            let text = format!("`{stack}` is no stack: expected letters, digits and hyphens");
            return Err(Failure::usage(text));
        }
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Failure::system("start a runtime", &source))?;
        let region = region.clone();
        let options = snooze_cloud::Options { region, role: Role::Person, ..Default::default() };
        let aws = runtime.block_on(Box::pin(snooze_cloud::connect(&options)));
        if aws.region().is_none() {
            let text = "no Region: name it with `--region`, with the variable `AWS_REGION`, or in \
                        the profile that `AWS_PROFILE` names";
            return Err(Failure::usage(text));
        }
        Ok(Self { runtime, aws, stack: stack.clone() })
    }

    /// Waits for a call, and tells a person what for when it takes long.
    pub(crate) fn wait<T>(&self, what: &str, call: impl Future<Output = T>) -> T {
        let mut call = Box::pin(call);
        self.runtime.block_on(async {
            let quick = time::timeout(QUIET, &mut call).await;
            match quick {
                Ok(answer) => answer,
                Err(_slow) => {
                    let told = io::stderr().is_terminal();
                    if told {
                        screen::complain(&format!("{what} …\n"));
                    }
                    call.await
                }
            }
        })
    }

    /// Lets time pass, between two looks.
    pub(crate) fn sleep(&self, time: Duration) {
        // A timer is made inside its runtime.
        self.runtime.block_on(async { time::sleep(time).await });
    }

    /// Like [`Fleet::wait`], for a call that AWS can refuse; `what` says what it is for, as in
    /// `read the policies`, and `on` what it is about.
    pub(crate) fn ask<T>(
        &self,
        what: &str,
        on: &str,
        call: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<T, Failure> {
        self.wait(&format!("waiting for AWS to {what} (`{on}`)"), call)
            .map_err(|error| refusal::failure(what, on, &error))
    }

    /// The Region.
    pub(crate) fn region(&self) -> &str {
        self.aws.region().map_or("", AsRef::as_ref)
    }

    /// What the clients are made from.
    pub(crate) fn aws(&self) -> &Aws {
        &self.aws
    }

    /// The name of a part of the stack.
    pub(crate) fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.stack)
    }

    /// The name of the bus, which is that of the stack.
    pub(crate) fn bus_name(&self) -> &str {
        &self.stack
    }

    pub(crate) fn policies(&self) -> Policies {
        Policies::new(&self.aws, &self.name("policies"))
    }

    pub(crate) fn instances(&self) -> Instances {
        Instances::new(&self.aws, &self.name("instances"), KEEP)
    }

    pub(crate) fn incidents(&self) -> Incidents {
        Incidents::new(&self.aws, &self.name("incidents"), KEEP)
    }

    pub(crate) fn breakers(&self) -> Breakers {
        Breakers::new(&self.aws, &self.name("incidents"))
    }

    pub(crate) fn bus(&self) -> Bus {
        Bus::new(&self.aws, self.bus_name())
    }

    pub(crate) fn queues(&self) -> Queues {
        Queues::new(&self.aws)
    }
}
