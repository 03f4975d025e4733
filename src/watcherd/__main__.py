"""Lets ``python -m watcherd`` do what `watcherd` does."""

from watcherd.cli import main

if __name__ == "__main__":
    main()
