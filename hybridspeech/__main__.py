"""``python -m hybridspeech``: the same as the ``hybridspeech`` command."""

from hybridspeech.cli import main

if __name__ == "__main__":
    main()
