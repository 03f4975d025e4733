"""What the host gives a daemon: logs, signals, locks, systemd."""
