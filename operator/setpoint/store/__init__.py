"""What is known of our own Sources and Syncs, and which Sync owns which object; all of it is rebuilt at start. The one writer of statuses."""
