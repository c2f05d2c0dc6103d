"""Signed keys: who made one, what it says, and every way to change one that is not noticed by nobody."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from msgspec import json, structs

from polychat.errors import BadInput
from polychat.state.signed_keys import LONGEST, Claims, KeyVerifier, sign
from polychat.state.store import Policy, UsageLimit

SECRET, OTHER = "s" * 32, "t" * 32
NOW = 1_800_000_000.0
POLICY = Policy(models=("team", "openai/*"), limits=(UsageLimit(metric="requests", window="minute", cap=5, soft=4),))
CLAIMS = Claims(id="AbCdEf123456", name="laptop", issued=int(NOW), expires=int(NOW) + 86_400, person="ada", policy=POLICY)


def test_a_key_says_what_was_signed() -> None:
    """Until it expires, with the secret that signed it, also where that is an earlier one."""
    text = sign(CLAIMS, SECRET).encode()
    assert KeyVerifier([SECRET]).claims(text, NOW) == CLAIMS
    assert KeyVerifier([OTHER, SECRET]).claims(text, NOW + 86_399) == CLAIMS
    for verifier, now, reason in (
        (KeyVerifier([OTHER]), NOW, "signature does not match"),
        (KeyVerifier([SECRET]), NOW + 86_400, "expired at 2027-01-16T08:00:00Z"),
        (KeyVerifier([SECRET]), NOW - 301, "is valid from 2027-01-15T08:00:00Z on"),
        (KeyVerifier([SECRET], revoked=["AbCdEf123456"]), NOW, "is revoked"),
        (KeyVerifier([SECRET], longest_days=0), NOW, "longest_days"),
    ):
        assert reason in str(verifier.claims(text, now))


def test_no_change_of_a_key_is_accepted() -> None:
    """Each byte is a part of the one valid form: no other letter, claims, padding, version or end."""
    text, verifier = sign(CLAIMS, SECRET).encode(), KeyVerifier([SECRET])
    for place in range(len(text)):
        for letter in b"A_-.x=":
            changed = text[:place] + bytes([letter]) + text[place + 1 :]
            assert changed == text or isinstance(verifier.claims(changed, NOW), str)
    assert all(isinstance(verifier.claims(text[:length], NOW), str) for length in range(len(text)))
    head, claims, signature = text.split(b".")
    widened = urlsafe_b64encode(json.encode(structs.replace(CLAIMS, policy=Policy(), expires=CLAIMS.expires * 2))).rstrip(b"=")
    forged = [
        b".".join([head, widened, signature]),
        b".".join([head, claims, b""]),
        b".".join([head, claims]),
        text + b"=",
        text + b".",
        b" " + text,
        text.replace(b"pcs-1", b"pcs-2"),
        text + b"A" * LONGEST,
        sign(CLAIMS, "").encode(),
    ]
    assert all(isinstance(verifier.claims(one, NOW), str) for one in forged)


def test_claims_that_are_not_known_are_refused() -> None:
    """What a later version would restrict is not ignored, and neither is another order or spacing of what is known."""
    verifier = KeyVerifier([SECRET])
    known = json.decode(json.encode(CLAIMS))
    for content in (
        json.encode({**known, "countries": ["fr"]}),
        json.encode({**known, "policy": {**known["policy"], "countries": ["fr"]}}),
        json.encode(dict(reversed(known.items()))),
        json.format(json.encode(known)),
        json.encode({**known, "expires": "never"}),
        b"[]",
        b"\xff",
    ):
        part = urlsafe_b64encode(content).rstrip(b"=")
        text = signed_as_it_is(part)
        assert isinstance(verifier.claims(text, NOW), str), content
    assert verifier.claims(signed_as_it_is(urlsafe_b64encode(json.encode(known)).rstrip(b"=")), NOW) == CLAIMS


def signed_as_it_is(part: bytes) -> bytes:
    """A key with these claims, whatever they are, by somebody who has the secret."""
    signed = b"pcs-1." + part
    return signed + b"." + urlsafe_b64encode(hmac.digest(SECRET.encode(), signed, hashlib.sha256)).rstrip(b"=")


def test_a_weak_secret_and_a_key_that_is_too_long_are_refused() -> None:
    """The error names the setting and the next step, and not the secret."""
    with pytest.raises(BadInput, match=r"gateway\.signed_keys has fewer than 32 characters: make one with") as error:
        KeyVerifier(["hunter2"])
    assert "hunter2" not in str(error.value)
    with pytest.raises(BadInput, match="name fewer models"):
        sign(structs.replace(CLAIMS, policy=Policy(models=("x" * LONGEST,))), SECRET)


def test_anybody_can_read_what_a_key_says() -> None:
    """But not the secret: it is a signature, and no encryption."""
    text = sign(CLAIMS, SECRET)
    part = text.split(".")[1]
    content = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    assert json.decode(content, type=Claims) == CLAIMS
    assert SECRET.encode() not in content
