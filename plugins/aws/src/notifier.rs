//! `sns-notifier`: tells a topic what happens to the instance.

mod news;
mod settings;

use std::time::Instant;

use serde_json::{Map, json};
use snooze_cloud::topic::Topic;
use snooze_cloud::{Options, Role};
use snooze_plugin::{Handled, Info, Plugin, PluginError, PluginEvent, Setting};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::cloud::{self, Road};
use settings::Settings;

/// `sns-notifier`. It takes every event that a policy gives it.
#[derive(Default)]
pub struct Notifier {
    settings: Option<Settings>,
    road: Road<Topic>,
}

impl Notifier {
    /// The settings and the way to the topic, which is made where there is none yet.
    fn ready(&mut self) -> Result<(&Settings, &Runtime, &Topic), PluginError> {
        let Some(settings) = &self.settings else {
            return Err(PluginError::new("`topic_arn` is not configured"));
        };
        let options = || {
            let region = Some(settings.topic.region.clone());
            Options { region, role: Role::Person, ..Options::default() }
        };
        let (runtime, topic) =
            self.road.open(options, |aws| Topic::new(aws, &settings.topic.arn))?;
        Ok((settings, runtime, topic))
    }
}

impl Plugin for Notifier {
    fn info(&self) -> Info {
        Info {
            display_name: "SNS Notifier".to_owned(),
            author: "CloudSnooze".to_owned(),
            description: "Tells an SNS topic what happens to the instance".to_owned(),
            category: "notification".to_owned(),
            tags: ["notify", "sns", "email"].map(str::to_owned).into(),
            official: true,
            language: Some("rust".to_owned()),
            config_schema: Setting::schema(&settings::all()),
            permissions: ["network:443", "metadata"].map(str::to_owned).into(),
            ..Info::new("sns-notifier", env!("CARGO_PKG_VERSION"))
        }
    }

    fn configure(&mut self, config: &Map<String, serde_json::Value>) -> Result<(), PluginError> {
        self.settings = Some(Settings::read(config)?);
        self.road = Road::default();
        Ok(())
    }

    fn initialize(&mut self) -> Result<(), PluginError> {
        self.ready().map(drop)
    }

    fn handle_event(&mut self, event: &PluginEvent) -> Result<Handled, PluginError> {
        let begun = Instant::now();
        let (settings, runtime, topic) = self.ready()?;
        let news = news::of(settings, event);
        let arn = &settings.topic.arn;
        if settings.dry_run {
            return Ok(Handled::with_status("sns_would_be_sent")
                .and("dry_run", true)
                .and("topic", arn.as_str())
                .and("would", json!([format!("publish: {}", news.subject)])));
        }
        let limit = event.budget(settings.timeout);
        let sent = runtime.block_on(Box::pin(async { timeout(limit, topic.publish(&news)).await }));
        let handled = match sent {
            Ok(Ok(id)) => Handled::with_status("sns_sent").verified(true).and("message_id", id),
            Ok(Err(error)) => Handled::failed(format!("`{arn}`: {}", cloud::told(&error))),
            Err(_) => Handled::failed(format!(
                "`{arn}` did not answer within {} s; raise `timeout_seconds`, or check the way to \
                 SNS: routes, endpoints, security groups",
                limit.as_secs_f64()
            )),
        };
        Ok(handled.and("topic", arn.as_str()).and("seconds", begun.elapsed().as_secs_f64()))
    }
}
