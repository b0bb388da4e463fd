"""Checks a file of weights before Keras reads it. Knows nothing of networks and runs.

A run directory is data that may come from another person. HDF5 can link to other files, store values in other files, link in
circles, and declare sizes that do not fit into memory. Weights that `train` has written use none of this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hybridspeech.errors import RunError

COPIES = 3
"""Arrays of the size of the network that a file may hold: its weights, and the two moments of Adam."""
MORE_VALUES, MORE_ARRAYS = 1_000, 64
"""Besides them: counters of the optimizer and of the metrics."""
BYTES_PER_ARRAY = 16_384
"""Upper bound of what the format needs for one array besides its values."""
MAX_OBJECTS = 100_000


def check_weights_file(path: Path, num_values: int, num_arrays: int) -> None:
    """Check that a file holds plain arrays of numbers, and no more than a network has; values are not read.

    Parameters
    ----------
    num_values, num_arrays : number of values, and of arrays, of the network

    Raises
    ------
    RunError: the file holds anything else, or can not be read.
    """
    import h5py

    max_values = COPIES * num_values + MORE_VALUES
    limit = 8 * max_values + BYTES_PER_ARRAY * (COPIES * num_arrays + MORE_ARRAYS)
    try:
        size = path.stat().st_size
        if size > limit:
            raise RunError(f"{path}: has {size} bytes; expected at most {limit} for the network of plan.json")
        with h5py.File(path, "r") as file:
            found = _count_values(file, path)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: can not be read as weights ({error}); train again") from error
    if found > max_values:
        raise RunError(f"{path}: has {found} values; expected at most {max_values} for the network of plan.json")


def _count_values(file: Any, path: Path) -> int:
    """Return the number of values of all arrays; raise RunError at the first object that is no plain array or group."""
    import h5py

    num_values, seen, pending = 0, set[int](), [("", file["/"])]
    while pending:
        name, item = pending.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in seen or len(seen) > MAX_OBJECTS:
            raise RunError(f"{path}: {name!r} is linked twice, or there are too many objects; expected a tree")
        seen.add(address)
        if isinstance(item, h5py.Dataset):
            num_values += _size_of(item, name, path)
            continue
        for child in item:
            where = f"{name}/{child}"
            if not isinstance(item.get(child, getlink=True), h5py.HardLink):
                raise RunError(f"{path}: {where!r} is a link to another place or file; expected arrays only")
            target = item[child]
            if not isinstance(target, (h5py.Group, h5py.Dataset)):
                raise RunError(f"{path}: {where!r} is neither a group nor an array")
            pending.append((where, target))
    return num_values


def _size_of(array: Any, name: str, path: Path) -> int:
    import h5py

    creation = array.id.get_create_plist()
    plain = creation.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) and creation.get_nfilters() == 0
    if not plain or creation.get_external_count():
        raise RunError(f"{path}: {name!r} is chunked, compressed, virtual or in another file; expected a plain array")
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise RunError(f"{path}: {name!r} has type {array.dtype}; expected numbers")
    return int(array.size or 0)
