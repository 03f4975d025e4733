"""The folders that are written to, and the names in them.

Where something goes, then how it gets there:

    place       where the files of an inbox go (pure)
    names       names of results, archives, reasons (pure)
    root        a tree that we write to: drafts, probe
    ground      whether it is the folder that we met there first
    disk        when what was written goes to disk, and how that is cheapest
    folders     the folders of one batch, opened and synced once
    rename      names that change hands, atomically, overwriting nothing
"""
