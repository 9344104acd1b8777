//! The function `record`: see `snooze_functions::record`.

use std::sync::Arc;

use snooze_cloud::Options;
use snooze_functions::host;
use snooze_functions::record::{self, Record, Settings};
use snooze_functions::telemetry::Meter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = host::begin(Settings::read)?;
    let aws = snooze_cloud::connect(&Options::default()).await;
    let meter = Arc::new(Meter::new(&settings.stack, record::NAME));
    let function = Record::new(&settings, &aws, Arc::clone(&meter));
    host::serve(&meter, |invocation| function.handle(invocation)).await
}
