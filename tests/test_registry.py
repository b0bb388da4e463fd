from __future__ import annotations

import json
from pathlib import Path

import pytest

from hybridspeech.errors import ConfigError, MissingExtraError
from hybridspeech.registry import Entry, Registry, install_command, requires

TABLE = Registry(
    "engine",
    {
        "fraction": Entry("fractions:Fraction"),
        "absent": Entry("package_that_is_nowhere.module:Thing", "cloud"),
        "broken": Entry("hybridspeech.no_such_module:Thing", "cloud"),
    },
)


def test_a_plug_in_is_imported_by_name() -> None:
    assert TABLE.load("fraction").__name__ == "Fraction"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="engine 'flink' is unknown; choose one of fraction, absent, broken"):
        TABLE.load("flink")


def test_a_missing_package_is_reported_with_the_extra_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r"'package_that_is_nowhere'.*pip install .*\[cloud\]"):
        TABLE.load("absent")


@pytest.mark.parametrize(
    ("source", "command"),
    [
        (None, "pip install 'hybridspeech[spark]'"),
        ({"url": "file:///src/my%20code", "dir_info": {"editable": True}}, "pip install -e '/src/my code[spark]'"),
        ({"url": "file:///src/code", "dir_info": {}}, "pip install '/src/code[spark]'"),
        ({"url": "file:///dist/a.whl", "archive_info": {}}, "pip install 'hybridspeech[spark] @ file:///dist/a.whl'"),
    ],
)
def test_the_command_for_an_extra_uses_the_origin_of_the_package(
    source: dict[str, object] | None, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "hybridspeech-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: hybridspeech\nVersion: 0.1.0\n")
    if source is not None:
        (installed / "direct_url.json").write_text(json.dumps(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert install_command("spark") == command


def test_an_import_error_of_our_own_is_not_taken_for_a_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"hybridspeech\.no_such_module"):
        TABLE.load("broken")


def test_requires_does_not_change_other_errors() -> None:
    with pytest.raises(ZeroDivisionError), requires("demo", "speech"):
        _ = 1 / 0
