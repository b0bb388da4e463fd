from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hybridspeech.commands.download import download
from hybridspeech.commands.synthesize import synthesize
from hybridspeech.errors import ConfigError
from hybridspeech.storage.locations import is_url, join, parent_and_name, root_and_key

URL = "s3://bucket/place"


@pytest.mark.parametrize("location", [URL, Path(URL), "memory://a", "file:///data"])
def test_a_url_is_recognised_as_text_and_as_a_path(location: str | Path) -> None:
    assert is_url(location)


@pytest.mark.parametrize("location", ["words", "/data/words", "a:b/c", "C:/words", "./s3:/words"])
def test_a_local_path_is_no_url(location: str) -> None:
    assert not is_url(location)


REFUSING: dict[str, Callable[[], object]] = {
    "synthesize": lambda: synthesize(URL),
    "download": lambda: download("mini-speech-commands", URL),
}


@pytest.mark.parametrize("verb", REFUSING)
def test_a_verb_refuses_urls_and_writes_nothing(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="can't be a URL here; give a local path"):
        REFUSING[verb]()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["s3://bucket/words", Path("s3://bucket/words")])
def test_a_url_that_went_through_a_path_keeps_its_meaning(url: str | Path) -> None:
    assert join(url, "index.json") == "s3://bucket/words/index.json"
    assert parent_and_name(url) == ("s3://bucket", "words")
    assert root_and_key(str(url)) == ("s3://bucket", "words")
    assert join("file:///data", "words") == "file:///data/words"
