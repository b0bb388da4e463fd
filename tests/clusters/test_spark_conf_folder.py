"""The private SPARK_CONF_DIR of a session."""

from __future__ import annotations

import stat
from pathlib import Path

from hybridspeech.clusters.spark_conf_folder import write_conf_folder


def test_settings_override_the_defaults_and_other_files_stay(tmp_path: Path) -> None:
    original, folder = tmp_path / "original", tmp_path / "conf"
    original.mkdir()
    (original / "spark-defaults.conf").write_text("spark.a 1")
    (original / "log4j2.properties").write_text("rootLogger.level = off\n")
    write_conf_folder({"spark.b": "x = y # \\ z"}, original, folder)
    assert (folder / "spark-defaults.conf").read_text() == "spark.a 1\nspark.b=x\\ \\=\\ y\\ \\#\\ \\\\\\ z\n"
    assert (folder / "log4j2.properties").read_text() == "rootLogger.level = off\n"


def test_only_this_user_can_read_the_settings(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    write_conf_folder({"spark.authenticate.secret": "x"}, tmp_path / "missing", folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "spark-defaults.conf").stat().st_mode) == 0o600
