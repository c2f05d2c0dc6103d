"""polychat.toml: where it is looked for, what it says, and what it may not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from polychat import config
from polychat.config.settings import LocalModel
from polychat.errors import BadInput


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the test is in, and a configuration home beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return tmp_path / "here"


def put(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_no_file_gives_the_defaults(here: Path) -> None:
    """Without a polychat.toml everything has its default."""
    assert config.load() == config.Config()


def test_the_folder_one_is_in_is_for_those_who_say_so(here: Path, tmp_path: Path) -> None:
    """./polychat.toml is not looked at; ``load_here`` reads it alone, and marks it, or else the person's own file."""
    home = put(tmp_path / "home/polychat/polychat.toml", '[local.models]\nb = "/b.gguf"\n')
    assert config.load() == config.Config(home, {"b": LocalModel(Path("/b.gguf"))})
    own = config.Config(home, {"b": LocalModel(Path("/b.gguf"))})
    assert config.load_here() == own
    mine = put(here / "polychat.toml", '[local.models]\na = "/a.gguf"\n')
    assert config.load() == own
    assert config.load_here() == config.Config(mine, {"a": LocalModel(Path("/a.gguf"))}, from_folder=True)


def test_the_persons_own_file_is_their_own_from_its_folder_too(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A current folder of ~/.config/polychat changes no file's trust."""
    home = put(tmp_path / "home/polychat/polychat.toml", "")
    monkeypatch.chdir(home.parent)
    assert not config.load_here().from_folder


def test_a_relative_configuration_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the XDG specification has it: ~/.config then, also where the variable is empty or not there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("relative/path", ""):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert config.folder() == tmp_path / ".config/polychat"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert config.folder() == tmp_path / ".config/polychat"


def test_a_model_is_a_path_or_a_table(here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Relative paths are relative to the file, wherever one is; ~ is the home; a table sets more."""
    monkeypatch.setenv("HOME", str(tmp_path))
    text = """
    [local.models]
    plain = "models/a.gguf"
    home = "~/b.gguf"
    full = {path = "/c.gguf", context = 512, threads = 3, parallel = 1}
    smollm2 = {context = 8192}
    """
    read = config.read(put(tmp_path / "elsewhere/polychat.toml", text))
    assert read.local_models == {
        "plain": LocalModel(tmp_path / "elsewhere/models/a.gguf"),
        "home": LocalModel(tmp_path / "b.gguf"),
        "full": LocalModel(Path("/c.gguf"), 512, 3, 1),
        "smollm2": LocalModel(context=8192),
    }


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("[lokal]", "lokal", "did you mean local?"),
        ("\n[qqqq]", "qqqq", "known keys: default_model, gateway, routes, aliases, providers, prices, local"),
        ("[local.model]", "local.model", "did you mean models?"),
        ('[local.models.a]\npath = "x"\ncontxt = 4', "local.models.a.contxt", "did you mean context?"),
        ("local = 3", "local", "must be a table: [local]"),
        ("[local]\nmodels = []", "local.models", "must be a table: [local.models]"),
        ("[local.models]\na = 3", "local.models.a", "path/to/model.gguf"),
        ('[local.models]\na = ""', "local.models.a", "path of a file"),
        ("[local.models.a]\npath = true", "local.models.a.path", "path of a file"),
        ("[local.models.a]\ncontext = 0", "local.models.a.context", "whole number of at least 1"),
        ("[local.models.a]\nthreads = 1.5", "local.models.a.threads", "whole number of at least 1"),
        ("[local.models.a]\nparallel = true", "local.models.a.parallel", "whole number of at least 1"),
    ],
)
def test_what_means_nothing_is_an_error(here: Path, text: str, key: str, hint: str) -> None:
    """The error names the file, the line and the key, and the nearest key or what is wanted."""
    file = put(here / "polychat.toml", text)
    with pytest.raises(BadInput) as caught:
        config.load_here()
    assert caught.value.field == key
    assert str(caught.value).startswith(f"{file}:{text.count(chr(10)) + 1}: {key} ")
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        (b"[local.models\n", 1, "column 14"),
        (b"\n\na = \xff\n", 3, "UTF-8"),
        (b"a = 1\na = 2\n", 2, "column 6"),
        (b"\na = [1,\n2\n", 3, "at the end"),
    ],
)
def test_what_is_no_toml_is_an_error(here: Path, content: bytes, line: int, column: str) -> None:
    """The error names the file and tells where it stops making sense."""
    (here / "polychat.toml").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        config.load_here()
    assert str(caught.value).startswith(f"{here / 'polychat.toml'}:{line}: cannot be read as TOML: ")
    assert column in str(caught.value)
