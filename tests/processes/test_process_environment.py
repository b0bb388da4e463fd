"""Environment variables that are set temporarily."""

from __future__ import annotations

import os

import pytest

from hybridspeech.processes.environment import environment


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRIDSPEECH_OLD", "before")
    monkeypatch.delenv("HYBRIDSPEECH_NEW", raising=False)
    with pytest.raises(ZeroDivisionError), environment({"HYBRIDSPEECH_OLD": "x", "HYBRIDSPEECH_NEW": "y"}):
        assert (os.environ["HYBRIDSPEECH_OLD"], os.environ["HYBRIDSPEECH_NEW"]) == ("x", "y")
        raise ZeroDivisionError
    assert os.environ["HYBRIDSPEECH_OLD"] == "before"
    assert "HYBRIDSPEECH_NEW" not in os.environ
