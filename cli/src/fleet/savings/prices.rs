//! What an hour of an instance costs, as the operator says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::spot::History;
use super::stops::Stop;

/// No hour of any instance costs more, in USD; what is more is a slip.
const MOST: f64 = 10_000.0;

/// USD an hour, by Region, type and how the instance is bought.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Prices {
    given: BTreeMap<(String, String, bool), f64>,
    /// What EC2 tells of Spot instances whose price is not given.
    spot: Option<History>,
}

impl Prices {
    /// Reads `{"eu-central-1": {"m5.large": 0.115, "c7g.large": {"on-demand": 0.08, "spot": 0.03}}}`.
    /// A number alone is the price on demand.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place.
    pub(super) fn read(value: &Value) -> Result<Self, Vec<String>> {
        let (mut prices, mut faults) = (BTreeMap::new(), Vec::new());
        let Some(regions) = value.as_object() else {
            return Err(vec!["$: expected an object of Regions".to_owned()]);
        };
        for (region, types) in regions {
            let Some(types) = types.as_object() else {
                faults.push(format!("$.{region}: expected an object of instance types"));
                continue;
            };
            for (kind, price) in types {
                let place = format!("$.{region}[{kind:?}]");
                let mut put = |spot: bool, price: &Value| match price.as_f64() {
                    Some(price) if (0.0..=MOST).contains(&price) => {
                        prices.insert((region.clone(), kind.clone(), spot), price);
                    }
                    Some(_) | None => {
                        faults.push(format!("{place}: expected USD an hour, 0 to {MOST}"));
                    }
                };
                match price.as_object() {
                    None => put(false, price),
                    Some(ways) => {
                        for (way, price) in ways {
                            match way.as_str() {
                                "on-demand" => put(false, price),
                                "spot" => put(true, price),
                                _ => put(false, &Value::Null),
                            }
                        }
                    }
                }
            }
        }
        if faults.is_empty() { Ok(Self { given: prices, spot: None }) } else { Err(faults) }
    }

    /// Takes what EC2 tells where no price is given.
    pub(super) fn and_of_spot(self, history: History) -> Self {
        Self { spot: Some(history), ..self }
    }

    /// No price is given, and none was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty() && self.spot.is_none()
    }

    /// USD an hour of what was stopped; `region` is where it was if it does not say. `None` where
    /// no price is given: none is guessed.
    pub(super) fn of(&self, stop: &Stop, region: &str) -> Option<f64> {
        let place = stop.region.as_deref().unwrap_or(region);
        let given = self.given.get(&(place.to_owned(), stop.kind.clone()?, stop.spot));
        given.copied().or_else(|| self.spot.as_ref()?.of(stop, region))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples::at;
    use super::*;

    #[test]
    fn a_price_is_found_by_region_type_and_way_and_never_guessed() {
        let prices = Prices::read(&json!({ "eu-central-1": { "m5.large": 0.115,
            "c7g.large": { "on-demand": 0.08, "spot": 0.03 } } }))
        .unwrap();
        let price = |kind: Option<&str>, region: Option<&str>, spot: bool| {
            let moment = at("2026-11-20T10:00:00Z");
            let stop = Stop {
                kind: kind.map(str::to_owned),
                region: region.map(str::to_owned),
                zone: None,
                spot,
                policy: "nights".to_owned(),
                from: moment,
                until: moment,
                at_most: moment,
            };
            prices.of(&stop, "eu-central-1")
        };
        assert_eq!(price(Some("m5.large"), None, false), Some(0.115));
        assert_eq!(price(Some("c7g.large"), Some("eu-central-1"), true), Some(0.03));
        assert_eq!(price(Some("m5.large"), None, true), None);
        assert_eq!(price(Some("m5.large"), Some("eu-west-1"), false), None);
        assert_eq!(price(Some("m5.xlarge"), None, false), None);
        assert_eq!(price(None, None, false), None);
    }

    #[test]
    fn every_fault_of_a_table_is_told() {
        let faults = Prices::read(&json!({ "eu-central-1": { "a": "1", "b": -1, "c": { "x": 1 } },
            "eu-west-1": 1 }))
        .unwrap_err();
        assert_eq!(
            faults,
            [
                "$.eu-central-1[\"a\"]: expected USD an hour, 0 to 10000",
                "$.eu-central-1[\"b\"]: expected USD an hour, 0 to 10000",
                "$.eu-central-1[\"c\"]: expected USD an hour, 0 to 10000",
                "$.eu-west-1: expected an object of instance types",
            ]
        );
        assert!(Prices::read(&json!([])).is_err());
    }
}
