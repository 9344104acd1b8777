//! What a call that AWS refused means for a person.

use snooze_cloud::{CloudError, Kind};
use snoozed::exit;

use crate::failure::Failure;

/// The failure of a verb: what it wanted, on what, and what to do.
pub(super) fn failure(what: &str, on: &str, error: &CloudError) -> Failure {
    let mend = mend(error, on);
    Failure::new(exit::AWS, format!("cannot {what} (`{on}`): {error}\n  {mend}"))
}

/// What to do about a call that failed.
pub(super) fn mend(error: &CloudError, on: &str) -> String {
    match error.code.trim_end_matches("Exception") {
        "NoCredentials" => {
            return "name credentials by `AWS_PROFILE`, by `aws sso login`, or in the variables \
                    `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`"
                .to_owned();
        }
        "ExpiredToken" | "RequestExpired" | "RequestTimeTooSkewed" => {
            return "renew the credentials, and look at the clock of this machine".to_owned();
        }
        "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "InvalidAccessKeyId" => {
            return "AWS does not know these credentials: look at `AWS_PROFILE` and the account"
                .to_owned();
        }
        _ => {}
    }
    match error.kind {
        Kind::Denied => match permissions(error.operation) {
            Some(permissions) => format!(
                "the credentials lack {permissions} on `{on}`; `snooze iam-policy operator` prints \
                 all that an operator needs"
            ),
            None => "the credentials may not do that; `snooze iam-policy operator` prints all \
                     that an operator needs"
                .to_owned(),
        },
        Kind::Missing => format!(
            "there is no `{on}` here: name the stack with `--stack` and its Region with \
             `--region`, or deploy it"
        ),
        Kind::Conflict => "somebody else wrote it at the same time: try again".to_owned(),
        Kind::Later => "AWS has too much to do, or is unwell: try again in a minute".to_owned(),
        Kind::Unreachable => "AWS did not answer: look at the network, the proxy, and the \
                              variables `AWS_ENDPOINT_URL` and `AWS_PROFILE`"
            .to_owned(),
        Kind::Invalid => "AWS takes the request for wrong: look at `--stack` and `--region`, and \
                          at the version of `snooze`"
            .to_owned(),
    }
}

/// The permissions that a call needs (Service Authorization Reference, checked 2026-11).
fn permissions(operation: &str) -> Option<String> {
    let service = match operation {
        "TransactWriteItems" => {
            let each = ["PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem"];
            return Some(each.map(|name| format!("`dynamodb:{name}`")).join(", "));
        }
        "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "Query" | "Scan" | "BatchGetItem"
        | "DescribeTable" => "dynamodb",
        "PutEvents" | "DescribeEventBus" | "ListRules" => "events",
        "Publish"
        | "Subscribe"
        | "Unsubscribe"
        | "GetTopicAttributes"
        | "GetSubscriptionAttributes" => "sns",
        "GetParameter" => "ssm",
        "GetQueueUrl" | "GetQueueAttributes" | "ListQueues" => "sqs",
        _ => return None,
    };
    Some(format!("`{service}:{operation}`"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn told(operation: &'static str, code: &str, text: &str, kind: Kind) -> String {
        let error = CloudError::new(operation, kind, code, text);
        match failure("read the policies", "cloudsnooze-policies", &error) {
            Failure::Said { code: exit::AWS, text } => text,
            other @ (Failure::Closed | Failure::Said { .. }) => panic!("{other:?}"),
        }
    }

    #[test]
    fn d16_a_refusal_names_the_permission_that_is_missing() {
        expect![[r#"
            cannot read the policies (`cloudsnooze-policies`): `Query` failed: AccessDeniedException: not authorized
              the credentials lack `dynamodb:Query` on `cloudsnooze-policies`; `snooze iam-policy operator` prints all that an operator needs"#]]
        .assert_eq(&told("Query", "AccessDeniedException", "not authorized", Kind::Denied));
    }

    #[test]
    fn every_kind_of_refusal_says_what_to_do() {
        let kinds = [Kind::Missing, Kind::Conflict, Kind::Later, Kind::Unreachable, Kind::Invalid];
        let told = kinds.map(|kind| told("GetItem", "Code", "", kind));
        expect![[r#"
            cannot read the policies (`cloudsnooze-policies`): `GetItem` failed: Code
              there is no `cloudsnooze-policies` here: name the stack with `--stack` and its Region with `--region`, or deploy it
            cannot read the policies (`cloudsnooze-policies`): `GetItem` failed: Code
              somebody else wrote it at the same time: try again
            cannot read the policies (`cloudsnooze-policies`): `GetItem` failed: Code
              AWS has too much to do, or is unwell: try again in a minute
            cannot read the policies (`cloudsnooze-policies`): `GetItem` failed: Code
              AWS did not answer: look at the network, the proxy, and the variables `AWS_ENDPOINT_URL` and `AWS_PROFILE`
            cannot read the policies (`cloudsnooze-policies`): `GetItem` failed: Code
              AWS takes the request for wrong: look at `--stack` and `--region`, and at the version of `snooze`"#]]
        .assert_eq(&told.join("\n"));
    }

    #[test]
    fn credentials_that_are_not_known_lack_no_permission() {
        for (code, kind, word) in [
            ("NoCredentials", Kind::Later, "AWS_PROFILE"),
            ("ExpiredTokenException", Kind::Later, "renew"),
            ("UnrecognizedClientException", Kind::Denied, "does not know these credentials"),
        ] {
            let told = told("Query", code, "", kind);
            assert!(told.contains(word) && !told.contains("lack"), "{told}");
        }
    }

    #[test]
    fn a_transaction_needs_the_permissions_of_its_parts() {
        let told = told("TransactWriteItems", "AccessDeniedException", "", Kind::Denied);
        assert!(told.contains("`dynamodb:PutItem`, `dynamodb:UpdateItem`"), "{told}");
    }
}
