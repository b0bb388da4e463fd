from __future__ import annotations

import pytest

from hybridspeech.errors import ConfigError, MissingExtraError
from hybridspeech.registry import Entry, Registry, requires

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


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="engine 'flink' is unknown; choose one of fraction, absent, broken"):
        TABLE.load("flink")


def test_a_missing_package_is_answered_with_the_extra_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r"'package_that_is_nowhere'.*pip install 'hybridspeech\[cloud\]'"):
        TABLE.load("absent")


def test_a_bug_of_our_own_is_not_taken_for_a_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"hybridspeech\.no_such_module"):
        TABLE.load("broken")


def test_requires_lets_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), requires("demo", "speech"):
        _ = 1 / 0
