"""Random faults by seed: each command ends with the right result or with one sentence, and leaves nothing.

The environment variables HYBRIDSPEECH_CHEAP_FAULTS and HYBRIDSPEECH_CLUSTER_FAULTS choose ranges of seeds, such as
300:600, so that the seeds can be divided and repeated: ``make soak`` runs 0:900 and 0:100. HYBRIDSPEECH_FAULT_SCENE names a
folder for what ranges of seeds on clusters share: clips, shards, and results without a fault.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest
from support import cheap_faults, cluster_faults

IN_MAKE_TEST = range(10_000, 10_030)
"""Seeds of ``make test``."""


def seeds_of(variable: str, default: str) -> range:
    first, _, last = os.environ.get(variable, default).partition(":")
    return range(int(first), int(last))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> cheap_faults.Scene:
    return cheap_faults.make_scene(tmp_path_factory.mktemp("scene"))


def play_all(seeds: range, scene: cheap_faults.Scene, base: Path) -> list[str]:
    problems, kinds = [], Counter[str]()
    for seed in seeds:
        folder = cheap_faults.empty_folder(base, seed)
        name, problem = cheap_faults.inject(seed, scene, folder)
        cheap_faults.leave(folder)
        kinds[name] += 1
        if problem:
            problems.append(f"seed {seed}, {name}: {problem}")
    print(f"{sum(kinds.values())} faults: {dict(kinds)}; {len(problems)} problems")  # noqa: T201 - for the document
    return problems


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_some_faults_without_a_cluster(scene: cheap_faults.Scene, tmp_path: Path) -> None:
    assert play_all(IN_MAKE_TEST, scene, tmp_path) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_faults_without_a_cluster(scene: cheap_faults.Scene, tmp_path: Path) -> None:
    assert play_all(seeds_of("HYBRIDSPEECH_CHEAP_FAULTS", "0:900"), scene, tmp_path) == []


@pytest.mark.soak
@pytest.mark.timeout(10_800)
def test_many_faults_on_clusters(tmp_path: Path) -> None:
    scene = cluster_faults.make_scene(Path(os.environ.get("HYBRIDSPEECH_FAULT_SCENE", tmp_path / "scene")))
    problems = []
    for seed in seeds_of("HYBRIDSPEECH_CLUSTER_FAULTS", "0:100"):
        folder, start = cheap_faults.empty_folder(tmp_path, seed), time.monotonic()
        name, problem = cluster_faults.inject(seed, scene, folder)
        cheap_faults.leave(folder)
        seconds = time.monotonic() - start
        print(f"seed {seed}: {name}, {seconds:.0f} s: {problem or 'passed'}", flush=True)  # noqa: T201 - for the document
        problems += [f"seed {seed}, {name}: {problem}"] if problem else []
    assert problems == []
