"""Error responses, and failures inside a reply."""

from __future__ import annotations

from typing import Any

from ..faults import NO_MESSAGE, Fault, kind_of, recognized
from ..json_text import decoded, encoded
from .constants import ERRORS, KINDS, Object


def error_object(fault: Fault) -> Object:
    """The ``error`` object for a fault."""
    kind, code = ERRORS[fault.kind]
    if code is None or KINDS.get(fault.code or "") == fault.kind:
        code = fault.code or code  # clients do not know another API's codes
    return {"type": kind, "code": code, "message": fault.message or NO_MESSAGE, "param": fault.param}


def write_fault(fault: Fault) -> bytes:
    try:
        return encoded({"error": error_object(fault)})
    except ValueError:  # an unpaired surrogate in the backend's text
        fault.message = fault.message.encode("utf-8", "replace").decode()
        return encoded({"error": {**error_object(fault), "code": None, "param": None}})


def read_fault(status: int, body: bytes) -> Fault:
    """The fault that ``body`` describes; if it describes none, the one of ``status``. Never raises."""
    try:
        value = decoded(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return fault_of_error(value.get("error", value), status)
    return recognized(Fault(body[:4_000].decode("utf-8", "replace"), kind_of(status), status))


def fault_of_error(error: Any, status: int = 500) -> Fault:
    """The fault of an ``error`` in any format that servers of this API use."""
    if not isinstance(error, dict):
        return recognized(Fault(error if isinstance(error, str) else "", kind_of(status), status))
    texts = {
        name: value for name in ("message", "code", "type", "param", "detail") if isinstance(value := error.get(name), str)
    }
    kind = KINDS.get(texts.get("code", ""))
    if kind is None and kind_of(status) in ("invalid_request", "server"):
        kind = KINDS.get(texts.get("type", ""))
    message = texts.get("message") or texts.get("detail", "")
    fault = Fault(message, kind or kind_of(status), status, texts.get("code"), texts.get("param"))
    return recognized(fault, texts.get("type"))
