//! What Spot instances would have cost, as EC2 tells.

use std::collections::BTreeMap;

use jiff::Timestamp;
use snooze_cloud::ec2_query::{Ec2Query, SpotPrice, SpotPrices};

use super::super::Fleet;
use super::prices::Prices;
use super::stops::Stop;
use crate::{screen, text};

/// Spot prices by Region, type and Availability Zone, each from a moment on, the earliest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct History(BTreeMap<Key, Vec<SpotPrice>>);

type Key = (String, String, String);

impl History {
    /// Asks for the prices that lack; what may not be asked or is not told stays without one, and
    /// that is said.
    pub(super) fn read(fleet: &Fleet, stops: &[Stop], prices: &Prices) -> Self {
        let mut history = BTreeMap::new();
        for (key, (from, until)) in wanted(stops, prices, fleet.region()) {
            let (region, kind, zone) = &key;
            let ec2 = Ec2Query::in_region(fleet.aws(), region);
            let of = SpotPrices { kind, zone, from, until };
            match fleet.wait("waiting for the Spot prices", ec2.spot_prices(&of)) {
                Ok(found) => drop(history.insert(key, found)),
                Err(error) => screen::complain(&format!(
                    "no Spot prices of {} in {}: {}\n",
                    text::shown(kind),
                    text::shown(zone),
                    text::shown(&error.to_string())
                )),
            }
        }
        Self(history)
    }

    /// USD an hour of what was stopped, on average over all the time in which it may have been;
    /// `None` where the price at its begin is not known.
    pub(super) fn of(&self, stop: &Stop, region: &str) -> Option<f64> {
        average(self.0.get(&key(stop, region)?)?, stop.from, stop.at_most)
    }
}

/// What has to be asked for, from when until when.
fn wanted(stops: &[Stop], prices: &Prices, region: &str) -> BTreeMap<Key, (Timestamp, Timestamp)> {
    let mut wanted: BTreeMap<Key, (Timestamp, Timestamp)> = BTreeMap::new();
    for stop in stops.iter().filter(|stop| prices.of(stop, region).is_none()) {
        let Some(key) = key(stop, region) else { continue };
        let (from, until) = wanted.entry(key).or_insert((stop.from, stop.at_most));
        (*from, *until) = ((*from).min(stop.from), (*until).max(stop.at_most));
    }
    wanted
}

fn key(stop: &Stop, region: &str) -> Option<Key> {
    let region = stop.region.as_deref().unwrap_or(region).to_owned();
    stop.spot.then_some((region, stop.kind.clone()?, stop.zone.clone()?))
}

/// The average over a time, of prices that hold until the next one.
fn average(prices: &[SpotPrice], from: Timestamp, until: Timestamp) -> Option<f64> {
    let ends = prices.iter().skip(1).map(|price| price.from).chain([Timestamp::MAX]);
    let seconds = |from: Timestamp, until: Timestamp| until.duration_since(from).as_secs_f64();
    prices.first().filter(|first| first.from <= from)?;
    let paid = prices.iter().zip(ends).map(|(price, end)| {
        let (begin, end) = (price.from.clamp(from, until), end.clamp(from, until));
        price.price * seconds(begin, end)
    });
    let all = seconds(from, until);
    (all > 0.0).then(|| paid.sum::<f64>() / all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples::at;
    use super::*;

    #[test]
    fn a_price_is_the_average_of_those_that_held_while_it_was_stopped() {
        let prices = [price("2026-11-19T00:00:00Z", 0.02), price("2026-11-20T06:00:00Z", 0.06)];
        let of = |from, until| average(&prices, at(from), at(until));
        assert_eq!(of("2026-11-19T00:00:00Z", "2026-11-19T08:00:00Z"), Some(0.02));
        assert_eq!(of("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"), Some(0.06));
        let both = of("2026-11-20T03:00:00Z", "2026-11-20T15:00:00Z").unwrap();
        assert!((both - 0.05).abs() < 1e-12, "{both}");
        assert_eq!(of("2026-11-18T23:59:59Z", "2026-11-19T08:00:00Z"), None, "nobody knows");
        assert_eq!(average(&[], at("2026-11-19T00:00:00Z"), at("2026-11-20T00:00:00Z")), None);
    }

    #[test]
    fn only_spot_instances_without_a_price_are_asked_for_each_once() {
        let prices = Prices::read(&json!({ "eu-west-1": { "m5.large": { "spot": 0.1 } } }));
        let stop = |kind: &str, region: &str, spot, hour: i8| Stop {
            kind: Some(kind.to_owned()),
            region: Some(region.to_owned()),
            zone: Some(format!("{region}a")),
            spot,
            policy: "nights".to_owned(),
            from: at("2026-11-20T00:00:00Z") + jiff::SignedDuration::from_hours(hour.into()),
            until: at("2026-11-21T00:00:00Z"),
            at_most: at("2026-11-21T00:00:00Z") + jiff::SignedDuration::from_hours(hour.into()),
        };
        let stops = [
            stop("m5.large", "eu-west-1", true, 0),
            stop("c7g.large", "eu-west-1", false, 0),
            stop("c7g.large", "eu-west-1", true, 3),
            stop("c7g.large", "eu-west-1", true, 1),
            Stop { zone: None, ..stop("c7g.xlarge", "eu-west-1", true, 1) },
        ];
        let wanted = wanted(&stops, &prices.unwrap(), "eu-central-1");
        let key = ["eu-west-1", "c7g.large", "eu-west-1a"].map(str::to_owned);
        let times = (at("2026-11-20T01:00:00Z"), at("2026-11-21T03:00:00Z"));
        assert_eq!(wanted, [(key.into(), times)].into());
    }

    fn price(from: &str, price: f64) -> SpotPrice {
        SpotPrice { from: at(from), price }
    }
}
