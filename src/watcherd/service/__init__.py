"""What the host gives a daemon: logs, locks, signals, systemd.

What it says, what it hears, and what is its own:

    logs     JSON or console, and a reader that is gone or stuck
    journal  the same for systemd's journal, where fields stay fields
    systemd  what systemd hears: ready, a line of status, that we get on
    signals  signals as messages
    locks    one daemon for a state, an inbox, an outbox
"""
