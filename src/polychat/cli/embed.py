"""``polychat embed``."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict
from pathlib import Path

from ..client.calls import vectors_of
from ..client.targets import targets_of, user_targets
from ..errors import BadInput
from ..wire.embeddings import Embeddings
from . import ANSWERED, print_json
from .connection import connection_options
from .prompting import from_stdin, piped, text_read


def run(arguments: argparse.Namespace) -> int:
    """Embed the texts and print their vectors. What is wrong with the arguments raises ``BadInput`` before anything is sent."""
    targets = user_targets() if arguments.config is None else targets_of(arguments.config)
    texts, options = _texts(arguments), connection_options(arguments)
    vectors = asyncio.run(vectors_of(targets, texts, arguments.model, arguments.dimensions, None, options))
    _print(texts, vectors, as_one=arguments.json)
    return ANSWERED


def _texts(arguments: argparse.Namespace) -> list[str]:
    """Those of the command line and of files; without any, that of standard input."""
    texts = [from_stdin() if text == "-" else text for text in arguments.texts]
    texts += [_from_file(file) for file in arguments.file]
    if not texts:
        texts = [piped()]
    if arguments.lines:
        texts = [line for text in texts for line in text.splitlines()]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise BadInput("there is no text to embed: pass it as an argument, with -f FILE, or on standard input", field="texts")
    return texts


def _from_file(file: str) -> str:
    try:
        with Path(file).open("rb") as stream:
            return text_read(stream, f"-f {file}", "file")
    except OSError as error:
        raise BadInput(f"-f {file} cannot be read: {error.strerror}", field="file") from None


def _print(texts: list[str], embeddings: Embeddings, *, as_one: bool) -> None:
    if not as_one:
        for vector in embeddings.vectors:
            print_json(vector)
        return
    data = [{"text": text, "vector": vector} for text, vector in zip(texts, embeddings.vectors, strict=True)]
    print_json({"model": embeddings.model, "usage": asdict(embeddings.usage), "data": data})
