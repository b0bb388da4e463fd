from __future__ import annotations

import os

import pytest

from hybridspeech.processes.native_stderr import native_errors_captured, native_errors_muted


def test_output_of_native_code_is_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    with native_errors_muted():
        os.write(2, b"cuda is nowhere\n")
    os.write(2, b"and now to work\n")
    assert capfd.readouterr().err == "and now to work\n"


def test_output_of_native_code_is_shown_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), native_errors_muted():
        os.write(2, b"segment 7 is broken\n")
        _ = 1 / 0
    assert capfd.readouterr().err == "segment 7 is broken\n"


def test_captured_output_is_shown_at_the_end_unless_there_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with native_errors_captured() as captured:
        os.write(2, b"all is well\n")
        assert captured() == "all is well\n"
    with pytest.raises(ZeroDivisionError), native_errors_captured():
        os.write(2, b"pages of a log\n")
        _ = 1 / 0
    assert capfd.readouterr().err == "all is well\n"
