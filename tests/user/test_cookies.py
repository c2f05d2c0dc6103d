"""``get_cookies``: where files lie and which of them wins, who may read them, the browsers, and the way from a coroutine."""

from __future__ import annotations

import asyncio
import http.cookiejar
import inspect
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from polychat.errors import BadInput
from polychat.transport import cookies_for, get_cookies
from polychat.user.cookies import LIMIT, ExposedCookies, UnusedCookies

from ..support.cookie_files import (
    BY_HOST,
    COOKIE_EDITOR,
    DEVTOOLS_HAR,
    EDIT_THIS_COOKIE,
    EXPORTED,
    HOST,
    LATER,
    NETSCAPE,
    NETSCAPE_HOLDS,
    NOW,
    PAST,
    PLAYWRIGHT,
    exported,
    line,
)
from ..support.cookie_files import tokyo as tokyo  # a fixture, used by its name


@pytest.fixture(autouse=True)
def _no_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's browser is opened here, unless a test brings one."""
    monkeypatch.setitem(sys.modules, "browser_cookie3", None)


def put(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``named(text)`` writes a file and names it in POLYCHAT_COOKIES."""

    def name(text: str | bytes, called: str = "cookies.txt", mode: int = 0o600) -> Path:
        path = put(tmp_path / called, text, mode)
        monkeypatch.setenv("POLYCHAT_COOKIES", str(path))
        return path

    return name


def held(domain: str = HOST, **options: Any) -> dict[str, str]:
    return get_cookies(domain, now=lambda: NOW, **options)


# Files


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (NETSCAPE, NETSCAPE_HOLDS),
        (EDIT_THIS_COOKIE, EXPORTED),
        (COOKIE_EDITOR, EXPORTED),
        (PLAYWRIGHT, EXPORTED),
        (BY_HOST, EXPORTED),
        (DEVTOOLS_HAR, EXPORTED),
    ],
    ids=["cookies.txt", "EditThisCookie", "Cookie-Editor", "Playwright", "by host", "HAR"],
)
@pytest.mark.parametrize("called", ["cookies.txt", "export.json", "jar"])
def test_every_format_is_read(named: Any, text: str, holds: dict[str, str], called: str) -> None:
    """The format is recognized by the file's content, not by its name; what has expired is left out."""
    named(text, called)
    assert held() == holds


def test_damage_is_a_warning(named: Any) -> None:
    """It names the file and the line, never a value, and points at who asked; the rest is used."""
    file = named(f"{line('good')}chat-gpt.org FALSE / FALSE 0 n S3CR3T\n")
    with pytest.warns(UnusedCookies, match=rf"^{re.escape(str(file))}: line 2: ") as warned:
        assert held() == {"good": "v"}
    assert "S3CR3T" not in str(warned[0].message)
    assert warned[0].filename == __file__


def test_much_damage_is_one_warning(named: Any) -> None:
    """Of a file that is something else, three places are shown and the rest is counted."""
    named("nonsense\n" * 1000)
    with pytest.warns(UnusedCookies, match=r"line 1: .*; line 2: .*; line 3: .*; and 997 more$") as warned:
        assert held() == {}
    assert len(warned) == 1


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize(
    ("expires", "live"),
    [
        (None, True),
        (0, True),
        (-1, True),
        (NOW + 1, True),
        (NOW, False),
        (1, False),
        (str(LATER), True),
        (LATER * 1000, True),
        (PAST * 1000, False),
        ("2027-07-18T09:33:20Z", True),
        ("2026-09-21T14:13:21", True),
        ("2026-09-21T14:13:20", False),
        ("1970-01-01T00:00:00.000Z", False),
        ("1969-12-31T23:59:59.000Z", True),
        pytest.param(10**400, True, id="beyond floats"),
        (253402300799, True),
        (float("inf"), True),
    ],
)
def test_expiry(named: Any, expires: object, live: bool) -> None:
    """Seconds, Firefox's milliseconds, digits and ISO dates; 0 and less are a session's; at its expiry a cookie is out."""
    named(
        json.dumps(
            [{"name": "n", "value": "v", "domain": HOST, "expires": expires}, {"name": "x", "value": "x", "domain": HOST}]
        )
    )
    assert ("n" in held()) is live


def test_the_clock_is_given(named: Any) -> None:
    """The same file holds a cookie until the clock passes its expiry."""
    named(line(expires=1000) + line("session"))
    assert get_cookies(HOST, now=lambda: 999) == {"n": "v", "session": "v"}
    assert get_cookies(HOST, now=lambda: 1000) == {"session": "v"}


def test_secure_cookies_may_be_left_out(named: Any) -> None:
    """``secure=False`` leaves out what only https may carry."""
    named(NETSCAPE)
    assert set(held(secure=False)) == {"consent"}


# Which of several


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        (line(value="domain", domain=f".{HOST}", wide="TRUE", expires=LATER), line(value="host")),
        (line(value="part", path="/chat", expires=LATER), line(value="whole")),
        (line(value="sooner", expires=LATER - 1), line(value="later", expires=LATER)),
        (exported("part", path="/chat"), exported("whole")),
        (line(value="session"), line(value="dated", expires=LATER)),
        (line(value="expired", expires=PAST), line(value="live")),
        (line(value="elsewhere", domain=f"evil{HOST}", expires=LATER), line(value="here")),
    ],
    ids=["the closer domain", "the wider path", "a path in JSON", "the later expiry", "a date", "the live one", "the host's"],
)
def test_which_of_two_files_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loser: str, winner: str) -> None:
    """The closer domain, then the wider path, then the later expiry, whatever the order of the files and their age."""
    monkeypatch.setenv("POLYCHAT_COOKIES", str(put(tmp_path / "winner", winner)))
    expected = held()
    for number, texts in enumerate([(loser, winner), (winner, loser)]):
        folder = tmp_path / str(number)
        for name, text in zip("ab", texts, strict=True):
            put(folder / f"{name}.txt", text)
        monkeypatch.setenv("POLYCHAT_COOKIES", str(folder))
        assert held() == expected


def test_between_equals_the_newer_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two session cookies of one name: the one exported last, whatever the files are called."""
    monkeypatch.setenv("POLYCHAT_COOKIES", str(tmp_path))
    for name, written in (("a", 2000), ("b", 1000)):
        os.utime(put(tmp_path / f"{name}.txt", line(value=name)), (written, written))
    assert held() == {"n": "a"}
    os.utime(tmp_path / "b.txt", (3000, 3000))
    assert held() == {"n": "b"}


def test_files_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of several files and formats come together."""
    monkeypatch.setenv("POLYCHAT_COOKIES", str(tmp_path))
    put(tmp_path / "one.txt", line("a"))
    put(tmp_path / "two.JSON", BY_HOST)
    put(tmp_path / "three.har", DEVTOOLS_HAR)
    assert held() == EXPORTED | {"a": "v"}


# Where they lie


def test_the_configuration_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``cookies.txt`` and the folder ``cookies`` of the configuration folder are read; other kinds of files are not."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert held() == {}
    put(tmp_path / "polychat/cookies.txt", line("single"))
    put(tmp_path / "polychat/cookies/site.txt", line("folder"))
    put(tmp_path / "polychat/cookies/README.md", line("readme"))
    put(tmp_path / "polychat/cookies/below.txt/site.txt", line("below"))
    assert held() == {"single": "v", "folder": "v"}


def test_without_xdg_it_is_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~/.config`` where XDG_CONFIG_HOME is not set."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / ".config/polychat/cookies.txt", line())
    assert held() == {"n": "v"}


def test_a_named_path_replaces_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: Any) -> None:
    """POLYCHAT_COOKIES, a file of any name or a folder, is read in place of the configuration folder; ``~`` is home."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "config/polychat/cookies.txt", line("folder"))
    named(line("named"), "jar")
    assert held() == {"named": "v"}
    monkeypatch.setenv("POLYCHAT_COOKIES", "~/jar")
    assert held() == {"named": "v"}
    put(tmp_path / "jars/a.txt", line("listed"))
    monkeypatch.setenv("POLYCHAT_COOKIES", str(tmp_path / "jars"))
    assert held() == {"listed": "v"}
    monkeypatch.setenv("POLYCHAT_COOKIES", "")
    assert held() == {"folder": "v"}


def test_a_named_path_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is not there is an error, not the want of cookies."""
    monkeypatch.setenv("POLYCHAT_COOKIES", str(tmp_path / "nowhere.txt"))
    with pytest.raises(BadInput, match=r"POLYCHAT_COOKIES names .*nowhere\.txt, which does not exist") as missing:
        held()
    assert missing.value.field == "POLYCHAT_COOKIES"


def test_a_file_may_be_too_large(named: Any) -> None:
    """What is over the limit is not read into memory as a whole; it is left out and named."""
    file = named(line())
    with file.open("r+b") as grown:
        grown.truncate(LIMIT + 1)
    with pytest.warns(UnusedCookies, match="larger than 67,108,864 bytes"):
        assert held() == {}


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is a warning with the system's reason; the rest is used."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    put(tmp_path / "polychat/cookies.txt", line())
    put(tmp_path / "polychat/cookies", line())
    with pytest.warns(UnusedCookies, match="cookies: Not a directory"):
        assert held() == {"n": "v"}


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs a file that is there and cannot be read, by root either"
)
def test_a_file_that_cannot_be_read_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while reading is a warning that names the file."""
    monkeypatch.setenv("POLYCHAT_COOKIES", "/proc/self/mem")
    with pytest.warns(UnusedCookies, match=r"^/proc/self/mem: Input/output error"):
        assert held() == {}


def test_expired_files_say_so(named: Any) -> None:
    """Where nothing is found because an export is too old, the warning says to export again; else there is no warning."""
    named(line(expires=PAST))
    with pytest.warns(UnusedCookies, match=r"its cookies for chat-gpt\.org have expired: export them again"):
        assert held() == {}
    assert held("example.com") == {}
    named(line(expires=PAST) + line("live"))
    assert held() == {"live": "v"}


# Who may read them


@pytest.mark.skipif(os.name != "posix", reason="the mode says who may read on POSIX only")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_open_to_others_is_reported_once(named: Any, mode: int) -> None:
    """Its cookies are used; the warning holds the command that closes it, and comes once a process."""
    file = named(line(), "a jar's cookies.txt", mode)
    with pytest.warns(ExposedCookies, match="run  chmod 600 ") as warned:
        assert held() == {"n": "v"}
    assert held() == {"n": "v"}
    command = str(warned[0].message).partition("run  ")[2]
    subprocess.run(shlex.split(command), check=True)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_private_file_is_not_reported(named: Any) -> None:
    """Warnings are errors in tests: there is none."""
    named(line(), mode=0o400)
    assert held() == {"n": "v"}


# Browsers


def jar_of(*cookies: tuple[Any, ...]) -> http.cookiejar.CookieJar:
    jar = http.cookiejar.CookieJar()
    for domain, name, value, expires in cookies:
        wide = domain.startswith(".")
        jar.set_cookie(
            http.cookiejar.Cookie(
                0, name, value, None, False, domain, wide, wide, "/", True, True, expires, False, None, None, {}
            )
        )
    return jar


Browser = Callable[..., http.cookiejar.CookieJar]


@pytest.fixture
def browsers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``browsers(…)`` puts a stand-in for browser_cookie3 in place that has these browsers."""

    def install(*every: Browser) -> None:
        module = types.ModuleType("browser_cookie3")
        vars(module).update(all_browsers=list(every), BrowserCookieError=type("BrowserCookieError", (Exception,), {}))
        monkeypatch.setitem(sys.modules, "browser_cookie3", module)

    return install


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The installed browser_cookie3."""
    monkeypatch.delitem(sys.modules, "browser_cookie3")
    return pytest.importorskip("browser_cookie3")


def chrome(cookie_file: Any = None, domain_name: str = "", key_file: Any = None) -> http.cookiejar.CookieJar:
    every = [
        (f".{HOST}", "a", "chrome", LATER),
        (HOST, "b", "chrome", None),
        (HOST, "old", "x", PAST),
        (f"evil{HOST}", "evil", "x", LATER),
    ]
    return jar_of(*[cookie for cookie in every if domain_name in cookie[0]])


def firefox(cookie_file: Any = None, domain_name: str = "", key_file: Any = None) -> http.cookiejar.CookieJar:
    every = [
        (f".{HOST}", "a", "firefox", LATER * 1000),
        (HOST, "c", "firefox", LATER),
        (HOST, "bytes", b"\xff", LATER),
        (HOST, "none", None, LATER),
        (HOST, "old", "x", PAST * 1000),
    ]
    return jar_of(*[cookie for cookie in every if domain_name in cookie[0]])


def test_the_stand_in_has_the_shape_of_the_package(real: Any) -> None:
    """What our stand-in for browser_cookie3 has, the package has: a list of functions with ``domain_name``, an error."""
    assert issubclass(real.BrowserCookieError, Exception)
    assert {"chrome", "firefox", "safari"} <= {browser.__name__ for browser in real.all_browsers}
    for browser in real.all_browsers:
        assert inspect.signature(browser).parameters["domain_name"].default == ""
    for ours in (chrome, firefox):
        assert inspect.signature(ours).parameters.keys() == inspect.signature(getattr(real, ours.__name__)).parameters.keys()
    made = real.create_cookie(f".{HOST}", "/", 1, None, "n", "v", False)
    assert isinstance(made, http.cookiejar.Cookie)


def test_browsers_come_after_files(named: Any, browsers: Any) -> None:
    """Browsers are opened where the files hold nothing live for the host, and not at all where they do or may not be."""
    opened = []

    def watched(**options: Any) -> http.cookiejar.CookieJar:
        opened.append(options)
        return chrome(**options)

    browsers(watched)
    named(line())
    assert held() == {"n": "v"}
    named(line(domain="example.com"))
    assert held(browsers=False) == {}
    assert opened == []
    assert held() == {"a": "chrome", "b": "chrome"}


def test_an_earlier_browsers_cookies_stay_together(browsers: Any) -> None:
    """Of a name that two browsers hold, the first browser's value is taken; what cannot be sent is left out."""
    browsers(chrome, firefox)
    assert held() == {"a": "chrome", "b": "chrome", "c": "firefox"}
    browsers(firefox, chrome)
    assert held() == {"a": "firefox", "b": "chrome", "c": "firefox"}


def test_a_subdomain_gets_its_domains_cookies_from_a_browser(browsers: Any) -> None:
    """The package looks for text in the domain: it is asked for what all that match have in common."""
    browsers(chrome)
    assert held(f"www.{HOST}") == {"a": "chrome"}


@pytest.mark.parametrize(
    "error",
    [KeyError("DBUS_SESSION_BUS_ADDRESS"), sqlite3.OperationalError("locked"), RuntimeError("S3CR3T"), OSError(13, "no")],
)
def test_a_browser_that_fails_is_passed_over(browsers: Any, error: Exception) -> None:
    """Whatever the package raises for one browser, the others are asked, and there is no warning."""

    def broken(domain_name: str = "") -> http.cookiejar.CookieJar:
        raise error

    browsers(broken, firefox)
    assert held() == {"a": "firefox", "c": "firefox"}
    browsers(broken)
    assert held() == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the profile lies where Linux has it")
def test_a_real_profile_is_read(real: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed package reads a profile as Firefox 142 writes it, and we match what it finds."""
    profile = tmp_path / ".mozilla/firefox/ab12cd34.default-release"
    profile.mkdir(parents=True)
    put(
        tmp_path / ".mozilla/firefox/profiles.ini",
        "[Profile0]\nName=default\nIsRelative=1\nPath=ab12cd34.default-release\nDefault=1\n",
    )
    with closing(sqlite3.connect(profile / "cookies.sqlite")) as base:
        base.execute(
            "CREATE TABLE moz_cookies (host TEXT, path TEXT, isSecure INTEGER, expiry INTEGER, name TEXT, value TEXT,"
            " isHttpOnly INTEGER)"
        )
        rows = [(f".{HOST}", "a", LATER), (HOST, "old", PAST), (f"evil{HOST}", "evil", LATER), (f".www.{HOST}", "below", LATER)]
        base.executemany(
            "INSERT INTO moz_cookies VALUES (?, '/', 1, ?, ?, 'v', 1)",
            [(host, 1000 * expiry, name) for host, name, expiry in rows],
        )
        base.commit()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)  # or it would ask for this user's keys
    assert held() == {"a": "v"}
    assert held(f"www.{HOST}") == {"a": "v", "below": "v"}


def test_without_the_package_there_are_no_browsers() -> None:
    """The extra is not needed: without it nothing is found, and there is no warning."""
    assert held() == {}


# From a coroutine


async def test_the_loop_goes_on_meanwhile(browsers: Any) -> None:
    """``cookies_for`` waits in a thread: a browser that the loop itself must set free is no deadlock."""
    opened, free = threading.Event(), threading.Event()

    def slow(**options: Any) -> http.cookiejar.CookieJar:
        opened.set()
        assert free.wait(20)
        return chrome(**options)

    browsers(slow)
    async with asyncio.timeout(60):
        asking = asyncio.create_task(cookies_for(HOST, now=lambda: NOW))
        assert await asyncio.to_thread(opened.wait, 20)
        free.set()
        assert await asking == {"a": "chrome", "b": "chrome"}


async def test_a_coroutine_is_warned_itself(named: Any) -> None:
    """The warnings of ``cookies_for`` come from the coroutine's own thread and point at it; what is no host is refused."""
    named("nonsense\n" + line())
    with pytest.warns(UnusedCookies, match="line 1") as warned:
        assert await cookies_for(HOST, secure=False, browsers=False) == {"n": "v"}
    assert warned[0].filename == __file__
    with pytest.raises(BadInput, match="not a host"):
        await cookies_for("https://chat-gpt.org")


async def test_asks_at_once_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept: a changed file is read anew, and asks for different hosts get their own."""
    monkeypatch.setenv("POLYCHAT_COOKIES", str(put(tmp_path / "jar", line(value="1") + line(value="2", domain="b.example"))))
    first, second = await asyncio.gather(cookies_for(HOST), cookies_for("b.example"))
    put(tmp_path / "jar", line(value="3"))
    assert (first, second, await cookies_for(HOST)) == ({"n": "1"}, {"n": "2"}, {"n": "3"})
