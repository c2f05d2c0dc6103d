"""The headers that desktop Chrome sends with a page's own requests, for services that check them."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from ..errors import BadInput

_VERSION = "117"
USER_AGENT = f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{_VERSION}.0.0.0 Safari/537.36"


def origin_of(url: str) -> str:
    """Scheme, host and port of ``url`` for the header ``origin``; user and password are omitted."""
    return f"{urlsplit(url).scheme}://{host_of(url)}"


def host_of(url: str) -> str:
    """Host and port of ``url`` for the header ``authority``."""
    return urlsplit(url).netloc.rpartition("@")[2]


def browser_headers(url: str, referer: str | None = None) -> dict[str, str]:
    """Chrome's headers for a request of a page at ``url`` to the same site; ``content-type`` is set with the body."""
    headers = {
        "authority": host_of(url),
        "accept": "*/*",
        "accept-language": "en-US,en;q=0.9",
        "origin": origin_of(url),
        "sec-ch-ua": f'"Google Chrome";v="{_VERSION}", "Not;A=Brand";v="8", "Chromium";v="{_VERSION}"',
        "sec-ch-ua-mobile": "?0",
        "sec-ch-ua-platform": '"Linux"',
        "sec-fetch-dest": "empty",
        "sec-fetch-mode": "cors",
        "sec-fetch-site": "same-origin",
        "user-agent": USER_AGENT,
    }
    return headers if referer is None else {**headers, "referer": referer}


def page_url(base_url: str, page: str) -> str:
    """``page`` as a URL: a path is below ``base_url``."""
    try:
        if page.strip():
            url = page if page.startswith(("http://", "https://")) else urljoin(f"{base_url}/", page.lstrip("/"))
            if urlsplit(url).hostname:
                return url
    except (AttributeError, ValueError):  # not text, or half an IPv6 address
        pass
    raise BadInput("page must be the path or URL of the page that holds the chat, such as /chat/", field="page")
