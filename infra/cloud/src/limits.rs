//! Limits: how often something may be done in an hour of the clock, counted in the table Incidents.
//!
//! One item for each scope and hour, `limit/SCOPE/2026-11-21T18`, holds a set with a word for each
//! thing that was let through. A word that stands there passes again, so that what is done twice
//! counts once; one condition decides, so that of many at once no more than the limit pass.
//!
//! | attribute | holds |
//! |---|---|
//! | `passed` | the words |
//! | `told` | whether the first refusal was told |
//! | `expires_at` | when the table may forget it |

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use crate::item::{after, n, s, second};
use crate::{Aws, CloudError};

/// The most that a limit may be: a set of so many words stays well below the 400 KB of an item.
pub const LARGEST: u64 = 1000;
/// For how long an hour is kept: a task is tried for an hour, and a person may want to look.
const KEEP: Duration = Duration::from_secs(24 * 3600);

/// The limits that are counted in one table.
#[derive(Debug, Clone)]
pub struct Limits {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl Limits {
    /// The limits in the table of this name.
    #[must_use]
    pub fn new(aws: &Aws, table: &str) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(aws), table: table.to_owned() }
    }

    /// Whether something passes, known by a word that only it has.
    ///
    /// # Errors
    /// The table cannot be written; then nobody knows.
    pub async fn pass(
        &self,
        scope: &str,
        word: &str,
        limit: u64,
        now: Timestamp,
    ) -> Result<bool, CloudError> {
        if limit == 0 {
            return Ok(false);
        }
        let call = self
            .update(scope, now)
            .update_expression("SET #expires = :expires ADD #passed :words")
            .condition_expression(
                "attribute_not_exists(#passed) OR size(#passed) < :limit \
                 OR contains(#passed, :word)",
            )
            .expression_attribute_names("#expires", "expires_at")
            .expression_attribute_names("#passed", "passed")
            .expression_attribute_values(":expires", second(after(now, KEEP)))
            .expression_attribute_values(":words", AttributeValue::Ss(vec![word.to_owned()]))
            .expression_attribute_values(":word", s(word))
            .expression_attribute_values(":limit", n(limit.min(LARGEST)));
        held(call).await
    }

    /// Takes back what passed and was not done after all.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn take_back(
        &self,
        scope: &str,
        word: &str,
        now: Timestamp,
    ) -> Result<(), CloudError> {
        let call = self
            .update(scope, now)
            .update_expression("DELETE #passed :words")
            .condition_expression("attribute_exists(#passed)")
            .expression_attribute_names("#passed", "passed")
            .expression_attribute_values(":words", AttributeValue::Ss(vec![word.to_owned()]));
        held(call).await.map(drop)
    }

    /// Whether nobody was told yet that the limit of this hour is reached; whoever is answered so
    /// tells it.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn is_first_refusal(&self, scope: &str, now: Timestamp) -> Result<bool, CloudError> {
        let call = self
            .update(scope, now)
            .update_expression("SET #told = :told, #expires = :expires")
            .condition_expression("attribute_not_exists(#told)")
            .expression_attribute_names("#told", "told")
            .expression_attribute_names("#expires", "expires_at")
            .expression_attribute_values(":told", AttributeValue::Bool(true))
            .expression_attribute_values(":expires", second(after(now, KEEP)));
        held(call).await
    }

    fn update(&self, scope: &str, now: Timestamp) -> UpdateItemFluentBuilder {
        let hour = now.strftime("%Y-%m-%dT%H");
        let key = s(format!("limit/{scope}/{hour}"));
        self.client.update_item().table_name(&self.table).key("incident", key)
    }
}

/// Whether the condition of an update held.
async fn held(call: UpdateItemFluentBuilder) -> Result<bool, CloudError> {
    let Err(error) = call.send().await else { return Ok(true) };
    let is_refused =
        error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception());
    if is_refused { Ok(false) } else { Err(CloudError::of("UpdateItem", &error)) }
}
