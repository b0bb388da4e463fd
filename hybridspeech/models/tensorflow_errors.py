"""TensorFlow's errors about disks, as Python raises them. Knows nothing of networks."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def disk_errors_translated(path: Path) -> Iterator[None]:
    """Turn TensorFlow's error for a full disk into an OSError that names `path`.

    Raises
    ------
    OSError: TensorFlow could not write because the disk is full or the quota is used up.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        for number in (errno.ENOSPC, errno.EDQUOT):
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number), str(path)) from error
        raise
