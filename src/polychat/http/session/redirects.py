"""Where a redirect leads, and what may go along."""

from __future__ import annotations

from yarl import URL

from ..request import OutgoingRequest
from ..statuses import shown_url

MOST = 10
"""Redirects of one request that are followed."""

_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "user-agent"})


class NotFollowed(Exception):
    """A redirect that is not followed: why, and where it leads, as a message may show it."""


def onward(request: OutgoingRequest, status: int, location: str | None) -> OutgoingRequest | None:
    """The request that this answer sends us on to, ``None`` if it is no redirect. Raises ``NotFollowed``.

    GET and HEAD are followed. A POST answered 303 is done, and its result is got with GET. A POST answered 301 or 302 is not
    followed: browsers would make a GET of it and lose the question, and nothing says that it may be sent twice. 307 and 308 say
    so: it is sent again. Nothing goes from https to http. To another origin go only headers that tell what can be read.
    """
    if status not in (301, 302, 303, 307, 308) or not location:
        return None
    url = _target(request.url, location)
    safe = request.method in ("GET", "HEAD")
    if not safe and status in (301, 302):
        raise NotFollowed(
            f"the service redirects a {request.method} to {shown_url(url)}, which is not followed; if it has moved "
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
        sound = url.scheme in ("http", "https") and bool(url.host)
    except ValueError:
        sound = False
    if not sound:
        raise NotFollowed("the redirect does not lead to an http URL")
    if (here.scheme, url.scheme) == ("https", "http"):
        raise NotFollowed(f"the redirect leads from https to http, where the request could be intercepted ({shown_url(url)})")
    return url
