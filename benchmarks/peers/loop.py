"""The bare loop: the system calls that the daemon's promises need, in one thread, and nothing else.

A sync and a commit for every 256 files; read, count, write a draft; name it, retire its input.
"""

from __future__ import annotations

import json
import os
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HAND = 256


def count(name: str) -> int:
    with open(f"inbox/{name}", "rb") as file:
        words = len(file.read().split())
    with open(f"drafts/{name}", "w", encoding="utf-8") as draft:
        draft.write(json.dumps({"source": name, "words": words}))
    return words


def new_ledger() -> sqlite3.Connection:
    ledger = sqlite3.connect("ledger.db", isolation_level=None)
    ledger.execute("PRAGMA journal_mode = WAL")
    ledger.execute("PRAGMA synchronous = FULL")
    ledger.execute("CREATE TABLE file (path, words)")
    return ledger


def put_on_record(ledger: sqlite3.Connection, hand: list[str], counts: list[int]) -> None:
    ledger.execute("BEGIN")
    ledger.executemany("INSERT INTO file VALUES (?, ?)", zip(hand, counts, strict=True))
    ledger.execute("COMMIT")


def hands() -> Iterator[list[str]]:
    names = sorted(os.listdir("inbox"))
    for start in range(0, len(names), HAND):
        yield names[start : start + HAND]


def main() -> None:
    os.mkdir("drafts")
    os.mkdir("archive")
    ledger = new_ledger()
    for hand in hands():
        counts = [count(name) for name in hand]
        os.sync()
        put_on_record(ledger, hand, counts)
        for name in hand:
            os.rename(f"drafts/{name}", f"outbox/{name}.words.json")
            os.rename(f"inbox/{name}", f"archive/{name}")


if __name__ == "__main__":
    main()
