"""From a path that came to our notice to an admitted job: events are hints, scans are truth, one gate.

Along the way of a file:

    intake    one inbox's loop: listen, recall, let each gate advance
    terms     the plain values that an intake is given, and whom it asks and tells (Desk)
    root      whether the inbox is there, is the same, and what the kernel tells of it
    watch     inotify → hints, with watchdog's reader
    retries   when the ledger is asked for retries, and which are due
    rounds    when the whole is scanned, and what a walk asks and tells
    scan      cursors: walks that stop when their lane is full and go on later
    gate      the one way from a path to an admitted job
    pending   the paths to be led through it: now, or when their time has come (pure)
    settle    (sighting, what was known, now) → when to look again, unless it is complete (pure)
    restless  files that changed while they were worked on (pure)
    probe     asking the kernel for writers, and what may be believed of a mount
    rules     name → kind, or why it is not taken (pure)
    bell      what wakes an intake
"""
