"""Files of cookies, read as bytes: cookies.txt, exports, recordings, and what is damaged in them."""

from __future__ import annotations

import http.cookiejar
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.http.request import sendable
from polychat.user.cookie_domains import Cookie, host_name
from polychat.user.cookie_files import CookieFile, read

from ..support.cookie_files import (
    BY_HOST,
    COOKIE_EDITOR,
    DEVTOOLS_HAR,
    EDIT_THIS_COOKIE,
    EXPORTED,
    HOST,
    NETSCAPE,
    NETSCAPE_HOLDS,
    NOW,
    PLAYWRIGHT,
    entry,
    har,
    line,
)
from ..support.cookie_files import tokyo as tokyo  # a fixture, used by its name


def whole(text: str | bytes, host: str) -> list[Cookie]:
    """A file's cookies for a host, where nothing in it is damaged."""
    cookies = read(text.encode() if isinstance(text, str) else text, host)
    assert cookies.damaged == []
    return cookies.cookies


def values(text: str | bytes, host: str = HOST) -> dict[str, str]:
    return {cookie.name: cookie.value for cookie in whole(text, host)}


def live(text: str | bytes, host: str = HOST, now: float = NOW) -> dict[str, str]:
    return {cookie.name: cookie.value for cookie in whole(text, host) if cookie.expires is None or cookie.expires > now}


def test_cookies_txt() -> None:
    """``#HttpOnly_`` is a cookie and no comment, 0 a session, an empty value a value; others' are left out."""
    assert live(NETSCAPE) == NETSCAPE_HOLDS
    assert values(NETSCAPE) == NETSCAPE_HOLDS | {"old": "long-gone"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_cookies_txt_from_any_system(end: str, mark: bytes) -> None:
    """Line ends of any system and a byte order mark change nothing."""
    assert live(mark + NETSCAPE.replace("\n", end).encode()) == NETSCAPE_HOLDS


def test_only_line_ends_end_a_line() -> None:
    """A value may hold what Python takes for a line end, such as U+2028."""
    assert values(line("n", "a\u2028b\x85c")) == {"n": "a\u2028b\x85c"}


def test_an_editor_may_trim_the_tab_of_an_empty_value() -> None:
    """A line of six fields is one whose value is empty."""
    assert values(f"{HOST}\tFALSE\t/\tFALSE\t0\tconsent\n") == {"consent": ""}


@pytest.mark.parametrize("text", [NETSCAPE, EDIT_THIS_COOKIE, COOKIE_EDITOR, PLAYWRIGHT, BY_HOST])
def test_host_only_cookies_stay_with_their_host(text: str) -> None:
    """The flag, or else the dot before the domain, decides whether a subdomain gets a cookie; an inner dot does not."""
    names = live(text, f"www.{HOST}").keys() & EXPORTED.keys()
    assert names == (set() if text == BY_HOST else {"_ga"})


def test_the_narrower_reading_counts() -> None:
    """Where the flag says host-only and the dot says domain, the cookie goes to the host alone."""
    assert values(line(domain=f".{HOST}", wide="FALSE"), f"www.{HOST}") == {}
    assert values(line(domain=HOST, wide="TRUE"), f"www.{HOST}") == {"n": "v"}


def test_a_host_may_be_written_in_its_own_script() -> None:
    """A name beyond ASCII is the one that is connected to: straße.de is not strasse.de."""
    jar = line("n", "v", "xn--e1afmkfd.xn--p1ai") + line("s", "ss", "strasse.de") + line("s", "ß", "straße.de")
    assert values(jar, host_name("Пример.рф") or "") == {"n": "v"}
    assert values(jar, host_name("STRASSE.de") or "") == {"s": "ss"}
    assert values(jar, host_name("straße.de") or "") == {"s": "ß"}


PRINTABLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
NAMES = st.text(PRINTABLE.filter(lambda letter: letter not in ";=,"), min_size=1, max_size=8)
VALUES = st.text(PRINTABLE.filter(lambda letter: letter != ";"), max_size=12)


@given(
    st.dictionaries(
        NAMES, st.tuples(VALUES, st.booleans(), st.booleans(), st.booleans(), st.none() | st.integers(1, 2**33)), max_size=5
    )
)
def test_what_the_standard_library_writes_we_read(jar: dict[str, tuple[str, bool, bool, bool, int | None]]) -> None:
    """A cookies.txt of ``http.cookiejar`` comes back as it went: names, values, domains, flags, expiry."""
    written = http.cookiejar.MozillaCookieJar()
    for name, (value, wide, secure, http_only, expires) in jar.items():
        domain = f".{HOST}" if wide else HOST
        rest = {"HttpOnly": None} if http_only else {}
        fields = (0, name, value, None, False, domain, wide, wide, "/", True, secure, expires, expires is None, None, None)
        written.set_cookie(http.cookiejar.Cookie(*fields, rest))  # type: ignore[arg-type]  # typeshed wants str in rest
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cookies.txt")
        written.save(str(file), ignore_discard=True, ignore_expires=True)
        cookies = read(file.read_bytes(), HOST)
    assert cookies.damaged == []
    assert {c.name: (c.value, not c.host_only, c.secure, c.expires) for c in cookies.cookies} == {
        name: (value, wide, secure, expires) for name, (value, wide, secure, _, expires) in jar.items()
    }


# HAR

BEGAN = 1_789_928_401.11
"""When ``entry`` began."""


def test_a_recording_of_devtools() -> None:
    """What was sent and what was set, the later one last; a session's date of 1969 is one; other sites' are not ours."""
    assert live(DEVTOOLS_HAR) == EXPORTED
    assert live(DEVTOOLS_HAR, now=BEGAN + 59) == EXPORTED | {"seen": "1"}  # it lived for a minute


def test_the_latest_entry_has_the_last_word() -> None:
    """Entries count by when they began, not by their position; a name that was taken back is gone."""
    url = f"https://{HOST}/api"
    early = entry(url, "2026-09-20T18:20:01Z", sent="a=1; b=1; c=1")
    late = entry(url, "2026-09-20T18:20:03Z", sent="a=3", set_cookie="c=; Max-Age=0")
    middle = entry(url, "2026-09-20T18:20:02Z", sent="a=2; b=2")
    cookies = read(har(late, early, middle).encode(), HOST).cookies
    assert {c.name: c.value for c in cookies if c.expires is None} == {"a": "3", "b": "2"}


@pytest.mark.parametrize(
    "how", ["Max-Age=0", "max-age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT", "expires=Thu, 01-Jan-1970 00:00:01 GMT"]
)
def test_a_recorded_deletion_deletes(how: str) -> None:
    """The ways a site takes a cookie back."""
    logout = entry(f"https://{HOST}/logout", "2026-09-20T18:20:02Z", set_cookie=f"sid=deleted; {how}")
    assert live(har(entry(f"https://{HOST}/", sent="sid=1; kept=1"), logout)) == {"kept": "1"}


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize(
    ("attributes", "expires"),
    [
        ("Max-Age=9; Expires=Fri, 01 Jan 2100 00:00:00 GMT", BEGAN + 9),
        ("Expires=Thu, 01 Jan 1970 00:00:00 GMT; max-age=90", BEGAN + 90),
        ("Max-Age=soon; Expires=Fri, 01 Jan 2100 00:00:00 GMT", 4_102_444_800),
        ("Expires=Fri, 01 Jan 2100 00:00:00", 4_102_444_800),
        ("Max-Age=999999999999", 253_402_300_799),
        ("Expires=whenever", None),
        ("", None),
    ],
)
def test_max_age_goes_before_expires(attributes: str, expires: float | None) -> None:
    """Max-Age counts from the entry and goes before Expires; what is no date leaves a session's cookie."""
    recorded = har(entry(f"https://{HOST}/", set_cookie=f"n=v; {attributes}"))
    assert [cookie.expires for cookie in read(recorded.encode(), HOST).cookies] == [expires]


def test_headers_and_lists_say_the_same() -> None:
    """Cookies are taken from the lists of an entry, and from its headers where the lists are empty or missing."""
    cookies = [{"name": "n", "value": "v"}]
    for half in ("request", "response"):
        parts: dict[str, Any] = {half: {"cookies": cookies}}
        assert values(har(entry(f"https://{HOST}/", **parts))) == {"n": "v"}
    assert values(har(entry(f"https://{HOST}/", sent="n=v"))) == {"n": "v"}
    assert values(
        har(
            entry(
                f"https://{HOST}/",
                set_cookie="n=v",
                response={"cookies": [], "headers": [{"name": "set-cookie", "value": "n=v"}]},
            )
        )
    ) == {"n": "v"}


def test_a_recorded_cookie_without_a_domain_is_its_hosts_alone() -> None:
    """A Cookie header does not say whose the cookie is: it goes back to where it went, and over https if it went so."""
    recorded = har(entry(f"https://{HOST}/", sent="n=v"))
    assert values(recorded, f"www.{HOST}") == {}
    assert [cookie.secure for cookie in read(recorded.encode(), HOST).cookies] == [True]
    assert [cookie.secure for cookie in read(recorded.replace("https:", "http:").encode(), HOST).cookies] == [False]


def test_a_cookie_of_the_domain_reaches_its_other_hosts() -> None:
    """What www sets for the whole domain reaches the domain; of two with a name, the host's own entry has the last word."""
    www = f"https://www.{HOST}/"
    assert values(har(entry(www, set_cookie=f"n=v; Domain={HOST}; Path=/"))) == {"n": "v"}
    assert values(har(entry(www, response={"cookies": [{"name": "n", "value": "v", "domain": HOST}]}))) == {"n": "v"}
    own = entry(f"https://{HOST}/", "2026-09-20T18:00:00Z", sent="n=own")
    assert values(har(own, entry(www, set_cookie=f"n=v; Domain={HOST}"))) == {"n": "own"}


def test_a_host_only_cookie_of_another_host_does_not_stand_before_ours() -> None:
    """A later cookie of the same name that stays with www says nothing about the domain's."""
    www = f"https://www.{HOST}/"
    later = entry(www, "2026-09-20T18:30:00Z", sent="n=other")
    assert values(har(entry(www, set_cookie=f"n=v; Domain={HOST}"), later)) == {"n": "v"}


def test_a_recorded_domain_is_for_its_subdomains() -> None:
    """``Domain=`` makes a cookie one of the domain, with its dot and without."""
    for domain in (HOST, f".{HOST}"):
        assert values(har(entry(f"https://{HOST}/", set_cookie=f"n=v; Domain={domain}")), f"www.{HOST}") == {"n": "v"}


def test_without_a_beginning_max_age_can_only_delete() -> None:
    """Where an entry does not say when it was, a lifetime is not known, and none is none."""
    recorded = har(
        {**entry(f"https://{HOST}/", set_cookie="gone=v; Max-Age=0"), "startedDateTime": "today"},
        {**entry(f"https://{HOST}/", set_cookie="kept=v; Max-Age=9"), "startedDateTime": None},
    )
    assert [(cookie.name, cookie.expires) for cookie in read(recorded.encode(), HOST).cookies] == [("gone", 1), ("kept", None)]


def test_a_header_without_a_name_is_no_cookie() -> None:
    """What has no ``=`` is passed over, as RFC 6265 has it, and so is an empty part."""
    assert values(har(entry(f"https://{HOST}/", sent="flag; n=v;", set_cookie="flag; Path=/"))) == {"n": "v"}


def test_a_recording_without_cookies_is_reported() -> None:
    """Chrome leaves cookies out of a recording by default: that is reported where the host was requested, and nowhere else."""
    sanitized = har(entry(f"https://{HOST}/chat")).encode()
    assert read(sanitized, HOST) == CookieFile(
        [], [f"its requests to {HOST} have no cookies: export it once more, with sensitive data"]
    )
    assert read(sanitized, "example.com") == CookieFile([], [])
    assert values(har(entry(f"https://{HOST}/chat"), entry(f"https://{HOST}/api", sent="n=v"))) == {"n": "v"}


def test_damage_at_other_sites_is_not_reported() -> None:
    """A recording holds much of others: only what concerns the host is complained of."""
    theirs = entry("https://tracker.example/", response={"cookies": [{"name": "", "value": ""}]})
    nobodys = [entry("http://[", sent="x=y"), entry("blob:https://x", sent="x=y"), {"request": None}, 5]
    assert values(har(theirs, *nobodys, entry(f"https://{HOST}/", sent="n=v"))) == {"n": "v"}


@pytest.mark.parametrize("domain", ["chat-gpt.org", "other.evil.org", "org"])
def test_nobody_sets_a_cookie_for_a_host_that_is_not_theirs(domain: str) -> None:
    """A Domain that the entry's own host is not under is not believed."""
    assert read(har(entry("https://www.evil.org/", set_cookie=f"n=v; Domain={domain}")).encode(), domain).cookies == []
    shared = har(entry("https://evil.co.uk/", set_cookie="n=v; Domain=co.uk"))
    assert read(shared.encode(), "bank.co.uk") == CookieFile([], ["entry 1: its host must not set cookies for its domain"])


# Damage

DAMAGED = [
    ("chat-gpt.org FALSE / FALSE 0 n S3CR3T", "seven fields"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\t0\tn\tS3CR3T\tmore", "seven fields"),
    ("chat-gpt.org\tmaybe\t/\tFALSE\t0\tn\tS3CR3T", "TRUE nor FALSE"),
    ("chat-gpt.org\tFALSE\t/\tS3CR3T\t0\tn\tS3CR3T", "TRUE nor FALSE"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\tS3CR3T\tn\tS3CR3T", "expiry"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\t0\t\tS3CR3T", "name"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\t0\tn\tS3CR3T;x=y", "value"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\t0\tn\tS3CR3T\x00", "value"),
    ("chat gpt.org\tFALSE\t/\tFALSE\t0\tn\tS3CR3T", "domain"),
    ("<html>S3CR3T</html>", "seven fields"),
]


@pytest.mark.parametrize(("text", "why"), DAMAGED)
def test_a_damaged_line_is_reported_and_the_others_are_used(text: str, why: str) -> None:
    """The warning has the line and the reason, and never the value."""
    result = read(f"# comment\n{line('good')}\n{text}\n{line('fine')}".encode(), HOST)
    assert [cookie.name for cookie in result.cookies] == ["good", "fine"]
    (message,) = result.damaged
    assert message.startswith("line 4: ")
    assert why in message
    assert "S3CR3T" not in message


def test_bytes_that_are_no_text_spoil_their_own_line() -> None:
    """One line that is not UTF-8 is damaged; the file is not."""
    result = read(line("good").encode() + line("bad").encode().replace(b"\tv", b"\t\xff\xfe"), HOST)
    assert [cookie.name for cookie in result.cookies] == ["good"]
    assert result.damaged == ["line 2: its value is not text that a header can carry"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"name": "n", "value": "S3CR3T", "domain": "chat-gpt.org"', "line 1: this is not JSON"),
        ('{"log": {"entries": [\n{"request": S3CR3T', "line 2: this is not JSON"),
        ('{"n": "S3CR3T"}', "no cookies that name their host"),
        ('{"n": {"value": "S3CR3T"}, "m": 5}', "no cookies that name their host"),
        ('[["S3CR3T"]]', "cookie 1: it has no name, value and domain"),
        ('[{"name": "n", "value": "S3CR3T"}]', "cookie 1: it has no name, value and domain"),
        ('[{"name": "n", "value": ["S3CR3T"], "domain": "chat-gpt.org"}]', "cookie 1: its value is not text"),
        ('[{"name": "n", "value": "S3CR3T\\r\\nX-Y: z", "domain": "chat-gpt.org"}]', "cookie 1: its value is not text"),
        ('[{"name": "n", "value": "S3CR3T\\ud800", "domain": "chat-gpt.org"}]', "cookie 1: its value is not text"),
        ('[{"name": 5, "value": "S3CR3T", "domain": "chat-gpt.org"}]', "cookie 1: it has no name"),
        ('[{"name": "n", "value": "S3CR3T", "domain": "chat-gpt.org", "expires": "S3CR3T"}]', "cookie 1: its expiry"),
        ('[{"name": "n", "value": "S3CR3T", "domain": "chat-gpt.org", "expires": NaN}]', "cookie 1: its expiry"),
        ('[{"name": "n", "value": "S3CR3T", "domain": "https://chat-gpt.org/"}]', "cookie 1: its domain"),
        (har(entry("https://chat-gpt.org", response={"cookies": ["S3CR3T"]})), "entry 1: it has no name"),
        (har(entry("https://chat-gpt.org", set_cookie="n=S3CR3T\x07")), "entry 1: its value"),
        ("[" * 100_000, "this is not JSON that can be read"),
        ('[{"expires": 1' + "0" * 5000 + "}]", "this is not JSON that can be read"),
    ],
)
def test_damaged_json_is_reported(text: str, says: str) -> None:
    """The warning says what and where, and never the value."""
    result = read(text.encode(), HOST)
    assert result.cookies == []
    (message,) = result.damaged
    assert message.startswith(says)
    assert "S3CR3T" not in message


def test_one_odd_cookie_of_a_list_spoils_no_other() -> None:
    """In an export and in a recording's entry, the cookies beside a damaged one are used."""
    good = {"name": "good", "value": "v", "domain": HOST}
    odd = {"name": "odd", "value": None, "domain": HOST}
    for text in (json.dumps([odd, good]), har(entry(f"https://{HOST}/", request={"cookies": [odd, good]}))):
        result = read(text.encode(), HOST)
        assert [cookie.name for cookie in result.cookies] == ["good"]
        assert [message.partition(": ")[2] for message in result.damaged] == ["its value is not text that a header can carry"]


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "n", HOST, f"https://{HOST}/", "http://[", "Set-Cookie", "cookie", "a=b;c", "2026-09-20", "\ud800"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "value",
                    "domain",
                    "expires",
                    "request",
                    "response",
                    "url",
                    "headers",
                    "cookies",
                    "startedDateTime",
                    HOST,
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(
    JSONS,
    st.lists(
        st.fixed_dictionaries(
            {
                "request": st.fixed_dictionaries({"url": st.just(f"https://{HOST}/"), "headers": JSONS, "cookies": JSONS}),
                "response": JSONS,
            }
        ),
        max_size=2,
    ),
)
def test_no_json_stops_the_reading(value: object, entries: list[object]) -> None:
    """Whatever JSON a file holds, reading it gives cookies and complaints and raises nothing."""
    read(json.dumps(value).encode(), HOST)
    read(json.dumps({"log": {"entries": [value, *entries]}}).encode(), HOST)


@given(
    st.text(st.sampled_from('ab =;,\t\x00\x7f[@"é\ud800'), max_size=4),
    st.text(st.sampled_from('ab =;,\t\x00\x7f"é\ud800'), max_size=4),
)
def test_what_is_read_can_be_sent(name: str, value: str) -> None:
    """No cookie of a file makes the session refuse the others: what it cannot send is damaged, and all else is taken."""
    result = read(json.dumps([{"name": name, "value": value, "domain": HOST}]).encode(), HOST)
    assert len(result.cookies) + len(result.damaged) == 1
    assert sendable({cookie.name: cookie.value for cookie in result.cookies}) is not None
    if result.damaged and "\ud800" not in name + value:
        with pytest.raises(BadInput):
            sendable({name: value})


@given(st.binary(max_size=200))
def test_no_bytes_stop_the_reading(data: bytes) -> None:
    """Nor whatever bytes."""
    read(data, HOST)


SECRET = "S3CR3T"


@given(st.sampled_from([NETSCAPE, EDIT_THIS_COOKIE, COOKIE_EDITOR, BY_HOST, DEVTOOLS_HAR]), st.data())
def test_no_damage_shows_a_value(text: str, data: st.DataObject) -> None:
    """Wherever a file breaks, neither the complaint nor a cookie's ``repr`` holds a value."""
    text = text.replace("q5s9u2hv8k1rj0c4n7m3l6t2ea", SECRET)
    place, size = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 9))
    broken = text[:place] + data.draw(st.sampled_from(["", "\t", '"', "\n", "{", ";", "\x00", "é"])) + text[place + size :]
    result = read(broken.encode(), HOST)
    shown = " ".join(result.damaged) + " ".join(
        repr(cookie) for cookie in result.cookies if SECRET not in cookie.name + cookie.path
    )
    assert SECRET not in shown
