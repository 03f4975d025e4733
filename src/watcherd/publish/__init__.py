"""From an outcome to a durable result and a retired input, or to quarantine.

Along the way of a result; then what happens beside it:

    publisher   one inbox's publisher: takes what is finished, settles it, says so
    judge       what becomes of a job that was not done
    health      whether the system is well where it writes: pauses and resumes
    batch       one batch on its way out: the order that promises hang on
    stages      where what it has in work waits for its next step
    ways        which way each of a batch goes, and numbers that give no name twice
    reveal      giving a result its visible name
    unretired   inputs that cannot be taken for now
    earlier     what an earlier run left, taken up once
    recovery    after a crash: what was on record is taken up where it was
    place       where the files of an inbox go (pure)
    names       names of results, archives, reasons (pure)
    root        a tree that we write to: drafts, probe
    ground      whether it is the folder that we met there first
    disk        when what was written goes to disk, and how that is cheapest
    folders     the folders of one batch, opened and synced once
    rename      names that change hands, atomically, overwriting nothing
    retire      which way an input leaves its inbox
    taker       taking it: rename first, look afterwards
    custody     our own folder of the inbox, where it may lie meanwhile
    carry       an input to another file system: copy, verify, sync, rename
    carrier     the thread that does so
    reason      the error.json
    said        what the log says of a job
    pruning     forgetting rows that are old, and whose file is gone
    quarantine  what is set aside, and where it lies
    wayback     the way back out of there
    crossing    that way to another file system
"""
