"""What the time of an answer tells of a guessed key: nothing, as every guess takes the same steps, which are counted here."""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from polychat.gateway.admission import keys as keys_module
from polychat.gateway.admission.keys import Keys
from polychat.state import signed_keys
from polychat.state.key_text import CHECKSUM, _checksum, new_key
from polychat.state.signed_keys import Claims, KeyVerifier, sign
from polychat.state.store import KeyStore

from ...support.gateway_with_people import NOON, house
from ...support.running_gateway import good

FILE_KEYS = {f"key{number}": f"the-key-of-the-file-{number}" for number in range(5)}


class Comparisons:
    """Counts comparisons in constant time, and the sizes of what is compared."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def compare_digest(self, one: bytes, other: bytes) -> bool:
        self.sizes.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    def __getattr__(self, name: str) -> Any:
        return getattr(hmac, name)

    def taken(self) -> list[tuple[int, int]]:
        sizes, self.sizes = self.sizes, []
        return sizes


def test_keys_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess that is nearly right, one that is all wrong, an empty and a long one are each compared with all keys, digest by
    digest, of 32 bytes each. So are keys of operators and of ``/metrics``, which are of the same class."""
    for name, key in FILE_KEYS.items():
        monkeypatch.setenv(name, key)
    seen = Comparisons()
    monkeypatch.setattr(keys_module, "hmac", seen)
    own = Keys({name: f"env:{name}" for name in FILE_KEYS})
    right = FILE_KEYS["key0"]
    for guess in (right[:-1] + "X", "X" + right[1:], "X", right + "0", "X" * 4000):
        assert own.name_of({b"authorization": f"Bearer {guess}".encode()}, b"") == ""
        assert seen.taken() == [(32, 32)] * len(FILE_KEYS), guess
    assert own.name_of({b"authorization": f"Bearer {right}".encode()}, b"") == "key0"


def test_signed_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature is compared as a whole with that of each secret, whichever of its letters is wrong, and also where the
    first secret matches."""
    secrets = ["a" * 40, "b" * 40]
    text = sign(Claims(id="x", issued=int(NOON), expires=int(NOON) + 60), secrets[0]).encode()
    seen = Comparisons()
    monkeypatch.setattr(signed_keys, "hmac", seen)
    verifier = KeyVerifier(secrets)
    steps = []
    for place in (-1, -43, 0):
        guess = bytearray(text)
        if place:
            guess[place] = ord("A") if guess[place] != ord("A") else ord("B")
        verifier.claims(bytes(guess), NOON)
        steps.append(seen.taken())
    assert steps == [[(43, 43)] * 2] * 3


async def test_keys_of_people(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess with an id that exists takes the same steps in the store as one with an id that does not, however much of its
    secret is right, and gets the same answer. A wrong checksum, which anybody can compute, is told without the store,
    whether or not the id exists."""
    backend = await serve(good)
    async with house(monkeypatch, backend.url) as here:
        _, made = here.admin.create("laptop")
        here.people.refresh()
        other = new_key().text
        near = made.text[: -CHECKSUM - 2] + ("0" if made.text[-CHECKSUM - 2] != "0" else "1")
        known = f"pc-{made.public_id}-{other.split('-')[2]}"
        calls: list[str] = []
        watched = type(here.store).__getattribute__

        def noted(store: Any, name: str) -> Any:
            if callable(value := watched(store, name)) and name in vars(KeyStore):
                calls.append(name)
            return value

        monkeypatch.setattr(type(here.store), "__getattribute__", noted, raising=False)
        answers, steps = set(), []
        for guess in (*(f"{text}-{_checksum(text.encode())}" for text in (near, known)), other):
            calls.clear()
            answer = await here.ask(guess)
            answers.add((answer.status, answer.body))
            steps.append(list(calls))
        assert steps == [["key_by_digest"]] * 3
        assert len(answers) == 1
        answers = set()
        calls.clear()
        for guess in (near, known, other[: -CHECKSUM - 1]):
            answer = await here.ask(f"{guess}-000000")
            answers.add((answer.status, answer.body))
        assert (calls, len(answers)) == ([], 1)
        assert (await here.ask(made.text)).status == 200
