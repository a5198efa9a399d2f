"""The known Sources and Syncs, and which Sync owns which object. All of it is rebuilt at start. It is the only writer of statuses."""
