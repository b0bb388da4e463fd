"""A private SPARK_CONF_DIR with the settings of one session. Knows nothing of what the settings mean.

Settings on the command line of spark-submit would be visible to every user in the list of processes, with their secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

DEFAULTS_NAME = "spark-defaults.conf"


def write_conf_folder(conf: Mapping[str, str], original: Path, folder: Path) -> None:
    """Write a SPARK_CONF_DIR: the files of `original`, and `conf`, which overrides its spark-defaults.conf.

    Parameters
    ----------
    original : the SPARK_CONF_DIR to extend; it need not exist
    folder : the folder to make; only this user can read it
    """
    folder.mkdir(mode=0o700)
    defaults = ""
    if original.is_dir():
        for entry in original.iterdir():
            if entry.name != DEFAULTS_NAME:
                (folder / entry.name).symlink_to(entry.absolute())
        if (original / DEFAULTS_NAME).is_file():
            defaults = (original / DEFAULTS_NAME).read_text(encoding="utf-8") + "\n"
    lines = [f"{_escape(key)}={_escape(value)}\n" for key, value in conf.items()]
    descriptor = os.open(folder / DEFAULTS_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(defaults + "".join(lines))


def _escape(text: str) -> str:
    """Escape a key or value for the format of java.util.Properties."""
    names = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "".join(names.get(each, "\\" + each if each in " :=#!" else each) for each in str(text))
