"""Private names of Ray that starting and ending a local Ray needs.

Written against: ray 2.60.0.

Reason: Ray reads the authentication token and the switch for loopback once per process, and has no public way to change
them later; `ray.init` takes the folder and the address of a local Ray only as underscore arguments.

Without it: a second Ray in the process is refused by its own servers (wrong token); a Ray that is started after
ray was imported listens on all interfaces; files go to /tmp/ray.

It can go when: `ray.init` takes a token, a folder and an address, and `ray.shutdown` resets the token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def reset_token() -> None:
    """Make Ray read its authentication settings again from the environment."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")  # first: else a running thread would miss the token while the mode still requires one
    AuthenticationTokenLoader.instance().reset_cache()


def keep_to_loopback() -> None:
    """Let the next local Ray listen on loopback only, also if ray was imported before its environment was set."""
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False


def local_options(folder: Path, address: str) -> dict[str, Any]:
    """Return arguments of `ray.init` for a local Ray: its folder (sockets, logs, object store) and its address."""
    return {"_temp_dir": str(folder), "_node_ip_address": address}
