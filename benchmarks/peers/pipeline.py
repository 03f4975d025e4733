"""The pipeline: inotifywait piped to two shells that count, name the result and move the input.

Nothing is synced, and what happens while it is down is lost. Files are renamed into the watched folder 1,000 at a
time: the kernel's queue has room for 16,384 events, and what is beyond would be lost without a word.
"""

from __future__ import annotations

import os
import subprocess
import time

HAND = 1000
LISTEN = 0.3  # seconds until inotifywait listens; the same over no file, where it is taken off
WATCH = ("inotifywait", "--monitor", "--quiet", "--event", "moved_to", "--format", "%f", "watched")
STEPS = "wc -w < watched/{} > drafts/{} && mv drafts/{} outbox/{} && mv watched/{} archive/{}"


def main() -> None:
    for folder in ("watched", "drafts", "archive"):
        os.mkdir(folder)
    names = sorted(os.listdir("inbox"))
    with (
        subprocess.Popen(WATCH, stdout=subprocess.PIPE) as watch,
        subprocess.Popen(["xargs", "-P2", "-I{}", "sh", "-c", STEPS], stdin=watch.stdout),
    ):
        time.sleep(LISTEN)
        for start in range(0, len(names), HAND):
            for name in names[start : start + HAND]:
                os.rename(f"inbox/{name}", f"watched/{name}")
            while len(os.listdir("archive")) < min(start + HAND, len(names)):
                time.sleep(0.01)
        watch.terminate()  # and xargs ends by itself, so that its processor time is told to whoever waits


if __name__ == "__main__":
    main()
