"""HTML of a self-contained page: elements, tables, and the style for light and dark. Knows nothing of metrics.

A page loads nothing from the network and runs no script; its Content-Security-Policy forbids both. Every text is escaped,
unless it is `Html` already.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from hybridspeech.errors import ConfigError
from hybridspeech.storage.small_files import write_atomically

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
)


class Html(str):
    """Text that is HTML already."""


def element(name: str, *children: object, **attributes: Any) -> Html:
    """Return an HTML element; children and values of attributes are escaped.

    Parameters
    ----------
    children : texts, numbers and elements; None is left out
    attributes : a final underscore is dropped (`class_`), others become hyphens; None is left out, True has no value
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: object) -> Html:
    """Return the children one after the other, escaped unless they are elements; None is left out."""
    return Html(
        "".join(
            child if isinstance(child, Html) else html.escape(str(child)) for child in children if child is not None
        )
    )


def image(source: str, description: str) -> Html:
    """Return an image from a data URI."""
    return Html(f'<img src="{html.escape(source)}" alt="{html.escape(description)}">')


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> Html:
    """Return a table; the first column is text, the others are numbers, aligned to the right."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    whole = element("table", element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex=0)


def facts(rows: Sequence[tuple[object, object]]) -> Html:
    """Return names and values."""
    return element("dl", *(joined(element("dt", name), element("dd", value)) for name, value in rows))


def section(title: str, *children: object) -> Html:
    """Return a part of a page with a heading."""
    return element("section", element("h2", title), *children)


def warning_list(texts: Sequence[str]) -> Html:
    """Return warnings, each in a box."""
    return joined(*(element("p", text[:1].upper() + text[1:] + ".", class_="warning") for text in texts))


def listed(settings: Mapping[str, Any]) -> str:
    """Return the settings in one line, without those that are not set; nested ones as name.name."""
    parts = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            parts += [f"{name}.{inner}" for inner in listed(value).split(", ") if inner]
        elif value is not None:
            parts.append(f"{name} {value}")
    return ", ".join(parts)


def percent(value: float) -> str:
    """Return a share, 0 to 1, as percent."""
    return f"{100 * value:.1f} %"


def write_page(path: Path, title: str, *children: object) -> None:
    """Write a page.

    Raises
    ------
    ConfigError: the file can't be written.
    """
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{joined(*children)}\n</main>\n</body>\n</html>\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise ConfigError(f"{path}: can't be written ({error.strerror}); choose another place") from error
