"""The bare loop: the system calls that the daemon's promises need, in one thread, and nothing else.

A sync and a commit for every 256 files; read, count, write a draft; name it, retire its input.
"""

from __future__ import annotations

import json
import os
import sqlite3

HAND = 256


def count(name: str) -> int:
    with open(f"inbox/{name}", "rb") as file:
        words = len(file.read().split())
    with open(f"drafts/{name}", "w", encoding="utf-8") as draft:
        draft.write(json.dumps({"source": name, "words": words}))
    return words


def main() -> None:
    os.mkdir("drafts")
    os.mkdir("archive")
    ledger = sqlite3.connect("ledger.db", isolation_level=None)
    ledger.execute("PRAGMA journal_mode = WAL")
    ledger.execute("PRAGMA synchronous = FULL")
    ledger.execute("CREATE TABLE file (path, words)")
    names = sorted(os.listdir("inbox"))
    for start in range(0, len(names), HAND):
        hand = names[start : start + HAND]
        counts = [count(name) for name in hand]
        os.sync()
        ledger.execute("BEGIN")
        ledger.executemany("INSERT INTO file VALUES (?, ?)", zip(hand, counts, strict=True))
        ledger.execute("COMMIT")
        for name in hand:
            os.rename(f"drafts/{name}", f"outbox/{name}.words.json")
            os.rename(f"inbox/{name}", f"archive/{name}")


if __name__ == "__main__":
    main()
