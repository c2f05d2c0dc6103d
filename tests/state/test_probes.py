"""What probes found is kept from one run to the next, and paid ones are counted."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from polychat.state.probes import Probes, folder

FOUND = {"state": "gone", "step": "connect", "evidence": "no", "date": "2026-11-28T00:00:00+00:00"}


def test_the_latest_of_each_target_is_kept(tmp_path: Path) -> None:
    """Whatever case its name is in."""
    probes = Probes(tmp_path / "new")
    assert probes.kept() == {}
    probes.keep({"GPTalk": FOUND, "openai": FOUND})
    probes.keep({"gptalk": {**FOUND, "state": "reachable"}})
    assert {name: entry["state"] for name, entry in probes.kept().items()} == {"openai": "gone", "gptalk": "reachable"}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1, "b": {}}', "\xff", "{"])
def test_a_file_that_is_not_ours_is_as_none(tmp_path: Path, text: str) -> None:
    """And is replaced by the next probe."""
    (tmp_path / "probes.json").write_text(text, encoding="latin-1")
    probes = Probes(tmp_path)
    assert probes.kept() == {}
    probes.keep({"a": FOUND})
    assert json.loads((tmp_path / "probes.json").read_text()) == {"a": FOUND}


def test_no_more_are_paid_than_the_budget_of_a_day(tmp_path: Path) -> None:
    """However many ask at once; another day begins anew, and a smaller budget counts what was paid."""
    probes = Probes(tmp_path)
    today, tomorrow = date(2026, 11, 28), date(2026, 11, 29)
    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(lambda _: probes.reserve(today, 5), range(20)))
    assert granted.count(True) == 5
    assert probes.reserve(today, 3) is False
    assert probes.reserve(tomorrow, 1) is True
    assert probes.reserve(tomorrow, 0) is False


def test_it_is_where_the_system_keeps_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path there is ignored, as the XDG specification has it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert folder() == tmp_path / "polychat"
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    assert folder().parts[-4:] == (*folder().parts[-4:-3], ".local", "state", "polychat")
