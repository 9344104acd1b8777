//! The Lambda function `perform`.

use std::sync::Arc;

use snooze_cloud::web::Reach;
use snooze_cloud::{Options, connect};
use snooze_functions::perform::{Perform, settings};
use snooze_functions::{host, settings as environment, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::begin();
    let settings = environment::read(&host::environment(), settings)?;
    let aws = connect(&Options::default()).await;
    let perform = &Arc::new(Perform::new(&aws, settings, Reach::Public));
    host::serve(perform.meter(), async |invocation| {
        perform.batch(&invocation.text, invocation.now).await
    })
    .await
}
