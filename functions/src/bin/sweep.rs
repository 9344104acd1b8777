//! The function `sweep`: see `snooze_functions::sweep`.

use std::sync::Arc;

use snooze_cloud::Options;
use snooze_functions::host;
use snooze_functions::record::Settings;
use snooze_functions::sweep::{self, Sweep};
use snooze_functions::telemetry::Meter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let settings = host::begin(Settings::read)?;
    let aws = snooze_cloud::connect(&Options::default()).await;
    let meter = Arc::new(Meter::new(&settings.stack, sweep::NAME));
    let function = Arc::new(Sweep::new(&settings, &aws, Arc::clone(&meter)));
    host::serve(&meter, |invocation| Arc::clone(&function).handle(invocation)).await
}
