"""watcherd: drop a file into a folder, find its result in another, and nothing is lost between.

The way of a file is the way through this package, and arrows of import point one way along it:

    cli          commands, progress bars, tables: the only room that prints
    drain        the daemon's rooms until nothing is left to do
    audit        whether ledger and folders agree
    failures     what was set aside, and its way back
    daemon       how the rooms are started, attended, reloaded and stopped
    vitals       whether it gets on, and what is done and in hand
    rebuild      a new ledger in place of a damaged one
    assembly     the composition root: which room is built when, and what is wired to what
    settings     flags, environment, TOML → one frozen Settings
    intake/      an inbox → sightings → which are complete → admitted jobs
    lanes/       jobs → workers (threads for text, processes for images) → outcomes
    processors/  what the work is: a file in, a draft and a Result out
    publish/     outcomes → durable results, retired inputs, quarantine
    service/     what the host gives a daemon: logs, signals, locks, systemd
    ledger/      SQLite: what became of every file
    beneath      opening what lies beneath a root, and never outside it
    heap         what a worker keeps of memory that was freed
    turns        taking turns at the interpreter
    decide       admission, retry, blame (pure)
    model        the values that travel between rooms, and the three kinds of error (pure)

Read them in that order, or begin with ARCHITECTURE.md.
"""

__version__ = "0.1.0"
