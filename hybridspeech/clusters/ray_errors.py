"""The cause in an error of Ray, which is pages of advice and stack traces. Knows nothing of sessions; does not import Ray."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hybridspeech.errors import one_line

MAX_CHARACTERS = 300
"""Of a cause that this module does not know."""
_OUT_OF_MEMORY = re.compile(r"low on memory|memory usage threshold|Memory on the node")
_NODE = re.compile(r"Memory on the node \(IP: ([^,)]+).*?was ([\d.]+) ?GB(?: used)? / ([\d.]+) ?GB", re.DOTALL)


def ray_cause(error: BaseException) -> str:
    """Return the cause of an error that Ray or Ray Train raised, in one line."""
    texts = [str(each) for each in _nested(error) if _is_out_of_memory(each)]
    return _out_of_memory(texts[0]) if texts else one_line(error)[:MAX_CHARACTERS]


def ran_out_of_memory(error: BaseException) -> bool:
    """Tell whether Ray's memory monitor has ended a process of this error."""
    return any(_is_out_of_memory(each) for each in _nested(error))


def _is_out_of_memory(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or _OUT_OF_MEMORY.search(str(error)) is not None


def _out_of_memory(text: str) -> str:
    """Return one sentence for a message of Ray's memory monitor: node, memory, and what to do."""
    found = _NODE.search(text)
    node = f" on node {found[1]} ({found[2]} of {found[3]} GB used)" if found else ""
    return (
        f"Ray ended a process because memory ran out{node}; use fewer workers or executors, a smaller batch size, or nodes "
        "with more memory"
    )


def _nested(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those inside it: of workers, of tasks, and its causes."""
    todo, seen = [error], set[int]()
    while todo:
        each = todo.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inside = [*getattr(each, "worker_failures", {}).values(), getattr(each, "controller_failure", None)]
        inside += [getattr(each, "cause", None), each.__cause__]
        todo += [other for other in inside if isinstance(other, BaseException)]
