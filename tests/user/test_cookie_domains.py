"""Whose a cookie is: hosts, domains, addresses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.transport import get_cookies
from polychat.user.cookie_domains import Cookie, family, host_name, reaches

LABELS = st.lists(st.sampled_from(["a", "b", "ab", "c-d", "xn--e1afmkfd", "org", "uk", "co", "com"]), min_size=1, max_size=4)
HOSTS = LABELS.map(".".join)


@pytest.mark.parametrize(
    ("domain", "host", "goes"),
    [
        ("chat-gpt.org", "chat-gpt.org", True),
        ("chat-gpt.org", "www.chat-gpt.org", True),
        ("chat-gpt.org", "a.b.chat-gpt.org", True),
        ("chat-gpt.org", "evilchat-gpt.org", False),
        ("chat-gpt.org", "chat-gpt.org.evil.example", False),
        ("www.chat-gpt.org", "chat-gpt.org", False),
        ("org", "chat-gpt.org", False),
        ("co.uk", "bank.co.uk", False),
        ("bank.co.uk", "www.bank.co.uk", True),
        ("localhost", "localhost", True),
        ("localhost", "a.localhost", False),
        ("0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("1.127.1", "a.1.127.1", False),
        ("::1", "::1", True),
    ],
)
def test_a_domain_reaches_itself_and_its_subdomains(domain: str, host: str, goes: bool) -> None:
    """RFC 6265's domain-match: no substrings, nothing below an address, nothing below a suffix that unrelated sites share."""
    assert reaches(domain, host) is goes
    assert Cookie("n", "v", domain, host_only=False).goes_to(host) is goes


@given(HOSTS, st.text("ab-c.", min_size=1, max_size=6))
def test_no_match_begins_within_a_label(domain: str, before: str) -> None:
    """Text before a domain without a dot in between makes it another domain, and so does text after it."""
    assert before.endswith(".") or not reaches(domain, before + domain)
    assert not reaches(domain, f"{domain}{before}z")  # a letter that no domain here has


@given(LABELS, LABELS)
def test_matching_is_by_labels_from_the_right(domain: list[str], host: list[str]) -> None:
    """A match is one of whole labels, and of as many as the domain has."""
    alike = host[-len(domain) :] == domain
    shared = len(domain) == 1 or (len(domain) == 2 and domain[0] in ("co", "com") and len(domain[1]) == 2)
    assert reaches(".".join(domain), ".".join(host)) is (host == domain or (alike and not shared))


@given(HOSTS, HOSTS, HOSTS)
def test_matching_goes_one_way_and_on(first: str, second: str, third: str) -> None:
    """Two hosts reach each other only if they are one; and who reaches a host reaches what that one reaches."""
    assert not (reaches(first, second) and reaches(second, first)) or first == second
    assert not (reaches(first, second) and reaches(second, third)) or reaches(first, third)


@given(HOSTS, HOSTS)
def test_what_reaches_a_host_is_of_its_family(domain: str, host: str) -> None:
    """The text that browsers are searched with is in every domain that could match."""
    assert not reaches(domain, host) or family(host) in domain


@given(st.ip_addresses(), st.ip_addresses())
def test_an_address_is_reached_by_itself_alone(one: ipaddress.IPv4Address, two: ipaddress.IPv4Address) -> None:
    """IP addresses match as a whole, however they are written."""
    host, other = host_name(str(one)), host_name(two.exploded.upper())
    assert host
    assert other
    assert reaches(host, other) is (one == two)
    assert not reaches(host.partition(".")[2], host)


@given(HOSTS, st.data())
def test_case_and_outer_dots_do_not_tell_hosts_apart(host: str, data: st.DataObject) -> None:
    """A host is the same in capitals, with a dot before it and with one after it."""
    dressed = "".join(letter.upper() if data.draw(st.booleans()) else letter for letter in host)
    assert host_name(dressed) == host_name(f".{dressed}") == host_name(f"{dressed}.") == host


@given(st.one_of(st.text(max_size=30), HOSTS))
def test_a_host_name_is_its_own_host_name(text: str) -> None:
    """What is once written as a host stays as it is; what is none is ``None``, whatever the text."""
    name = host_name(text)
    assert name is None or host_name(name) == name


@pytest.mark.parametrize(
    "domain", ["", ".", " ", "a..b", "a b", "https://chat-gpt.org/chat", "chat-gpt.org:443", "chat-gpt.org/", "\ud800.org"]
)
def test_what_is_no_host_is_refused(domain: str) -> None:
    """A URL, a port, an empty name: ``BadInput`` that names the argument."""
    with pytest.raises(BadInput, match="not a host") as refused:
        get_cookies(domain)
    assert refused.value.field == "domain"
