//! The sums over stops, and how they are shown.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::prices::Prices;
use super::stops::{Losses, Stop};
use crate::text::{self, word};

/// The longest bar of the chart, in characters.
const BAR: f64 = 40.0;
/// Up to so many days the chart has a bar for each; beyond, one for each week.
const DAYS: i64 = 45;
const DAY: i64 = 86_400;

/// Hours of compute that were not billed, and what they would have cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Spared {
    hours: f64,
    /// Of those with a price.
    dollars: f64,
    /// Without a price.
    unpriced: f64,
}

impl Spared {
    fn add(&mut self, time: SignedDuration, price: Option<f64>) {
        let hours = time.as_secs_f64() / 3600.0;
        self.hours += hours;
        match price {
            Some(price) => self.dollars += hours * price,
            None => self.unpriced += hours,
        }
    }

    fn data(self) -> Value {
        json!({ "hours": rounded(self.hours), "usd": rounded(self.dollars),
            "unpriced_hours": rounded(self.unpriced) })
    }
}

/// One line of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sum {
    stops: usize,
    known: Spared,
    /// What may come on top.
    more: Spared,
}

impl Sum {
    fn add(&mut self, stop: &Stop, price: Option<f64>) {
        self.stops += 1;
        self.known.add(stop.until.duration_since(stop.from), price);
        self.more.add(stop.at_most.duration_since(stop.until), price);
    }

    /// Hours without a price.
    fn unpriced(self) -> f64 {
        self.known.unpriced + self.more.unpriced
    }

    fn row(self, name: &str, with_prices: bool) -> [String; 6] {
        let hours = self.known.hours + self.more.hours;
        let is_priced = with_prices && self.unpriced() < hours;
        let dollars = |spared: Spared, sign: &str| match is_priced {
            true if spared.hours > spared.unpriced || (spared.hours == 0.0 && sign.is_empty()) => {
                format!("{sign}{:.2}", spared.dollars)
            }
            true | false => "-".to_owned(),
        };
        let more = self.more.hours > 0.0;
        [
            word(name),
            self.stops.to_string(),
            format!("{:.1}", self.known.hours),
            dollars(self.known, ""),
            if more { format!("+{:.1}", self.more.hours) } else { "-".to_owned() },
            dollars(self.more, "+"),
        ]
    }

    fn data(self) -> Value {
        json!({ "stops": self.stops, "known": self.known.data(), "at_most_more": self.more.data() })
    }
}

/// All that a report tells.
#[derive(Debug)]
pub(super) struct Report {
    since: Timestamp,
    now: Timestamp,
    with_prices: bool,
    types: BTreeMap<String, Sum>,
    policies: BTreeMap<String, Sum>,
    total: Sum,
    /// The first second of each day or week, with the hours that are known and those on top.
    bars: Vec<(Timestamp, Sum)>,
    unpriced: BTreeSet<String>,
    losses: BTreeMap<String, Losses>,
}

impl Report {
    /// Sums stops up; `region` is where an instance was that does not say so.
    pub(super) fn of(
        stops: &[Stop],
        losses: BTreeMap<String, Losses>,
        prices: &Prices,
        region: &str,
        (since, now): (Timestamp, Timestamp),
    ) -> Self {
        let mut report = Self {
            since,
            now,
            with_prices: !prices.is_empty(),
            types: BTreeMap::new(),
            policies: BTreeMap::new(),
            total: Sum::default(),
            bars: bars(since, now),
            unpriced: BTreeSet::new(),
            losses,
        };
        for stop in stops {
            let price = prices.of(stop, region);
            let name = name(stop, region);
            if price.is_none() {
                report.unpriced.insert(name.clone());
            }
            report.types.entry(name).or_default().add(stop, price);
            report.policies.entry(stop.policy.clone()).or_default().add(stop, price);
            report.total.add(stop, price);
            report.draw(stop, price);
        }
        report
    }

    /// Puts a stop into the bars of its days.
    fn draw(&mut self, stop: &Stop, price: Option<f64>) {
        let ends: Vec<Timestamp> =
            self.bars.iter().skip(1).map(|(start, _)| *start).chain([self.now]).collect();
        for ((start, sum), end) in self.bars.iter_mut().zip(ends) {
            let within = |moment: Timestamp| moment.clamp(*start, end.max(*start));
            let (from, until) = (within(stop.from), within(stop.until));
            sum.known.add(until.duration_since(from), price);
            sum.more.add(within(stop.at_most).duration_since(until), price);
        }
    }

    pub(super) fn person(&self) -> String {
        let mut out = format!("{} to {}\n", text::at(self.since), text::at(self.now));
        if self.total.stops == 0 {
            out.push_str("no idle instance was stopped in this time\n");
        } else {
            out.push_str(&self.table("TYPE", &self.types));
            out.push('\n');
            out.push_str(&self.table("POLICY", &self.policies));
            out.push('\n');
            out.push_str(&self.chart());
            out.push_str(&self.prices_that_lack());
        }
        out.push_str(&self.interruptions());
        out
    }

    fn table(&self, what: &str, lines: &BTreeMap<String, Sum>) -> String {
        let head = [what, "STOPS", "HOURS", "USD", "HOURS MORE", "USD MORE"].map(str::to_owned);
        let rows = lines.iter().map(|(name, sum)| sum.row(name, self.with_prices));
        let total = self.total.row("total", self.with_prices);
        text::table(&[head].into_iter().chain(rows).chain([total]).collect::<Vec<_>>())
    }

    fn chart(&self) -> String {
        let longest = self.bars.iter().map(|(_, sum)| sum.known.hours + sum.more.hours);
        let longest = longest.fold(0.0, f64::max);
        if longest <= 0.0 {
            return String::new();
        }
        let each = if self.is_by_week() { "week from" } else { "day" };
        let mut out = format!("hours by {each} (UTC): █ known, ░ at most on top\n");
        for (start, sum) in &self.bars {
            let (known, more) = (sum.known.hours, sum.more.hours);
            let bar = marks('█', known / longest) + &marks('░', more / longest);
            let day = start.strftime("%m-%d");
            let more = if more > 0.0 { format!(" +{more:.1}") } else { String::new() };
            out.push_str(format!("  {day}  {bar} {known:.1}{more}").trim_end());
            out.push('\n');
        }
        out
    }

    fn is_by_week(&self) -> bool {
        matches!(self.bars.as_slice(), [(first, _), (second, _), ..]
            if second.duration_since(*first).as_secs() > DAY)
    }

    fn prices_that_lack(&self) -> String {
        if !self.with_prices {
            return "no prices: `--prices` tells what an hour costs\n".to_owned();
        }
        let hours = self.total.unpriced();
        let names = self.unpriced.iter().map(|name| text::shown(name)).collect::<Vec<_>>();
        match names.as_slice() {
            [] => String::new(),
            names => {
                format!("no price for {}: {hours:.1} hours are not in USD\n", names.join("; "))
            }
        }
    }

    fn interruptions(&self) -> String {
        let mut out = String::new();
        for (cause, losses) in &self.losses {
            out.push_str(&format!(
                "{} ({}): everything was saved before {}\n",
                match losses.all {
                    1 => "1 loss".to_owned(),
                    all => format!("{all} losses"),
                },
                text::shown(cause),
                losses.saved
            ));
        }
        out
    }

    pub(super) fn data(&self) -> Value {
        let sums = |lines: &BTreeMap<String, Sum>| -> Value {
            lines.iter().map(|(name, sum)| (name.clone(), sum.data())).collect()
        };
        let bar = |(start, sum): &(Timestamp, Sum)| {
            json!({ "from": start.to_string(), "known": sum.known.data(),
                "at_most_more": sum.more.data() })
        };
        let losses: Value = self
            .losses
            .iter()
            .map(|(cause, losses)| {
                (cause.clone(), json!({ "all": losses.all, "saved": losses.saved }))
            })
            .collect();
        json!({
            "since": self.since.to_string(),
            "until": self.now.to_string(),
            "prices": self.with_prices,
            "types": sums(&self.types),
            "policies": sums(&self.policies),
            "total": self.total.data(),
            "bars": self.bars.iter().map(bar).collect::<Vec<_>>(),
            "unpriced": self.unpriced,
            "losses": losses,
        })
    }
}

fn name(stop: &Stop, region: &str) -> String {
    let kind = stop.kind.as_deref().unwrap_or("type not known");
    let way = if stop.spot { " spot" } else { "" };
    format!("{kind}{way}, {}", stop.region.as_deref().unwrap_or(region))
}

/// The days, or the weeks, between two moments.
fn bars(since: Timestamp, now: Timestamp) -> Vec<(Timestamp, Sum)> {
    let first = since.as_second().div_euclid(DAY) * DAY;
    let days = (now.as_second() - first).div_euclid(DAY) + 1;
    let step = if days > DAYS { 7 * DAY } else { DAY };
    let mut bars = Vec::new();
    let mut start = first;
    while start <= now.as_second() {
        bars.extend(Timestamp::from_second(start).ok().map(|start| (start, Sum::default())));
        start += step;
    }
    bars
}

/// A part of the longest bar; what is there at all can be seen.
fn marks(mark: char, part: f64) -> String {
    let count = (part * BAR).round();
    let least: f64 = if part > 0.0 { 1.0 } else { 0.0 };
    std::iter::successors(Some(1.0), |place| Some(place + 1.0))
        .take_while(|place| *place <= count.max(least))
        .map(|_place: f64| mark)
        .collect()
}

fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::samples::at;
    use super::*;

    #[test]
    fn s0_69_hours_and_dollars_are_summed_by_type_policy_and_day() {
        expect![[r#"
            2026-11-18T12:00:00.000Z to 2026-11-21T12:00:00.000Z
            TYPE                          STOPS  HOURS  USD   HOURS MORE  USD MORE
            c7g.large spot, eu-central-1  1      8.0    0.40  -           -
            m5.large, eu-central-1        2      26.0   2.60  -           -
            type not known, eu-central-1  1      0.0    -     +6.0        -
            total                         4      34.0   3.00  +6.0        -

            POLICY  STOPS  HOURS  USD   HOURS MORE  USD MORE
            batch   1      8.0    0.40  -           -
            nights  3      26.0   2.60  +6.0        -
            total   4      34.0   3.00  +6.0        -

            hours by day (UTC): █ known, ░ at most on top
              11-18  █████████ 4.0
              11-19  ███████████████████████████ 12.0
              11-20  ████████████████████████████████████████ 18.0
              11-21  ░░░░░░░░░░░░░ 0.0 +6.0
            no price for type not known, eu-central-1: 6.0 hours are not in USD
            3 losses (spot): everything was saved before 2
        "#]]
        .assert_eq(
            &sample(&json!({ "eu-central-1": {
            "m5.large": 0.1, "c7g.large": { "spot": 0.05 } } }))
            .person(),
        );
    }

    #[test]
    fn the_document_shows_what_is_printed() {
        let document = include_str!("../../../../docs/savings.md");
        let report = Report::of(
            &stops(Some("m5.large")),
            [("spot".to_owned(), Losses { all: 3, saved: 2 })].into(),
            &Prices::read(&json!({ "eu-central-1": {
                "m5.large": 0.1, "c7g.large": { "spot": 0.05 } } }))
            .unwrap(),
            "eu-central-1",
            (at("2026-11-18T12:00:00Z"), at("2026-11-21T12:00:00Z")),
        );
        let told = report.person();
        assert!(document.contains(&told), "{told}");
    }

    #[test]
    fn s0_69_an_hour_without_a_price_is_said_and_not_guessed() {
        let report = sample(&json!({ "eu-central-1": { "m5.large": 0.1 } }));
        let told = report.person();
        let line = "no price for c7g.large spot, eu-central-1; type not known, eu-central-1: \
                    14.0 hours are not in USD\n";
        assert!(told.contains(line), "{told}");
        assert_eq!(
            report.data()["total"]["known"],
            json!({ "hours": 34.0, "usd": 2.6, "unpriced_hours": 8.0 })
        );
        assert!(sample(&json!({})).person().contains("no prices: `--prices`"));
    }

    #[test]
    fn a_long_time_has_bars_by_week() {
        let window = (at("2026-09-01T12:00:00Z"), at("2026-11-21T12:00:00Z"));
        let stop = stop("m5.large", ("2026-09-01T12:00:00Z", "2026-09-10T12:00:00Z"), None);
        let report = Report::of(&[stop], BTreeMap::new(), &Prices::default(), "x", window);
        let told = report.person();
        assert!(told.contains("hours by week from (UTC)"), "{told}");
        assert_eq!(report.bars.len(), 12);
        let hours: f64 = report.bars.iter().map(|(_, sum)| sum.known.hours).sum();
        assert!((hours - 216.0).abs() < 1e-9, "{hours}");
    }

    #[test]
    fn nothing_is_said_as_nothing() {
        let window = (at("2026-11-20T12:00:00Z"), at("2026-11-21T12:00:00Z"));
        let report = Report::of(&[], BTreeMap::new(), &Prices::default(), "x", window);
        assert!(report.person().ends_with("no idle instance was stopped in this time\n"));
    }

    fn sample(prices: &Value) -> Report {
        let window = (at("2026-11-18T12:00:00Z"), at("2026-11-21T12:00:00Z"));
        let losses = [("spot".to_owned(), Losses { all: 3, saved: 2 })].into();
        let prices = Prices::read(prices).unwrap();
        Report::of(&stops(None), losses, &prices, "eu-central-1", window)
    }

    /// Four stops; the last, of an instance of this type, may have lasted.
    fn stops(kind: Option<&str>) -> [Stop; 4] {
        let spot = Stop {
            spot: true,
            policy: "batch".to_owned(),
            ..stop("c7g.large", ("2026-11-20T00:00:00Z", "2026-11-20T08:00:00Z"), None)
        };
        let unknown = ("2026-11-21T06:00:00Z", "2026-11-21T06:00:00Z");
        let unknown = stop("m5.large", unknown, Some("2026-11-21T12:00:00Z"));
        [
            stop("m5.large", ("2026-11-18T20:00:00Z", "2026-11-19T06:00:00Z"), None),
            stop("m5.large", ("2026-11-19T18:00:00Z", "2026-11-20T10:00:00Z"), None),
            spot,
            Stop { kind: kind.map(str::to_owned), ..unknown },
        ]
    }

    fn stop(kind: &str, (from, until): (&str, &str), at_most: Option<&str>) -> Stop {
        Stop {
            kind: Some(kind.to_owned()),
            region: None,
            zone: None,
            spot: false,
            policy: "nights".to_owned(),
            from: at(from),
            until: at(until),
            at_most: at(at_most.unwrap_or(until)),
        }
    }
}
