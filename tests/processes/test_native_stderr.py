from __future__ import annotations

import os

import pytest

from hybridspeech.processes.native_stderr import native_errors_muted


def test_what_native_code_says_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with native_errors_muted():
        os.write(2, b"cuda is nowhere\n")
    os.write(2, b"and now to work\n")
    assert capfd.readouterr().err == "and now to work\n"


def test_after_an_error_all_of_it_is_there(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), native_errors_muted():
        os.write(2, b"segment 7 is broken\n")
        _ = 1 / 0
    assert capfd.readouterr().err == "segment 7 is broken\n"
