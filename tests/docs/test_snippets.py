"""Every code block of README.md, CONTRIBUTING.md and docs/ runs as printed, in order, in a folder with clips."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from support.snippets import KINDS, LANGUAGES, ROOT, pages, script, snippets

from hybridspeech.processes.supervision import GuardedProcess

SNIPPETS = {str(page.relative_to(ROOT)): list(snippets(page)) for page in pages()}
NOT_RUN = {
    "installs packages": 2,
    "runs the tests": 2,
    "needs a cloud": 12,
    "needs a bucket": 5,
    "needs a microphone": 1,
    "needs a published data set": 4,
}
"""Blocks that are not run, by reason."""
SLOW = (
    *("docs/format.md", "docs/how-to/audit.md", "docs/how-to/benchmark.md", "docs/how-to/read-shards.md"),
    *("docs/how-to/words-without-recordings.md", "docs/how-to/your-data.md"),
)
"""Pages whose quick blocks import TensorFlow, measure, or run several commands."""


def pages_with(kind: str) -> list[str]:
    """Pages that have a block of this kind."""
    return [page for page, blocks in SNIPPETS.items() if any(block.runs and block.kind == kind for block in blocks)]


def run_page(page: str, kinds: tuple[str, ...], words: Path, folder: Path, timeout_s: float) -> None:
    """Run the blocks of these kinds; the folder `words` holds clips of four words, and background noise."""
    work = folder / "work"
    work.mkdir()
    shutil.copytree(words, work / "words")
    blocks = [block for block in SNIPPETS[page] if block.runs and block.kind in kinds]
    (folder / "script.sh").write_text(f"cd {work}\n{script(blocks)}", encoding="utf-8")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
    }
    log = folder / "log"
    with GuardedProcess(["bash", str(folder / "script.sh")], env=environment, log=log, terminate_s=5) as process:
        code = process.wait(timeout_s)
    output = log.read_text(encoding="utf-8", errors="replace")
    assert code == 0, output[-4000:]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW)) for page in pages_with("quick")]
)
def test_quick_blocks_run_as_printed(page: str, noisy_tones: Path, tmp_path: Path) -> None:
    run_page(page, ("quick",), noisy_tones, tmp_path, 120)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.cluster if page == "README.md" else pytest.mark.soak)
        for page in pages_with("cluster")
    ],
)
def test_blocks_with_a_cluster_or_a_training_run_as_printed(page: str, noisy_tones: Path, tmp_path: Path) -> None:
    run_page(page, ("quick", "cluster"), noisy_tones, tmp_path, 540)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", pages_with("soak"))
def test_long_blocks_run_as_printed(page: str, noisy_tones: Path, tmp_path: Path) -> None:
    run_page(page, KINDS[:3], noisy_tones, tmp_path, 3500)


def test_every_block_names_a_known_language() -> None:
    unknown = [
        f"{block.page}:{block.line} {block.language!r}"
        for blocks in SNIPPETS.values()
        for block in blocks
        if block.language not in LANGUAGES
    ]
    assert unknown == []


def test_blocks_that_are_not_run_are_counted() -> None:
    reasons = Counter(block.reason for blocks in SNIPPETS.values() for block in blocks if block.kind == "not run")
    assert reasons == {reason: count for reason, count in NOT_RUN.items() if count}
