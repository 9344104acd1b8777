# After an installation; $change is `install` or `upgrade`. Nothing is enabled or started.
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers cloudsnooze.conf
elif ! getent passwd cloudsnooze >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/cloudsnooze --no-create-home \
        --shell /usr/sbin/nologin --comment CloudSnooze cloudsnooze
fi
if [ -d /run/systemd/system ]; then
    systemd-tmpfiles --create cloudsnooze.conf || true
    systemctl daemon-reload || true
    # A daemon that runs ends its handlers first, and the new one goes on from its journal.
    if [ "$change" = upgrade ]; then
        systemctl --no-block try-restart snoozed.service || true
    fi
fi
