"""HTTP redirects that stay at the kind of URL the user gave.

A server that a user trusts for a public file must not be able to make this machine read a local file or a service of its
private network. Knows nothing of files and retries.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.request
from http.client import HTTPMessage
from typing import IO
from urllib.parse import urlsplit

from hybridspeech.errors import DownloadError


def open_url(request: urllib.request.Request, timeout_s: float) -> urllib.request._UrlopenRet:
    """Open a URL, and follow redirects that `check_redirect` allows.

    Raises
    ------
    DownloadError: a redirect is refused. Otherwise as `urllib.request.urlopen`.
    """
    opener = urllib.request.build_opener(_SameKindRedirects(request.full_url))
    return opener.open(request, timeout=timeout_s)


def check_redirect(first: str, target: str) -> None:
    """Check that a redirect keeps the scheme (http may become https) and the kind of address of the first URL.

    Kinds of addresses are loopback, private and public; a name may resolve to several.

    Raises
    ------
    DownloadError: the redirect is refused.
    """
    allowed = {"http": ("http", "https")}.get(urlsplit(first).scheme, (urlsplit(first).scheme,))
    if urlsplit(target).scheme not in allowed:
        raise DownloadError(f"{first}: redirects to {target!r}; expected {' or '.join(allowed)}; check the URL")
    kinds, expected = _kinds_of(target), _kinds_of(first)
    if not kinds <= expected:
        raise DownloadError(
            f"{first}: redirects to {target!r}, a {min(kinds - expected)} address; expected a {max(expected)} one; check "
            "the URL"
        )


class _SameKindRedirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, first: str) -> None:
        self._first = first

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        check_redirect(self._first, newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> urllib.request._UrlopenRet | None:
        location = headers["location"] or headers["uri"] or ""
        if urlsplit(location).scheme:  # the base class refuses some schemes itself, with an HTTP error
            check_redirect(self._first, location)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _kinds_of(url: str) -> set[str]:
    """Kinds of the addresses of a URL's host; a name that does not resolve here (a proxy may resolve it) is public."""
    try:
        host = urlsplit(url).hostname or ""
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError):
        return {"public"}
    return {_kind_of(str(info[4][0])) for info in found}


def _kind_of(text: str) -> str:
    address = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    return "public" if address.is_global else "private"
