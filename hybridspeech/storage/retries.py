"""Repeats requests to a store, and turns its errors into one sentence. Knows nothing of what is requested.

Busy stores (503, SlowDown), time-outs, cut connections and wrong lengths are repeated with exponential back-off and full
jitter, a bounded number of times. Missing buckets, denied access and bad or expired credentials end the work immediately.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from hybridspeech.errors import HybridspeechError, StorageError

T = TypeVar("T")

MAX_ATTEMPTS = 7
FIRST_DELAY_S = 0.2
MAX_DELAY_S = 8.0

_CREDENTIALS = "the credentials are missing or not valid for it; check the environment (profile, role, key, region)"
_EXPIRED = "the credentials have expired; renew them and run it again"
NO_BUCKET = "the bucket does not exist; create it, or correct its name"
_DENIED = "access is denied; check the permissions of the credentials in use"
FINAL_CODES = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": _CREDENTIALS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "AuthorizationHeaderMalformed": _CREDENTIALS,
    "NoSuchBucket": NO_BUCKET,
    "InvalidBucketName": NO_BUCKET,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "403": _DENIED,
    "400": "the request is refused; the credentials may have expired, or the region may be wrong",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it",
}
"""Error code of a store -> what is wrong and what to do."""
FINAL_ERRORS = {
    **dict.fromkeys(("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"), _CREDENTIALS),
    **dict.fromkeys(("ProfileNotFound", "ClientAuthenticationError", "CredentialRetrievalError"), _CREDENTIALS),
    **dict.fromkeys(
        ("TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "RefreshError"), _EXPIRED
    ),
}
"""Name of an exception class of a store's library -> what is wrong and what to do."""


class Incomplete(OSError):
    """An answer, or a stored object, has another length than expected."""


def code_of(error: BaseException | None) -> str:
    """Return the store's own error code, e.g. ``SlowDown``; empty if there is none."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def final_error(error: Exception, url: str) -> Exception | None:
    """Return the error to raise for one that a repetition does not help; None if it may help.

    A missing object is a FileNotFoundError, an object that exists a FileExistsError, anything else a StorageError.
    """
    if isinstance(error, (HybridspeechError, FileExistsError)):
        return error
    code = code_of(error)
    if code in ("PreconditionFailed", "412"):
        return FileExistsError(errno.EEXIST, "exists already", url)
    sentence = FINAL_CODES.get(code) or FINAL_ERRORS.get(type(error).__name__)
    if sentence is None and isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "no such object", url)
    if sentence is None and (isinstance(error, PermissionError) or getattr(error, "code", None) in (401, 403)):
        sentence = _DENIED
    if sentence is None and isinstance(error, (TypeError, NotImplementedError)):
        sentence = f"its file system does not support this: {error}"
    return StorageError(f"{url}: {sentence}") if sentence else None


def retried(action: Callable[[], T], url: str) -> T:
    """Return what `action` returns; repeat it after errors that may pass.

    Parameters
    ----------
    url : of the object, for messages

    Raises
    ------
    FileNotFoundError, FileExistsError: as the store reports. StorageError: anything else, immediately or after MAX_ATTEMPTS.
    """
    for attempt in range(MAX_ATTEMPTS):
        try:
            return action()
        except Exception as error:
            if final := final_error(error, url):
                raise final from error
            if attempt == MAX_ATTEMPTS - 1:
                reason = code_of(error) or f"{type(error).__name__}: {error}".split("\n")[0][:200].rstrip(": ")
                raise StorageError(
                    f"{url}: the store failed {MAX_ATTEMPTS} times in a row ({reason}); check it and run it again"
                ) from error
        time.sleep(random.uniform(0.5, 1.0) * min(MAX_DELAY_S, FIRST_DELAY_S * 2**attempt))
    raise AssertionError("the last attempt returns or raises")
