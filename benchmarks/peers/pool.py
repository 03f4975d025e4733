"""The plain pool: what one writes first. Two processes, each picture converted and saved with Pillow's defaults."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor

from PIL import Image


def convert(name: str) -> None:
    Image.open(f"inbox/{name}").convert("L").save(f"outbox/{name}")


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(convert, sorted(os.listdir("inbox"))))
