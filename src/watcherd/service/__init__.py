"""What the host gives a daemon: logs, locks, signals, systemd.

What it says, what it hears, and what is its own:

    logs     what is said: JSON, or a line for people
    sink     where it goes: a reader that is gone or stuck
    journal  both for systemd's journal, where fields stay fields
    systemd  what systemd hears: ready, a line of status, that we make progress
    signals  signals as messages
    locks    one daemon for a state, an inbox, an outbox
"""
