"""What the host gives a daemon: logs, locks, signals, systemd.

What a daemon hears and says, and what an installation takes:

    logs          JSON or console, and a reader that is gone or stuck
    journal       the same for systemd's journal, where fields stay fields
    systemd       what systemd hears: ready, a line of status, that we get on
    signals       signals as messages
    locks         one daemon for a state, an inbox, an outbox
    installation  what it takes to install the service, and to remove it (pure)
    unit_files    what each file of an installation holds (pure)
    places        where a machine, or a user, keeps what belongs to a service (pure)
    reach         what the service could not reach, refused before anything is written (pure)
"""
