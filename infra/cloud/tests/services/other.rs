//! The fake, for services that it does not play.

use snooze_cloud::fake::{Fault, Server, When};

#[tokio::test]
async fn a_registered_answer_reads_as_one_of_the_service() {
    let server = Server::start().await.unwrap();
    let groups = aws_sdk_autoscaling::Client::new(&server.aws().await);
    let beat = || {
        let beat = groups.record_lifecycle_action_heartbeat();
        beat.auto_scaling_group_name("orders").lifecycle_hook_name("hook").send()
    };
    let refused = beat().await.unwrap_err().into_service_error();
    assert_eq!(refused.meta().code(), Some("NotPlayed"));
    server.answer("RecordLifecycleActionHeartbeat", 200, "");
    beat().await.unwrap();
    let text = "No active Lifecycle Action found with token <t>";
    let (status, code) = (400, "ValidationError".to_owned());
    let fault = Fault::Error { status, code, text: text.to_owned() };
    server.fault_when(When::next("RecordLifecycleActionHeartbeat").after(1), fault);
    beat().await.unwrap();
    let refused = beat().await.unwrap_err().into_service_error();
    assert_eq!(
        (refused.meta().code(), refused.meta().message()),
        (Some("ValidationError"), Some(text))
    );
    let call = &server.calls()[0];
    assert_eq!(
        (call.service.as_str(), call.param("AutoScalingGroupName").as_deref()),
        ("autoscaling", Some("orders"))
    );
    let hooks = "<DescribeLifecycleHooksResponse><DescribeLifecycleHooksResult><LifecycleHooks>\
                 <member><HeartbeatTimeout>90</HeartbeatTimeout></member></LifecycleHooks>\
                 </DescribeLifecycleHooksResult></DescribeLifecycleHooksResponse>";
    server.answer_next("DescribeLifecycleHooks", 200, hooks);
    let described = groups.describe_lifecycle_hooks().auto_scaling_group_name("orders").send();
    assert_eq!(described.await.unwrap().lifecycle_hooks()[0].heartbeat_timeout(), Some(90));
}

#[tokio::test]
async fn a_function_is_invoked_by_its_path() {
    let server = Server::start().await.unwrap();
    let functions = aws_sdk_lambda::Client::new(&server.aws().await);
    server.answer("Invoke", 200, r#"{"result":{}}"#);
    let invoked = functions.invoke().function_name("flusher").send().await.unwrap();
    assert_eq!(invoked.payload().unwrap().as_ref(), br#"{"result":{}}"#);
    assert!(server.calls()[0].path.contains("flusher"));
    server.standing("Invoke", Fault::error(404, "ResourceNotFoundException"));
    let refused = functions.invoke().function_name("flusher").send().await.unwrap_err();
    assert!(refused.into_service_error().is_resource_not_found_exception());
}
