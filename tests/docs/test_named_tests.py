"""The tests that documents name exist."""

from __future__ import annotations

import re

from support.snippets import ROOT


def test_every_test_module_that_a_page_names_exists() -> None:
    named = {
        (page.name, name)
        for page in (ROOT / "docs").rglob("*.md")
        for name in re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert [(page, name) for page, name in sorted(named) if not (ROOT / "tests" / name).is_file()] == []


def test_every_test_that_a_page_names_exists() -> None:
    named = {
        (page.name, module, test)
        for page in (ROOT / "docs").rglob("*.md")
        for module, test in re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)::(\w+)`", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 30
    missing = [each for each in sorted(named) if f"def {each[2]}(" not in (ROOT / "tests" / each[1]).read_text()]
    assert missing == []
