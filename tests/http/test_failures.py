"""What ended a request before its reply began: which of it another attempt may not end in."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from yarl import URL

from polychat.errors import ConnectionFailed, PolychatError, WrongAddress
from polychat.http.failures import FailedRequest, failure_of

PLACE = URL("https://house.example/v1")


def no_tls() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


def cut_handshake() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL] unexpected eof while reading")
    error.reason = "UNEXPECTED_EOF_WHILE_READING"
    return error


def failed(error: Exception, *, connected: bool) -> PolychatError:
    return failure_of(error, FailedRequest(PLACE, None, connected))


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "not known"), no_tls()], ids=["no such host", "no TLS"])
def test_an_address_that_is_wrong(error: Exception) -> None:
    """It is so only while nobody is connected: an open connection has shown that its address is right."""
    assert type(failed(error, connected=False)) is WrongAddress
    assert type(failed(error, connected=True)) is ConnectionFailed


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        OSError(errno.EHOSTUNREACH, "no route to host"),
        socket.gaierror(socket.EAI_AGAIN, "try again"),
        cut_handshake(),
    ],
    ids=["refused", "reset", "no route", "a silent name server", "a handshake that is cut off"],
)
@pytest.mark.parametrize("connected", [False, True])
def test_what_may_pass(error: Exception, connected: bool) -> None:
    """A server that is not there now, or a name server that is silent, may be there for the next attempt."""
    assert type(failed(error, connected=connected)) is ConnectionFailed
