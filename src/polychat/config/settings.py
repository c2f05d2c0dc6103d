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
    """Limits on what clients may send."""

    body: int = option(32 * 1024 * 1024, "Maximum size of a request body in bytes; a larger one gets 413.", least=1024)
    body_total: int = option(
        1024 * 1024 * 1024,
        "Maximum total size in bytes of the bodies of all requests in progress in one worker; a request that "
        "would exceed it gets 503 with `retry-after`.",
        least=1024,
    )
    head: int = option(64 * 1024, "Maximum size of the request line and headers in bytes; more gets 431.", least=1024)
    depth: int = option(64, "Maximum nesting depth of a request's JSON.", least=8, most=500)
    messages: int = option(4096, "Maximum number of messages in a request.", least=1)
    concurrent: int = option(
        10_000, "Maximum number of concurrent requests per worker; more get 429 with `retry-after`.", least=1
    )
    head_seconds: float = option(10.0, "Seconds within which a client must send the request line and headers.", least=0.1)
    body_seconds: float = option(30.0, "Maximum pause in seconds while a client sends a request body.", least=0.1)
    upload_seconds: float = option(300.0, "Seconds within which a client must send the whole request body.", least=0.1)
    send_seconds: float = option(60.0, "Maximum pause in seconds while a client reads a response.", least=0.1)
    keep_alive: float = option(75.0, "Seconds after which an idle connection is closed.", least=0.0)


@dataclass(frozen=True, slots=True)
class Store:
    """Replies of `/v1/responses` that are kept for `previous_response_id`, in memory, each worker its own."""

    replies: int = option(1000, "Maximum number of stored replies; the oldest is removed first. 0 stores none.", least=0)
    bytes: int = option(64 * 1024 * 1024, "Maximum total size of the stored replies in bytes.", least=0)
    seconds: float = option(3600.0, "Seconds for which a reply is stored.", least=1.0)


@dataclass(frozen=True, slots=True)
class KeySettings:
    """Settings that differ for requests with one key; see ``gateway/chat/preferences.py``."""

    on_loss: OnLossSetting | None = option(None, "Overrides `gateway.on_loss` for requests with this key.")
    hosted_tools: HostedSetting | None = option(None, "Overrides `gateway.hosted_tools` for requests with this key.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How targets are asked: how often, how long, and what may be lost."""

    attempts: int = option(
        3,
        "Maximum number of attempts per request, across all targets. A request that its client retries "
        "(`x-stainless-retry-count`) gets correspondingly fewer, and no target twice.",
        least=1,
        most=20,
    )
    budget: float = option(60.0, "Seconds after which no further attempt starts.", least=0.0)
    max_wait: float = option(
        10.0,
        "Maximum wait in seconds for a target that sent `retry-after`. If the wait is longer, the client "
        "gets the error at once, with `retry-after`.",
        least=0.0,
    )
    cooldown: float = option(
        15.0,
        (
            "Seconds for which a target is skipped after three failures in a row, or at once if it refuses the "
            "key or the quota is used up."
        ),
        least=0.0,
    )
    connect_timeout: float = option(10.0, "Timeout in seconds for opening a connection.", least=0.001)
    first_timeout: float = option(600.0, "Timeout in seconds until the reply starts.", least=0.001)
    idle_timeout: float = option(300.0, "Timeout in seconds between two reads of a reply.", least=0.001)
    timeout: float = option(0.0, "Timeout in seconds for the whole request; 0 means no limit.", least=0.0)
    on_loss: OnLossSetting | None = option(None, "Overrides `gateway.on_loss` for requests to these targets.")
    hosted_tools: HostedSetting | None = option(None, "Overrides `gateway.hosted_tools` for requests to these targets.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct(Rules):
    """Targets that a client names itself, as `provider/model`: the settings of a route, without its targets."""

    attempts: int = option(2, "Maximum number of attempts per request.", least=1, most=20)
    max_wait: float = option(
        2.0,
        "Maximum wait in seconds for a target that sent `retry-after`. If the wait is longer, the client "
        "gets the error at once, with `retry-after`.",
        least=0.0,
    )


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    prompt: float = option(0.0, "Price of prompt tokens.", least=0.0)
    completion: float = option(0.0, "Price of completion tokens, reasoning included.", least=0.0)
    cached: float | None = option(
        None, "Price of prompt tokens read from the backend's cache. By default the same as `prompt`.", least=0.0
    )
    cache_write: float | None = option(
        None, "Price of prompt tokens written to the backend's cache. By default the same as `prompt`.", least=0.0
    )


@dataclass(frozen=True, slots=True)
class Gateway:
    """`polychat serve`: where it listens, who has access, how it answers."""

    host: str = option("127.0.0.1", "The address to listen on. Any address other than loopback requires `keys`.")
    port: int = option(8000, "The port to listen on; 0 picks a free port.", least=0, most=65535)
    workers: int = option(1, "Number of worker processes that share the port.", least=1, most=256)
    uds: str = option("", "The path of a Unix socket to listen on instead of host and port.")
    tls_cert: str = option("", "File with the TLS certificate and its chain (PEM); requires `tls_key`.")
    tls_key: str = option("", "File with the certificate's private key (PEM).")
    keys: Mapping[str, str] = option(
        dict,
        (
            "The keys that clients authenticate with: a name of your choice, and a reference to the key "
            "(`env:NAME`, `file:PATH`, `keyring:NAME`)."
        ),
        reference=True,
    )
    cors: tuple[str, ...] = option(
        (), "Origins of web pages that may call the gateway, such as `https://chat.example.com`; `*` allows all."
    )
    heartbeat: float = option(
        15.0,
        ("Interval in seconds at which a stream gets a heartbeat while the backend sends nothing; 0 sends none."),
        least=0.0,
    )
    on_disconnect: str = option(
        "cancel",
        ("What to do with a reply when its client disconnects: `cancel` it, or `drain:SECONDS` to keep reading for that long."),
        pattern=r"cancel|drain:[0-9]+(\.[0-9]+)?",
        form='"cancel" or "drain:SECONDS"',
    )
    grace: float = option(30.0, "Seconds that requests in progress get to finish after SIGTERM.", least=0.0)
    on_loss: OnLossSetting = option(
        "report",
        "What to do if the backend does not support a field of a request: `refuse` the request, `report` "
        "dropped fields in a header and refuse only those that change the form of the reply, or `allow`. A "
        "route, `[gateway.direct]`, a key and the header `x-polychat-on-loss` can each override it.",
    )
    hosted_tools: HostedSetting = option(
        "drop",
        "What to do with tools that only another vendor's backend can run, such as its web search: `drop` "
        "leaves out those that `tool_choice` does not require and lists them in `x-polychat-losses`; "
        "`refuse` responds with 400. A route, `[gateway.direct]`, a key and the header "
        "`x-polychat-hosted-tools` can each override it.",
    )
    sites: str = option(
        "local/smollm2", "The model that answers on the chat sites' endpoints (`/sites/…`); empty disables them."
    )
    sites_era: SitesEra = option(
        "1.9",
        "The version of the AI Engine plugin that the chat sites emulate. `1.9` suits clients from 2023 to "
        "early 2025; `2.0` requires a nonce, and AI Power streams; `2.4` issues the nonce by `start_session`.",
    )
    log: LogForm = option("human", "The format of the request log on standard error: `human`, `json`, or `off`.")
    log_sample: float = option(
        1.0, "The share of successful requests to log; failed requests are always logged.", least=0.0, most=1.0
    )
    log_text: bool = option(False, "Whether the log contains the text of requests and replies.")
    telemetry: bool = option(
        False,
        (
            "Whether to export OpenTelemetry traces and metrics, as the OTEL_… environment variables configure "
            "(requires the extra `otel`)."
        ),
    )
    limits: Limits = option(Limits, "Limits on what clients may send.")
    store: Store = option(Store, "Which replies of `/v1/responses` are stored.")
    direct: Direct = option(
        Direct, ("Settings for targets that clients name themselves as `provider/model`: those of a route, without `targets`.")
    )
    key_settings: Mapping[str, KeySettings] = option(
        dict, "Settings that differ for requests with one of `keys`; `NAME` is the key's name there."
    )


@dataclass(frozen=True, slots=True)
class Route(Rules):
    """A model name of your own: which targets answer to it, and how one is chosen."""

    targets: tuple[str, ...] = option((), "The targets: `provider/model` or the name of another route; at least one.")
    strategy: Strategy = option(
        "ordered",
        "How a target is chosen: `ordered` takes the first healthy one, `random` draws by weight, "
        "`round-robin` takes turns, `fastest` takes the one with the lowest recent time to first token.",
    )
    weights: tuple[float, ...] = option((), "For `random`: one weight per target.", least=0.0)
