//! Plugins for tests, as text.

use std::path::Path;

/// A shell plugin that notes in the file `log` when it starts and finishes an event, as
/// `start NAME ATTEMPT TYPE ACTION` and `finish NAME ATTEMPT TYPE ACTION`, with `seconds` between.
///
/// It holds a lock meanwhile, and notes a `violation NAME` when another one holds it.
#[must_use]
pub fn recorder(name: &str, log: &Path, seconds: f64) -> String {
    let log = log.display();
    handler(
        name,
        &format!(
            r#"
      attempt=${{request##*\"attempt\":}}
      type=${{request#*\"type\":\"}}
      action=${{request##*\"action\":\"}}
      said="{name} ${{attempt%%[,\}}]*}} ${{type%%\"*}} ${{action%%\"*}}"
      exec 9>"{log}.{name}.lock"
      flock --nonblock 9 || echo "violation {name}" >>"{log}"
      echo "start $said" >>"{log}"
      [ {seconds} = 0 ] || sleep {seconds}
      echo "finish $said" >>"{log}"
      exec 9>&-
      result='{{"handled":true,"status":"saved"}}'"#
        ),
    )
}

/// A shell plugin that does this on each event; it must set `result`.
#[must_use]
pub fn handler(name: &str, script: &str) -> String {
    format!(
        r#"#!/bin/sh
while read -r request; do
  id=${{request##*\"id\":}}
  case $request in
    '{{"method":"Info",'*) result='{{"name":"{name}","version":"1.0.0"}}' ;;
    '{{"method":"HandleEvent",'*) {script} ;;
    *) result='{{"error":"Unknown method: not one of mine"}}' ;;
  esac
  echo "{{\"result\":$result,\"id\":${{id%\}}}}}}"
done
"#
    )
}
