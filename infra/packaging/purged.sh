# With the settings goes what the daemon knew; the user stays, since files may belong to it.
rm -rf /var/lib/cloudsnooze
