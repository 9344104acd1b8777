//! EC2 for programs that are too small for its SDK: the few calls of it that they make, as forms.

use aws_config::Region;
use jiff::Timestamp;
use snooze_event::InstanceId;

use crate::signed::{Client, FORM, Service, between};
use crate::{Aws, CloudError};

/// The version of the API that all SDKs speak.
static EC2: Service = Service { name: "EC2", host: "ec2", target: "2016-11-15", content: FORM };
/// So many pages of prices are read at most, of up to 1000 each.
const PAGES: usize = 20;

/// EC2, without its SDK.
#[derive(Debug, Clone)]
pub struct Ec2Query {
    client: Client,
}

/// What a Spot instance costs from a moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpotPrice {
    /// From when on.
    pub from: Timestamp,
    /// USD an hour.
    pub price: f64,
}

/// Which Spot prices are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotPrices<'a> {
    /// The type of the instances, for example `m7g.large`.
    pub kind: &'a str,
    /// Their Availability Zone.
    pub zone: &'a str,
    /// From when on; the price of that moment is told too.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl Ec2Query {
    /// EC2 by these settings.
    #[must_use]
    pub fn new(aws: &Aws) -> Self {
        Self { client: Client::new(aws, &EC2) }
    }

    /// EC2 in another Region.
    #[must_use]
    pub fn in_region(aws: &Aws, region: &str) -> Self {
        Self::new(&aws.clone().into_builder().region(Region::new(region.to_owned())).build())
    }

    /// Stops an instance. One that is stopped or stopping stays so.
    ///
    /// # Errors
    /// It was refused.
    pub async fn stop(&self, instance: &InstanceId) -> Result<(), CloudError> {
        let fields = [("InstanceId.1", instance.as_str())];
        self.client.form("StopInstances", &fields).await.map(drop)
    }

    /// What a Spot instance with Linux cost, the earliest price first. EC2 knows the last 90 days.
    ///
    /// # Errors
    /// The prices cannot be read.
    pub async fn spot_prices(&self, of: &SpotPrices<'_>) -> Result<Vec<SpotPrice>, CloudError> {
        const CALL: &str = "DescribeSpotPriceHistory";
        let (from, until) = (of.from.to_string(), of.until.to_string());
        let mut prices = Vec::new();
        let mut token = String::new();
        for _page in 0..PAGES {
            let mut fields = vec![
                ("InstanceType.1", of.kind),
                ("AvailabilityZone", of.zone),
                ("ProductDescription.1", "Linux/UNIX"),
                ("StartTime", from.as_str()),
                ("EndTime", until.as_str()),
            ];
            if !token.is_empty() {
                fields.push(("NextToken", token.as_str()));
            }
            let text = self.client.form(CALL, &fields).await?;
            for item in text.split("<item>").skip(1) {
                let unread = || CloudError::bad_answer(CALL, "a price is not as expected");
                prices.push(price(item).ok_or_else(unread)?);
            }
            token = between(&text, "nextToken").unwrap_or_default();
            if token.is_empty() {
                break;
            }
        }
        prices.sort_by_key(|price| price.from);
        Ok(prices)
    }
}

fn price(item: &str) -> Option<SpotPrice> {
    let from = between(item, "timestamp")?.parse().ok()?;
    let price = between(item, "spotPrice")?.parse().ok()?;
    Some(SpotPrice { from, price })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stub::Stub;

    #[tokio::test]
    async fn an_instance_is_stopped_by_a_signed_form() {
        let stub = Stub::start(|_| (200, "<StopInstancesResponse/>".to_owned())).await;
        let (aws, _metadata) = stub.aws().await;
        Ec2Query::new(&aws).stop(&"i-0123456789abcdef0".parse().unwrap()).await.unwrap();
        let asked = stub.asked();
        let form = "Action=StopInstances&Version=2016-11-15&InstanceId.1=i-0123456789abcdef0";
        assert_eq!(asked[0].body, form);
        assert_eq!(asked[0].headers["content-type"], FORM);
        assert!(!asked[0].headers.contains_key("x-amz-target"));
        assert!(asked[0].headers["authorization"].contains("/ec2/aws4_request"));
    }

    #[tokio::test]
    async fn what_ec2_refuses_is_said_with_its_code() {
        let refusal = "<Response><Errors><Error><Code>UnsupportedOperation</Code><Message>You \
                       can't stop the Spot Instance &amp; co</Message></Error></Errors>\
                       <RequestID>r-1</RequestID></Response>";
        let stub = Stub::start(move |_| (400, refusal.to_owned())).await;
        let (aws, _metadata) = stub.aws().await;
        let id = "i-0123456789abcdef0".parse().unwrap();
        let error = Ec2Query::new(&aws).stop(&id).await.unwrap_err();
        assert_eq!(error.code, "UnsupportedOperation");
        assert!(error.to_string().contains("You can't stop the Spot Instance & co"), "{error}");
        assert_eq!(stub.asked().len(), 1, "it is not asked again");
    }

    #[tokio::test]
    async fn prices_come_in_pages_and_in_order() {
        let item = |at: &str, price: &str| {
            format!("<item><spotPrice>{price}</spotPrice><timestamp>{at}</timestamp></item>")
        };
        let pages = [
            format!(
                "<set>{}{}</set><nextToken>a/b=</nextToken>",
                item("2026-11-20T12:00:00.000Z", "0.031000"),
                item("2026-11-20T10:00:00.000Z", "0.03"),
            ),
            format!("<set>{}</set><nextToken/>", item("2026-11-19T00:00:00.000Z", "0.02")),
        ];
        let stub = Stub::start(move |asked| {
            (200, pages[usize::from(asked.form().contains("NextToken=a%2Fb%3D"))].clone())
        })
        .await;
        let (aws, _metadata) = stub.aws().await;
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let of = SpotPrices {
            kind: "c7g.large",
            zone: "eu-central-1a",
            from: at("2026-11-20T00:00:00Z"),
            until: at("2026-11-21T00:00:00Z"),
        };
        let prices = Ec2Query::new(&aws).spot_prices(&of).await.unwrap();
        let prices: Vec<f64> = prices.iter().map(|price| price.price).collect();
        assert_eq!(prices, [0.02, 0.03, 0.031]);
        let asked = stub.asked();
        assert_eq!(asked.len(), 2);
        let form = asked[0].form();
        assert!(form.contains("&StartTime=2026-11-20T00%3A00%3A00Z&"), "{form}");
    }
}
