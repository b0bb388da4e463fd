"""A root directory with only a C library, to start programs as on a machine without packages. Needs root."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

GLIBC = (
    "libc.so.6",
    "libm.so.6",
    "libmvec.so.1",
    "libdl.so.2",
    "librt.so.1",
    "libpthread.so.0",
    "libutil.so.1",
    "libresolv.so.2",
)


def make_bare_root(root: Path) -> None:
    """Fill `root` with this machine's C library, and with folders for /proc, /dev and /tmp."""
    if os.geteuid() != 0:
        raise PermissionError("this test changes its root directory; run it as root")
    listing = subprocess.run(["ldd", sys.executable], capture_output=True, text=True, check=True).stdout
    libc = next(line.split()[2] for line in listing.splitlines() if "libc.so.6" in line)
    loader = next(line.split()[0] for line in listing.splitlines() if line.split()[0].startswith("/") and "ld-" in line)
    for path in [Path(loader), *(Path(libc).with_name(name) for name in GLIBC)]:
        if path.exists():
            target = root / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for name in ("proc", "dev", "tmp"):
        (root / name).mkdir()


def run_in_root(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with `root` as its root directory, without the environment variables of this process."""
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
    at = shlex.quote(str(root))
    mounts = f"mount -t proc proc {at}/proc && mount --rbind /dev {at}/dev"
    script = f"{mounts} && exec env -i HOME=/tmp {chroot} {at} {shlex.join(command)}"
    return subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=300)
