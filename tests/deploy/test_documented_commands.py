"""Every command for a cluster in the documents is valid for the installed programs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from support.snippets import ROOT, snippets
from support.spark_gateway import Jvm, spark_jvm
from typer.main import get_command

from hybridspeech.cli import app

PAGES = [
    ROOT / "deploy/README.md",
    *(ROOT / f"docs/how-to/{name}.md" for name in ("yarn", "kubernetes", "packed-environment")),
]


def commands(program: str) -> list[list[str]]:
    """Return the arguments of each use of a program in the pages, also after ``--`` of another program."""
    found = []
    for page in PAGES:
        for block in snippets(page):
            for line in block.code.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removesuffix("&"))
                if words and words[0] == program:
                    found.append(words[1:])
    return found


def check_hybridspeech(arguments: list[str]) -> None:
    group = get_command(app)
    verb, *rest = arguments
    assert verb in group.commands, verb  # type: ignore[attr-defined]
    group.commands[verb].make_context(verb, rest)  # type: ignore[attr-defined]


@pytest.mark.parametrize("arguments", commands("hybridspeech"), ids=lambda words: " ".join(words)[:40])
def test_commands_of_hybridspeech_are_valid(arguments: list[str]) -> None:
    check_hybridspeech(arguments)


def test_commands_of_ray_are_valid() -> None:
    from ray.scripts.scripts import cli

    given = commands("ray")
    assert given
    for group, verb, *arguments in given:
        context = cli.commands[group].commands[verb].make_context(verb, list(arguments))
        check_hybridspeech(list(context.params["entrypoint"])[1:])


@pytest.fixture(scope="module")
def jvm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jvm]:
    with spark_jvm(tmp_path_factory.mktemp("jvm")) as opened:
        yield opened


MAIN_CLASSES = {"yarn": "YarnClusterApplication", "k8s": "KubernetesClientApplication"}


@pytest.mark.cluster
def test_commands_of_spark_submit_are_valid(jvm: Jvm) -> None:
    given = commands("spark-submit")
    assert len(given) == 2
    for arguments in given:
        submission = jvm.submission(arguments)
        manager = re.split(r"\W", submission.conf["spark.master"])[0]
        assert submission.main_class.endswith(MAIN_CLASSES[manager])
        settings = [arguments[i + 1].partition("=")[0] for i, word in enumerate(arguments) if word == "--conf"]
        assert [name for name in settings if not jvm.is_setting(name)] == []
        program = arguments.index(next(word for word in arguments if word.endswith("main.py")))
        check_hybridspeech(arguments[program + 1 :])
        words = submission.arguments
        assert [words[i + 1] for i, word in enumerate(words) if word == "--arg"] == arguments[program + 1 :]


def test_files_named_in_the_documents_exist() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"(?<![\w/])deploy/[\w./-]+\w", text):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
