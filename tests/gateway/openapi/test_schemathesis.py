"""The gateway holds to its own description whatever it is asked: Schemathesis makes the requests, and judges the answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from copy import deepcopy
from typing import Any, get_args

import pytest

schemathesis: Any = pytest.importorskip("schemathesis", reason="not installed: pip install schemathesis")

from hypothesis import HealthCheck, settings  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi import checks  # noqa: E402

from polychat import config  # noqa: E402
from polychat.config import Config  # noqa: E402
from polychat.config.access import Admin, AdminScope  # noqa: E402
from polychat.config.settings import Direct, Route, State  # noqa: E402
from polychat.events import Event, Finish, Reasoning, Start, Text, ToolCallPiece, Usage  # noqa: E402
from polychat.gateway.app import Gateway  # noqa: E402
from polychat.gateway.openapi import document  # noqa: E402
from polychat.gateway.openapi.schema import MODEL  # noqa: E402
from polychat.gateway.process.serving import Server  # noqa: E402
from polychat.http.server.listening import listen  # noqa: E402
from polychat.types import ChatRequest, Tool  # noqa: E402
from polychat.wire.contract import names  # noqa: E402

from ...support.scripted_server import Say, Seen, serving  # noqa: E402
from ...support.scripted_vendors import ScriptedVendor  # noqa: E402

MODELS = [*(f"{wire}-house/small" for wire in names()), "fast", "nobody/none"]
CHECKS = [
    *(not_a_server_error, checks.status_code_conformance, checks.content_type_conformance),
    *(checks.response_headers_conformance, checks.response_schema_conformance),
]


def answer(request: ChatRequest) -> list[list[Event]]:
    """A little of everything; a call where there is a function to call."""
    tool = next((one for one in request.tools if isinstance(one, Tool) and one.name), None)
    if tool is not None:
        return [
            [Start("x", "small"), ToolCallPiece(0, "c1", tool.name, "{}")],
            [Usage(3, 2, 5), Finish("complete", "tool_calls")],
        ]
    return [[Start("x", "small"), Reasoning("Hm. ")], [Text("Hel"), Text("lo")], [Usage(3, 2, 5), Finish("complete", "stop")]]


class Backend:
    """A vendor's whole API on loopback."""

    def __init__(self, wire: str) -> None:
        self._chat = ScriptedVendor(wire, answer)

    async def __call__(self, seen: Seen, say: Say) -> None:
        request_body = json.loads(seen.body or b"{}")
        inputs = request_body.get("requests") or request_body.get("input") or []
        many = inputs if isinstance(inputs, list) else [inputs]
        vector = [0.5, -0.5]
        known: dict[str, Any] = {
            "/embeddings": {"data": [{"index": at, "embedding": vector} for at in range(len(many))], "model": "small"},
            "/embed": {"model": "small", "embeddings": [vector for _ in many]},
            "dContents": {"embeddings": [{"values": vector} for _ in many]},
            "dContent": {"embedding": {"values": vector}},
            "/count_tokens": {"input_tokens": 7},
            "countTokens": {"totalTokens": 7},
        }
        for ending, body in known.items():
            if seen.path.endswith(ending):
                await say.whole(json.dumps(body).encode(), 200, "application/json")
                return
        await self._chat(seen, say)


async def _serve(made: Any, settings: dict[str, Any]) -> None:
    """Backends and the gateway, until the server is stopped; ``made`` gets it."""
    async with AsyncExitStack() as stack:
        rows = {}
        for wire in names():
            backend = await stack.enter_async_context(serving(Backend(wire)))
            base = backend.url if wire == "ollama" else f"{backend.url}/v1"
            rows[f"{wire}-house"] = {"wire": wire, "base_url": base, "serves": ["small"], "embeddings": wire != "anthropic"}
        quiet = config.settings.GatewaySettings(
            port=0, log="off", direct=Direct(attempts=1, max_wait=0, cooldown=0), **settings
        )
        routes = {"fast": Route(targets=tuple(MODELS[:3]), strategy="round-robin", attempts=1, max_wait=0, cooldown=0)}
        configured = Config(providers=rows, routes=routes, gateway=quiet)
        listeners = listen(quiet)
        server = Server(Gateway(configured), quiet)
        made((configured, server, asyncio.get_running_loop(), f"http://127.0.0.1:{listeners[0].getsockname()[1]}"))
        await server.serve(listeners)


@contextmanager
def running(**settings: Any) -> Iterator[tuple[Config, str]]:
    """A gateway before backends of all wires, in a thread of its own."""
    began, url = threading.Event(), []

    def made(facts: Any) -> None:
        url.extend(facts)
        began.set()

    thread = threading.Thread(target=lambda: asyncio.run(_serve(made, settings)))
    thread.start()
    assert began.wait(20)
    configured, server, loop, base = url
    yield configured, base
    loop.call_soon_threadsafe(server.stop)
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Config, str]]:
    """That of clients."""
    with running() as made:
        yield made


@pytest.fixture
def gateway(served: tuple[Config, str]) -> str:
    return served[1]


ADMIN_KEY = "a-key-of-the-operator"


@pytest.fixture(scope="module")
def administered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """That of an operator, with a database; the keys that are made in it close it for clients."""
    folder = tmp_path_factory.mktemp("administered")
    (folder / "key").write_text(ADMIN_KEY)
    admin = Admin(keys={"ops": f"file:{folder}/key"}, scopes={"ops": get_args(AdminScope)})
    with running(admin=admin, state=State(url=f"sqlite:///{folder}/gateway.db")) as (_, url):
        yield url


def with_models(models: list[str]) -> dict[str, Any]:
    """The document with names that mean something: one by chance would only ever be refused."""
    api = deepcopy(document())
    del api["paths"]["/sites/"]  # their protocols are not described
    values: list[Any] = [api]
    while values:
        value = values.pop()
        if isinstance(value, dict):
            if value.get("description") == MODEL["description"]:
                value["enum"] = models
            if value.get("in") == "path" and value.get("name") == "model":
                value["schema"] = {"type": "string", "enum": models}
        values += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return api


BOUNDS = settings(derandomize=True, max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
OPERATIONS = [
    (path, method)
    for path, methods in document()["paths"].items()
    if path != "/sites/" and not (path.startswith("/v1/models/") and ":" in path)  # the same as those below /v1beta
    for method in methods
]


@pytest.fixture(params=OPERATIONS, ids=lambda operation: " ".join(operation))
def operation(request: pytest.FixtureRequest) -> Any:
    """One operation of the document: its requests are made when its test runs, not where the tests are collected."""
    path, method = request.param
    request.node._nodeid = request.node.nodeid  # Schemathesis reads this name, which pytest has no more since 9.1
    described = with_models(MODELS)
    methods = described["paths"][path]
    described["paths"] = {path: {key: methods[key] for key in methods if key == method or key == "parameters"}}
    return schemathesis.openapi.from_dict(described)


@schemathesis.pytest.from_fixture("operation").parametrize()
@BOUNDS
def test_each_operation(case: Any, gateway: str, administered: str) -> None:
    """No request makes the gateway fail, and each answer is as it is described; an operator's is sent with a key."""
    if case.path.startswith("/admin/"):
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        case.call_and_validate(base_url=administered, headers=headers, checks=CHECKS)
    else:
        case.call_and_validate(base_url=gateway, checks=CHECKS)


def kept() -> Any:
    """Replies that are kept here: those of backends that speak this wire themselves are not."""
    api = with_models([f"{wire}-house/small" for wire in names() if wire != "openai-responses"])
    api["components"]["schemas"]["ResponsesRequest"]["properties"]["store"] = {"const": True}
    return schemathesis.openapi.from_dict(api).include(path_regex="^/v1/responses")


def test_replies_that_are_kept(gateway: str) -> None:
    """A reply that was made can be read, and one that was deleted cannot, in whatever order clients do that."""
    machine: Any = kept().as_state_machine()
    over: list[int] = []

    class Clients(machine):  # type: ignore[misc]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": gateway}

        def validate_response(self, response: Any, case: Any, *_: Any, **kwargs: Any) -> None:
            over.append(response.status_code)
            more = [checks.use_after_free, checks.ensure_resource_availability]
            case.validate_response(response, checks=[*CHECKS, *more], transport_kwargs=kwargs, recorder=self.recorder)

    Clients.run(settings=settings(BOUNDS, derandomize=True, max_examples=20, stateful_step_count=6))
    assert {200, 404} <= set(over)
