"""From an outcome to a durable result and a retired input, or to quarantine.

Along the way of a result; then what happens beside it, and what all of it stands on:

    publisher   one inbox's publisher: takes what is finished, settles it, says so
    arrivals    what has come and is not settled yet, in equal shares for the kinds
    judge       what becomes of a job that was not done
    health      whether the system is well where it writes: pauses and resumes
    batch       one batch on its way out: the order that promises hang on
    stages      where what it has in work waits for its next step
    leaving     what is on its way out, each with its way, and numbers that give no name twice
    reveal      giving a result its visible name
    unretired   inputs that cannot be taken for now
    recovery    after a crash: what was on record is taken up where it was
    said        what the log says of a job
    pruning     forgetting rows that are old, and whose file is gone
    aside       what is set aside, and its way back
    inputs      how an input leaves its inbox
    roots       the folders that are written to, and the names in them
"""
