"""Writes the reference of the Python API and of errors from signatures, docstrings and tables. Run by ``make docs``."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import runpy
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import polychat
from polychat import choices, errors, events, providers, transport, types
from polychat.client import keywords
from polychat.gateway.paths import DIALECTS
from polychat.http.session.session import Options
from polychat.providers import catalogue
from polychat.routing.policy import CONSEQUENCES, attribution_of
from polychat.wire.embeddings import Embeddings
from polychat.wire.faults import STATUS, Fault, fault_of

HERE = Path(__file__).parent

ERRORS = """# Errors

Every error that polychat raises on purpose is a `polychat.PolychatError`. This page lists each class of `polychat.errors`:
when it is raised, what it carries, what to do, and what the gateway makes of it.

```python
import asyncio

import polychat
from polychat import errors


async def main() -> None:
    try:
        reply = await polychat.ask("Why is the sky blue?")
    except errors.RateLimited as error:
        print("ask again in", error.retry_after, "seconds")
    except errors.Truncated as error:
        print("cut short after:", error.text)
    except polychat.PolychatError as error:
        print(type(error).__name__, error.provider, error.status, error)
    else:
        print(reply.text)


asyncio.run(main())
```

Messages name the next step. They hold no key, token, cookie or password; text of a backend is shortened and redacted.
A `StatusError` is also an `aiohttp.ClientResponseError`, and every `BackendError` a `RuntimeError`.
"""
HTTP = """## HTTP errors of the gateway

A request that fails before the first piece of its answer gets an HTTP status and an error body in the client's own dialect.
The columns show the status and the error codes of each dialect. Every error also has `x-request-id`, which names the
request in the gateway's log, and, where waiting helps, `retry-after` and `retry-after-ms`. `x-should-retry: false` marks
errors that the same request would get again.

| status | raised by the gateway itself when |
|---|---|
| 400 | the body is no JSON object, or a field has a value that it cannot have: the message names the field |
| 401 | the gateway has keys, and the request has none of them |
| 403 | a web page of another origin sent it, or its `Host` is not the gateway's |
| 404 | no endpoint, or no model of this name: the message names the nearest |
| 405, 426 | another method; a WebSocket where there is none, or one that breaks its protocol |
| 408 | the body did not arrive in time |
| 413, 431 | the body or the headers exceed `gateway.limits` |
| 415 | the body is not JSON, or compressed in a way that is not read here |
| 429 | `gateway.limits.concurrent` requests are being answered |
| 500 | a defect of polychat: the log has the trace under the request's id |
| 502 | the backend failed, or its answer cannot be read |
| 503 | the gateway is stopping, has no room, or is not set up for this model: the log has the reason |
| 504 | a timeout |

### By kind and dialect

"""
STREAMS = """
A failure after the first piece cannot change the status: the stream ends with an error in the dialect's own form, and never
with its sign of a whole reply ([how streams end](gateway.md#streams-and-their-ends)).
"""
API = """# Python API

Every public name, with its signature and docstring. [The library](library.md) explains them with examples, [errors](errors.md)
lists what they raise. Names that are not on these two pages may change in any version.

"""
_ROW = runpy.run_path(str(Path(__file__).parent / "pages.py"))["table_row"]

ADVICE: dict[type[errors.PolychatError], str] = {
    errors.PolychatError: "Catch it last, for every error that you do not handle separately.",
    errors.BadInput: "Correct the field that `field` names. The same call fails again.",
    errors.MessageTooLong: "Shorten the message to `limit` bytes, or send it in parts.",
    errors.UnknownTarget: "Use a name from `near`, or look at `polychat providers` and `polychat models VENDOR`.",
    errors.NotReady: "Do what the message says, then ask again.",
    errors.MissingPackage: "Run the `pip install` that the message names.",
    errors.MissingCookies: "Log in with a browser, then give polychat its cookies: [Cookies](cookies.md).",
    errors.MissingWeights: "Run `polychat models pull`; its output says why a download fails: [the embedded model](local.md).",
    errors.BackendError: "Catch it for anything that a backend did wrong. Ask again, or ask another backend.",
    errors.ConnectionFailed: "Check that the server runs, and the address and the network in between. Ask again later.",
    errors.CertificateRefused: "Renew the certificate, or name its authority's file in `SSL_CERT_FILE`. "
    "Verification cannot be switched off.",
    errors.WrongAddress: "Correct `base_url` or `<VENDOR>_BASE_URL`: its host, `http` or `https`, its port.",
    errors.ProxyFailed: "Check the proxy's address, user and password. `NO_PROXY` names hosts to reach without it.",
    errors.TimedOut: "Raise the timeout that `clock` names (`timeout=` for `total`), or ask a faster model.",
    errors.StatusError: "Look at `status` and at the service's own `word`: correct a 4xx, repeat after a 5xx.",
    errors.Unauthorized: "Check the key: [where it is looked for](library.md#keys). For a chat site, log in again.",
    errors.RateLimited: 'Wait `retry_after` seconds, or name more targets: `"groq/x, openai/y"`.',
    errors.ChallengeRequired: "Pass the check in a browser and give polychat the cookies, or ask another backend.",
    errors.BadReply: "Check that `base_url` leads to the API that you named. If it does, the service has changed: report it.",
    errors.ChatNotFound: "Name the page that holds the chat: `page=` ([WordPress sites](wordpress.md)).",
    errors.Resting: "Wait `retry_after` seconds.",
    errors.ReplyFailed: "Read the message: the reason is the backend's own. Ask again, or ask another backend.",
    errors.LimitReached: "Wait for the next period of the quota, raise it with the vendor, or ask another backend.",
    errors.EmptyReply: "Ask again; if it stays empty, change the prompt or the model.",
    errors.Truncated: "Use `text` as a partial reply, or ask again. If a timeout ended it, raise that timeout.",
}
"""What to do about each error."""
SAMPLES: dict[type[errors.PolychatError], errors.PolychatError] = {
    errors.BadInput: errors.BadInput("", field="temperature"),
    errors.MessageTooLong: errors.MessageTooLong(field="messages[0]", size=2, limit=1),
    errors.MissingPackage: errors.MissingPackage("x", extra="x", purpose="x"),
    errors.MissingCookies: errors.MissingCookies("example.com", url="https://example.com"),
    errors.TimedOut: errors.TimedOut("idle", 1.0),
}
"""One of each whose constructor wants more than a message."""


def error_page() -> str:
    """The page of errors."""
    tree = (errors.__doc__ or "").partition("\n\n")[2].rpartition("\n\n")[0]
    lines = [ERRORS, "```text", textwrap.dedent(tree), "```", ""]
    for kind in _tree(errors.PolychatError):
        lines += _error(kind)
    lines += [HTTP + _row(["kind", *DIALECTS]), _row(["---"] * (len(DIALECTS) + 1))]
    lines += [_row([f"`{kind}`", *(_told(name, kind) for name in DIALECTS)]) for kind in STATUS]
    return "\n".join(lines) + "\n" + STREAMS


def _tree(kind: type[errors.PolychatError]) -> Iterator[type[errors.PolychatError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child)


def _error(kind: type[errors.PolychatError]) -> list[str]:
    bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
    lines = [f"## {kind.__name__}", "", f"Base classes: {bases}.", "", _text(kind), "", f"**What to do:** {ADVICE[kind]}", ""]
    if kind not in (errors.PolychatError, errors.NotReady, errors.BackendError):
        error = SAMPLES.get(kind) or kind("")
        step = {
            "again": "asks the same target again after a pause, and others",
            "next_target": "asks the route's other targets",
        }
        done, status = step.get(CONSEQUENCES[attribution_of(error)].step), fault_of(error).status
        result = (
            f"{done}; if none answers, the client gets {status}"
            if done
            else f"the client gets {status}, and no other target is asked"
        )
        lines += [f"**At the gateway:** {result}.", ""]
    return [*lines, *_members(kind)]


def _told(dialect: str, kind: errors.FaultKind) -> str:
    """The status and the deciding words of a fault, as a dialect tells it."""
    status, body = DIALECTS[dialect].refusal(Fault("x", kind, STATUS[kind]))
    told = json.loads(body)["error"]
    words = (
        [told[name] for name in ("type", "code", "status") if isinstance(told.get(name), str)] if isinstance(told, dict) else []
    )
    return " ".join([str(status), *(f"`{word}`" for word in dict.fromkeys(words))])


PUBLIC = (polychat, types, events, errors, providers, transport)
"""The modules whose names users may rely on. ``events`` comes with ``types``: both hold the values of a conversation."""
ABOUT = {
    polychat: "What `import polychat` offers.",
    types: "The values of a conversation, for those who want more than dictionaries in OpenAI's shape.",
    events: "What a reply consists of; `Stream.events()` gives these.",
    errors: "The error classes are on the page [Errors](errors.md), each with what to do about it. Besides them:",
    providers: "For code that asks a service by its class, and for [providers of your own](add-a-provider.md).",
    transport: "HTTP for providers of your own: cookies, proxies, timeouts, and errors that name the service.",
}
OPTIONS: dict[Any, type] = {transport.StreamSession: Options}
"""Keywords that the methods of a class take as ``**options``."""


def api_page() -> str:
    """The page of the Python API: an entry for each public name of each public module."""
    lines = [API]
    for module in PUBLIC:
        lines += [f"## {module.__name__}", "", ABOUT[module], ""]
        for name in public_names(module):
            lines += _entry(module, name)
        if module is polychat:
            lines += _keywords()
    return "\n".join(lines).rstrip("\n") + "\n"


def public_names(module: Any) -> list[str]:
    """A module's list of names, or what it defines, in the order of its source; a service's class is on its own page."""
    if module is providers:
        return [name for name in dir(module) if name.lower() not in catalogue.files()]
    if hasattr(module, "__all__"):
        names = [name for name in module.__all__ if name not in ("PolychatError", "__version__")]
        return sorted(names, key=lambda name: isinstance(getattr(module, name), type))  # functions first
    body = ast.parse(inspect.getsource(module)).body
    return [
        name for statement in body for name in _defined(statement) if not name.startswith("_") and not _is_error(module, name)
    ]


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a statement of a module defines, or hands on (``from … import a as a``)."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [statement.name]
    if isinstance(statement, ast.ImportFrom):
        return [alias.name for alias in statement.names if alias.asname == alias.name]
    targets = (
        [statement.target]
        if isinstance(statement, ast.AnnAssign)
        else statement.targets
        if isinstance(statement, ast.Assign)
        else []
    )
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_error(module: Any, name: str) -> bool:
    value = getattr(module, name)
    return isinstance(value, type) and issubclass(value, errors.PolychatError)


def _entry(module: Any, name: str) -> list[str]:
    """The entry of one public name; an earlier name leads to the present one."""
    value, title = getattr(module, name), f"{module.__name__}.{name}"
    homes = getattr(module, "_HOMES", {})
    home = importlib.import_module(homes[name], module.__name__) if name in homes else module
    body = ast.parse(inspect.getsource(home)).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.Assign | ast.AnnAssign) and name in _defined(statement) and statement.value is not None:
            definition = ast.unparse(statement.value)
            if isinstance(statement.value, ast.Name):
                return [f"### {title}", "", f"An earlier name of `{definition}`.", ""]
            return [f"### {title}", "", "```text", f"{name} = {definition}", "```", "", _marked(_said(after)), ""]
    if not isinstance(value, type):
        return _function(title, value)
    lines = _class(value, 3, title)
    if value in OPTIONS:
        lines += ["Each request takes these keywords:", "", *_members(OPTIONS[value])]
    return [*lines, *_class(Embeddings, 3)] if value is polychat.Reply else lines


def _keywords() -> list[str]:
    return [
        "### Keywords",
        "",
        "Those of `ask` and `stream`; `None` is the same as leaving one out, except for `timeout`.",
        "",
        "`schema` is one too: with a type, `Reply.parsed` is a value of it.",
        "",
        *_members(keywords.Keywords),
        "These, and those of the next table, are `**keywords`; `embed` takes only the next.",
        "",
        *_members(keywords.CallKeywords),
    ]


def _function(name: str, function: Callable[..., Any], level: int = 3) -> list[str]:
    return [f"{'#' * level} {name}", "", *_call(name.rpartition(".")[2], function), "", _text(function), ""]


def _class(kind: type, level: int = 2, title: str = "") -> list[str]:
    lines = [f"{'#' * level} {title or kind.__name__}", ""]
    if kind in (polychat.Client, transport.StreamSession):
        lines += [*_call(kind.__name__, kind.__init__), ""]
    lines += [*([text, ""] if (text := _text(kind)) else []), *_members(kind)]
    for base in _own_and_inherited(kind):
        for name, member in vars(base).items():
            method = member.__func__ if isinstance(member, classmethod) else member
            if inspect.isfunction(method) and not name.startswith("_") and getattr(kind, name).__doc__:
                heading = f"{kind.__name__}.{name}"
                lines += [] if any(line.endswith(f" {heading}") for line in lines) else _function(heading, method, level + 1)
    return lines


def _own_and_inherited(kind: type) -> Iterator[type]:
    """A class, and those of its base classes that have no entry of their own."""
    entries = {
        getattr(module, name) for module in PUBLIC for name in public_names(module) if isinstance(getattr(module, name), type)
    }
    yield kind
    yield from (base for base in kind.__mro__[1:] if base.__module__.startswith("polychat.") and base not in entries)


def _call(name: str, function: Callable[..., Any]) -> list[str]:
    """The signature, a parameter a line where it is long."""
    signature = inspect.signature(function)
    parameters = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    words, starred = [], False
    for one in parameters:
        starred = starred or one.kind is one.VAR_POSITIONAL
        if one.kind is one.KEYWORD_ONLY and not starred:
            words, starred = [*words, "*"], True
        shown = one.replace(default=...) if callable(one.default) and one.default is not one.empty else one
        words.append(f"**{one.name}" if one.kind is one.VAR_KEYWORD else str(shown).replace("'", "").replace("Ellipsis", "..."))
    gives = "" if signature.return_annotation in (None, "None") else f" -> {signature.return_annotation}"
    kind = "async def" if inspect.iscoroutinefunction(function) else "def"
    whole = f"{kind} {name}({', '.join(words)}){gives}"
    if len(whole) > 100:
        whole = f"{kind} {name}(\n" + "".join(f"    {word},\n" for word in words) + f"){gives}"
    return ["```text", whole.replace("class ", ""), "```"]


def _members(kind: type) -> list[str]:
    """Attributes, keys and properties that a class itself names, with what is said of each."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    rows = []
    for statement, after in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            rows.append((statement.target.id, _hint(statement.annotation), _said(after)))
        elif isinstance(statement, ast.FunctionDef) and any(ast.unparse(one) == "property" for one in statement.decorator_list):
            gives = "" if statement.returns is None else _hint(statement.returns)
            rows.append((statement.name, gives, ast.get_docstring(statement) or ""))
    rows = [(name, hint, said) for name, hint, said in rows if not name.startswith("_")]
    if not rows:
        return []
    table = [_row([f"`{name}`", f"`{hint}`", _marked(said)]) for name, hint, said in rows]
    return [_row(["name", "type", "meaning"]), _row(["---"] * 3), *table, ""]


def _hint(annotation: ast.expr) -> str:
    """An annotation as it stands in the source; a name of ``choices`` as its words."""
    words = {name: f"Literal{list(get_args(value))}" for name, value in vars(choices).items() if get_origin(value) is Literal}
    return re.sub(r"\w+", lambda name: words.get(name[0], name[0]), ast.unparse(annotation))


def _said(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str):
        return inspect.cleandoc(statement.value.value)
    return ""


def _text(documented: Any) -> str:
    text = inspect.cleandoc(documented.__doc__ or "")
    return "" if dataclasses.is_dataclass(documented) and text.startswith(f"{documented.__name__}(") else _marked(text)


def _marked(text: str) -> str:
    """Docstrings write code in two backquotes."""
    return re.sub(r"``(.+?)``", r"`\1`", text)


def _row(cells: Iterable[str]) -> str:
    return str(_ROW([" ".join(cell.split()) for cell in cells]))


PAGES: dict[str, Callable[[], str]] = {"errors.md": error_page, "api.md": api_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
