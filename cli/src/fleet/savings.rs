//! `snooze savings`.

mod prices;
mod report;
#[cfg(test)]
mod samples;
mod spot;
mod stops;

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use snooze_cloud::secrets::Secrets;
use snooze_policy::ledger::Incident;
use snooze_policy::{SecretRef, secret_reference};
use snoozed::exit;

use super::{Fleet, KEEP, timing};
use crate::daemon::Context;
use crate::failure::Failure;
use crate::{files, screen};
use prices::Prices;
use report::Report;
use spot::History;

/// So many incidents of the ledger are looked at; more would be a fleet of another kind.
const MOST: u32 = 50_000;
const LAST_WORDS: &str = "compute only; disks, addresses and licences go on: `snooze savings \
                          --method` says how this is counted\n";
/// What is counted, what is not, and what is not known.
const METHOD: &str = "\
How savings are counted

Counted: the time in which an instance that was idle was stopped by a policy (stop-instance,
hibernate-instance, terminate-in-group) and was not billed for compute. Drills do not count.
  from   the moment at which EC2 took the order; after a hibernation, at which it was stopped
  until  the moment at which EC2 told that the instance runs again or is gone
  An instance that nobody has heard of since its stop is taken as still stopped.
  EC2 bills by the second and 60 seconds at least from each start on, so a stop of less than a
  minute counts as nothing.

Not known: where EC2 told nothing and the instance was heard of again, it ran again at some
moment in between. What a group did after one of its members was ended is not known at all.
Such hours are no savings; they stand as `HOURS MORE` and `USD MORE`, which is the most they can
be.

In USD: hours times the price that you give with `--prices`, for its Region, type and way of
buying; with `--spot-prices`, for a Spot instance without a given price, the average of what EC2
tells for its type and zone, with Linux, over the time in which it was or may have been stopped
(EC2 knows 90 days). Nothing is guessed: an instance type without a price has hours and no USD.
Prices change, and discounts (Savings Plans, reservations) are paid for whether an instance runs
or not: give the price that you would really have paid.

Not counted: EBS volumes, snapshots, Elastic IP addresses, load balancers and licences by the
month, which cost the same while an instance is stopped; what a start costs in time; what
CloudSnooze itself costs.

Losses (Spot interruptions and the like) are counted by number, and how many of them ended
`done`: what was saved is worth what it is worth to you, so no USD stand there.

The ledger forgets an incident after 90 days, unless the stack says otherwise.
";

/// Say what stopping idle instances saved, and how losses ended
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples: snooze savings --since 30d --prices prices.json
          snooze savings --prices ssm:/cloudsnooze/prices --spot-prices
          snooze savings --method

Prices are USD an hour, in a file such as
  {\"eu-central-1\": {\"m5.large\": 0.115, \"c7g.large\": {\"on-demand\": 0.08, \"spot\": 0.03}}}")]
pub(crate) struct Args {
    /// How far back, such as `12h` or `30d`, or since which day or moment, such as `2026-11-01`
    #[arg(long, default_value = "30d", value_parser = timing::since, value_name = "SPAN|DATE")]
    since: timing::Since,
    /// A file with prices, or a parameter that holds one; without it, hours are counted and no USD
    #[arg(long, value_name = "FILE|ssm:NAME")]
    prices: Option<String>,
    /// Ask EC2 what Spot instances would have cost whose price is not given
    #[arg(long)]
    spot_prices: bool,
    /// Only say how it is counted, what is not counted, and what is not known
    #[arg(long)]
    method: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<u8, Failure> {
    if args.method {
        screen::show(context.json, &json!({ "method": METHOD }), |_| METHOD.to_owned())?;
        return Ok(exit::OK);
    }
    let now = Timestamp::now();
    let since = args.since.before(now);
    if since >= now {
        return Err(Failure::usage("`--since` lies ahead"));
    }
    let fleet = Fleet::connect(context)?;
    let prices = args.prices.as_ref().map_or(Ok(Prices::default()), |from| prices(&fleet, from))?;
    // A stop that was ordered before may last into this time.
    let from = timing::before(now, KEEP).min(since);
    let (table, name) = (fleet.incidents(), fleet.name("incidents"));
    let found = fleet.ask("list the incidents", &name, table.list(from, MOST))?;
    let is_cut = found.len() >= usize::try_from(MOST).unwrap_or(usize::MAX);
    let incidents: Vec<Incident> = found.into_iter().map(|stored| stored.incident).collect();
    let (instances, name) = (fleet.instances(), fleet.name("instances"));
    let known = fleet.ask("list the instances", &name, instances.list())?;
    let heard: BTreeMap<String, Timestamp> = known
        .into_iter()
        .filter_map(|known| Some((known.facts.id?.as_str().to_owned(), known.last_seen?)))
        .collect();
    let stops = stops::stops(&incidents, &heard, (since, now));
    let prices = match args.spot_prices {
        true => {
            let history = History::read(&fleet, &stops, &prices);
            prices.and_of_spot(history)
        }
        false => prices,
    };
    let losses = stops::losses(&incidents, since);
    let report = Report::of(&stops, losses, &prices, fleet.region(), (since, now));
    screen::show(context.json, &report.data(), |_| {
        let cut = format!("only the latest {MOST} incidents were looked at\n");
        report.person() + if is_cut { &cut } else { "" } + LAST_WORDS
    })?;
    Ok(exit::OK)
}

/// The prices of a file, or of a parameter.
fn prices(fleet: &Fleet, from: &str) -> Result<Prices, Failure> {
    let value = match secret_reference(from) {
        Some(parameter @ SecretRef::Ssm(_)) => {
            let secrets = Secrets::new(fleet.aws());
            let text = fleet.ask("read the prices", from, secrets.read(&parameter))?;
            serde_json::from_str(&text)
                .map_err(|source| Failure::file(from, format!("is not JSON: {source}")))?
        }
        Some(SecretRef::Credential(_) | SecretRef::Env(_) | SecretRef::SecretsManager(_))
        | None => files::read_json(Path::new(from))?,
    };
    Prices::read(&value).map_err(|faults| Failure::file(from, faults.join("\n  ")))
}
