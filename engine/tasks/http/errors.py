"""Describe why a request got no response: exceptions of httpx and the libraries below it, in the engine's own words.

The messages of those libraries may hold secrets (a header, a URL), or are written for developers.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator

__all__ = ["describe_http_error"]

_MESSAGES = {
    "TooManyRedirects": "more redirects than it may follow",
    "UnsupportedProtocol": "not http:// or https://",
    "DecodingError": "the body cannot be decompressed as its headers say",
    "ProxyError": "the proxy refused the connection",
    "RemoteProtocolError": "the server did not send a complete HTTP response",
    "ReadError": "the connection broke while the response was read",
    "WriteError": "the connection broke while the request was sent",
    "ConnectError": "the connection failed",
}


def describe_http_error(error: BaseException) -> str:
    """Return one line: the operating system's message if there is one, else the kind of failure."""
    said = next(filter(None, map(_describe_system_error, _iter_causes(error))), None)
    kinds = (kind.__name__ for kind in type(error).__mro__)
    return said or next((_MESSAGES[kind] for kind in kinds if kind in _MESSAGES), "no response")


def _describe_system_error(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not valid: {error.verify_message.lower()}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'no reason given').replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return "there is no such host"
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return None


def _iter_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, innermost first: that one is the most specific."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        if isinstance(at, BaseExceptionGroup):
            chain += [part for part in at.exceptions if part not in chain]
            at = at.exceptions[0]
        else:
            at = at.__cause__ or at.__context__
    yield from reversed(chain)
