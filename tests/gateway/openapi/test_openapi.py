"""The gateway's description of itself: all that is served is described, and all that is described is served."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import polychat.gateway as gateway_package
from polychat.config import Config
from polychat.config.access import Admin
from polychat.config.decoding import choices_of, keys_of
from polychat.config.settings import GatewaySettings as Settings
from polychat.gateway import paths
from polychat.gateway.app import Gateway
from polychat.gateway.chat import preferences
from polychat.gateway.dialects.gemini.endpoints import OF_MODELS
from polychat.gateway.openapi import OPERATIONS, description, document
from polychat.gateway.openapi.operation import FAILURES
from polychat.gateway.ops import routes
from polychat.wire.faults import STATUS

DOCUMENT = document()
PATHS: dict[str, dict[str, Any]] = DOCUMENT["paths"]
NAMES = {"{model}": "nobody/none", "{response_id}": "resp_none"}


def described() -> Iterator[tuple[str, str]]:
    for path, methods in PATHS.items():
        for method in methods:
            yield method.upper(), path


def filled(path: str) -> str:
    for name, value in NAMES.items():
        path = path.replace(name, value)
    return path


async def response_to(
    gateway: Gateway, method: str, path: str, *headers: tuple[bytes, bytes]
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of what an application answers to an empty request."""
    sent: list[Any] = []
    scope = {
        **{"type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path, "raw_path": path.encode()},
        **{"query_string": b"", "root_path": "", "headers": [(b"host", b"localhost"), *headers], "server": ("localhost", 80)},
    }
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        return next(messages, None) or await asyncio.get_running_loop().create_future()  # the client stays

    async def send(message: Any) -> None:
        sent.append(message)

    await gateway(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(one.get("body", b"") for one in sent[1:])


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setenv("ADMIN_KEY", "an-admin-key")
    return Gateway(Config(gateway=Settings(admin=Admin(keys={"ops": "env:ADMIN_KEY"}))))


def test_every_table_of_the_gateway_is_described(gateway: Gateway) -> None:
    """Whoever adds an endpoint to one of the tables describes it."""
    known = set(described())
    served = {(endpoint.method, path) for path, endpoint in paths.ENDPOINTS.items()}
    for version in ("v1", "v1beta"):
        served |= {(endpoint.method, f"/{version}/models/{{model}}:{action}") for action, endpoint in OF_MODELS.items()}
    for route in routes(gateway).routes:
        path = route.path.replace(":path}", "}")  # type: ignore[attr-defined]
        methods = getattr(route, "methods", None) or {"GET"}
        served |= {(method, f"{path}/" if path == "/sites" else path) for method in methods - {"HEAD"}}
    assert served <= known, sorted(served - known)


def upgrades(method: str, path: str) -> bool:
    """Whether it is there for an upgrade to WebSocket alone."""
    return "101" in PATHS[path][method.lower()]["responses"]


async def test_every_upgrade_is_described(gateway: Gateway) -> None:
    """What goes over to WebSocket is a ``GET`` that says so, and each of its headers; without them there is no such method."""
    taken = [path for path, endpoint in paths.ENDPOINTS.items() if endpoint.upgrade is not None]
    assert [path for method, path in described() if upgrades(method, path)] == taken
    for path in taken:
        there = PATHS[path]["get"]
        needed = [(one["name"].encode(), one["schema"].get("const", "").encode()) for one in there["parameters"]]
        assert all(one["required"] for one in there["parameters"])
        status, headers, _ = await response_to(
            gateway, "GET", path, *needed
        )  # by an application that no connection stands under
        assert (status, headers[b"upgrade"]) == (426, b"HTTP/1.1")
        assert (await response_to(gateway, "GET", path))[0] == 405
        assert {"426", "405"} <= there["responses"].keys()


def content_types(method: str, path: str, status: int) -> list[str]:
    """Of an answer of this status, as it is described."""
    response = PATHS[path][method.lower()]["responses"].get(str(status), {})
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return list(response.get("content", {}))


@pytest.mark.parametrize(("method", "path"), [one for one in described() if not upgrades(*one)])
async def test_what_is_described_is_served(gateway: Gateway, method: str, path: str) -> None:
    """Each answers its method: by telling what the request lacks, or with what it is asked for; never that it is not there."""
    status, headers, body = await response_to(gateway, method, filled(path))
    assert status in ((401,) if path.startswith("/admin/") else (200, 400, 404)), body
    if status == 404:  # of a name in the path, in the words of the dialect, and not of the path
        assert "{" in path
        assert b"no stored response" in body or b"nobody" in body
    assert str(status) in PATHS[path][method.lower()]["responses"]
    assert headers[b"content-type"].decode().partition(";")[0] in content_types(method, path, status)
    if path == "/sites/":  # sites know no methods but their own
        return
    others = {"GET", "POST", "DELETE", "PUT"} - {one for one, other in described() if other == path}
    status, headers, body = await response_to(gateway, min(others), filled(path))
    assert status == 405
    assert method in headers[b"allow"].decode()


async def test_every_type_that_is_described_can_be_asked_for(gateway: Gateway) -> None:
    """Where an answer without a prompt comes as several types, ``accept`` chooses: none of them is made up."""
    several = [path for method, path in described() if method == "GET" and len(content_types(method, path, 200)) > 1]
    assert "/metrics" in several
    for path in several:
        for kind in content_types("GET", path, 200):
            _, headers, _ = await response_to(gateway, "GET", path, (b"accept", f"{kind}; version=1.0.0".encode()))
            assert headers[b"content-type"].decode().partition(";")[0] == kind, path


def test_every_failure_that_there_is_is_described() -> None:
    """Whatever status a kind of failure has, each operation that may fail so says it."""
    assert set(STATUS.values()) <= set(FAILURES)
    for one in OPERATIONS:
        assert set(map(str, STATUS.values())) - {"413"} <= set(one.described()["responses"])


def test_every_reference_leads_somewhere_and_every_component_is_wanted() -> None:
    """No component is missing, and none is left over."""
    text = description().decode()
    there = {f"#/components/{kind}/{name}" for kind, known in DOCUMENT["components"].items() for name in known}
    there -= {one for one in there if "/securitySchemes/" in one}
    referenced = {part.partition('"')[0] for part in text.split('"$ref":"')[1:]}
    assert referenced - there == set()
    unwanted = {one.rpartition("/")[2] for one in there - referenced}
    assert all(f"`{name}`" in text or f"`{name}`s" in text for name in unwanted), unwanted


def test_every_header_of_ours_is_described() -> None:
    """Every name of ours that the gateway's code has, for what it writes or reads, the document has too.

    Requests of chats may say each setting of their own, in the words that the configuration has for it.
    """
    code = [path.read_text() for path in Path(gateway_package.__file__).parent.rglob("*.py") if "openapi" not in str(path)]
    named = {name for text in code for name in re.findall(r"x-polychat-[a-z-]*[a-z]", text)}
    parameters, answered = (DOCUMENT["components"][kind] for kind in ("parameters", "headers"))
    assert named | {"idempotency-key"} == parameters.keys() | {name for name in answered if name.startswith("x-polychat-")}
    for name, header in preferences.HEADERS.items():
        assert parameters[header.decode()]["schema"]["enum"] == list(choices_of(keys_of(Settings)[name].type))
    chats = [one for one in OPERATIONS if "x-polychat-losses" in one.headers]
    assert {one.dialect.tag for one in chats} == {one.dialect.tag for one in OPERATIONS} - {"Models"}
    for one in chats:
        described = {parameter.get("$ref", "").rpartition("/")[2] for parameter in one.described()["parameters"]}
        assert parameters.keys() <= described


def test_the_document_is_made_once() -> None:
    """It is JSON, the same bytes each time."""
    assert description() is description()
    assert json.loads(description()) == json.loads(json.dumps(DOCUMENT))
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)


async def test_it_is_served_as_json(gateway: Gateway) -> None:
    """At ``/openapi.json``."""
    status, headers, body = await response_to(gateway, "GET", "/openapi.json")
    assert (status, headers[b"content-type"], body) == (200, b"application/json", description())
