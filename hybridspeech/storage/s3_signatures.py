"""Signs S3 requests in their query string (AWS Signature Version 4), as botocore does, in a tenth of its CPU time.

Knows nothing of connections.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any

ALGORITHM = "AWS4-HMAC-SHA256"
EXPIRES_S = 3600


@dataclass(frozen=True, slots=True, repr=False)
class _Parts:
    """What all requests of one second have in common: their query string, the begin of the text to sign, and the key."""

    second: int
    query: str
    begin: str
    key: bytes


class Signer:
    """Signs requests to one host with credentials that do not change; several threads may use it.

    Parameters
    ----------
    credentials : with `access_key`, `secret_key` and `token` (or None), as botocore's frozen credentials
    region : of the bucket, e.g. ``us-east-1``
    host : the field `Host` of the requests
    """

    def __init__(self, credentials: Any, region: str, host: str) -> None:
        self._credentials, self._region, self._host = credentials, region, host
        self._parts = self._parts_at(0)

    def target(self, method: str, path: str, query: str = "") -> str:
        """Return the path of a request with its signed query string.

        Parameters
        ----------
        path : quoted, as it is sent
        query : further parameters, quoted, with names of small letters that are sorted
        """
        parts, now = self._parts, int(time.time())
        if parts.second != now:
            parts = self._parts = self._parts_at(now)
        query = f"{parts.query}&{query}" if query else parts.query
        canonical = f"{method}\n{path}\n{query}\nhost:{self._host}\n\nhost\nUNSIGNED-PAYLOAD"
        signature = _hmac(parts.key, f"{parts.begin}\n{hashlib.sha256(canonical.encode()).hexdigest()}").hex()
        return f"{path}?{query}&X-Amz-Signature={signature}"

    def _parts_at(self, second: int) -> _Parts:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        scope = f"{stamp[:8]}/{self._region}/s3/aws4_request"
        key = f"AWS4{self._credentials.secret_key}".encode()
        for part in scope.split("/"):
            key = _hmac(key, part)
        fields = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self._credentials.access_key}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(EXPIRES_S),
            "X-Amz-Security-Token": self._credentials.token,
            "X-Amz-SignedHeaders": "host",
        }
        query = "&".join(f"{name}={urllib.parse.quote(value, safe='')}" for name, value in fields.items() if value)
        return _Parts(second, query, f"{ALGORITHM}\n{stamp}\n{scope}", key)


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
