"""The tables of polychat.toml as types of msgspec: every key with its type, bounds, default and meaning.

The reader (``reading.py``), the JSON schema for editors and the reference in the documentation are made from these. Vendors are
in ``vendor_spec.py``. Importing this loads msgspec: who asks a chat without a configuration does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from msgspec import Meta, structs

from ..choices import HostedTools, LogForm, OnLossSetting, Priority, SitesEra, Unpriced
from .access import Admin, MetricsAccess, SignedKeySettings
from .strategy_names import STRATEGIES
from .value_types import (
    Amount,
    Attempts,
    Bytes,
    Count,
    Disconnect,
    Dollars,
    OneOrMore,
    Pause,
    Positive,
    Reference,
    Seconds,
    Table,
    Terms,
    Timeout,
    about,
)

if TYPE_CHECKING:
    Strategy: TypeAlias = str
else:
    Strategy: TypeAlias = Literal[STRATEGIES]


class Limits(Table, frozen=True):
    """Limits on what clients may send."""

    body: Annotated[Bytes, about("Maximum size of a request body in bytes; a larger one gets 413.")] = 32 * 1024 * 1024
    body_total: Annotated[
        Bytes,
        about(
            "Maximum total size in bytes of the bodies of all requests in progress in one worker; a request that "
            "would exceed it gets 503 with `retry-after`."
        ),
    ] = 1024 * 1024 * 1024
    head: Annotated[Bytes, about("Maximum size of the request line and headers in bytes; more gets 431.")] = 64 * 1024
    depth: Annotated[int, Meta(ge=8, le=500), about("Maximum nesting depth of a request's JSON.")] = 64
    messages: Annotated[Positive, about("Maximum number of messages in a request.")] = 4096
    concurrent: Annotated[
        Positive, about("Maximum number of concurrent requests per worker; more get 429 with `retry-after`.")
    ] = 10_000
    head_seconds: Annotated[Pause, about("Seconds within which a client must send the request line and headers.")] = 10.0
    body_seconds: Annotated[Pause, about("Maximum pause in seconds while a client sends a request body.")] = 30.0
    upload_seconds: Annotated[Pause, about("Seconds within which a client must send the whole request body.")] = 300.0
    send_seconds: Annotated[Pause, about("Maximum pause in seconds while a client reads a response.")] = 60.0
    keep_alive: Annotated[Seconds, about("Seconds after which an idle connection is closed.")] = 75.0


class WebSocket(Table, frozen=True):
    """Responses over WebSocket at `/v1/responses`."""

    enabled: Annotated[
        bool,
        about(
            "Whether clients may use WebSocket there (requires the extra `gateway`); without it they get 426 and use `POST`."
        ),
    ] = True
    life_seconds: Annotated[Pause, about("Seconds after which a connection is closed, once its replies are complete.")] = 3600.0
    idle_seconds: Annotated[Pause, about("Seconds without a request after which a connection is closed.")] = 900.0
    ping_seconds: Annotated[
        Pause, about("Interval in seconds at which a client is sent a ping; two without an answer close the connection.")
    ] = 30.0


class Store(Table, frozen=True):
    """Replies of `/v1/responses` that are kept for `previous_response_id`, in memory, each worker its own."""

    replies: Annotated[Count, about("Maximum number of stored replies; the oldest is removed first. 0 stores none.")] = 1000
    bytes: Annotated[Count, about("Maximum total size of the stored replies in bytes.")] = 64 * 1024 * 1024
    seconds: Annotated[float, Meta(ge=1), about("Seconds for which a reply is stored.")] = 3600.0


class Idempotency(Table, frozen=True):
    """Replies that are kept for requests with the header `Idempotency-Key`, in memory, each worker its own."""

    replies: Annotated[Count, about("Maximum number of these replies; the oldest is removed first. 0 ignores the header.")] = (
        1000
    )
    bytes: Annotated[
        Count, about("Maximum total size of these replies in bytes; one of more than a quarter of it is not kept.")
    ] = 64 * 1024 * 1024
    seconds: Annotated[float, Meta(ge=1), about("Seconds for which a reply is kept.")] = 86_400.0


class Budget(Table, frozen=True):
    """How much requests may cost together in each hour, day and month of UTC, in US dollars."""

    hour: Annotated[Dollars | None, about("US dollars per hour.")] = None
    day: Annotated[Dollars | None, about("US dollars per day.")] = None
    month: Annotated[Dollars | None, about("US dollars per month.")] = None


class TokenBudget(Table, frozen=True):
    """How many tokens, of prompts and replies together, requests may use in each hour, day and month of UTC."""

    hour: Annotated[Amount | None, about("Tokens per hour.")] = None
    day: Annotated[Amount | None, about("Tokens per day.")] = None
    month: Annotated[Amount | None, about("Tokens per month.")] = None


class Allowance(Table, frozen=True):
    """What requests may use: limits and budgets. A request reserves the most that it may use and is settled by what it used."""

    rpm: Annotated[Amount | None, about("Requests per minute.")] = None
    tpm: Annotated[Amount | None, about("Tokens per minute, of prompts and replies together.")] = None
    concurrent: Annotated[Amount | None, about("Number of concurrent requests.")] = None
    budget: Annotated[Budget, about("Budgets in US dollars, by the prices of `[prices]` and of the extra `prices`.")] = Budget()
    tokens: Annotated[TokenBudget, about("Budgets in tokens.")] = TokenBudget()
    warn_at: Annotated[
        float,
        Meta(ge=0, le=1),
        about(
            "The share of each limit and budget from which responses carry `x-polychat-limit-warning`, and a line in the log "
            "and an event for the webhook warn once in each window."
        ),
    ] = 0.8


class KeySettings(Allowance, frozen=True):
    """Settings for requests with one key of `gateway.keys`: what they may use, and what differs for them."""

    on_loss: Annotated[OnLossSetting | None, about("Overrides `gateway.on_loss` for requests with this key.")] = None
    hosted_tools: Annotated[HostedTools | None, about("Overrides `gateway.hosted_tools` for requests with this key.")] = None
    priority: Annotated[
        Priority | None,
        about("The priority of requests with this key in a queue; the header `x-polychat-priority` can only lower it."),
    ] = None
    models: Annotated[
        OneOrMore[str],
        about(
            "The models that requests with this key may name: routes, and targets such as `openai/gpt-5` or `openai/*`. "
            "Empty allows all."
        ),
    ] = ()
    dialects: Annotated[
        OneOrMore[str], about("The dialects that requests with this key may use, such as `anthropic`. Empty allows all.")
    ] = ()
    unpriced: Annotated[
        Unpriced | Dollars,
        about(
            "What a budget in US dollars does about a model without a price: `refuse` the request, `allow` it at no cost, or "
            "count a price that you choose, in US dollars per million tokens."
        ),
    ] = "refuse"
    keep_text: Annotated[bool | None, about("Overrides `gateway.state.keep_text` for requests with this key.")] = None
    per_user: Annotated[
        Allowance, about("What the requests may use that name the same end user, in `user` or `metadata.user_id`.")
    ] = Allowance()


class Rules(Table, frozen=True, kw_only=True):
    """How targets are called: how often, how long, and what may be lost."""

    attempts: Annotated[
        Attempts | None,
        about(
            "Maximum number of attempts per request, across all targets; by default 3, or one for each target if the route "
            "has more. A request that its client retries (`x-stainless-retry-count`) gets correspondingly fewer, and no "
            "target twice."
        ),
    ] = None
    budget: Annotated[Seconds, about("Seconds after which no further attempt starts.")] = 60.0
    max_wait: Annotated[
        Seconds,
        about(
            "Maximum wait in seconds for a target that sent `retry-after`. If the wait is longer, the client "
            "gets the error at once, with `retry-after`."
        ),
    ] = 10.0
    concurrency: Annotated[
        Positive | Literal["auto"] | None,
        about(
            "Maximum number of concurrent requests per target; more wait in a queue. `auto` adjusts the number: up by one per "
            "round trip, down by a tenth after a 429 or when no reply starts in time. By default there is no limit."
        ),
    ] = None
    queue: Annotated[
        Count,
        about(
            "Maximum number of requests that wait for a target with `concurrency`. Further ones get 429 with `retry-after`, as "
            "do those that would wait for longer than their client or `budget` allows. A fifth of the queue is reserved for "
            "the priority `high`."
        ),
    ] = 100
    cooldown: Annotated[
        Seconds,
        about(
            "Maximum time in seconds for which a target is skipped after failures: up to 1 s the first time, up to twice as "
            "long each further time. A target that rejects the key, or whose quota is used up, is skipped for 2 to 20 times "
            "`cooldown`. 0 skips none."
        ),
    ] = 15.0
    all_down: Annotated[
        str,
        about(
            "What to do while every target is skipped: `refuse` responds at once, with the earliest time in `retry-after`; "
            "`least-bad` asks the target whose time ends first, unless its backend set that time; the name of another route "
            "uses that route."
        ),
    ] = "refuse"
    connect_timeout: Annotated[Timeout, about("Timeout in seconds for opening a connection.")] = 5.0
    first_timeout: Annotated[
        Timeout | None,
        about(
            "Timeout in seconds until the reply starts. By default it is measured, as long as another target remains: five "
            "times the 95th percentile of the target's own times for such requests, at least 1.5 s, and 30 s until 20 "
            "replies are known. The last remaining target has 600 s."
        ),
    ] = None
    idle_timeout: Annotated[Timeout, about("Timeout in seconds between two reads of a reply.")] = 120.0
    timeout: Annotated[Seconds, about("Timeout in seconds for the whole request; 0 means no limit.")] = 0.0
    hold: Annotated[
        int,
        Meta(ge=0, le=65536),
        about(
            "Number of characters at the start of a streamed reply to hold back, so that a failure within them is retried "
            "without the client noticing. 0 holds none, except for a moment after recent failures (`hold_after_failures`)."
        ),
    ] = 0
    hold_seconds: Annotated[
        float,
        Meta(gt=0, le=60),
        about("Maximum time in seconds, from the first piece of a reply, for which `hold` holds it back."),
    ] = 1.0
    hold_after_failures: Annotated[
        bool,
        about(
            "Whether streams are held back for a moment after recent failures: those of a target whose last request failed "
            "(0.25 to 2 s), and for 30 s after a reply was cut off early all of the route (0.25 to 0.5 s). Where `hold` is "
            "set, it decides alone."
        ),
    ] = True
    hedge: Annotated[
        bool,
        about(
            "Whether to ask a second target if the first one takes longer to begin than 95 % of its replies; the client gets "
            "the reply that begins first. At most 2 % of requests, and none with tools that a vendor runs."
        ),
    ] = False
    continuation: Annotated[
        bool,
        about(
            "Whether another target continues a stream of plain text that was cut off. Not for requests with tools, a schema, "
            "reasoning or several choices. Streams of such a route are parsed even where they could pass through unread."
        ),
    ] = False
    on_loss: Annotated[OnLossSetting | None, about("Overrides `gateway.on_loss` for requests to these targets.")] = None
    hosted_tools: Annotated[HostedTools | None, about("Overrides `gateway.hosted_tools` for requests to these targets.")] = None


class Direct(Rules, frozen=True, kw_only=True):
    """Targets that a client names itself, as `provider/model`: the settings of a route, without its targets."""

    attempts: Annotated[Attempts | None, about("Maximum number of attempts per request.")] = 2
    max_wait: Annotated[
        Seconds,
        about(
            "Maximum wait in seconds for a target that sent `retry-after`. If the wait is longer, the client "
            "gets the error at once, with `retry-after`."
        ),
    ] = 2.0

    def as_route(self) -> Route:
        """A route of the same rules."""
        return Route(**structs.asdict(self))


class Price(Table, frozen=True):
    """US dollars per million tokens."""

    prompt: Annotated[Dollars, about("Price of prompt tokens.")] = 0.0
    completion: Annotated[Dollars, about("Price of completion tokens, reasoning included.")] = 0.0
    cached: Annotated[
        Dollars | None, about("Price of prompt tokens read from the backend's cache. By default the same as `prompt`.")
    ] = None
    cache_write: Annotated[
        Dollars | None, about("Price of prompt tokens written to the backend's cache. By default the same as `prompt`.")
    ] = None


class Webhook(Table, frozen=True):
    """Where events go that an operator should know of, such as a budget that is nearly used up."""

    url: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"^((env|file|keyring|exec):.|[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+([/?#]\S*)?(?!\n)$)",
                extra={"form": "a URL without a password that begins with https://, or a reference to a URL", "hidden": True},
            ),
        ],
        about(
            "The address that gets each event as a `POST` with a JSON body: a URL, or a reference (`env:NAME`, `file:PATH`, "
            "`keyring:NAME`, `exec:COMMAND`) to one that is secret."
        ),
    ]
    secret: Annotated[
        Reference | None,
        about(
            "What events are signed with (HMAC-SHA256, header `webhook-signature`), at least 24 characters such as those of "
            "`openssl rand -base64 32`. Without it they are not signed."
        ),
    ] = None


class State(Table, frozen=True):
    """What the gateway keeps in a database: usage, keys and their owners, what is used of their limits, and an audit log."""

    url: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"^((env|file|keyring|exec):.|sqlite:///.|postgresql://[^:/@]*(@|/))",
                extra={
                    "form": "sqlite:///PATH, postgresql://HOST/NAME, or a reference to a URL with a password",
                    "hidden": True,
                },
            ),
        ],
        about(
            "The database: `sqlite:///PATH` (three slashes, then the path), or PostgreSQL with the extra `postgres`: a "
            "reference (`env:NAME`, `file:PATH`, `keyring:NAME`, `exec:COMMAND`) to a URL "
            "`postgresql://USER:PASSWORD@HOST/NAME`, or one without a password. A command is run again before what it printed "
            "expires. By default a SQLite file, `gateway.db`, in polychat's folder under `$XDG_STATE_HOME`."
        ),
    ] = ""
    spool: Annotated[
        str,
        about(
            "The folder for usage records while the database is away; each database has a folder in it. By default `spool` in "
            "polychat's folder under `$XDG_STATE_HOME`."
        ),
    ] = ""
    shared: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"^((env|file|keyring|exec):.|(valkey|redis)s?://([^:/@]*@)?[^:/@]+(:[0-9]+)?(/[^@]*)?$)",
                extra={"form": "valkey://HOST:PORT, or a reference to a URL with a password", "hidden": True},
            ),
        ],
        about(
            "Valkey or Redis, with the extra `valkey`, for limits per minute and of concurrent requests that gateways on "
            "several machines share: `valkey://HOST:PORT` (`valkeys://` with TLS), or a reference to a URL with a password. "
            "Keys and budgets are in the database of `url`, which must be PostgreSQL then. Without `shared`, limits are too."
        ),
    ] = ""
    encryption_keys: Annotated[
        OneOrMore[Reference],
        about(
            "References to the keys that texts in the database are encrypted with (extra `encryption`), each of 32 random "
            "bytes in base64: `openssl rand -base64 32`. The first encrypts, all decrypt. Without any, no text is kept there."
        ),
    ] = ()
    keep_text: Annotated[
        bool,
        about(
            "Whether replies of `/v1/responses` with their conversations, and replies to requests with an `Idempotency-Key`, "
            "are kept in the database, so that every gateway has them. Requires `encryption_keys`; a key may override it."
        ),
    ] = False
    usage_days: Annotated[Count, about("Days after which the usage record of a request is deleted; 0 keeps all.")] = 400
    audit_days: Annotated[
        Count,
        about("Days after which an entry of the audit log of keys and owners is deleted; 0 keeps all."),
    ] = 0


class GatewaySettings(Table, frozen=True):
    """`polychat serve`: where it listens, who has access, how it responds."""

    host: Annotated[str, about("The address to listen on. Any address other than loopback requires `keys`.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), about("The port to listen on; 0 picks a free port.")] = 8000
    workers: Annotated[int, Meta(ge=1, le=256), about("Number of worker processes that share the port.")] = 1
    reuse_port: Annotated[
        bool,
        about(
            "Whether a second gateway of the same user may listen on this port, to take over from this one: on SIGTERM it then "
            "gets all new connections, and this one ends when its own are answered."
        ),
    ] = False
    uds: Annotated[str, about("The path of a Unix socket to listen on instead of host and port.")] = ""
    tls_cert: Annotated[str, about("File with the TLS certificate and its chain (PEM); requires `tls_key`.")] = ""
    tls_key: Annotated[str, about("File with the certificate's private key (PEM).")] = ""
    keys: Annotated[
        Annotated[Mapping[str, Reference], Meta(extra={"form": 'a table of references to secrets: { name = "env:NAME" }'})],
        about(
            "The keys that clients authenticate with: a name of your choice, and a reference to the key "
            "(`env:NAME`, `file:PATH`, `keyring:NAME`, `exec:COMMAND`)."
        ),
    ] = {}
    cors: Annotated[
        OneOrMore[str],
        about("Origins of web pages that may call the gateway, such as `https://chat.example.com`; `*` allows all."),
    ] = ()
    heartbeat: Annotated[
        Seconds, about("Interval in seconds at which a stream gets a heartbeat while the backend sends nothing; 0 sends none.")
    ] = 15.0
    on_disconnect: Annotated[
        Disconnect,
        about(
            "What to do with a reply when its client disconnects: `cancel` it, or `drain:SECONDS` to keep reading for that "
            "long."
        ),
    ] = "cancel"
    grace: Annotated[Seconds, about("Seconds that requests in progress get to finish after SIGTERM.")] = 30.0
    on_loss: Annotated[
        OnLossSetting,
        about(
            "What to do if the backend does not support a field of a request: `refuse` the request, `report` "
            "dropped fields in a header and refuse only those that change the form of the reply, or `allow`. A "
            "route, `[gateway.direct]`, a key and the header `x-polychat-on-loss` can each override it."
        ),
    ] = "report"
    hosted_tools: Annotated[
        HostedTools,
        about(
            "What to do with tools that only another vendor's backend can run, such as its web search: `drop` "
            "leaves out those that `tool_choice` does not require and lists them in `x-polychat-losses`; "
            "`refuse` responds with 400. A route, `[gateway.direct]`, a key and the header "
            "`x-polychat-hosted-tools` can each override it."
        ),
    ] = "drop"
    sites: Annotated[str, about("The model that answers on the chat sites' endpoints (`/sites/…`); empty disables them.")] = (
        "local/smollm2"
    )
    sites_era: Annotated[
        SitesEra,
        about(
            "The version of the AI Engine plugin that the chat sites emulate. `1.9` suits clients from 2023 to "
            "early 2025; `2.0` requires a nonce, and AI Power streams; `2.4` issues the nonce by `start_session`."
        ),
    ] = "1.9"
    log: Annotated[LogForm, about("The format of the request log on standard error: `human`, `json`, or `off`.")] = "human"
    log_sample: Annotated[
        float, Meta(ge=0, le=1), about("The share of successful requests to log; failed requests are always logged.")
    ] = 1.0
    log_text: Annotated[bool, about("Whether the log contains the text of requests and replies.")] = False
    telemetry: Annotated[
        bool,
        about(
            "Whether to export OpenTelemetry traces and metrics, as the OTEL_… environment variables configure "
            "(requires the extra `otel`)."
        ),
    ] = False
    limits: Annotated[Limits, about("Limits on what clients may send.")] = Limits()
    websocket: Annotated[WebSocket, about("Responses over WebSocket at `/v1/responses`.")] = WebSocket()
    store: Annotated[Store, about("How many replies of `/v1/responses` are stored, and for how long.")] = Store()
    idempotency: Annotated[
        Idempotency, about("How many replies to requests with an `Idempotency-Key` are kept, and for how long.")
    ] = Idempotency()
    direct: Annotated[
        Direct,
        about("Settings for targets that clients name themselves as `provider/model`: those of a route, without `targets`."),
    ] = Direct()
    admin: Annotated[Admin, about("What operators can inspect, and the keys for it.")] = Admin()
    signed_keys: Annotated[
        SignedKeySettings | None,
        about("Keys that no database has, made by `polychat gateway keys sign`. Without this table none is accepted."),
    ] = None
    metrics: Annotated[MetricsAccess, about("Who may read `/metrics`.")] = MetricsAccess()
    state: Annotated[
        State | None, about("What is kept in a database. Without this table nothing is, and no database is opened.")
    ] = None
    webhook: Annotated[
        Webhook | None, about("Where events go, such as limits that are nearly used up. Without this table nowhere.")
    ] = None
    key_settings: Annotated[
        Mapping[str, KeySettings],
        about("Settings that differ for requests with one of `keys`; `NAME` is the key's name there."),
    ] = {}


class Route(Rules, frozen=True):
    """A model name of your own: which targets answer to it, and how one is chosen."""

    targets: Annotated[
        OneOrMore[str],
        about(
            "The targets, at least one. Each is `provider/model`, the name of another route, or the bare name of a model that "
            "exactly one backend lists, in `serves` or else in the list that is fetched at the first request."
        ),
    ] = ()
    strategy: Annotated[
        Strategy | None,
        about(
            "How a target is chosen among the healthy ones of the first priority that has any; the page on routing describes "
            "each strategy. By default `affinity` where all targets serve one model, else `ordered`."
        ),
    ] = None
    weights: Annotated[
        tuple[Annotated[float, Meta(ge=0)], ...],
        about("One weight per target, for the strategies that use weights. 0: only if no other target answers."),
    ] = ()
    conditions: Annotated[
        tuple[Terms, ...],
        about(
            "One text per target: the requests that it accepts, such as `tools prompt<=8000 region=eu`; empty accepts all. A "
            "target never gets a request that does not meet all of its terms."
        ),
    ] = ()
    shadow: Annotated[
        str,
        about(
            "A target, or another route, that also gets a share of the requests, after they are answered, to compare verdicts, "
            "times and costs in the metrics. Its replies are discarded."
        ),
    ] = ""
    shadow_percent: Annotated[float, Meta(ge=0, le=100), about("Percentage of the requests that `shadow` gets.")] = 5.0
    priorities: Annotated[
        tuple[Count, ...],
        about(
            "One number per target. Targets with the lowest number form the first tier; a tier is used when all targets of "
            "the tiers before it are skipped or have failed. Without it all targets form one tier."
        ),
    ] = ()


class LocalModel(Table, frozen=True):
    """A model on this machine."""

    path: Annotated[Path | None, about("The path of the GGUF file, absolute or relative to this configuration file.")] = None
    """Absolute."""
    context: Annotated[Positive | None, about("Context size in tokens, prompt and reply together.")] = None
    threads: Annotated[Positive | None, about("Number of compute threads.")] = None
    parallel: Annotated[Positive | None, about("Number of concurrent requests; each has its own context.")] = None
    pooling: Annotated[
        Literal["mean", "cls", "last"] | None,
        about("For an embedding model whose file does not specify it: how the token vectors are pooled."),
    ] = None
