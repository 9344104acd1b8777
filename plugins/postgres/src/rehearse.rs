//! The health check: whether a flush could be done if it had to be.

use snooze_plugin::PluginError;
use tokio::time::Instant;

use crate::flush::{NAME, directory};
use crate::postmaster::Postmaster;
use crate::session::Session;
use crate::settings::{Settings, Strategy};
use crate::standing::Standing;
use crate::target::Target;

/// Whether the step could be done: the server answers and the role may.
pub(crate) async fn rehearse(
    settings: &Settings,
    target: &Target,
    until: Instant,
) -> Result<(), PluginError> {
    let session = Session::open(target, NAME, until).await?;
    let may = "SELECT r.rolsuper OR EXISTS (SELECT FROM pg_roles c WHERE c.rolname = \
               'pg_checkpoint' AND pg_has_role(c.oid, 'USAGE')) \
               FROM pg_roles r WHERE r.rolname = current_user";
    if !session.one("ask what the role may", may).await? {
        return Err(missing("CHECKPOINT", "pg_checkpoint"));
    }
    match settings.strategy {
        Strategy::Checkpoint => {}
        Strategy::SwitchWal => {
            let may = "SELECT has_function_privilege('pg_switch_wal()', 'EXECUTE')";
            if !session.one("ask what the role may", may).await? {
                return Err(missing("switch the WAL", "EXECUTE ON FUNCTION pg_switch_wal()"));
            }
        }
        Strategy::Quiesce => {
            let may = "SELECT pg_has_role('pg_signal_backend', 'USAGE') \
                       AND pg_has_role('pg_read_all_stats', 'USAGE')";
            if !session.one("ask what the role may", may).await? {
                return Err(missing("end sessions", "pg_signal_backend, pg_read_all_stats"));
            }
        }
        Strategy::FastStop => {
            let standing = Standing::of(&session).await?;
            let directory = directory(settings, &session).await?;
            drop(Postmaster::find(&directory, standing.identifier)?);
        }
    }
    Ok(())
}

fn missing(what: &str, grant: &str) -> PluginError {
    PluginError::new(format!("the role may not {what}; GRANT {grant} to it"))
}
