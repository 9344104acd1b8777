# After the files went for good.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
