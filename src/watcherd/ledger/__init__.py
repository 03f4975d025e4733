"""What became of every file: rows in SQLite, claims in memory.

What others ask is in the first and the last:

    ledger    what became of every file: the one writer, lookups
    rows      rows of its table, both ways
    database  its file: made, checked, and SQLite's errors told plainly
    claims    its half in memory: what is in flight
"""
