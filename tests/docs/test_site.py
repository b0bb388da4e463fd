"""The documentation site builds without a warning, and no page loads anything from the network."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.snippets import ROOT

import hybridspeech as hs

LOADED = re.compile(r'<(?:script|img|link|iframe|source|audio|video)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_site_has_the_start_page_and_the_public_names(site: Path) -> None:
    assert "hybridspeech" in (site / "index.html").read_text(encoding="utf-8")
    reference = (site / "reference" / "api.html").read_text(encoding="utf-8")
    missing = [name for name in hs.__all__ if not re.search(rf'id="hybridspeech\.[\w.]*\.{name}"', reference)]
    assert missing == []


def test_no_page_loads_anything_from_the_network(site: Path) -> None:
    found = [
        f"{page.name}: {element}"
        for page in site.rglob("*.html")
        for element in LOADED.findall(page.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_every_page_is_in_the_navigation_or_the_list_of_decisions() -> None:
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    decisions = ROOT / "docs" / "design" / "decisions"
    listed += "".join(
        f"design/decisions/{name}\n" for name in re.findall(r"\(([\w-]+\.md)\)", (decisions / "index.md").read_text())
    )
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in listed] == []


def test_architecture_picture_is_current() -> None:
    path = ROOT / "docs" / "make_architecture_picture.py"
    spec = importlib.util.spec_from_file_location("make_architecture_picture", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "img" / "architecture.svg").read_text(encoding="utf-8") == module.picture()
