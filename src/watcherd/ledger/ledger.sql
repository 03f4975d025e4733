-- The ledger, version 2: what became of every file. Every change here is a new version with its migration.
--
-- Paths are the kernel's bytes; times are Unix seconds, or nanoseconds where the column says so.

CREATE TABLE ledger (
    id TEXT NOT NULL -- tells our drafts from those of another daemon
) STRICT;

CREATE TABLE inbox (
    id   INTEGER PRIMARY KEY,
    root BLOB NOT NULL UNIQUE -- the resolved path: an inbox's name is only a label
) STRICT;

-- One row for each version of a file that was handed to a worker. `waiting`, `queued` and `ignored` have none.
CREATE TABLE file (
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- the id of its latest attempt, never used again
    inbox    INTEGER NOT NULL REFERENCES inbox,
    path     BLOB    NOT NULL,    -- relative to the inbox
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode    INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    at       INTEGER NOT NULL,    -- when it came to this state, or its result was about to be shown
    attempts INTEGER NOT NULL DEFAULT 0,
    kills    INTEGER NOT NULL DEFAULT 0,
    alone    INTEGER NOT NULL DEFAULT 0,
    due      REAL,                -- retrying: not before; quarantined: on its way back since
    failure  TEXT,
    message  TEXT,
    number   INTEGER NOT NULL DEFAULT 0, -- shared by result and archive where the plain name was taken
    draft    TEXT,                -- publishing: where the result lies until it has its name
    result   INTEGER,             -- the inode of draft and result: what proves a visible name ours
    result_size     INTEGER,      -- what else the result is known by as we wrote it; none in rows of version 1
    result_mtime_ns INTEGER
) STRICT;

CREATE INDEX file_by_path ON file (inbox, path);

-- What a start has to finish, and what a retry waits for: few rows, however long the history.
CREATE INDEX file_unfinished ON file (inbox, state, due)
    WHERE state IN ('working', 'retrying', 'publishing', 'quarantining');
