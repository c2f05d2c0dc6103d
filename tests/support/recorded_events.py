"""The events of every recorded stream, however it is cut, or changed at some places: a program that a test runs in both builds.

It prints which build runs, and a digest of the events by wire and recording.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256

from polychat.events import Event
from polychat.version import build_name
from polychat.wire.contract import names, usual_streams, wire_named
from polychat.wire.repeats import Repeats

from .corpus import FOLDER, splits


def streams() -> Iterator[tuple[str, str, bytes]]:
    """The wire, the recording's name, and its bytes."""
    for wire in names():
        for file in sorted((FOLDER / wire).iterdir()):
            data = file.read_bytes()
            if file.suffix == ".chunks":  # without their framing
                data = b"".join(b"data: %b\n\n" % line for line in [*data.splitlines(), b"[DONE]"])
            if file.suffix != ".md":
                yield wire, file.name, data


def changed(data: bytes) -> Iterator[bytes]:
    """The same, with another byte at some places, or ending there."""
    rng = random.Random(len(data))
    for place in rng.sample(range(len(data)), min(len(data), 60)):
        yield data[:place] + rng.choice([b"{", b'"', b"\n", b"\r", b"0", b"\\", b"\xff"]) + data[place + 1 :]
        yield data[:place]


def events(wire: str, pieces: list[bytes]) -> list[Event]:
    """The events of a stream that comes in these pieces."""
    reader = Repeats(wire_named(wire).Reader())
    return [event for piece in pieces for event in reader.feed(piece)] + reader.end()


def digest(wire: str, data: bytes) -> str:
    usual = usual_streams(wire)
    seen = sha256()
    for pieces in (*splits(data), *([body] for body in changed(data))):
        seen.update(repr(events(wire, pieces)).encode("utf-8", "surrogatepass"))
        if usual is not None and len(pieces) == 1:
            seen.update(repr(usual(pieces[0])).encode("utf-8", "surrogatepass"))
    return seen.hexdigest()


if __name__ == "__main__":
    print(build_name())
    for wire, name, data in streams():
        print(wire, name, digest(wire, data))
