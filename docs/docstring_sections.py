"""Extension of griffe, which reads the docstrings for the site: text after `name :` is a description, not a type.

The docstrings of this package give the shape, dtype and unit of a parameter where numpydoc has its type. The types are in the
signatures.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_SECTION = re.compile(r"^(Parameters|Returns|Yields|Raises)\n-+\n((?:.*\n?)*?)(?=^\S[^\n]*\n-{3,}$|\Z)", re.MULTILINE)
_PARAMETER = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) : ", re.MULTILINE)
_ERROR = re.compile(r"(?:^|(?<=\. )|(?<=\.\n))((?:\w+(?:Error|Interrupt)(?:, )?)+): ", re.MULTILINE)


class DescribeParameters(Extension):
    """Move the text of each parameter, result and error into its description, before the docstring is parsed."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _SECTION.sub(_section, obj.docstring.value)


def _section(found: re.Match[str]) -> str:
    title, body = found[1], found[2].rstrip()
    if title == "Parameters":
        parts = _PARAMETER.split(body)
        pairs = zip(parts[1::2], parts[2::2], strict=True)
        lines = "\n".join(f"{name}\n    {text.strip()}" for names, text in pairs for name in names.split(", "))
    elif title == "Raises":
        parts = _ERROR.split(" ".join(body.split()))
        lines = "\n".join(f"{name}\n    {text.strip()}" for name, text in zip(parts[1::2], parts[2::2], strict=True))
        lines = lines or body
    else:
        lines = body
    return f"{title}\n{'-' * len(title)}\n{lines}\n\n"
