"""Keeps the package ray.train.tensorflow from importing TensorFlow in processes that do not train.

Written against: ray 2.60.0.

Reason: `ray.train.tensorflow.__init__` imports TensorFlow only to check that it is installed. The driver and the controller
of Ray Train would spend 5 s and more on it, one after the other; workers import TensorFlow themselves.

Without it: training on Ray starts 10 s later. It can go when: ray.train.tensorflow does not import TensorFlow any more.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

PACKAGE = "ray.train.tensorflow"


def skip_tensorflow_import() -> None:
    """Replace ray.train.tensorflow in this process by an empty package with the same submodules.

    Ray calls this at the start of each of its Python processes (`worker_process_setup_hook`).
    """
    spec = importlib.util.find_spec("ray")
    package = types.ModuleType(PACKAGE)
    package.__path__ = [f"{folder}/train/tensorflow" for folder in (spec and spec.submodule_search_locations) or ()]
    package.__dict__["__getattr__"] = lambda name: getattr(importlib.import_module(f"{PACKAGE}.config"), name)
    sys.modules.setdefault(PACKAGE, package)
