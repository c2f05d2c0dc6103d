"""What a wire says beyond the common words: kept as ``extra`` when a request is read, laid over what is written on that wire.

``extra`` of a request, or of a value in it, is the rest of the object that it was read from, by the wire's own names. A request
is native to the wire that it was read on, and only there it goes on. A field that is null says nothing, on every wire.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]


def rest(value: Mapping[str, Any], known: Container[str]) -> Object | None:
    """What ``value`` says beyond the known fields; ``None`` where that is nothing."""
    return {name: field for name, field in value.items() if name not in known and field is not None} or None


def remaining(taken: Object, name: str = "", inner: Object | None = None) -> Object | None:
    """What remains of an object whose known fields were taken out, and of the object ``inner`` in it, whose name it is.

    ``None`` where that is nothing.
    """
    if not taken and not inner:  # as nearly always
        return None
    outside = rest(taken, ())
    if inner and (inside := rest(inner, ())) is not None:
        return {**(outside or {}), name: inside}
    return outside


def with_extra(written: Object, extra: Mapping[str, Any] | None, *, native: bool, longer: Collection[str] = ()) -> Object:
    """``written``, which is changed, with what ``extra`` says over it; as it is unless the request is ``native``.

    Objects are joined, and so are the lists that ``longer`` names; ``None`` takes a field away; else ``extra`` decides.
    Objects inside ``written`` may be the request's own, and are left as they are.
    """
    if not native or not extra:
        return written
    for name, value in extra.items():
        earlier = written.get(name)
        if value is None:
            written.pop(name, None)
        elif isinstance(value, dict) and isinstance(earlier, dict):
            written[name] = with_extra(dict(earlier), value, native=True)
        elif name in longer and isinstance(value, list) and isinstance(earlier, list):
            written[name] = [*earlier, *(entry for entry in value if entry not in earlier)]
        else:
            written[name] = value
    return written
