"""The command: arguments to the client or the gateway, and what comes back to the terminal."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import BadInput, PolychatError
from ..version import __version__

ANSWERED, FAILED, MISUSED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 done, 1 the backend failed, 2 bad usage, 130 after Ctrl-C, 141 no reader."""
    _settle_streams()
    try:
        try:
            return _run(argv)
        finally:
            # Here and not when the interpreter ends, where a closed pipe or a full disk can only become a traceback.
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_output()  # the reader of our output has gone
        return PIPE_CLOSED
    except PolychatError as error:
        complain(str(error))
        return MISUSED if isinstance(error, BadInput) else FAILED
    except OSError as error:
        _give_up_output()
        what = "the output cannot be written" if error.filename is None else str(error.filename)
        complain(f"{what}: {error.strerror or error}")
        return FAILED


def _run(argv: Sequence[str] | None) -> int:
    arguments = parser().parse_args(argv)
    if arguments.command is None:
        parser().print_help()
        return MISUSED
    _speak_plainly()
    return int(import_module(f".{arguments.command}", __package__).run(arguments))


def _settle_streams() -> None:
    """Make output impossible to fail on a letter: what the terminal's or the pipe's encoding lacks becomes ``?``.

    Where the process was started without one of its three streams, the null device takes its number, or a connection would.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        null = os.dup(null)
    os.close(null)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _give_up_output() -> None:
    """Send what is left of the output nowhere, so that the exit does not fail on the flush."""
    with suppress(OSError, ValueError):  # a stream without a file, as in tests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(message: str, kind: str = "error") -> None:
    """Print one line on stderr; do nothing if stderr is closed."""
    with suppress(OSError):
        print(f"polychat: {kind}: {message}", file=sys.stderr)


def print_json(value: object, *, indent: int | None = None, default: Callable[[object], Any] | None = None) -> None:
    """One JSON value on standard output; letters that its encoding lacks are written as JSON's escapes."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    plain = encoding not in ("utf-8", "utf8")
    # Half a surrogate pair, which a reply can hold and UTF-8 cannot: its escape is the one way to write it.
    text = json.dumps(value, indent=indent, ensure_ascii=plain, default=default)
    if not plain:
        text = text.encode("utf-8", "backslashreplace").decode()
    print(text)


def _speak_plainly() -> None:
    """Warnings as one line for a person, not as a place in our source."""
    import warnings

    def show(message: Warning | str, *_: object, **__: object) -> None:
        complain(str(message), "warning")

    warnings.showwarning = show


def parser() -> argparse.ArgumentParser:
    """The whole command line; what a command does is imported when it runs."""
    top = argparse.ArgumentParser(
        prog="polychat",
        description="One command for every chat backend: chat sites, API vendors, and a model on this machine.",
        epilog="exit codes: 0 success, 1 the backend failed, 2 usage error, 130 interrupted",
    )
    top.add_argument("--version", action="version", version=f"polychat {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _ask(
        commands.add_parser(
            "ask", help="send one prompt and print the reply", description="Send one prompt and print the reply as it arrives."
        )
    )
    _providers(commands.add_parser("providers", help="list the providers and their capabilities"))
    _models(
        commands.add_parser(
            "models",
            help="list a vendor's models; list, download and remove local models",
            description="Without arguments, list the local models. With a vendor's name, list that vendor's models.",
        )
    )
    _sites(
        commands.add_parser(
            "sites",
            help="emulate the chat sites' protocols on loopback",
            description=(
                "Serve the chat sites' own protocols on loopback, with replies from a target of your choice. Use "
                "each address as a --base-url."
            ),
        )
    )
    _probe(commands.add_parser("probe", help="look whether targets are there, for free", description=_PROBE))
    _explain(commands.add_parser("explain", help="tell why a request goes where it goes", description=_EXPLAIN))
    _serve(commands.add_parser("serve", help="start the gateway: one address for all backends", description=_SERVE))
    _config(
        commands.add_parser(
            "config",
            help="check, print or import the configuration",
            description=(
                "Check, print or import the configuration that `polychat serve` uses here: ./polychat.toml if it "
                "exists, otherwise your own."
            ),
        )
    )
    return top


def _ask(ask: argparse.ArgumentParser) -> None:
    ask.add_argument(
        "prompt", metavar="PROMPT", help="the prompt; standard input, if piped, is appended to it; - reads standard input only"
    )
    ask.add_argument(
        "-m",
        "--model",
        metavar="NAME",
        help="provider/model, a route, an alias or a model name, or several separated by commas as fallbacks in "
        "that order (default: POLYCHAT_MODEL, then default_model of polychat.toml, then local/smollm2)",
    )
    ask.add_argument("--config", metavar="FILE", help="the polychat.toml to use instead of your own")
    ask.add_argument("-s", "--system", metavar="TEXT", help="a system message to send before the prompt")
    ask.add_argument("--base-url", metavar="URL", help="the address of another instance of the same service")
    ask.add_argument("--proxy", metavar="URL", help="an http, https, socks5 or socks5h proxy, with user:password@ if required")
    ask.add_argument(
        "--cookie",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a cookie for the service, instead of those found on this machine; repeatable",
    )
    ask.add_argument("--timeout", metavar="SECONDS", type=float, help="timeout for the whole request")
    ask.add_argument(
        "-o",
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a provider option, such as page=/chat/ or temperature=0.2 (see: polychat providers); repeatable",
    )
    ask.add_argument("--image", metavar="FILE|URL", action="append", default=[], help="an image to attach; repeatable")
    ask.add_argument("--file", metavar="FILE|URL", action="append", default=[], help="a document to attach; repeatable")
    ask.add_argument("--schema", metavar="FILE", help="a JSON schema that the reply must follow")
    ask.add_argument(
        "--reasoning",
        metavar="EFFORT|TOKENS",
        help="reasoning effort: none, minimal, low, medium, high, xhigh, or a number of tokens",
    )
    ask.add_argument(
        "--on-loss",
        choices=("refuse", "warn", "allow"),
        help=(
            "what to do if the backend does not support a field of the request (default: refuse only what "
            "changes the form of the reply)"
        ),
    )
    ask.add_argument("--usage", action="store_true", help="print tokens and cost to standard error")
    ask.add_argument("--json", action="store_true", help="print the whole reply as one JSON object: text, verdict, usage, cost")
    ask.add_argument("--no-stream", action="store_true", help="print the reply only when it is complete")


def _providers(providers: argparse.ArgumentParser) -> None:
    providers.add_argument("--json", action="store_true", help="print the list as JSON")


def _models(models: argparse.ArgumentParser) -> None:
    models.add_argument(
        "what",
        nargs="?",
        default="list",
        metavar="VENDOR|ACTION",
        help="a vendor's name, or an action for local weights: list (default), pull, path, rm",
    )
    models.add_argument("name", nargs="?", default="smollm2", help="the local model (default: %(default)s)")
    models.add_argument("--json", action="store_true", help="print a vendor's models as JSON")
    models.add_argument("--base-url", metavar="URL", help="the address of another instance of the vendor's API")
    models.add_argument("--proxy", metavar="URL", help="the proxy to use, as for polychat ask")
    models.add_argument("--timeout", metavar="SECONDS", type=float, default=30.0, help="default: %(default)s")


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
        choices=("1.9", "2.0", "2.4"),
        default="1.9",
        help="the AI Engine version that the WordPress sites emulate: 1.9 suits clients from 2023 to early 2025 "
        "(no nonce, no streaming from AI Power); 2.0 and 2.4 require a nonce and stream (default: "
        "%(default)s)",
    )


_PROBE = (
    "Look whether targets are there and what stands in the way: connect, and get the list of models where there is one. That "
    "costs nothing; --ask sends a short request too. Without targets: all services and vendors that are set up here."
)


def _probe(probe: argparse.ArgumentParser) -> None:
    probe.add_argument("targets", nargs="*", metavar="TARGET", help="a target, a provider, or a route for all of its targets")
    probe.add_argument("--ask", action="store_true", help="also send a short request to each, which may cost")
    probe.add_argument(
        "--budget", type=int, metavar="N", default=20, help="with --ask: at most so many requests a day (default: %(default)s)"
    )
    probe.add_argument(
        "--timeout", type=float, metavar="SECONDS", default=10.0, help="for each step of a probe (default: %(default)g)"
    )
    probe.add_argument("--config", metavar="FILE", help="the configuration file (default: your own)")
    probe.add_argument("--json", action="store_true", help="print one JSON array")


_EXPLAIN = (
    "Send a request as the gateway would, and explain its way: the targets that could have answered, why each was or was not "
    "asked, every attempt with its time and outcome, the losses and the cost. The reply itself is not printed."
)


def _explain(explain: argparse.ArgumentParser) -> None:
    explain.add_argument(
        "file", metavar="REQUEST.json", help="the request's body, as a client sends it; - reads standard input"
    )
    explain.add_argument(
        "--dry-run", action="store_true", help="send nothing: show who would be asked in which order, and what each would lose"
    )
    explain.add_argument(
        "--path",
        metavar="PATH",
        default="/v1/chat/completions",
        help="the gateway's path that the request is for, which says its API (default: %(default)s)",
    )
    explain.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration file (default: ./polychat.toml, which is not trusted with keys, otherwise your own)",
    )
    explain.add_argument("--json", action="store_true", help="print one JSON object, as GET /admin/requests/{id} has it")


_SERVE = (
    "Start the gateway: serve the OpenAI, Anthropic, Gemini and Ollama APIs for every backend. Options "
    "override [gateway] in polychat.toml."
)


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
    serve.add_argument("--uds", metavar="PATH", help="the Unix socket to listen on instead of an address and port")
    serve.add_argument("--tls-cert", metavar="FILE", help="the TLS certificate and its chain (PEM)")
    serve.add_argument("--tls-key", metavar="FILE", help="the certificate's private key (PEM)")


def _config(config: argparse.ArgumentParser) -> None:
    actions = config.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    check = actions.add_parser("check", help="validate a file, and report each error with its file, line and key")
    show = actions.add_parser("show", help="print the effective configuration with all defaults, without secrets")
    for action in (check, show):
        action.add_argument(
            "file", nargs="?", type=Path, metavar="FILE", help="the file to read (default: the one that polychat serve uses)"
        )
    actions.add_parser("schema", help="print the JSON schema of polychat.toml, for editors")
    taken = actions.add_parser("import", help="convert LiteLLM's config.yaml to a polychat.toml")
    taken.add_argument("file", type=Path, metavar="LITELLM.yaml", help="the file to convert; keys in it are not copied")
    taken.add_argument("-o", "--output", type=Path, metavar="FILE", help="the file to create (default: standard output)")
