//! Plugins that speak to AWS: `directory-syncer` copies a directory to S3 before the instance
//! goes, and `sns-notifier` tells a topic what happens.
//!
//! Invariants: credentials are those that the SDK finds, never a setting; every call ends with the
//! time of the step; links are not followed; what is said to be stored was confirmed by the service
//! against a digest that was computed here; a manifest that is complete is never replaced by one
//! that is not.

mod cloud;
mod notifier;
mod syncer;
mod template;

pub use notifier::Notifier;
pub use syncer::Syncer;
