//! Makes MySQL or MariaDB safe before the instance goes, and says when nobody uses it.
//!
//! Two programs stand on this: `mysql-flusher` and `mysql-monitor`. What they do to a server is
//! decided in [`Plan`] and done in one session that stays open until the end, since a lock belongs
//! to a connection and goes with it.
//!
//! Invariants: every call has a limit; success is read back from the server; no lock outlives the
//! process; the password appears in no text.

mod dsn;
mod facts;
mod flush;
mod flusher;
mod hold;
mod monitor;
mod plan;
mod server;
mod settings;
mod stop;

pub use dsn::{Dsn, NotADsn, Place, Tls};
pub use facts::{Facts, Figures, Flavour};
pub use flusher::Flusher;
pub use monitor::Monitor;
pub use plan::{End, Plan, Step};
pub use settings::{Hold, Settings, Strategy};
