//! The table Instances: what each instance told of itself.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use snooze_event::InstanceId;
use snooze_policy::Facts;
use tracing::warn;

use crate::item::{Item, after, fixed, moment, n, number, s, second, text, texts};
use crate::{Aws, CloudError, Kind};

/// The table.
#[derive(Debug, Clone)]
pub struct Instances {
    client: aws_sdk_dynamodb::Client,
    table: String,
    keep: Duration,
}

/// One instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    /// What policies ask for; `facts.id` is always there.
    pub facts: Facts,
    /// Its queue of commands; `None` until it was made.
    pub queue_url: Option<String>,
    /// The subscription of that queue.
    pub subscription: Option<String>,
    /// The version of its daemon.
    pub version: Option<String>,
    /// The boot it is in.
    pub boot: Option<String>,
    /// The version of the policies it acts on.
    pub policies: Option<u64>,
    /// What does not work on it, by part.
    pub faults: Vec<String>,
    /// When it was last heard of.
    pub last_seen: Option<Timestamp>,
    /// Since when it is idle.
    pub idle_since: Option<Timestamp>,
    /// When it last told whether it is idle.
    pub idle_told: Option<Timestamp>,
    /// The boot in which it told that; the idleness of an earlier boot is over.
    pub idle_boot: Option<String>,
    /// When its last drill ended well.
    pub drilled_at: Option<Timestamp>,
}

impl Instances {
    /// The table of this name; an instance that is not heard of for `keep` is forgotten.
    #[must_use]
    pub fn new(aws: &Aws, table: &str, keep: Duration) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(aws), table: table.to_owned(), keep }
    }

    /// Reads one instance. What has passed its time, by the clock of this machine, is not there.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn read(&self, id: &InstanceId) -> Result<Option<Instance>, CloudError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("instance_id", s(id.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| CloudError::of("GetItem", &error))?;
        let now = Timestamp::now();
        Ok(answer.item.filter(|item| is_there(item, now)).and_then(|item| instance(&item)))
    }

    /// Writes what an instance told of itself; what is `None` or empty there stays as it was.
    /// Only `faults` are replaced, also by none, when `version` is told: who tells his version
    /// tells all that is wrong. News that are older than what is known (`last_seen`) change
    /// nothing.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn update(&self, instance: &Instance) -> Result<(), CloudError> {
        let Some(id) = &instance.facts.id else {
            let text = "the instance has no id";
            return Err(CloudError::new("UpdateItem", Kind::Invalid, "NotSent", text));
        };
        let newer = instance.last_seen.is_some().then_some("last_seen");
        self.write(id, newer, self.told(instance), None).await
    }

    /// Writes since when an instance is idle, in which boot; `None`: it is active. Told at `at`;
    /// what is older than the last that it told of that changes nothing. Hellos, which may pass
    /// it on the way, do not count there.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn idle(
        &self,
        id: &InstanceId,
        since: Option<Timestamp>,
        boot: Option<&str>,
        at: Timestamp,
    ) -> Result<(), CloudError> {
        let expires_at = second(after(at, self.keep));
        let mut told = vec![("idle_told", fixed(at)), ("expires_at", expires_at)];
        told.extend(boot.map(|boot| ("idle_boot", s(boot))));
        told.extend(since.map(|since| ("idle_since", fixed(since))));
        let gone = since.is_none().then_some("idle_since");
        self.write(id, Some("idle_told"), told, gone).await
    }

    /// Removes one instance.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn remove(&self, id: &InstanceId) -> Result<(), CloudError> {
        let call = self.client.delete_item().table_name(&self.table);
        let answer = call.key("instance_id", s(id.as_str())).send().await;
        answer.map(drop).map_err(|error| CloudError::of("DeleteItem", &error))
    }

    /// All instances, ordered by id; a scan, for the sweep and for a person who asks. What has
    /// passed its time, and what cannot be read, is left out.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn list(&self) -> Result<Vec<Instance>, CloudError> {
        let now = Timestamp::now();
        let mut all = BTreeMap::new();
        let mut from: Option<Item> = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .consistent_read(true)
                .set_exclusive_start_key(from.take())
                .send()
                .await
                .map_err(|error| CloudError::of("Scan", &error))?;
            let there = page.items().iter().filter(|item| is_there(item, now));
            all.extend(there.filter_map(instance).map(|it| (it.facts.id.clone(), it)));
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(all.into_values().collect());
            }
        }
    }

    async fn write(
        &self,
        id: &InstanceId,
        newer: Option<&'static str>,
        told: Vec<(&'static str, AttributeValue)>,
        gone: Option<&'static str>,
    ) -> Result<(), CloudError> {
        let set: Vec<String> = told.iter().map(|(name, _)| format!("#{name} = :{name}")).collect();
        let parts = [
            (!set.is_empty()).then(|| format!("SET {}", set.join(", "))),
            gone.map(|name| format!("REMOVE #{name}")),
        ];
        let update: Vec<String> = parts.into_iter().flatten().collect();
        if update.is_empty() {
            return Ok(());
        }
        let mut call = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("instance_id", s(id.as_str()))
            .update_expression(update.join(" "));
        if let Some(at) = newer {
            let is_newer = format!("attribute_not_exists(#{at}) OR #{at} <= :{at}");
            call = call.condition_expression(is_newer);
        }
        for name in told.iter().map(|(name, _)| *name).chain(gone) {
            call = call.expression_attribute_names(format!("#{name}"), name);
        }
        for (name, value) in told {
            call = call.expression_attribute_values(format!(":{name}"), value);
        }
        let Err(error) = call.send().await else { return Ok(()) };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
            _ => Err(CloudError::of("UpdateItem", &error)),
        }
    }

    /// The attributes that news bring.
    fn told(&self, instance: &Instance) -> Vec<(&'static str, AttributeValue)> {
        let facts = &instance.facts;
        let texts = [
            ("type", &facts.kind),
            ("zone", &facts.zone),
            ("region", &facts.region),
            ("account", &facts.account),
            ("lifecycle", &facts.lifecycle),
            ("asg", &facts.asg),
            ("queue_url", &instance.queue_url),
            ("subscription", &instance.subscription),
            ("version", &instance.version),
            ("boot", &instance.boot),
        ];
        let mut told: Vec<_> = texts
            .into_iter()
            .filter_map(|(name, value)| Some((name, s(value.as_ref()?))))
            .collect();
        if !facts.tags.is_empty() {
            let tags: HashMap<_, _> =
                facts.tags.iter().map(|(key, tag)| (key.clone(), s(tag))).collect();
            told.push(("tags", AttributeValue::M(tags)));
        }
        if instance.version.is_some() || !instance.faults.is_empty() {
            told.push(("faults", AttributeValue::L(instance.faults.iter().map(s).collect())));
        }
        told.extend(instance.policies.map(|version| ("policies", n(version))));
        told.extend(instance.drilled_at.map(|at| ("drilled_at", fixed(at))));
        told.extend(instance.last_seen.map(|at| self.seen(at)).into_iter().flatten());
        told
    }

    /// When it was heard of, and when it is forgotten therefore.
    fn seen(&self, at: Timestamp) -> Vec<(&'static str, AttributeValue)> {
        vec![("last_seen", fixed(at)), ("expires_at", second(after(at, self.keep)))]
    }
}

/// TTL takes days to remove what it should (DynamoDB Developer Guide, "Time to Live").
fn is_there(item: &Item, now: Timestamp) -> bool {
    number::<i64>(item, "expires_at").is_none_or(|expires_at| expires_at > now.as_second())
}

fn instance(item: &Item) -> Option<Instance> {
    let id = text(item, "instance_id").unwrap_or_default();
    let Ok(id) = id.parse::<InstanceId>() else {
        warn!(instance = ?id, "an item of the instances bears no instance id: left out");
        return None;
    };
    let word = |name: &str| text(item, name).map(str::to_owned);
    let tags = item.get("tags").and_then(|value| value.as_m().ok()).into_iter().flatten();
    let tags = tags.filter_map(|(key, tag)| Some((key.clone(), tag.as_s().ok()?.clone())));
    let (boot, idle_boot) = (word("boot"), word("idle_boot"));
    let is_earlier = boot.is_some() && idle_boot.is_some() && boot != idle_boot;
    Some(Instance {
        facts: Facts {
            id: Some(id),
            kind: word("type"),
            zone: word("zone"),
            region: word("region"),
            account: word("account"),
            lifecycle: word("lifecycle"),
            asg: word("asg"),
            tags: tags.collect(),
        },
        queue_url: word("queue_url"),
        subscription: word("subscription"),
        version: word("version"),
        boot,
        policies: number(item, "policies"),
        faults: texts(item, "faults"),
        last_seen: moment(item, "last_seen"),
        idle_since: moment(item, "idle_since").filter(|_| !is_earlier),
        idle_told: moment(item, "idle_told"),
        idle_boot,
        drilled_at: moment(item, "drilled_at"),
    })
}
