"""From an admitted job to its outcome: one bounded queue and one lane of workers for each kind.

Along the way of a job:

    order      what waits for a worker: bounded by kind, shares by inbox, round-robin
    lane       threads with slots: attempt on record, job done, outcome delivered; threads that are stuck
    hand       what one thread has in hand, and whether anything is heard of it
    clock      the time that counts against a file: only that in which we run
    bench      one job done: input opened, draft made, slot at work, what came of it or what an error was
    alone      side by side, or alone: how a suspect is told from its neighbours
    slot       where one job is worked on, and what ends it there
    work       the work itself; the kernel's errors before the library's
    threads    the text lane's slots
    processes  the image lane's slots: one child each, one warm spare ahead, deadline, recycling
    child      one worker process and the daemon's end of its pipe
    wire       what passes through that pipe, checked
    worker     what runs inside the worker process
"""
