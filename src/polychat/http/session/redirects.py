"""Which redirects are followed, and which headers go along."""

from __future__ import annotations

from yarl import URL

from ..request import OutgoingRequest
from ..statuses import redacted_url

MOST = 10
"""Redirects of one request that are followed, at most."""

_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "user-agent"})


class NotFollowed(Exception):
    """A redirect that is not followed. Its text has the reason, and the target without credentials."""


def onward(request: OutgoingRequest, status: int, location: str | None) -> OutgoingRequest | None:
    """The request that follows a response of this status and ``Location``; ``None`` if it is no redirect.

    GET and HEAD are followed. After a POST, 303 leads to a GET of the result, and 307 and 308 repeat the POST. 301 and 302 are
    refused after a POST: browsers would send a GET without the body, and the status does not allow to send it twice. A
    redirect from https to http is refused. To another origin go only headers about content, none with credentials.

    Raises ``NotFollowed``.
    """
    if status not in (301, 302, 303, 307, 308) or not location:
        return None
    url = _target(request.url, location)
    safe = request.method in ("GET", "HEAD")
    if not safe and status in (301, 302):
        raise NotFollowed(
            f"the service redirects a {request.method} to {redacted_url(url)}, which is not followed; if it has moved "
            "there, use that address"
        )
    headers = request.headers
    if url.origin() != request.url.origin():
        headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
    if safe or status in (307, 308):
        return OutgoingRequest(request.method, url, headers, request.body)
    return OutgoingRequest("GET", url, {name: value for name, value in headers.items() if name.lower() != "content-type"}, None)


def _target(here: URL, location: str) -> URL:
    try:
        url = here.join(URL(location)).with_user(None).with_fragment(None)
        is_usable = url.scheme in ("http", "https") and bool(url.host)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise NotFollowed("the redirect does not lead to an http URL")
    if (here.scheme, url.scheme) == ("https", "http"):
        raise NotFollowed(
            f"the redirect leads from https to http, where the request could be intercepted ({redacted_url(url)})"
        )
    return url
