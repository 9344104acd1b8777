# Before the files go for good.
if [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now snoozed.service || true
fi
