"""What became of every file: rows in SQLite, claims in memory.

Most others use `ledger` and `claims` alone:

    ledger    what became of every file: the one writer
    answers   what is on record, for whoever asks
    rows      rows of its table, both ways
    database  its file: made, checked, and SQLite's errors told plainly
    claims    its half in memory: what is in flight
"""
