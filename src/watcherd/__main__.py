"""The way in, of the script `watcherd` and of ``python -m watcherd``."""
# ruff: noqa: PLC0415
# (until it is settled what Ctrl-C does, nothing is imported that takes long)

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line. Until a command sees to it itself, Ctrl-C ends it by the signal.

    What Python makes of it would be a traceback from the middle of an import, or be lost where a library catches
    everything. One that is ignored, as in the background of a script, stays so.
    """
    _speak_utf8()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() == 1:
        _end_by_signals()
    from watcherd import cli

    cli.main()


def _end_by_signals() -> None:
    """Let signals end process 1 of a container that would end any other: without a handler it hears none."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(ending) is signal.SIG_DFL:
            signal.signal(ending, lambda number, _: os._exit(128 + number))


def _speak_utf8() -> None:
    """Begin anew where the locale takes names for anything but UTF-8, as results and configurations have them."""
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 (ourselves, as we were called)


if __name__ == "__main__":
    main()
