"""What ``[gateway]``, ``[routes]`` and ``[aliases]`` of polychat.toml may say: every key with its type, bounds and meaning.

The reader (``decoding.py``), the JSON schema for editors and the reference in the documentation are made from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

OnLossSetting: TypeAlias = Literal["refuse", "report", "allow"]
HostedSetting: TypeAlias = Literal["drop", "refuse"]
Strategy: TypeAlias = Literal["ordered", "random", "round-robin", "fastest"]
SitesEra: TypeAlias = Literal["1.9", "2.0", "2.4"]
LogForm: TypeAlias = Literal["human", "json", "off"]


def option(
    default: Any,
    about: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] | None = None,
    pattern: str | None = None,
    form: str | None = None,
    reference: bool | None = None,
    shown: bool = True,
) -> Any:
    """A key with what it means, and what its value must be beyond its type: see ``decoding.Key``.

    ``shown`` false: ``repr`` leaves it out.
    """
    known = {
        **{"about": about, "least": least, "most": most, "choices": choices},
        **{"pattern": pattern, "form": form, "reference": reference},
    }
    metadata = {name: value for name, value in known.items() if value is not None}
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=shown)
    return field(default=default, metadata=metadata, repr=shown)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a client is borne with."""

    body: int = option(32 * 1024 * 1024, "Bytes of a request's body; more is answered with 413.", least=1024)
    body_total: int = option(
        1024 * 1024 * 1024,
        "Bytes of the bodies of all requests under way in one worker; a request that would exceed it is answered with 503 "
        "and `retry-after`.",
        least=1024,
    )
    head: int = option(64 * 1024, "Bytes of a request's line and headers; more is answered with 431.", least=1024)
    depth: int = option(64, "Arrays and objects inside each other in a request's JSON.", least=8, most=500)
    messages: int = option(4096, "Turns of a conversation.", least=1)
    concurrent: int = option(
        10_000, "Requests answered at the same time by one worker; one more is answered with 429 and `retry-after`.", least=1
    )
    head_seconds: float = option(10.0, "Seconds a client may take for a request's line and headers.", least=0.1)
    body_seconds: float = option(30.0, "Seconds a client may let pass without a byte of the body it announced.", least=0.1)
    upload_seconds: float = option(
        300.0, "Seconds a client may take for the whole of a request's body, however steadily it comes.", least=0.1
    )
    send_seconds: float = option(60.0, "Seconds a client may let pass without reading of what waits for it.", least=0.1)
    keep_alive: float = option(75.0, "Seconds an idle connection is kept.", least=0.0)


@dataclass(frozen=True, slots=True)
class Store:
    """Replies of `/v1/responses` that are kept for `previous_response_id`, in memory, each worker its own."""

    replies: int = option(1000, "Replies kept at most; the oldest goes first. 0 keeps none.", least=0)
    bytes: int = option(64 * 1024 * 1024, "Bytes they may take together.", least=0)
    seconds: float = option(3600.0, "Seconds each is kept.", least=1.0)


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What is otherwise for the requests that come with one key; see ``gateway/chat/preferences.py``."""

    on_loss: OnLossSetting | None = option(None, "`gateway.on_loss` for the requests that come with this key.")
    hosted_tools: HostedSetting | None = option(None, "`gateway.hosted_tools` for the requests that come with this key.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How targets are asked: how often, how long, and what may be lost."""

    attempts: int = option(
        3,
        "How many times backends are asked in all before the client is told of a failure. A request that its client repeats "
        "(`x-stainless-retry-count`) gets as many fewer, and no target twice.",
        least=1,
        most=20,
    )
    budget: float = option(60.0, "Seconds after which no further attempt begins.", least=0.0)
    max_wait: float = option(
        10.0,
        "Seconds a request may wait for a target that said when to come back. Where the wait is longer, the client gets the "
        "failure at once, with `retry-after`.",
        least=0.0,
    )
    cooldown: float = option(
        15.0,
        "Seconds a target is passed over: after three failures in a row, or at once where its key or its quota is refused.",
        least=0.0,
    )
    connect_timeout: float = option(10.0, "Seconds for a connection.", least=0.001)
    first_timeout: float = option(600.0, "Seconds until a reply begins.", least=0.001)
    idle_timeout: float = option(300.0, "Seconds without a byte amid a reply.", least=0.001)
    timeout: float = option(0.0, "Seconds for all of it; 0 sets no limit.", least=0.0)
    on_loss: OnLossSetting | None = option(None, "`gateway.on_loss` for the requests that are answered by these rules.")
    hosted_tools: HostedSetting | None = option(
        None, "`gateway.hosted_tools` for the requests that are answered by these rules."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct(Rules):
    """Targets that a client names itself, as `provider/model`: the settings of a route, without its targets."""

    attempts: int = option(2, "How many times the backend is asked before the client is told of a failure.", least=1, most=20)
    max_wait: float = option(
        2.0,
        "Seconds a request may wait for a target that said when to come back. Where the wait is longer, the client gets the "
        "failure at once, with `retry-after`.",
        least=0.0,
    )


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    prompt: float = option(0.0, "Of what is asked.", least=0.0)
    completion: float = option(0.0, "Of what is answered, thoughts too.", least=0.0)
    cached: float | None = option(
        None, "Of what the backend had in its cache. Without it those tokens cost as `prompt`.", least=0.0
    )
    cache_write: float | None = option(
        None, "Of what the backend put into its cache. Without it those tokens cost as `prompt`.", least=0.0
    )


@dataclass(frozen=True, slots=True)
class Gateway:
    """`polychat serve`: where it listens, who has access, how it answers."""

    host: str = option("127.0.0.1", "The address to listen on. Any other than loopback demands `keys`.")
    port: int = option(8000, "The port; 0 picks a free one.", least=0, most=65535)
    workers: int = option(1, "Processes that share the port.", least=1, most=256)
    uds: str = option("", "A Unix socket to listen on in place of host and port.")
    tls_cert: str = option("", "A file with the TLS certificate and its chain (PEM); needs `tls_key`.")
    tls_key: str = option("", "The file with the certificate's private key (PEM).")
    keys: Mapping[str, str] = option(
        dict,
        "Who may come in: a name of yours, and a reference to the key (`env:NAME`, `file:PATH`, `keyring:NAME`).",
        reference=True,
    )
    cors: tuple[str, ...] = option((), "Origins of web pages that may call, such as `https://chat.example.com`; `*` is all.")
    heartbeat: float = option(
        15.0, "Seconds of a backend's silence after which a stream is sent a comment; 0 sends none.", least=0.0
    )
    on_disconnect: str = option(
        "cancel",
        "What becomes of a reply whose client has left: `cancel`, or `drain:SECONDS` reads on for so long.",
        pattern=r"cancel|drain:[0-9]+(\.[0-9]+)?",
        form='"cancel" or "drain:SECONDS"',
    )
    grace: float = option(30.0, "Seconds that running replies are given to end after SIGTERM.", least=0.0)
    on_loss: OnLossSetting = option(
        "report",
        "What to do where a backend cannot take a part of a request: `refuse`, `report` it in a header and refuse only what "
        "changes the answer's form, or `allow`. A route, `[gateway.direct]`, a key and the header `x-polychat-on-loss` may "
        "each say otherwise.",
    )
    hosted_tools: HostedSetting = option(
        "drop",
        "What to do with tools that only another vendor's backend can run, such as its web search: `drop` leaves out those "
        "that `tool_choice` does not demand and names them in `x-polychat-losses`, `refuse` answers 400. A route, "
        "`[gateway.direct]`, a key and the header `x-polychat-hosted-tools` may each say otherwise.",
    )
    sites: str = option("local/smollm2", "The model that answers at the chat sites' doors (`/sites/…`); empty closes them.")
    sites_era: SitesEra = option(
        "1.9",
        "Which time the chat sites behave as in, by the versions of the plugin AI Engine. `1.9` suits the clients of 2023 to "
        "early 2025; `2.0` wants a nonce, and AI Power streams; `2.4` gives the nonce by `start_session`.",
    )
    log: LogForm = option("human", "A line a request on standard error: for people, as JSON, or none.")
    log_sample: float = option(1.0, "The share of good requests that get a line; failed ones always do.", least=0.0, most=1.0)
    log_text: bool = option(False, "Whether the line holds what was asked and answered.")
    telemetry: bool = option(False, "OpenTelemetry traces and metrics, sent where the OTEL_… variables say (extra `otel`).")
    limits: Limits = option(Limits, "Bounds on what clients may send.")
    store: Store = option(Store, "What `/v1/responses` keeps.")
    direct: Direct = option(
        Direct, "Targets that a client names itself, as `provider/model`: the settings of a route, without its targets."
    )
    key_settings: Mapping[str, KeySettings] = option(
        dict, "What is otherwise for requests that come with one of `keys`; `NAME` is the key's name there."
    )


@dataclass(frozen=True, slots=True)
class Route(Rules):
    """A model name of your own: which targets answer to it, and how one is chosen."""

    targets: tuple[str, ...] = option((), "`provider/model`, or another route's name; at least one.")
    strategy: Strategy = option(
        "ordered",
        "`ordered` asks the first that is well, `random` by weight, `round-robin` each in turn, `fastest` the one whose first "
        "piece comes soonest of late.",
    )
    weights: tuple[float, ...] = option((), "For `random`: a number a target.", least=0.0)
