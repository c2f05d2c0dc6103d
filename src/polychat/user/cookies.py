"""The user's own cookies for a host: from files, else from the browsers installed here. Nothing is kept between calls."""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .. import config
from ..errors import BadInput, redact
from ..warn import warn_caller
from . import cookie_files
from .cookie_domains import Cookie, Unusable, cookie_of, family, host_name

if TYPE_CHECKING:
    import http.cookiejar

VARIABLE = "POLYCHAT_COOKIES"
"""Names a file or a folder that is read in place of the configuration folder's."""

LIMIT = 64 * 1024 * 1024
"""Bytes of one file."""

_FORMATS = (".txt", ".json", ".har")
_reported: set[str] = set()
_reported_lock = threading.Lock()


class ExposedCookies(UserWarning):
    """A file of cookies is open to others on this machine. It is used; the message holds the command that closes it."""


class UnusedCookies(UserWarning):
    """A file of cookies, or a part of one, is not used; the message has place and reason, but no value. The rest is used."""


def get_cookies(
    domain: str,
    *,
    browsers: bool = True,
    secure: bool = True,
    now: Callable[[], float] = time.time,
) -> dict[str, str]:
    """The cookies a browser would send to the host ``domain``, by name; empty where there are none.

    Files come first, of ``POLYCHAT_COOKIES`` or of the configuration folder; the installed browsers are opened only where no
    file holds a live cookie for the host, the extra ``cookies`` is installed, and ``browsers`` is not false. ``secure=False``
    is for a host that is asked over plain http: it leaves out what only https may carry. A dot before ``domain`` means nothing.

    It reads files, and may wait for a key store: in a coroutine use ``cookies_for``. Raises ``BadInput`` where ``domain`` is no
    host or ``POLYCHAT_COOKIES`` names nothing; warns with ``ExposedCookies`` and ``UnusedCookies``.
    """
    search = _Search(domain, secure, now())
    cookies = search.run(browsers)
    for complaint in search.complaints:
        warn_caller(complaint)
    return cookies


async def cookies_for(
    domain: str,
    *,
    browsers: bool = True,
    secure: bool = True,
    now: Callable[[], float] = time.time,
) -> dict[str, str]:
    """``get_cookies`` in a thread, so that the event loop is not blocked."""
    search = _Search(domain, secure, now())
    cookies = await asyncio.to_thread(search.run, browsers)
    for complaint in search.complaints:
        warn_caller(complaint)  # here and not in the thread: warning filters belong to the caller
    return cookies


class _FileCookies(NamedTuple):
    """A file's cookies for the host, and when it was written."""

    written: float
    cookies: list[Cookie]


class _Search:
    """The search of one call, and the warnings it collects."""

    def __init__(self, domain: str, secure: bool, now: float) -> None:
        host = host_name(domain)
        if host is None:
            raise BadInput(f"{redact(domain)!r} is not a host: give its name alone, such as example.com", field="domain")
        self.host = host
        self.secure = secure
        self.now = now
        self.complaints: list[Warning] = []

    def run(self, browsers: bool) -> dict[str, str]:
        files = [(path, content) for path in self.paths() if (content := self.read(path)) is not None]
        files.sort(key=lambda file: file[1].written)  # what else is equal, the file written last decides
        cookies = chosen(cookie for _, content in files for cookie in self.usable(content.cookies))
        cookies = cookies or (self.in_browsers() if browsers else {})
        if not cookies:
            for path, content in files:
                if content.cookies and all(self.is_expired(cookie) for cookie in content.cookies):
                    self.complain(path, f"its cookies for {self.host} have expired: export them again")
        return cookies

    def is_expired(self, cookie: Cookie) -> bool:
        return cookie.expires is not None and cookie.expires <= self.now

    def usable(self, cookies: Iterable[Cookie]) -> list[Cookie]:
        """Those that go to the host, live, and may be carried there."""
        return [
            cookie
            for cookie in cookies
            if cookie.goes_to(self.host) and not self.is_expired(cookie) and (self.secure or not cookie.secure)
        ]

    def paths(self) -> list[Path]:
        """The files to read. Raises ``BadInput`` where the one that was named is not there."""
        if variable := os.environ.get(VARIABLE):
            path = Path(os.path.expanduser(variable))
            if not os.path.exists(path):
                raise BadInput(f"{VARIABLE} names {path}, which does not exist: correct it, or unset it", field=VARIABLE)
            return self.listed(path) if os.path.isdir(path) else [path]
        single = config.folder() / "cookies.txt"
        return [*([single] if os.path.exists(single) else []), *self.listed(config.folder() / "cookies")]

    def listed(self, folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if path.suffix.lower() in _FORMATS and os.path.isfile(path))
        except FileNotFoundError:
            return []
        except OSError as error:
            self.complain(folder, error.strerror or type(error).__name__)
            return []

    def read(self, path: Path) -> _FileCookies | None:
        """A file's cookies for the host. ``None`` where it cannot be read, which is warned of."""
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                data = file.read(LIMIT + 1)
        except OSError as error:
            self.complain(path, error.strerror or type(error).__name__)
            return None
        self.complaints.extend(exposed(path, status.st_mode))
        if len(data) > LIMIT:
            self.complain(path, f"it is larger than {LIMIT:,} bytes: export this site alone")
            return None
        cookies, damaged = cookie_files.read(data, self.host)
        if damaged:
            further = f"; and {len(damaged) - 3} more" if len(damaged) > 3 else ""
            self.complain(path, "; ".join(damaged[:3]) + further)
        return _FileCookies(status.st_mtime, cookies)

    def complain(self, path: Path, why: str) -> None:
        self.complaints.append(UnusedCookies(f"{path}: {why}"))

    def in_browsers(self) -> dict[str, str]:
        """What the browsers hold, an earlier one's before a later one's: two logins are not mixed name by name, by date."""
        try:
            import browser_cookie3
        except ImportError:
            return {}
        cookies: dict[str, str] = {}
        for browser in browser_cookie3.all_browsers:
            # For a browser that is not installed it raises BrowserCookieError, or what it stumbles over: KeyError without a
            # session bus, sqlite3.Error, AttributeError. No list of them holds, and none is this user's concern.
            try:
                jar = list(browser(domain_name=family(self.host)))  # any domain with this text in it; usable() matches
            except Exception:  # noqa: BLE001, S112
                continue
            cookies = chosen(self.usable(_of_jar(jar))) | cookies
        return cookies


def chosen(cookies: Iterable[Cookie]) -> dict[str, str]:
    """One value a name. The closer domain wins, then the wider path, then the later expiry, then the later one."""

    def rank(cookie: Cookie) -> tuple[int, bool, int, float]:
        # The request's path is not known: the cookie for all of the site fits, that for a part of it may not.
        return (len(cookie.domain), cookie.host_only, -len(cookie.path), cookie.expires or 0)

    return {cookie.name: cookie.value for cookie in sorted(cookies, key=rank)}


def exposed(path: Path, mode: int) -> list[Warning]:
    """A warning about a file that others may read or change; once for each file in this process."""
    if os.name != "posix" or not stat.S_ISREG(mode) or not mode & 0o066:  # elsewhere the mode does not say who may read
        return []
    name = str(path.absolute())
    with _reported_lock:
        if name in _reported:
            return []
        _reported.add(name)
    return [ExposedCookies(f"others may read the cookies in {path}: run  chmod 600 {shlex.quote(str(path))}")]


def _of_jar(jar: Iterable[http.cookiejar.Cookie]) -> Iterator[Cookie]:
    """A browser's cookies; those that no header can contain, such as bytes that are not text, are omitted."""
    for cookie in jar:
        with suppress(Unusable):
            yield cookie_of(
                cookie.name, cookie.value, str(cookie.domain), path=cookie.path, secure=cookie.secure, expires=cookie.expires
            )
