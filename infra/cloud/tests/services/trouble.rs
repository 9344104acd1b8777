//! What all adapters do when a service is unwell.

use std::time::{Duration, Instant};

use snooze_cloud::fake::{Fault, Server};
use snooze_cloud::incidents::Incidents;
use snooze_cloud::policies::Policies;
use snooze_cloud::topic::Topic;
use snooze_cloud::{CloudError, Kind, Role};

use super::common::{claim, incident, instance, moment};

const KEEP: Duration = Duration::from_secs(3600);
/// The SDK tries so often, and nobody tries again around it.
const ATTEMPTS: usize = 3;

#[tokio::test]
async fn d5_a_throttled_table_is_asked_at_most_three_times() {
    let codes =
        ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"];
    for code in codes {
        for failing in 1..=ATTEMPTS + 1 {
            for operation in ["GetItem", "PutItem", "TransactWriteItems", "Query"] {
                let server = Server::start().await.unwrap();
                let incidents = Incidents::new(&server.aws().await, "s-incidents", KEEP);
                if operation == "PutItem" {
                    incidents.claim(&claim(), incident, moment(0)).await.unwrap();
                }
                server.faults(operation, failing, Fault::error(400, code));
                let answer = ask(&incidents, operation).await;
                assert_eq!(answer.is_ok(), failing < ATTEMPTS, "{operation}: {failing} of {code}");
                let calls = server.count(operation);
                assert_eq!(calls, ATTEMPTS.min(failing + 1), "{operation}: {failing} of {code}");
                if let Err(error) = answer {
                    assert_eq!((error.kind, error.code.as_str()), (Kind::Later, code));
                    assert!(error.again());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_black_hole_ends_with_the_limit_of_the_operation() {
    let server = Server::start().await.unwrap();
    let aws = server.aws_as(Role::Function).await;
    server.standing("*", Fault::Hang);
    let incidents = Incidents::new(&aws, "s-incidents", KEEP);
    let policies = Policies::new(&aws, "s-policies");
    let topic = Topic::new(&aws, &server.topic_arn("s-operators"));
    let begin = Instant::now();
    let (read, of_type, told) = tokio::join!(
        incidents.read("i"),
        policies.of_type("cloud.spot.interrupt"),
        topic.message("subject", "text"),
    );
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}: one after the other would take 12 s");
    for error in [read.unwrap_err(), of_type.unwrap_err(), told.unwrap_err()] {
        assert_eq!((error.kind, error.code.as_str()), (Kind::Unreachable, "Timeout"));
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let server = Server::start().await.unwrap();
    let incidents = Incidents::new(&server.aws().await, "s-incidents", KEEP);
    drop(server);
    let begin = Instant::now();
    let error = incidents.read("i").await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!((error.kind, error.code.as_str()), (Kind::Unreachable, "Unreachable"));
}

#[tokio::test]
async fn what_is_no_answer_is_not_taken_for_one() {
    let server = Server::start().await.unwrap();
    let incidents = Incidents::new(&server.aws().await, "s-incidents", KEEP);
    let answer = |status, body: &str| Fault::Answer { status, body: body.to_owned() };
    for (fault, kind) in [
        (answer(200, "<html>"), Kind::Unreachable),
        (answer(403, "<html>"), Kind::Denied),
        (answer(400, "{}"), Kind::Invalid),
        (answer(503, ""), Kind::Later),
        (Fault::error(500, "InternalServerError"), Kind::Later),
        (Fault::error(400, "AccessDeniedException"), Kind::Denied),
        (Fault::error(400, "ResourceNotFoundException"), Kind::Missing),
        (Fault::error(400, "ValidationException"), Kind::Invalid),
        (Fault::error(400, "UnrecognizedClientException"), Kind::Denied),
    ] {
        server.standing("GetItem", fault.clone());
        let error = incidents.read("i").await.unwrap_err();
        assert_eq!(error.kind, kind, "{fault:?}: {error}");
        assert_eq!(error.operation, "GetItem");
        server.lift("GetItem");
    }
}

#[tokio::test]
async fn an_error_says_what_failed_and_why() {
    let server = Server::start().await.unwrap();
    let incidents = Incidents::new(&server.aws().await, "s-incidents", KEEP);
    let text = "User: role/dispatch is not authorized\nto perform: dynamodb:GetItem".to_owned();
    let code = "AccessDeniedException".to_owned();
    server.fault("GetItem", Fault::Error { status: 400, code, text });
    assert_eq!(
        incidents.read("i").await.unwrap_err().to_string(),
        "`GetItem` failed: AccessDeniedException: User: role/dispatch is not authorized to \
         perform: dynamodb:GetItem"
    );
}

#[tokio::test]
async fn a_name_that_may_be_reserved_is_refused_by_the_fake() {
    let server = Server::start().await.unwrap();
    let client = aws_sdk_dynamodb::Client::new(&server.aws().await);
    let scan = client.scan().table_name("s-instances").filter_expression("region = :region");
    let value = aws_sdk_dynamodb::types::AttributeValue::S("eu".to_owned());
    let error = scan.clone().expression_attribute_values(":region", value.clone()).send().await;
    let text = format!("{:?}", error.unwrap_err());
    assert!(text.contains("`region` is no placeholder"), "{text}");
    let scan = scan.filter_expression("#region = :region").expression_attribute_values(":r", value);
    assert!(scan.expression_attribute_names("#region", "region").send().await.is_err());
}

/// The call that makes this operation.
async fn ask(incidents: &Incidents, operation: &str) -> Result<(), CloudError> {
    match operation {
        "GetItem" => incidents.read("i").await.map(drop),
        "TransactWriteItems" => incidents.claim(&claim(), incident, moment(0)).await.map(drop),
        "Query" => incidents.of_instance(&instance(), moment(0), 5).await.map(drop),
        "PutItem" => {
            let id = claim().id(moment(0));
            incidents.change(&id, |it| it.fated("stopped", moment(9))).await.map(drop)
        }
        other => panic!("{other}"),
    }
}
