"""What ``polychat top`` shows of a gateway: at any size, and of a real one with the moving parts masked."""

from __future__ import annotations

import re
from typing import Any

import pytest

from polychat.cli.text_width import fitted, width_of
from polychat.cli.top.pages import GatewayPages
from polychat.cli.top.rates import GatewayRates
from polychat.cli.top.screen import PaneView, ScreenView, screen, text_of
from polychat.cli.top.tables import Line
from polychat.cli.top.watching import RunningRow, Spend, TargetRow, Watched, Watcher
from polychat.config.access import Admin
from polychat.config.settings import Route

from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    Stage,
    asking,
    configured,
    fault,
    gateway,
    good,
    row,
    text,
    until,
)
from ...support.scripted_server import Say, Seen, serving

SCREEN = """\
polychat top  http://###.#.#.#:#####  #.#.#                             ##:##:##
in flight #   requests #.#/s   tokens #.#/s in, #.#/s out
first token p## -, p## -   # complete   $#.#### since the gateway began
no spend by key: nothing is kept here: add [gateway.state] to the configuration…
── targets ─────────────────────────────────────────────────────────────────────
TARGET          ROUTE   STATE        RUN   REQ/S   FAIL    FIRST  REASON
one/small       house   resting        #     #.#      #      # s   # s: one/sma…
two/small       house   closed         #     #.#      #      # s
three/small     -       closed         #     #.#      #      # s
── requests in flight: # ───────────────────────────────────────────────────────
   AGE▼  STATE      MODEL        TARGET       KEY       FIRST
    # s  answering  three/small  three/small  alice       # s
"""
"""Of a gateway with a target that rests, one that answers for it, and a stream that goes on."""


def plain(lines: list[Line]) -> str:
    return "".join("".join(piece for _, piece in line).rstrip() + "\n" for line in lines)


def masked(shown: str) -> str:
    """Each digit is #, and so are seconds, however many digits they have, and times too short to be known: columns stay."""
    times = re.compile(r" +([\d.]+ s\b|-$)", re.MULTILINE)
    return re.sub(r"\d", "#", times.sub(lambda time: "# s".rjust(len(time[0])), shown))


class Clock:
    """Two seconds later at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_screen_of_a_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its targets with state and reason, what is in flight, verdicts and rates; of what it does not tell, why."""
    monkeypatch.setenv("ADMIN_KEY", "an-admin-key")
    monkeypatch.setenv("CHAT_KEY", "a-chat-key-of-alice")
    refusing = fault(429, "rate_limit_error", "slow down", **{"retry-after": "60"})
    stage = Stage(FIRST, text("Hel"), rest=(END, DONE))
    async with serving(refusing) as first, serving(good) as second, serving(stage) as third:
        urls = {"one": first.url, "two": second.url, "three": third.url}
        base = configured(
            {name: row("openai-chat", url) for name, url in urls.items()},
            routes={"house": Route(targets=("one/small", "two/small"), strategy="ordered")},
            keys={"alice": "env:CHAT_KEY"},
            admin=Admin(keys={"ops": "env:ADMIN_KEY"}),
        )
        alice = {"authorization": "Bearer a-chat-key-of-alice"}
        async with gateway(base) as running:
            clock = Clock()
            watcher = Watcher(GatewayPages(running.url, "an-admin-key"), clock)
            await watcher.look()
            for _ in range(2):
                assert (await running.ask(*asking("openai-chat", "house"), headers=alice)).status == 200
            await running.app.recorded(2)
            caller = await running.caller()
            caller.ask(*asking("openai-chat", "three/small", stream=True), headers=alice)
            await until(stage.asked)
            await caller.head()
            await caller.until(b"Hel")
            clock.now = 2.0
            await watcher.look()
            shown = plain(screen(watcher.seen, ScreenView(), clock.now, "09:00:00", 80, 24))
            once = text_of(watcher.seen, "09:00:00", 80)
            found = ScreenView(text="THREE")
            filtered = plain(screen(watcher.seen, found, clock.now, "09:00:00", 80, 24))
            await watcher.look("nobody")
            none = watcher.seen.running
            stage.go.set()
            await caller.rest()
    assert watcher.seen.lost == ""
    assert "requests 1.0/s   tokens 3.0/s in, 2.0/s out" in shown
    assert "2 complete" in shown
    assert masked(shown).splitlines()[: len(SCREEN.splitlines())] == SCREEN.splitlines()
    assert shown.count("\n") == 24
    assert [line for line in once.splitlines() if line] == shown.splitlines()[: len(SCREEN.splitlines())]
    assert "with “THREE” in a name" in filtered
    assert (filtered.count("three/small"), "two/small" in filtered) == (3, False)
    assert none == []


async def test_a_gateway_that_goes_away_is_looked_for_until_it_is_there() -> None:
    """Meanwhile the screen says since when it is away, and why; what was seen stays."""
    clock = Clock()
    async with gateway(configured({}, routes={})) as running:
        watcher = Watcher(GatewayPages(running.url, ""), clock)
        await watcher.look()
        assert "never answered" not in plain(screen(watcher.seen, ScreenView(), 0.0, "", 100, 12))
        version = watcher.seen.version
    clock.now = 40.0
    await watcher.look()
    away = plain(screen(watcher.seen, ScreenView(), clock.now, "", 100, 12))
    assert "no answer for 40 s" in away
    assert "connection refused" in away
    assert (version in away, bool(version)) == (True, True)


async def test_without_a_key_the_metrics_are_shown_and_the_rest_says_why() -> None:
    """A page that was refused is not asked for again at once; one that is no gateway's is told from one."""
    async with gateway(configured({})) as running:
        clock = Clock()
        watcher = Watcher(GatewayPages(running.url, ""), clock)
        await watcher.look()
        assert set(watcher.seen.problems) == {"targets", "running", "spend"}
        assert all("[gateway.admin]" in problem for problem in watcher.seen.problems.values())
        assert watcher.seen.is_readable

    async def other(seen: Seen, say: Say) -> None:
        await say.whole({"hello": "world"})

    async with serving(other) as server:
        watcher = Watcher(GatewayPages(server.url, "some-key"), clock)
        await watcher.look()
        asked = [seen.path for seen in server.seen]
        await watcher.look()
    assert watcher.seen.problems["metrics"] == "/metrics is not of a gateway of polychat"
    assert asked.count("/metrics") == [seen.path for seen in server.seen].count("/metrics") == 1


async def test_spend_is_shown_by_person_or_else_by_key() -> None:
    """Of today, the largest first; a plus sign where requests have no price."""
    people = [{"name": "", "cost_usd": 1.5, "unpriced": 0}]
    keys = [{"name": "bob", "cost_usd": 0.5, "unpriced": 0}, {"name": "ada", "cost_usd": 1.0, "unpriced": 2}]

    async def usage(seen: Seen, say: Say) -> None:
        if "/usage" in seen.path:
            await say.whole({"usage": people if "by=person" in seen.target else keys})
        else:
            await say.whole({"error": {"message": "the admin key x does not have the scope read"}}, status=403)

    async with serving(usage) as server:
        watcher = Watcher(GatewayPages(server.url, "some-key"), Clock(), today=lambda: "2026-11-29")
        await watcher.look()
        by_key = plain(screen(watcher.seen, ScreenView(), 0.0, "", 100, 12))
        people[0]["name"] = "ada"
        watcher = Watcher(GatewayPages(server.url, "some-key"), Clock(), today=lambda: "2026-11-29")
        await watcher.look()
    assert "$1.5000+ today   ada $1.0000   bob $0.5000" in by_key
    assert "does not have the scope read" in by_key
    assert all("since=2026-11-29" in seen.target for seen in server.seen if "/usage" in seen.path)
    assert watcher.seen.spend == Spend(1.5, "person", [("ada", 1.5)], 0)


async def test_keys_are_shown_by_name() -> None:
    """In what was spent and in what runs; with the id where two have one name, by the id where a key has none."""
    keys = [("k1", "laptop"), ("k2", "desk"), ("k3", "desk"), ("file", ""), ("k4", "file"), ("k1", "laptop")]
    spent = [{"name": key, "key_name": name, "cost_usd": 1.0} for key, name in keys[:5]]
    requests = [{"request_id": f"r{at}", "key": key, "key_name": name} for at, (key, name) in enumerate(keys)]

    async def pages(seen: Seen, say: Say) -> None:
        if "/usage" in seen.path:
            await say.whole({"usage": spent if "by=key" in seen.target else []})
        else:
            await say.whole({"requests": requests, "targets": [], "total": len(requests)})

    async with serving(pages) as server:
        watcher = Watcher(GatewayPages(server.url, "some-key"), Clock())
        await watcher.look()
    shown = ["laptop", "desk (k2)", "desk (k3)", "file (file)", "file (k4)"]
    assert watcher.seen.spend is not None
    assert [name for name, _ in watcher.seen.spend.names] == shown
    assert [row.key for row in watcher.seen.running] == [*shown, "laptop"]


async def test_a_stranger_in_the_place_of_a_gateway_steers_no_terminal() -> None:
    """Whatever its JSON has where values should be, and escapes in each name; it ends no watching either."""
    wrong: list[Any] = [None, 1, "x", [], {}, {"target": 1, "state": [], "age_ms": "soon", "tokens": 2**70}]
    bad = dict.fromkeys(("route", "target", "state", "reason", "model", "key", "request_id", "name"), "\x1b[2J\x07evil\n")
    pages = {"targets": [*wrong, bad], "requests": [*wrong, bad], "total": 1e300}
    pages["targets"] += [{"target": "far", "seconds": 1.7e308, "in_flight": 1.7e308}] * 2
    most = b'polychat_requests_total{verdict="x"} 1.7e308\npolychat_fields_dropped_total 1.7e308\n' * 2

    async def stranger(seen: Seen, say: Say) -> None:
        if seen.path == "/metrics":
            await say.whole(b'polychat_build_info{version="\x1b[2J"} 1\n' + most, content_type="text/plain")
        elif seen.path.startswith("/admin/usage"):
            await say.whole(b"[" * 100_000, content_type="application/json")
        else:
            await say.whole(pages)

    async with serving(stranger) as server:
        watcher = Watcher(GatewayPages(server.url, "some-key"), Clock())
        await watcher.look()
        await watcher.look()
    shown = plain(screen(watcher.seen, ScreenView(), 0.0, "", 120, 40))
    assert ("evil" in shown, "/admin/usage is not of a gateway" in shown) == (True, True)
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_it_fits_every_terminal() -> None:
    """No line is wider than it, letters of two columns and marks of none included, and there are no more lines than fit.

    The last one is always that of the keys.
    """
    seen = Watched(
        "http://127.0.0.1:8000", version="1.0.0", workers=4, in_flight=12_345, lost="connection refused. Is it running?"
    )
    seen.rates = GatewayRates(
        60.0, 1e6, 1e7, 1e8, {"complete": 10**9, "failed": 3}, {"429": 7}, 0.2, float("inf"), {}, {}, 5, 1.0
    )
    names = ("house/small", "家/日本語モデル" * 4, "e\u0301\u0301\U0001f600" * 20, "")
    seen.targets = [TargetRow("r" * n, name, "half-open 2/4", name, 3.0, n, n, 0.1, 1e6, n) for n, name in enumerate(names * 9)]
    seen.running = [RunningRow(name, name, name, name, name, "waiting", 1e5, None, n) for n, name in enumerate(names * 9)]
    seen.spend = Spend(1e6, "person", [(name or "-", 2.0) for name in names * 3], 1)
    for width in (*range(1, 40), 60, 80, 120, 300):
        for height in (1, 2, 5, 12, 24, 60):
            for view in (
                ScreenView(),
                ScreenView(is_help=True, text="x" * 80),
                ScreenView(is_typing=True, is_paused=True, text="家"),
            ):
                view.panes["running"] = PaneView(sort=height % 8, top=height)
                lines = screen(seen, view, 10.0, "14:00:00 UTC", width, height)
                assert len(lines) <= height
                assert height == 1 or lines[-1][0][0] == "keys"
                assert max(width_of("".join(piece for _, piece in line)) for line in lines) <= width, (width, height)


@pytest.mark.parametrize(
    ("whole", "width", "shown"),
    [
        ("house", 5, "house"),
        ("house", 4, "hou…"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日… "),
        ("日本語", 8, "日本語  "),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301…"),
        ("ab", 0, ""),
        ("ab", 1, "…"),
    ],
)
def test_texts_are_cut_and_filled_by_the_columns_that_they_take(whole: str, width: int, shown: str) -> None:
    """Not by their letters."""
    assert fitted(whole, width) == shown
    assert width_of(shown) == width
