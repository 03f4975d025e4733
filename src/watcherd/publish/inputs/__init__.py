"""How an input leaves its inbox once its result is durable.

From what each input meets to what few do:

    retire      which way it goes
    taker       taking it: rename first, look afterwards
    custody     our own folder of the inbox, where it may lie meanwhile
    carry       to another file system: copy, verify, sync, rename
    carrier     the thread that does so
"""
