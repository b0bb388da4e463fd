from __future__ import annotations

import urllib.parse

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from hybridspeech.storage.s3_signatures import EXPIRES_S, Signer

HOST = "store.example.com:8333"


@pytest.mark.parametrize("token", [None, "abc/+=def=="])
@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
@pytest.mark.parametrize("key", ["word/clip_nohash_0.wav", "a b/ü+%.json", "q?x=1&y='(2)!*~", "a//b/"])
def test_a_request_is_signed_as_by_botocore(key: str, method: str, token: str | None) -> None:
    credentials = Credentials("KEY/ID+1", "a secret/+", token).get_frozen_credentials()
    path = "/bucket/" + urllib.parse.quote(key, safe="/~")
    signer, theirs = Signer(credentials, "eu-central-1", HOST), ""
    for _ in range(3):  # the clock may pass a full second between both
        request = AWSRequest(method=method, url=f"http://{HOST}{path}")
        S3SigV4QueryAuth(credentials, "s3", "eu-central-1", expires=EXPIRES_S).add_auth(request)
        theirs, ours = request.url, f"http://{HOST}{signer.target(method, path)}"
        if _date(theirs) == _date(ours):
            break
    assert urllib.parse.urlsplit(ours).path == path
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(ours).query) == urllib.parse.parse_qs(
        urllib.parse.urlsplit(theirs).query
    )


def _date(url: str) -> str:
    return urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["X-Amz-Date"][0]
