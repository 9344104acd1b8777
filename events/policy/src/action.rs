//! What each action is told: the keys of its `config`, in one place for the check of a policy,
//! its document and whoever does the action.

use serde_json::{Map, Value};
use snooze_event::EventType;

use crate::fault::{member, shown};
use crate::fields::{Fields, Unknown, wrong_kind};
use crate::policy::When;
use crate::secret::{SecretRef, secret_reference};
use crate::{ActionName, Fault};

/// One key of the `config` of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionKey {
    /// Its name.
    pub name: &'static str,
    /// What stands there.
    pub form: Form,
    /// The action cannot be done without it.
    pub required: bool,
}

/// What a parameter of an action has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text for people, at most 2000 characters.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number from 0 to 100000.
    Count,
    /// A TCP port.
    Port,
    /// An object of tags: at most 40 keys that do not begin with `aws:`, with their texts.
    Tags,
    /// Any object.
    Object,
    /// An `https` address, or a reference to the secret that is one.
    Address,
    /// A reference to a secret that the cloud side can read.
    Secret,
    /// The ARN of an SNS topic.
    Topic,
    /// A list of ARNs of target groups.
    TargetGroups,
    /// The name or ARN of a function.
    Function,
    /// The name of an Auto Scaling group.
    Group,
    /// `custom`, or an event type below it.
    OwnType,
}

/// The longest text for people, in characters.
const TEXT: usize = 2000;
/// A resource has at most 50 tags (EC2 User Guide, "Tag restrictions", checked 2026-11); ours and
/// the operator's own share them.
const TAGS: usize = 40;
/// The longest key and value of a tag, in characters (same source).
const TAG: (usize, usize) = (127, 255);
/// The most target groups of one action.
const TARGET_GROUPS: usize = 20;

const fn may(name: &'static str, form: Form) -> ActionKey {
    ActionKey { name, form, required: false }
}

const fn must(name: &'static str, form: Form) -> ActionKey {
    ActionKey { name, form, required: true }
}

impl ActionName {
    /// The keys of its `config`.
    #[must_use]
    pub fn keys(self) -> &'static [ActionKey] {
        const NOTIFY: &[ActionKey] =
            &[may("subject", Form::Text), may("text", Form::Text), may("topic_arn", Form::Topic)];
        const WEBHOOK: &[ActionKey] = &[must("url", Form::Address), may("secret", Form::Secret)];
        const STOP: &[ActionKey] =
            &[may("reason", Form::Text), may("per_hour", Form::Count), may("dry_run", Form::Flag)];
        const TERMINATE: &[ActionKey] = &[
            may("decrement_desired", Form::Flag),
            may("per_hour", Form::Count),
            may("dry_run", Form::Flag),
        ];
        const START: &[ActionKey] = &[may("reason", Form::Text), may("dry_run", Form::Flag)];
        const TAG: &[ActionKey] = &[must("tags", Form::Tags)];
        const PUT_EVENT: &[ActionKey] = &[must("type", Form::OwnType), may("data", Form::Object)];
        const SCALE: &[ActionKey] = &[may("group", Form::Group), may("desired", Form::Count)];
        const SNAPSHOT: &[ActionKey] = &[
            may("description", Form::Text),
            may("tags", Form::Tags),
            may("exclude_boot_volume", Form::Flag),
        ];
        const DRAIN: &[ActionKey] =
            &[must("target_groups", Form::TargetGroups), may("port", Form::Port)];
        const INVOKE: &[ActionKey] = &[
            must("function", Form::Function),
            may("wait", Form::Flag),
            may("config", Form::Object),
        ];
        match self {
            Self::Notify => NOTIFY,
            Self::Webhook => WEBHOOK,
            Self::CompleteLifecycle | Self::Heartbeat => &[],
            Self::StopInstance | Self::HibernateInstance => STOP,
            Self::TerminateInGroup => TERMINATE,
            Self::StartInstance => START,
            Self::Tag => TAG,
            Self::PutEvent => PUT_EVENT,
            Self::ScaleGroup => SCALE,
            Self::SnapshotVolumes => SNAPSHOT,
            Self::DrainTarget => DRAIN,
            Self::Invoke => INVOKE,
        }
    }

    /// When it is done where the policy does not say. A hook is answered with the outcome, and
    /// with nothing else.
    #[must_use]
    pub fn usual(self) -> When {
        if self == Self::CompleteLifecycle { When::Outcome } else { When::Now }
    }
}

/// A fault for each parameter that the action cannot use.
pub(crate) fn check(
    name: ActionName,
    entry: &Fields<'_>,
    unknown: Unknown,
    faults: &mut Vec<Fault>,
) {
    // What is no object has its fault already.
    let mut strange = Vec::new();
    let config = entry.object("config", &mut strange);
    let keys = name.keys();
    for key in keys.iter().filter(|key| key.required) {
        if strange.is_empty() && config.as_ref().is_none_or(|config| config.get(key.name).is_none())
        {
            let text = format!("`{}` needs the key `{}` in its `config`", name.as_str(), key.name);
            faults.push(Fault::new(&entry.path, text));
        }
    }
    let Some(config) = config else { return };
    if keys.is_empty() && unknown == Unknown::Refuse {
        for (key, _) in config.members() {
            let text = format!("unknown key {}: `{}` has no parameters", shown(key), name.as_str());
            faults.push(Fault::new(&config.path, text));
        }
    } else {
        let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
        config.expect(&known, unknown, faults);
    }
    for key in keys {
        if let Some(value) = config.get(key.name) {
            key.form.check(&member(&config.path, key.name), value, faults);
        }
    }
}

impl Form {
    fn check(self, path: &str, value: &Value, faults: &mut Vec<Fault>) {
        let fine = match self {
            Self::Tags => return tags(path, value, faults),
            Self::OwnType => return own_type(path, value, faults),
            Self::Flag => value.is_boolean(),
            Self::Count => value.as_u64().is_some_and(|count| count <= 100_000),
            Self::Port => value.as_u64().is_some_and(|port| (1..=65_535).contains(&port)),
            Self::Object => value.is_object(),
            Self::TargetGroups => value.as_array().is_some_and(|list| {
                (1..=TARGET_GROUPS).contains(&list.len())
                    && list.iter().all(|arn| is_arn(arn, "elasticloadbalancing"))
            }),
            Self::Topic => is_arn(value, "sns"),
            Self::Text => value.as_str().is_some_and(|text| text.chars().count() <= TEXT),
            Self::Address => value.as_str().is_some_and(|text| is_secret(text) || is_https(text)),
            Self::Secret => value.as_str().is_some_and(is_secret),
            Self::Function => value.as_str().is_some_and(|text| is_word(text, 170, ":_-.$")),
            Self::Group => value.as_str().is_some_and(|text| {
                (1..=255).contains(&text.chars().count()) && !text.contains(char::is_control)
            }),
        };
        if !fine {
            // The value is not shown: a secret may stand there.
            faults.push(Fault::new(path, format!("expected {}", self.expected())));
        }
    }

    /// What stands there, for a person.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text of at most 2000 characters",
            Self::Flag => "true or false",
            Self::Count => "a whole number from 0 to 100000",
            Self::Port => "a port from 1 to 65535",
            Self::Tags => "an object of at most 40 tags",
            Self::Object => "an object",
            Self::Address => {
                "an `https://` address without a user name, or a reference `ssm:NAME` or \
                 `secretsmanager:NAME` to one"
            }
            Self::Secret => "a reference `ssm:NAME` or `secretsmanager:NAME`",
            Self::Topic => "the ARN of an SNS topic",
            Self::TargetGroups => "a list of 1 to 20 ARNs of target groups",
            Self::Function => "the name or ARN of a Lambda function",
            Self::Group => "the name of an Auto Scaling group",
            Self::OwnType => "`custom`, or an event type that begins with `custom.`",
        }
    }
}

/// The reference to a secret that the cloud side can read: those of one instance are not there.
#[must_use]
pub fn cloud_secret(text: &str) -> Option<SecretRef> {
    secret_reference(text)
        .filter(|secret| matches!(secret, SecretRef::Ssm(_) | SecretRef::SecretsManager(_)))
}

fn is_secret(text: &str) -> bool {
    cloud_secret(text).is_some()
}

fn is_https(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = text.len() <= 2048 && text.bytes().all(|c| c.is_ascii_graphic());
    plain && !host.is_empty() && !host.contains('@')
}

fn is_arn(value: &Value, service: &str) -> bool {
    let Some(text) = value.as_str() else { return false };
    let mut parts = text.split(':');
    let partition =
        parts.next() == Some("arn") && parts.next().is_some_and(|p| p.starts_with("aws"));
    partition && parts.next() == Some(service) && is_word(text, 512, ":_-./")
}

fn is_word(text: &str, longest: usize, marks: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    (1..=longest).contains(&text.len()) && text.chars().all(fine)
}

fn tags(path: &str, value: &Value, faults: &mut Vec<Fault>) {
    let Some(tags) = value.as_object() else {
        faults.push(wrong_kind(path, Form::Tags.expected(), value));
        return;
    };
    if tags.is_empty() || tags.len() > TAGS {
        faults.push(Fault::new(
            path,
            format!("expected {}, and at least one", Form::Tags.expected()),
        ));
    }
    for (key, value) in tags {
        if let Some(text) = bad_tag(key, value) {
            faults.push(Fault::new(&member(path, key), text));
        }
    }
}

/// What is wrong with a tag.
fn bad_tag(key: &str, value: &Value) -> Option<&'static str> {
    let (longest_key, longest) = TAG;
    if key.to_ascii_lowercase().starts_with("aws:") {
        return Some("tags that begin with `aws:` are written by AWS alone");
    }
    if key.is_empty() || key.chars().count() > longest_key || key.contains(char::is_control) {
        return Some("expected a key of 1 to 127 characters");
    }
    let fine = value
        .as_str()
        .is_some_and(|text| text.chars().count() <= longest && !text.contains(char::is_control));
    (!fine).then_some("expected a text of at most 255 characters")
}

/// The tags of a parameter, those that cannot be written left out.
#[must_use]
pub fn tags_of(config: &Map<String, Value>) -> Vec<(String, String)> {
    let tags = config.get("tags").and_then(Value::as_object);
    let fine = tags.into_iter().flatten().filter(|(key, value)| bad_tag(key, value).is_none());
    fine.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn own_type(path: &str, value: &Value, faults: &mut Vec<Fault>) {
    let kind = value.as_str().map(str::parse::<EventType>);
    if !matches!(kind, Some(Ok(EventType::Custom(_)))) {
        faults.push(Fault::new(path, format!("expected {}", Form::OwnType.expected())));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::samples::listed;

    #[test]
    fn a_wrong_key_of_an_action_is_named_with_the_one_that_was_meant() {
        faults(
            r#"{"action":"notify","config":{"subjekt":"x","topic_arn":"https://x","text":7}},
               {"action":"webhook","config":{"uri":"https://hunter2.example"}},
               {"action":"webhook","config":{"url":"http://x.example","secret":"hunter2"}},
               {"action":"webhook","config":{"url":"https://me:hunter2@x.example"}},
               {"action":"complete-lifecycle","when":"now","config":{"result":"CONTINUE"}},
               {"action":"tag"},
               {"action":"tag","config":{"tags":{"aws:x":"1","ok":2,"":"x"}}},
               {"action":"put-event","config":{"type":"cloud.spot.interrupt"}},
               {"action":"scale-group","config":{"desired":-1,"group":""}},
               {"action":"drain-target","config":{"target_groups":["x"],"port":0}},
               {"action":"invoke","config":{"function":"rm -rf /","wait":"yes","config":[]}},
               {"action":"snapshot-volumes","config":{"tags":[]}}"#,
            expect![[r#"
                $.actions[0].config: unknown key `subjekt`: did you mean `subject`?
                $.actions[0].config.text: expected a text of at most 2000 characters
                $.actions[0].config.topic_arn: expected the ARN of an SNS topic
                $.actions[1]: `webhook` needs the key `url` in its `config`
                $.actions[1].config: unknown key `uri`: did you mean `url`?
                $.actions[2].config.url: expected an `https://` address without a user name, or a reference `ssm:NAME` or `secretsmanager:NAME` to one
                $.actions[2].config.secret: expected a reference `ssm:NAME` or `secretsmanager:NAME`
                $.actions[3].config.url: expected an `https://` address without a user name, or a reference `ssm:NAME` or `secretsmanager:NAME` to one
                $.actions[4].config: unknown key `result`: `complete-lifecycle` has no parameters
                $.actions[4].when: `complete-lifecycle` waits for the outcome: expected `outcome`
                $.actions[5]: `tag` needs the key `tags` in its `config`
                $.actions[6].config.tags[""]: expected a key of 1 to 127 characters
                $.actions[6].config.tags["aws:x"]: tags that begin with `aws:` are written by AWS alone
                $.actions[6].config.tags.ok: expected a text of at most 255 characters
                $.actions[7].config.type: expected `custom`, or an event type that begins with `custom.`
                $.actions[8].config.group: expected the name of an Auto Scaling group
                $.actions[8].config.desired: expected a whole number from 0 to 100000
                $.actions[9].config.target_groups: expected a list of 1 to 20 ARNs of target groups
                $.actions[9].config.port: expected a port from 1 to 65535
                $.actions[10].config.function: expected the name or ARN of a Lambda function
                $.actions[10].config.wait: expected true or false
                $.actions[10].config.config: expected an object
                $.actions[11].config.tags: expected an object of at most 40 tags, found a list
            "#]],
        );
    }

    #[test]
    fn a_hook_is_answered_with_the_outcome_when_the_policy_does_not_say() {
        let read = crate::check(&with(r#"{"action":"complete-lifecycle"},{"action":"notify"}"#));
        let whens: Vec<_> = read.unwrap().actions.iter().map(|action| action.when).collect();
        assert_eq!(whens, [When::Outcome, When::Now]);
    }

    #[test]
    fn secrets_of_one_instance_are_none_of_the_cloud_side() {
        for (text, fine) in [
            ("ssm:/hooks/key", true),
            ("secretsmanager:hooks", true),
            ("credential:hooks", false),
            ("env:HOOKS", false),
            ("hunter2", false),
        ] {
            assert_eq!(cloud_secret(text).is_some(), fine, "{text}");
        }
    }

    fn with(actions: &str) -> String {
        format!(r#"{{"name":"p","match":{{"type":["custom"]}},"actions":[{actions}]}}"#)
    }

    fn faults(actions: &str, expected: Expect) {
        expected.assert_eq(&listed(&crate::check(&with(actions)).unwrap_err()));
    }
}
