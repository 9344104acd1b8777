//! Calls of services that speak AWS JSON, or take forms as EC2 does, signed with version 4, where
//! the SDK of the service would weigh more in the daemon than the few calls of it that are made.
//!
//! What carries a call is what carries those of the SDKs: their retries, time limits, credentials,
//! correction of the clock and HTTP client, by the same settings.

use std::fmt;
use std::time::Duration;

use aws_config::Region;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::recursion_detection::RecursionDetectionInterceptor;
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_runtime::service_clock_skew::{ServiceClockSkewClassifier, ServiceClockSkewInterceptor};
use aws_runtime::user_agent::{ApiMetadata, UserAgentInterceptor};
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{
    HttpStatusCodeClassifier, TransientErrorClassifier,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::{
    HttpRequest, HttpResponse, OrchestratorError, SensitiveOutput,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Layer};
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use aws_types::service_config::ServiceConfigKey;
use serde_json::Value;

use crate::error::Kind;
use crate::{Aws, CloudError};

/// A service that speaks AWS JSON, or takes forms.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its name in settings: `Secrets Manager` is led elsewhere by
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
    pub(crate) name: &'static str,
    /// Its name in addresses and signatures.
    pub(crate) host: &'static str,
    /// What stands before the name of a call in `X-Amz-Target`; of forms, the version of the API.
    pub(crate) target: &'static str,
    /// The `Content-Type` of its version of AWS JSON, or of forms.
    pub(crate) content: &'static str,
}

impl Service {
    fn takes_forms(&self) -> bool {
        self.content == FORM
    }
}

/// Forms in, XML out: the query protocol of EC2.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// AWS JSON 1.0.
#[cfg(feature = "queue")]
pub(crate) const JSON_1_0: &str = "application/x-amz-json-1.0";
/// AWS JSON 1.1.
#[cfg(any(feature = "bus", feature = "secrets"))]
pub(crate) const JSON_1_1: &str = "application/x-amz-json-1.1";

/// The client of one service.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    service: &'static Service,
    /// Nothing where the settings name no Region.
    operation: Option<Operation<Question, Answer, ErrorMetadata>>,
}

#[derive(Debug)]
struct Question {
    /// Nothing where the body names the call.
    target: Option<String>,
    content: &'static str,
    body: String,
    /// How long all of the call may take, where it is not the usual.
    limit: Option<Duration>,
}

/// What was answered: never shown, since it may be a secret. XML is a text.
struct Answer(Value);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer(***)")
    }
}

impl Client {
    /// The client of this service by these settings.
    pub(crate) fn new(aws: &Aws, service: &'static Service) -> Self {
        let operation = aws.region().map(|region| operation(aws, service, region));
        Self { service, operation }
    }

    /// Makes a call.
    ///
    /// # Errors
    /// It failed, or its answer is no JSON. Nothing of the answer stands in the error.
    pub(crate) async fn call(&self, call: &'static str, body: &Value) -> Result<Value, CloudError> {
        self.send(call, Some(self.target(call)), body.to_string(), None).await
    }

    /// Makes a call that may take so long.
    ///
    /// # Errors
    /// As those of [`Client::call`].
    #[cfg(feature = "queue")]
    pub(crate) async fn call_within(
        &self,
        limit: Duration,
        call: &'static str,
        body: &Value,
    ) -> Result<Value, CloudError> {
        self.send(call, Some(self.target(call)), body.to_string(), Some(limit)).await
    }

    /// Makes a call with a form, and answers with XML.
    ///
    /// # Errors
    /// It failed, or its answer is no text.
    #[cfg(feature = "ec2-query")]
    pub(crate) async fn form(
        &self,
        call: &'static str,
        fields: &[(&str, &str)],
    ) -> Result<String, CloudError> {
        let own = [("Action", call), ("Version", self.service.target)];
        let fields = own.iter().chain(fields);
        let fields: Vec<_> =
            fields.map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let answer = self.send(call, None, fields.join("&"), None).await?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    fn target(&self, call: &str) -> String {
        format!("{}.{call}", self.service.target)
    }

    async fn send(
        &self,
        call: &'static str,
        target: Option<String>,
        body: String,
        limit: Option<Duration>,
    ) -> Result<Value, CloudError> {
        let Some(operation) = &self.operation else {
            let text = "the settings name no Region";
            return Err(CloudError::new(call, Kind::Invalid, "NotSent", text));
        };
        let content = self.service.content;
        let answer = operation.invoke(Question { target, content, body, limit });
        answer.await.map(|answer| answer.0).map_err(|error| CloudError::of(call, &error))
    }
}

/// Sets the limit of a question.
#[derive(Debug)]
struct Limit;

impl Intercept for Limit {
    fn name(&self) -> &'static str {
        "Limit"
    }

    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let question = context.input().downcast_ref::<Question>();
        if let Some(limit) = question.and_then(|question| question.limit) {
            let limits = TimeoutConfig::builder()
                .operation_attempt_timeout(limit)
                .operation_timeout(limit)
                .build();
            config.interceptor_state().store_put(limits);
        }
        Ok(())
    }
}

fn operation(
    aws: &Aws,
    service: &Service,
    region: &Region,
) -> Operation<Question, Answer, ErrorMetadata> {
    let mut layer = Layer::new("signed");
    layer.store_put(SigningName::from_static(service.host));
    layer.store_put(SigningRegion::from(region.clone()));
    layer.store_put(SigV4OperationSigningConfig::default());
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(SensitiveOutput);
    layer.store_put(ApiMetadata::new(service.host, env!("CARGO_PKG_VERSION")));

    let mut parts = RuntimeComponentsBuilder::new("signed")
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![
            SCHEME_ID,
        ])))
        .with_http_client(aws.http_client())
        .with_identity_cache(aws.identity_cache())
        .with_interceptor(Limit)
        .with_interceptor(ServiceClockSkewInterceptor::new())
        .with_interceptor(UserAgentInterceptor::new())
        // By this header AWS finds functions that call each other in circles.
        .with_interceptor(RecursionDetectionInterceptor::new())
        .with_retry_classifier(HttpStatusCodeClassifier::default())
        .with_retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
        .with_retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
        .with_retry_classifier(ServiceClockSkewClassifier::<ErrorMetadata>::new())
        .with_sleep_impl(aws.sleep_impl())
        .with_time_source(aws.time_source());
    if let Some(credentials) = aws.credentials_provider() {
        parts.set_identity_resolver(SCHEME_ID, credentials);
    }

    let mut builder = Operation::builder()
        .service_name(service.name)
        .operation_name(service.name)
        .endpoint_url(&endpoint(aws, service, region.as_ref()))
        .standard_retry(&aws.retry_config().cloned().unwrap_or_else(RetryConfig::standard))
        .timeout_config(aws.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled))
        .with_connection_poisoning()
        .runtime_plugin(
            StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(parts),
        );
    if let Some(version) = aws.behavior_version() {
        builder = builder.behavior_version(version);
    }
    let is_xml = service.takes_forms();
    builder.serializer(request).deserializer(move |response| answer(response, is_xml)).build()
}

/// Where the service is: where the settings say, or at its public address.
fn endpoint(aws: &Aws, service: &Service, region: &str) -> String {
    let key = ServiceConfigKey::builder()
        .service_id(service.name)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    // What the code set goes before what the environment says of one service.
    let own = match key {
        Ok(key) if !aws.get_origin("endpoint_url").is_client_config() => {
            aws.service_config().and_then(|config| config.load_config(key))
        }
        Ok(_) | Err(_) => None,
    };
    own.or_else(|| aws.endpoint_url().map(str::to_owned)).unwrap_or_else(|| {
        let fips = aws.use_fips().unwrap_or(false);
        public(service.host, region, fips, aws.use_dual_stack().unwrap_or(false))
    })
}

/// The public address of a service (the endpoint rules of the SDKs of SSM 1.133, Secrets Manager
/// 1.125, SQS 1.119, EventBridge 1.127 and EC2 1.274).
fn public(host: &str, region: &str, fips: bool, dual_stack: bool) -> String {
    let (suffix, dual) = match region.split('-').collect::<Vec<_>>().as_slice() {
        ["cn", ..] => ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        ["us", "iso", ..] => ("c2s.ic.gov", "api.aws.ic.gov"),
        ["us", "isob", ..] => ("sc2s.sgov.gov", "api.aws.scloud"),
        ["us", "isof", ..] => ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        ["eu", "isoe", ..] => ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
        ["eusc", ..] => ("amazonaws.eu", "api.amazonwebservices.eu"),
        _ => ("amazonaws.com", "api.aws"),
    };
    let suffix = if dual_stack { dual } else { suffix };
    // In the government's Regions the usual address is one for FIPS.
    let usual = region.starts_with("us-gov-")
        && (host == "events" || matches!(host, "ec2" | "ssm" | "sqs") && !dual_stack);
    let fips = if fips && !usual { "-fips" } else { "" };
    format!("https://{host}{fips}.{region}.{suffix}")
}

fn request(question: Question) -> Result<HttpRequest, BoxError> {
    let Question { target, content, body, limit: _ } = question;
    let length = body.len().to_string();
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST")?;
    request.set_uri("/")?;
    let headers = request.headers_mut();
    headers.try_insert("content-type", content)?;
    headers.try_insert("content-length", length)?;
    if let Some(target) = target {
        headers.try_insert("x-amz-target", target)?;
    }
    Ok(request)
}

fn answer(
    response: &HttpResponse,
    is_xml: bool,
) -> Result<Answer, OrchestratorError<ErrorMetadata>> {
    if is_xml {
        let text = response.body().bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
        return match text {
            Some(text) if response.status().is_success() => Ok(Answer(text.into())),
            text => Err(OrchestratorError::operation(refused(text.unwrap_or_default()))),
        };
    }
    let body = match response.body().bytes() {
        // Calls that have nothing to say answer so.
        None | Some([]) => Some(Value::Null),
        Some(bytes) => serde_json::from_slice(bytes).ok(),
    };
    if !response.status().is_success() {
        let body = body.unwrap_or_default();
        return Err(OrchestratorError::operation(refusal(response, &body)));
    }
    // The parser's own words would show what it read.
    let unread = || OrchestratorError::response("the answer is no JSON".into());
    body.map(Answer).ok_or_else(unread)
}

/// What an answer that refuses says (AWS JSON 1.1 protocol, "Operation error serialization").
fn refusal(response: &HttpResponse, body: &Value) -> ErrorMetadata {
    let header = |name| response.headers().get(name);
    let member = |names: [&str; 2]| names.into_iter().find_map(|name| body.get(name)?.as_str());
    let mut refusal = ErrorMetadata::builder();
    if let Some(code) = header("x-amzn-errortype").or_else(|| member(["__type", "code"])) {
        // `aws.protocols#InvalidSignature:http://…`
        let code = code.split(':').next().unwrap_or_default();
        refusal = refusal.code(code.rsplit('#').next().unwrap_or_default());
    }
    if let Some(text) = member(["message", "Message"]) {
        refusal = refusal.message(text);
    }
    if let Some(id) = header("x-amzn-requestid") {
        refusal = refusal.custom("aws_request_id", id);
    }
    refusal.build()
}

/// What XML that refuses says (EC2 API reference, "Error codes", checked 2026-11).
fn refused(xml: &str) -> ErrorMetadata {
    let mut refusal = ErrorMetadata::builder();
    if let Some(code) = between(xml, "Code") {
        refusal = refusal.code(code);
    }
    if let Some(text) = between(xml, "Message") {
        refusal = refusal.message(text);
    }
    if let Some(id) = between(xml, "RequestID") {
        refusal = refusal.custom("aws_request_id", id);
    }
    refusal.build()
}

/// The text of the first element of this name, without the marks of XML.
pub(crate) fn between(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let marks = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(marks.iter().fold(text.to_owned(), |text, (mark, plain)| text.replace(mark, plain)))
}

/// A value as forms hold it: all but letters, digits and `-_.~` by their bytes (RFC 3986).
#[cfg(feature = "ec2-query")]
fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
