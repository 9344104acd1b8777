//! Where this instance is, and what the stack's things are called there.

use std::time::Duration;

use snooze_event::{IncidentKey, InstanceId};
use snooze_policy::Facts;

use super::Settings;

/// Who and where this instance is, as its identity document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    pub(super) instance: InstanceId,
    pub(super) account: String,
    pub(super) region: String,
}

/// The names of what belongs to a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) bus: String,
    pub(super) policies: String,
    pub(super) queue: String,
    /// The ARN of the topic of commands.
    pub(super) topic: String,
}

impl Home {
    /// `None` when the document does not say enough.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<Self> {
        Some(Self {
            instance: facts.id.clone()?,
            account: facts.account.clone()?,
            region: facts.region.clone()?,
        })
    }

    /// The same with the Region that the settings name.
    pub(super) fn called(&self, settings: &Settings) -> Self {
        match &settings.region {
            Some(region) => Self { region: region.clone(), ..self.clone() },
            None => self.clone(),
        }
    }

    /// The account and the Region.
    pub(super) fn place(&self) -> (String, String) {
        (self.account.clone(), self.region.clone())
    }

    pub(super) fn names(&self, stack: &str) -> Names {
        let Self { instance, account, region } = self;
        let partition = partition(region);
        Names {
            bus: stack.to_owned(),
            policies: format!("{stack}-policies"),
            queue: format!("{stack}-instance-{instance}"),
            topic: format!("arn:{partition}:sns:{region}:{account}:{stack}-commands"),
        }
    }

    /// Whether an incident in the journal is this instance's own: an image of a disk may hold the
    /// journal of another one. Before the metadata service told who we are, keys are without us.
    pub(super) fn is_home_of(&self, key: &IncidentKey) -> bool {
        let owner = key.as_str().split('/').next().unwrap_or_default();
        owner == self.instance.as_str() || owner == "i-00000000"
    }

    /// When the first calls are due, spread over the fleet: always the same for one instance.
    #[must_use]
    pub fn jitter(&self, longest: Duration) -> Duration {
        let hash = crc32fast::hash(self.instance.as_str().as_bytes());
        longest.mul_f64(f64::from(hash) / f64::from(u32::MAX))
    }
}

/// The partition of a Region (AWS General Reference, "Amazon Resource Names", checked 2026-11).
fn partition(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "aws-cn",
        Some("us") if region.starts_with("us-gov-") => "aws-us-gov",
        Some(_) | None => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(instance: &str, region: &str) -> Home {
        let (account, region) = ("123456789012".to_owned(), region.to_owned());
        Home { instance: instance.parse().unwrap(), account, region }
    }

    #[test]
    fn all_names_derive_from_the_stack_and_the_place() {
        let names = home("i-0a1b2c3d4e5f60718", "eu-west-1").names("blue");
        let expected = Names {
            bus: "blue".to_owned(),
            policies: "blue-policies".to_owned(),
            queue: "blue-instance-i-0a1b2c3d4e5f60718".to_owned(),
            topic: "arn:aws:sns:eu-west-1:123456789012:blue-commands".to_owned(),
        };
        assert_eq!(names, expected);
        let topic = |region| home("i-0a1b2c3d", region).names("s").topic;
        assert!(topic("cn-north-1").starts_with("arn:aws-cn:sns:cn-north-1:"));
        assert!(topic("us-gov-west-1").starts_with("arn:aws-us-gov:"));
        assert!(topic("us-east-1").starts_with("arn:aws:"));
    }

    // E12 asks for a simulation of the peak; this is its ground.
    #[test]
    fn the_first_calls_of_a_fleet_are_spread_over_the_whole_time() {
        let longest = Duration::from_secs(10);
        let mut seconds = [0_u32; 10];
        for number in 0..10_000_u32 {
            let at = home(&format!("i-{number:017x}"), "eu-west-1").jitter(longest);
            assert!(at <= longest);
            seconds[usize::try_from(at.as_secs()).unwrap().min(9)] += 1;
        }
        assert!(seconds.iter().all(|count| (800..1200).contains(count)), "{seconds:?}");
        assert_eq!(home("i-0a1b2c3d", "eu-west-1").jitter(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn incidents_of_the_machine_that_an_image_was_made_from_are_not_ours() {
        let home = home("i-0a1b2c3d", "eu-west-1");
        let is_ours = |key| home.is_home_of(&IncidentKey::stored(key));
        assert!(is_ours("i-0a1b2c3d/boot/spot/terminate"));
        assert!(is_ours("i-00000000/boot/spot/terminate"));
        assert!(!is_ours("i-0a1b2c3e/boot/spot/terminate"));
    }
}
