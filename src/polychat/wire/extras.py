"""Fields that only one wire has: kept as ``extra`` when a request is read, and added when it is written on that wire again.

``extra`` of a request, or of a value in it, is the rest of the object that it was read from, by the wire's own names. A request
is native to the wire that it was read on; no other writes its ``extra``. A null field counts as absent, on every wire.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]


def rest(value: Mapping[str, Any], known: Container[str]) -> Object | None:
    """The fields of ``value`` other than the known ones; ``None`` if there are none."""
    return {name: field for name, field in value.items() if name not in known and field is not None} or None


def remaining(taken: Object, name: str = "", inner: Object | None = None) -> Object | None:
    """What remains of an object without its known fields, and of the object ``inner`` in it, under the latter's name.

    ``None`` if nothing remains.
    """
    if not taken and not inner:  # the usual case
        return None
    outside = rest(taken, ())
    if inner and (inside := rest(inner, ())) is not None:
        return {**(outside or {}), name: inside}
    return outside


def with_extra(written: Object, extra: Mapping[str, Any] | None, *, native: bool, longer: Collection[str] = ()) -> Object:
    """``written``, which is changed, with ``extra`` merged over it; unchanged unless the request is ``native``.

    Objects are merged, and so are the lists that ``longer`` names; ``None`` removes a field; otherwise ``extra`` replaces it.
    Objects inside ``written`` may be the request's own, and are not changed.
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
