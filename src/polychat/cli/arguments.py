"""The command line: the commands, their arguments and their help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from ..choices import SitesEra
from ..errors import BadInput, redact
from ..version import __version__, build_name
from .ask_arguments import add_ask, add_conversation, add_tools
from .client_tools import TOOLS
from .command_parser import CommandParser
from .connection import add_connection
from .log_arguments import add_log

_OF_ALL = ("-h", "--help", "-V", "--version")
"""Options that stand in place of a command."""


def parser(only: str | None = None) -> CommandParser:
    """The whole command line, or with the arguments of one command alone, which takes less time.

    What a command does is imported when it runs.
    """
    top = CommandParser(
        prog="polychat",
        description="One command for every chat backend: chat sites, API vendors, and a model on this machine.",
        epilog='A prompt without a command is an ask: polychat "Why is the sky blue?". Exit codes: 0 success, 1 the backend '
        "failed, 2 usage error, 130 interrupted.",
    )
    top.add_argument("-V", "--version", action="version", version=f"polychat {__version__}, {build_name()}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in _COMMANDS:
        added = commands.add_parser(command.name, help=command.help, description=command.description)
        if only in (None, command.name):
            command.add_arguments(added)
    return top


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line; ``command`` is ``None`` where it is empty.

    Raises ``BadInput`` for a command that does not exist. Exits with 2 for other arguments that are wrong.
    """
    words = _with_command(argv)
    whole = parser(words[0] if words else "")
    arguments, unknown = whole.parse_known_args(words)
    if unknown:
        whole.refuse_unknown(words, unknown)
    return arguments


def _with_command(argv: Sequence[str]) -> list[str]:
    """``ask`` before a prompt, or before options, that stand where a command would.

    One word is a prompt if no command is written so (``Why?``), or if text is piped in and no command is near.
    """
    first = argv[0] if argv else ""
    if not argv or first in _OF_ALL or first in {command.name for command in _COMMANDS}:
        return list(argv)
    if first.startswith("-") or len(first.split()) != 1:
        return ["ask", *argv]
    from ..config.file_errors import near  # for one word alone, as what follows
    from .terminal import is_piped

    if first.endswith(".gguf"):
        raise BadInput(f"a model needs a prompt: polychat -m {redact(first, 200)} PROMPT", field="COMMAND")
    guess = near(first.lower(), (command.name for command in _COMMANDS), "; ")
    is_word = re.fullmatch(r"[a-z_-]+", first) or "/" in first
    if not guess and (not is_word or (is_piped() and len(argv) == 1)):
        return ["ask", *argv]
    name = redact(first, 80)
    raise BadInput(f"no command {name!r}{guess or '.'} To send it as a prompt: polychat ask {name!r}", field="COMMAND")


def _keys(keys: argparse.ArgumentParser) -> None:
    keys.add_argument("--json", action="store_true", help="print the list as JSON; no key is shown")
    actions = keys.add_subparsers(dest="action", metavar="ACTION", title="actions")
    listing = actions.add_parser("list", help="list which vendors have a key, and where it is set (default)")
    listing.add_argument("--all", action="store_true", help="list those without a key too, each with its variable")
    listing.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON; no key is shown")
    put = actions.add_parser("set", help="type a key, or pipe it in, and keep it")
    put.add_argument("name", metavar="VENDOR", help="such as openai")
    place = put.add_mutually_exclusive_group()
    place.add_argument("--keyring", action="store_true", help="in the system's keyring (default, if there is one)")
    place.add_argument("--file", action="store_true", help="in keys.toml in your configuration folder, mode 0600")
    remove = actions.add_parser("rm", help="remove a key that was kept so")
    remove.add_argument("name", metavar="VENDOR", help="such as openai")


def _templates(templates: argparse.ArgumentParser) -> None:
    templates.add_argument(
        "action", nargs="?", default="list", choices=("list", "show", "rm", "path"), help="list (default), show, rm, or path"
    )
    templates.add_argument("name", nargs="?", metavar="NAME", help="the template")


def _default(default: argparse.ArgumentParser) -> None:
    choice = default.add_mutually_exclusive_group()
    choice.add_argument("model", nargs="?", metavar="MODEL", help="provider/model, a route, an alias or a model name")
    choice.add_argument("--unset", action="store_true", help="remove the setting: the embedded model answers")


def _providers(providers: argparse.ArgumentParser) -> None:
    providers.add_argument("--json", action="store_true", help="print the list as JSON")


def _models(models: argparse.ArgumentParser) -> None:
    models.add_argument(
        "what",
        nargs="?",
        default="list",
        metavar="VENDOR|ACTION",
        help="a vendor's name, all for every vendor that is set up, or an action for local weights: list (default), pull, "
        "path, rm",
    )
    models.add_argument("name", nargs="?", default="smollm2", help="the local model (default: %(default)s)")
    models.add_argument(
        "-l",
        "--long",
        action="store_true",
        help="print what is known of each: the context in tokens, the price of a million tokens of prompts and of replies, and "
        "what it supports",
    )
    models.add_argument("--json", action="store_true", help="print a vendor's models as JSON")
    models.add_argument("--base-url", metavar="URL", help="the address of another instance of the vendor's API")
    models.add_argument("--proxy", metavar="URL", help="the proxy to use, as for polychat ask")
    models.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=30.0, help="timeout for the request (default: %(default)g)"
    )


def _embed(embed: argparse.ArgumentParser) -> None:
    embed.add_argument(
        "texts", nargs="*", metavar="TEXT", help="a text to embed; - reads standard input, as does no text at all"
    )
    embed.add_argument("-m", "--model", metavar="MODEL", required=True, help="such as openai/text-embedding-3-small")
    embed.add_argument("-f", "--file", metavar="FILE", action="append", default=[], help="a file to embed; repeatable")
    embed.add_argument("--lines", action="store_true", help="embed each line on its own")
    embed.add_argument("--dimensions", type=int, metavar="N", help="the length of a vector, for models that support this")
    embed.add_argument(
        "--json", action="store_true", help="print one JSON object: model, usage, and data with texts and vectors"
    )
    add_connection(embed)


def _bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("target", metavar="TARGET", help="provider/model, a route, an alias or a model name")
    bench.add_argument("-n", "--requests", type=int, metavar="N", default=10, help="how many to send (default: %(default)s)")
    bench.add_argument(
        "-c", "--concurrency", type=int, metavar="N", default=1, help="how many at a time (default: %(default)s)"
    )
    bench.add_argument(
        "--prompt",
        metavar="TEXT",
        default="Write a short story about a lighthouse.",
        help="the prompt, which gets a number before it so that no two are the same (default: %(default)s)",
    )
    bench.add_argument(
        "--max-tokens", type=int, metavar="N", default=128, help="the limit of each reply (default: %(default)s)"
    )
    bench.add_argument("--json", action="store_true", help="print one JSON array with the times of each request")
    add_connection(bench)


def _chat(chat: argparse.ArgumentParser) -> None:
    chat.add_argument("-m", "--model", metavar="MODEL", help="the model to talk to (default: see polychat default)")
    chat.add_argument("-s", "--system", metavar="TEXT", help="a system message to begin with")
    add_tools(chat.add_argument_group("tools"))
    add_conversation(chat.add_argument_group("the conversation"))
    add_connection(chat)


def _setup(setup: argparse.ArgumentParser) -> None:
    setup.add_argument(
        "tool",
        nargs="?",
        choices=tuple(TOOLS),
        metavar="PROGRAM",
        help=f"a program that is to use the gateway: {', '.join(TOOLS)}",
    )
    setup.add_argument("-m", "--model", metavar="MODEL", help="the model that it is to use (default: see polychat default)")
    setup.add_argument("--url", metavar="URL", help="the gateway's address (default: that of [gateway] in polychat.toml)")
    setup.add_argument(
        "--key-variable",
        metavar="NAME",
        default="POLYCHAT_KEY",
        help="the environment variable that holds a key of the gateway, if it requires one (default: %(default)s)",
    )
    setup.add_argument("--write", action="store_true", help="write the file instead of printing it")
    setup.add_argument("--no-test", action="store_true", help="send no request to the gateway")
    setup.add_argument("--config", metavar="FILE", help="the gateway's configuration file")


def _completion(completion: argparse.ArgumentParser) -> None:
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that the script is for")
    completion.add_argument("--complete", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def _sites(sites: argparse.ArgumentParser) -> None:
    sites.add_argument("--host", default="127.0.0.1", help="the loopback address to listen on (default: %(default)s)")
    sites.add_argument("--port", type=int, default=8899, help="the port; 0 picks a free one (default: %(default)s)")
    answers = sites.add_mutually_exclusive_group()
    answers.add_argument(
        "--model", metavar="TARGET", default="local/smollm2", help="the target that replies (default: %(default)s)"
    )
    answers.add_argument("--echo", action="store_true", help="reply with «echo: » and the prompt, in chunks")
    sites.add_argument(
        "--era",
        choices=get_args(SitesEra),
        default="1.9",
        help="the AI Engine version that the WordPress sites emulate: 1.9 suits clients from 2023 to early 2025 "
        "(no nonce, no streaming from AI Power); 2.0 and 2.4 require a nonce and stream (default: "
        "%(default)s)",
    )


def _probe(probe: argparse.ArgumentParser) -> None:
    probe.add_argument("targets", nargs="*", metavar="TARGET", help="a target, a provider, or a route for all of its targets")
    probe.add_argument("--ask", action="store_true", help="also send a short request to each, which may cost")
    probe.add_argument(
        "--budget",
        type=int,
        metavar="N",
        default=20,
        help="with --ask: the limit of requests a day (default: %(default)s)",
    )
    probe.add_argument(
        "--timeout", type=float, metavar="SECONDS", default=10.0, help="timeout for each step of a probe (default: %(default)g)"
    )
    probe.add_argument("--config", metavar="FILE", help="the configuration file (default: your own)")
    probe.add_argument("--json", action="store_true", help="print one JSON array")


def _explain(explain: argparse.ArgumentParser) -> None:
    explain.add_argument(
        "file", metavar="REQUEST.json", help="the request's body, as a client sends it; - reads standard input"
    )
    explain.add_argument(
        "--dry-run",
        action="store_true",
        help="send nothing: show the targets in the order of their trial, and the losses of each",
    )
    explain.add_argument(
        "--path",
        metavar="PATH",
        default="/v1/chat/completions",
        help="the gateway's path that the request is for, which determines its API (default: %(default)s)",
    )
    explain.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration file (default: ./polychat.toml, which is not trusted with keys, otherwise your own)",
    )
    explain.add_argument("--json", action="store_true", help="print one JSON object, as GET /admin/requests/{id} has it")


def _serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--config",
        metavar="FILE",
        help=("the configuration file (default: ./polychat.toml, which is not trusted with keys, otherwise your own)"),
    )
    serve.add_argument(
        "--host",
        metavar="ADDRESS",
        help="the address to listen on (default: 127.0.0.1); any address other than loopback requires keys",
    )
    serve.add_argument("--port", type=int, metavar="N", help="the port to listen on (default: 8000); 0 picks a free one")
    serve.add_argument("--workers", type=int, metavar="N", help="number of worker processes (default: 1)")
    serve.add_argument("--uds", metavar="FILE", help="the Unix socket to listen on instead of an address and port")
    serve.add_argument("--tls-cert", metavar="FILE", help="the TLS certificate and its chain (PEM)")
    serve.add_argument("--tls-key", metavar="FILE", help="the certificate's private key (PEM)")
    serve.add_argument(
        "--keep-last-good",
        action="store_true",
        help="keep the text of a file that is served by, and use it at a start at which the file is not valid",
    )


def _config(config: argparse.ArgumentParser) -> None:
    actions = config.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    check = actions.add_parser("check", help="validate a file, and report each error with its file, line and key")
    show = actions.add_parser("show", help="print the effective configuration with all defaults, without secrets")
    kept = actions.add_parser("last-good", help="print what `polychat serve --keep-last-good` kept of a file, without secrets")
    kept.add_argument("-o", "--output", type=Path, metavar="FILE", help="create this file with the whole text instead")
    for action in (check, show, kept):
        action.add_argument(
            "file", nargs="?", type=Path, metavar="FILE", help="the file to read (default: the one that polychat serve uses)"
        )
    actions.add_parser("schema", help="print the JSON schema of polychat.toml, for editors")
    convert = actions.add_parser("import", help="convert LiteLLM's config.yaml to a polychat.toml")
    convert.add_argument("file", type=Path, metavar="LITELLM.yaml", help="the file to convert; keys in it are not copied")
    convert.add_argument("-o", "--output", type=Path, metavar="FILE", help="the file to create (default: standard output)")


def _usage(usage: argparse.ArgumentParser) -> None:
    usage.add_argument(
        "--by",
        metavar="DIMENSION",
        default="model",
        help="what the sums are for, such as key, model, target, route, verdict or day (default: %(default)s)",
    )
    usage.add_argument("--since", metavar="WHEN", help="requests from then on: 2026-11-01, or an age such as 24h or 30d")
    usage.add_argument("--until", metavar="WHEN", help="requests before then")
    for name in ("key", "model", "target"):
        usage.add_argument(f"--{name}", metavar="NAME", help=f"only requests with this {name}")
    form = usage.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON array")
    form.add_argument("--csv", action="store_true", help="print comma-separated values with a header line")
    usage.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration file whose [gateway.state] names the database (default: the one that polychat serve uses)",
    )


def _audit(audit: argparse.ArgumentParser) -> None:
    audit.add_argument("--since", metavar="WHEN", help="changes from then on: 2026-11-01, or an age such as 24h or 30d")
    audit.add_argument("--limit", metavar="N", type=int, default=100, help="how many, the latest first (default: %(default)s)")
    audit.add_argument("--json", action="store_true", help="print one JSON array")
    audit.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration file whose [gateway.state] names the database (default: the one that polychat serve uses)",
    )


def _top(top: argparse.ArgumentParser) -> None:
    top.add_argument("--url", metavar="URL", help="the gateway's address (default: that of [gateway] in polychat.toml)")
    top.add_argument(
        "--key-variable",
        metavar="NAME",
        default="POLYCHAT_ADMIN_KEY",
        help="the environment variable that holds one of the gateway's [gateway.admin] keys (default: %(default)s; without "
        "it, the first of polychat.toml, if that names the address)",
    )
    top.add_argument("--config", metavar="FILE", help="the gateway's configuration file")
    top.add_argument(
        "--interval",
        type=float,
        metavar="SECONDS",
        default=2.0,
        help="seconds between two looks, more if the gateway takes long to answer (default: %(default)g)",
    )
    once = top.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="print one look as text, as is done where there is no terminal")
    once.add_argument("--json", action="store_true", help="print one look as JSON")


def _gateway(gateway: argparse.ArgumentParser) -> None:
    from .gateway_key_arguments import KINDS, add_keys, add_owners

    actions = gateway.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _usage(actions.add_parser("usage", help="sum up the usage and cost of the gateway's requests"))
    _audit(actions.add_parser("audit", help="list who changed which key or owner, and when"))
    add_keys(actions.add_parser("keys", help="the keys of the gateway's clients: create, list, show, rotate, revoke"))
    for name, kind in KINDS.items():
        add_owners(actions.add_parser(name, help=f"whose keys they are, and what each {kind} may use"), kind)


class _Command(NamedTuple):
    name: str
    """Also of the module that runs it."""
    add_arguments: Callable[[argparse.ArgumentParser], None]
    help: str
    description: str


_COMMANDS = (
    _Command(
        "ask",
        add_ask,
        "send one prompt and print the reply",
        "Send one prompt and print the reply as it arrives. Input from a pipe or a redirected file stands before the prompt.",
    ),
    _Command(
        "keys",
        _keys,
        "the keys of vendors' APIs: set, list, remove (of a gateway's clients: polychat gateway keys)",
        "The keys with which this machine uses vendors' APIs: keep one in the system's keyring or in a file that only you can "
        "read, list which are set and where, or remove one. The keys of your gateway's clients are: polychat gateway keys.",
    ),
    _Command(
        "log",
        add_log,
        "list, show, search, export and delete conversations",
        "The conversations of polychat ask, which are kept on this machine alone. Without an action, list the latest. To go on "
        "with one: polychat ask -c, or --conversation ID.",
    ),
    _Command(
        "templates",
        _templates,
        "list, show and remove the templates of polychat ask",
        "List, show and remove the templates of polychat ask -t: files with a prompt, a system message, a model and options, "
        "in which $NAME stands for a value and $input for the prompt.",
    ),
    _Command(
        "default",
        _default,
        "show or set the model that answers if none is named",
        "Show the model that answers if none is named, or set it: default_model in your own polychat.toml. The variable "
        "POLYCHAT_MODEL overrides it.",
    ),
    _Command(
        "providers",
        _providers,
        "list the providers and their capabilities",
        "List the providers, what each supports, and the options it takes.",
    ),
    _Command(
        "models",
        _models,
        "list a vendor's models; list, download and remove local models",
        "Without arguments, list the local models. With a vendor's name, list that vendor's models; with all, those of every "
        "vendor that is set up.",
    ),
    _Command(
        "chat",
        _chat,
        "talk to a model in the terminal",
        "Talk to a model in the terminal, with Markdown, history and completion. Lines that begin with / are commands: /help "
        "lists them. It needs the extra chat.",
    ),
    _Command(
        "setup",
        _setup,
        "write a first configuration, or that of a program that uses the gateway",
        "Find API keys, servers and models on this machine, and propose a polychat.toml. With a PROGRAM, send a request "
        "through the running gateway by the API that it uses, and print the settings with which it uses the gateway.",
    ),
    _Command(
        "embed",
        _embed,
        "print the embedding vectors of texts",
        "Print the vector of each text as one line of JSON. Without TEXT and -f, standard input is embedded.",
    ),
    _Command(
        "bench",
        _bench,
        "measure how fast a target answers",
        "Send requests to a target, and print the time to the first token, the time of the whole reply, tokens per second, and "
        "errors. The requests cost what any others do.",
    ),
    _Command(
        "sites",
        _sites,
        "emulate the chat sites' protocols on loopback",
        "Serve the chat sites' own protocols on loopback, with replies from a target of your choice. Use each address as a "
        "--base-url.",
    ),
    _Command(
        "probe",
        _probe,
        "check whether targets can be reached, without cost",
        "Check whether targets can be reached and what is missing: connect, and get the list of models where the API has one. "
        "That costs nothing; --ask also sends a short request. Without targets, check all services and vendors that are set up "
        "here.",
    ),
    _Command(
        "explain",
        _explain,
        "explain which target a request goes to, and why",
        "Send a request as the gateway would, and explain where it went: the targets that could have answered, why each was or "
        "was not tried, every attempt with its time and outcome, the losses and the cost. The reply itself is not printed.",
    ),
    _Command(
        "serve",
        _serve,
        "start the gateway: one address for all backends",
        "Start the gateway: serve the OpenAI, Anthropic, Gemini and Ollama APIs for every backend. Options override [gateway] "
        "in polychat.toml.",
    ),
    _Command(
        "top",
        _top,
        "watch a running gateway: requests, targets, speed and spend",
        "Show what a running gateway does now: requests in flight, requests and tokens a second, the time to the first token, "
        "verdicts, the targets with their state and its reason, and what was spent today. It reads /metrics and /admin; what "
        "the key may not read is left out, and said. Keys: ? lists them. It needs the extra chat, but for --once and --json.",
    ),
    _Command(
        "gateway",
        _gateway,
        "what a gateway keeps: its clients' keys, people and teams, and the usage of requests",
        "Read and change what a gateway keeps in its database ([gateway.state] in polychat.toml): the keys of its clients, "
        "whose they are, what each may use, and the usage of requests. The keys of vendors' APIs are in polychat.toml.",
    ),
    _Command(
        "usage",
        _usage,
        "the same as polychat gateway usage",
        "Sum up the usage and cost of the gateway's requests, from the database of [gateway.state] in polychat.toml.",
    ),
    _Command(
        "config",
        _config,
        "check, print or import the configuration",
        "Check, print or import the configuration that `polychat serve` uses here: ./polychat.toml if it exists, otherwise "
        "your own.",
    ),
    _Command(
        "completion",
        _completion,
        "print a script that completes command lines in bash, zsh or fish",
        "Print a script for a shell, which then completes commands, options, models and files of polychat.",
    ),
)
