"""Code blocks of Markdown pages, and how each of them is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = ("docs/cli.md", "docs/benchmarks.md", "docs/models.md")
"""Generated pages. They show usage, and commands that take hours."""
LANGUAGES = ("sh", "python", "text", "toml", "yaml", "json")
KINDS = ("quick", "cluster", "soak", "not run")

_FENCE = re.compile(r"^```(?P<language>\S*)(?P<options>.*)$")
_MARK = re.compile(r"^<!-- snippet: (?P<kind>quick|cluster|soak|not run)(?: \((?P<reason>[^)]+)\))? -->$")


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """One fenced code block.

    `kind` is one of KINDS, by the comment ``<!-- snippet: KIND -->`` before the block; `reason` says why a block is not run.
    A Python block with a title is a file that is written, and not run.
    """

    page: str
    line: int
    language: str
    title: str
    kind: str
    reason: str
    code: str

    @property
    def runs(self) -> bool:
        return self.language in ("sh", "python") and self.kind != "not run"


def pages() -> list[Path]:
    """README.md, CONTRIBUTING.md and the hand-written pages of docs/."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if str(page.relative_to(ROOT)) not in GENERATED]


def snippets(page: Path) -> Iterator[Snippet]:
    """All fenced code blocks of a page, in order."""
    kind, reason, lines = "quick", "", iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if mark := _MARK.match(line):
            kind, reason = mark["kind"], mark["reason"] or ""
        elif fence := _FENCE.match(line):
            code = []
            for _, inner in lines:
                if inner == "```":
                    break
                code.append(inner)
            title = re.search(r'title="([^"]+)"', fence["options"])
            yield Snippet(
                page=str(page.relative_to(ROOT)),
                line=number,
                language=fence["language"],
                title=title[1] if title else "",
                kind=kind,
                reason=reason,
                code="\n".join(code),
            )
            kind, reason = "quick", ""


def titled(page: Path, title: str) -> str:
    """The code of the block with this title."""
    (code,) = [block.code for block in snippets(page) if block.title == title]
    return code


def script(blocks: Sequence[Snippet]) -> str:
    """Return a bash script that runs the blocks in order, as in one terminal. Background jobs end with it."""
    lines = ["set -eo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for block in blocks:
        lines.append(f"echo {shlex.quote(f'== {block.page}, line {block.line}')}")
        if block.language == "sh":
            lines.append(block.code)
        else:
            file = block.title or f"snippet_{block.line}.py"
            lines += [f"cat > {file} <<'END OF SNIPPET'", block.code, "END OF SNIPPET"]
            lines += [] if block.title else [f"python {file}"]
    return "\n".join([*lines, ""])
