"""watcherd: drop a file into a folder, find its result in another, and nothing is lost between.

Arrows of import point down this list. Each room's own `__init__` names its modules.

    cli         the commands, and the exit status of each end: the only room that prints
    drain       the same rooms over what is in the inboxes now, and then an end
    audit       ledger and folders held against each other
    failures    what is quarantined and its way back, for commands
    daemon      what the main thread does from start to stop: the mailbox, the threads
    rooms       all rooms together: assembled, started, reloaded and stopped
    vitals      whether the daemon makes progress, and its line of status
    pruner      old rows of the ledger, forgotten now and then
    assembly    the composition root: which room is built when, and what is wired to what
    rebuild     a new ledger in place of a damaged one
    evidence    what the folders prove where no ledger does
    plain       what each room takes of the settings, in plain values
    premises    the folders of each inbox before it is served: made, and noted as ours
    settings    flags, environment, TOML, defaults: one frozen object, known to the rooms above alone
    intake      from a path that came to our notice to an admitted job
    lanes       from an admitted job to its outcome: threads for text, processes for images
    publish     from an outcome to a durable result and a retired input, or to quarantine
    service     what the host gives a daemon: logs, locks, signals, systemd
    install     what it takes to install the systemd service, and to remove it (pure)
    ledger      what became of every file: rows in SQLite, claims in memory
    processors  what is done with a file: plain functions, and the table of kinds
    access      why a folder cannot be used, and what would let us use it
    beneath     opening what lies beneath a root, and never outside it
    heap        what a worker process keeps of memory that was freed, and when it gives it back
    lifeline    threads whose death is reported
    paths       paths where only text can be: in JSON, and on a shell's line
    patterns    gitignore patterns, however many stars they have (pure)
    turns       whose turn it is to make many small system calls
    volumes     the file systems that are known, and what may be believed of them
    decide      admission, retry, blame (pure)
    sameness    whether a file that is found is the one that is known (pure)
    model       the values that travel, and the three kinds of error (pure)
    states      the states of a file, and what may follow what (pure)
"""

__version__ = "0.1.0"
