"""What the command costs while it draws: a reply of Markdown at 200 tokens a second, and a screen of ``polychat top``; and what
``top`` costs the gateway, with ten thousand requests in flight.

CPU time in this process, without waits: a reply of ten seconds is drawn as often as in ten seconds. The aim for Markdown: under
10 % of a core at 120 columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from json import dumps
from statistics import median
from time import process_time

from rich.console import Console

from polychat.cli.chat.reply_view import ReplyView
from polychat.cli.top.rates import GatewayRates
from polychat.cli.top.screen import ScreenView, screen
from polychat.cli.top.watching import RunningRow, TargetRow, Watched
from polychat.events import Text
from polychat.gateway.observe.in_progress import InProgress, facts, running
from polychat.gateway.observe.record import Record

from .report import Table, progress

ROUNDS = 5
_SECONDS, _TOKENS = 10, 200
_DRAWINGS = 12.5
"""A second."""
_PARAGRAPH = "The **lighthouse** stands on a `rock` that the sea leaves at low tide, and its keeper counts the ships. "
_CODE = "```python\ndef ships(log: list[str]) -> int:\n    return sum('ship' in line for line in log)\n```\n\n"
_LIST = "- one [link](https://example.org)\n- two *words*\n- three\n\n"
MARKDOWN = f"# A title\n\n{_PARAGRAPH * 4}\n\n{_CODE}{_LIST}| a | b |\n|---|---|\n| 1 | 2 |\n\n"


def measure() -> Iterator[Table]:
    """One table: CPU of each, the least and the median of some rounds."""
    cases: dict[str, tuple[Callable[[], float], str]] = {
        "Markdown, 200 tokens a second, 120 columns": (_markdown, "% of a core"),
        "`polychat top`: a screen of 120x40, 100 requests": (_screen, "ms"),
        "`GET /admin/running`, 10,000 in flight, 100 listed": (lambda: _running(""), "ms"),
        "the same, those with a text in a name": (lambda: _running("nobody"), "ms"),
    }
    took: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(ROUNDS):
        for name, (case, _) in cases.items():
            progress(f"terminal: round {number + 1} of {ROUNDS}")
            took[name].append(case())
    rows = [[name, f"{min(took[name]):.2f}", f"{median(took[name]):.2f}", unit] for name, (_, unit) in cases.items()]
    yield Table("CPU of what the command draws", ["", "least", "median", ""], rows, [f"Of {ROUNDS} rounds in turns."])


def _markdown() -> float:
    """Percent of a core that drawing takes while a reply arrives."""
    text = (MARKDOWN * 20)[: _SECONDS * _TOKENS * 4]
    tokens = [text[place : place + 4] for place in range(0, len(text), 4)]
    with open(os.devnull, "w", encoding="utf-8") as out:
        view = ReplyView(Console(file=out, force_terminal=True, width=120, height=40, color_system="256"))
        each = _TOKENS / _DRAWINGS
        begin, drawn = process_time(), 0.0
        for number, token in enumerate(tokens):
            view.take([Text(token)])
            if number >= drawn:
                drawn += each
                view.draw()
        view.finish()
        return (process_time() - begin) / (len(tokens) / _TOKENS) * 100


def _screen() -> float:
    """Milliseconds of one screen."""
    seen = Watched("http://127.0.0.1:8000", version="1.0.0", workers=4, in_flight=10_000)
    seen.rates = GatewayRates(60.0, 100.0, 1e4, 1e4, {"complete": 6_000}, {"200": 6_000}, 0.2, 1.0, {}, {}, 0, 1.0)
    seen.targets = [TargetRow("fast", f"house/model-{n}", "closed", "", 0.0, n, 0, 0.1, 10.0, 0) for n in range(20)]
    seen.running = [RunningRow(f"req_{n}", "fast", "fast", "house/model-1", "ada", "answering", n, 0.1, n) for n in range(100)]
    begin = process_time()
    for _ in range(20):
        screen(seen, ScreenView(), 0.0, "12:00:00 UTC", 120, 40)
    return (process_time() - begin) / 20 * 1000


def _running(text: str) -> float:
    """Milliseconds of one page."""
    records: InProgress = {}
    for number in range(10_000):
        record = Record(f"req_{number}", "openai-chat", "POST", "/v1/chat/completions", 0.0)
        record.model, record.route, record.key = f"house/model-{number % 50}", "fast", f"key-{number % 500}"
        record.provider, record.served = "house", f"model-{number % 50}"
        records[record] = None
    begin = process_time()
    for _ in range(5):
        dumps(facts(running(records, 100, text), 100, text, 1.0))
    return (process_time() - begin) / 5 * 1000
