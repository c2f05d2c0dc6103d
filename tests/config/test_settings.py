"""polychat.toml's [gateway], [routes] and [aliases]: their valid values, and where an error is located."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, inspect

from polychat import config
from polychat.backends.registry import Registry, user_registry
from polychat.config import Config
from polychat.config.decoding import form
from polychat.config.places import line_of
from polychat.config.settings import GatewaySettings, Limits, Route, Store
from polychat.config.writing import config_text, name_text, value_text
from polychat.errors import BadInput

FILE = Path("polychat.toml")


def parsed(text: str) -> Config:
    return config.parsed(text, FILE)


def refused(text: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        parsed(text)
    return caught.value


def test_an_empty_file_gives_all_defaults() -> None:
    """What is not set has its default, down to the tables in tables."""
    assert parsed("") == Config(FILE)
    assert parsed("[gateway]\nport = 1").gateway == GatewaySettings(port=1)
    assert parsed("[gateway.limits]\nbody = 2048").gateway == GatewaySettings(limits=Limits(body=2048))


def test_each_type_is_as_in_toml() -> None:
    """Tables in tables, lists, tables of text; a whole number does for a number; one text does for a list of it."""
    read = parsed(
        """
        [gateway]
        cors = "*"
        grace = 5
        log = "off"
        telemetry = true
        on_disconnect = "drain:2.5"
        keys = { me = "env:MINE", you = "file:~/k" }
        store = { replies = 0 }
        [routes."gpt-4.1"]
        targets = ["a/b", "c/d"]
        weights = [1, 2.5]
        [aliases]
        four = "gpt-4.1"
        """
    )
    assert read.gateway.keys == {"me": "env:MINE", "you": "file:~/k"}
    assert (read.gateway.cors, read.gateway.log, read.gateway.telemetry) == (("*",), "off", True)
    assert (read.gateway.grace, type(read.gateway.grace)) == (5.0, float)
    assert (read.gateway.on_disconnect, read.gateway.store) == ("drain:2.5", Store(replies=0))
    assert read.routes == {"gpt-4.1": Route(targets=("a/b", "c/d"), weights=(1.0, 2.5))}
    assert read.aliases == {"four": "gpt-4.1"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[gateway]\nport = "x"', '2: gateway.port is "x"; it must be a whole number from 0 to 65535'),
        ("[gateway]\nport = true", "2: gateway.port is true; it must be a whole number"),
        ("[gateway]\nport = 70000", "2: gateway.port is 70000; it must be a whole number from 0 to 65535"),
        ("[gateway]\nport = 8.0", "2: gateway.port is 8.0; it must be a whole number"),
        ("[gateway]\ngrace = -1", "2: gateway.grace is -1; it must be a number of at least 0"),
        ("[gateway]\ngrace = true", "2: gateway.grace is true; it must be a number"),
        ("[gateway]\ngrace = nan", "2: gateway.grace is NaN; it must be a number"),
        ("[gateway]\ngrace = inf", "2: gateway.grace is Infinity; it must be a number"),
        ("[gateway]\ntelemetry = 1", "2: gateway.telemetry is 1; it must be true or false"),
        ("[gateway]\nhost = 1", "2: gateway.host is 1; it must be text"),
        ('[gateway]\nlog = "hunan"', '2: gateway.log is "hunan"; it must be "human", "json" or "off"; did you mean human?'),
        ("[gateway]\ncors = [1]", "2: gateway.cors has 1 in its list; each must be text"),
        ("[gateway]\nprt = 1", "2: gateway.prt is not a known key; did you mean port?"),
        ("gateway = 1", "1: gateway is 1; it must be a table: [gateway]"),
        ("[[gateway]]", "1: gateway is [{}]; it must be a table: [gateway]"),
        (
            "[gateway]\n\n[gateway.limits]\n\nbody = 3",
            "5: gateway.limits.body is 3; it must be a whole number of at least 1024",
        ),
        ("[gateway]\nlimits = { bdy = 3 }", "2: gateway.limits.bdy is not a known key; did you mean body?"),
        ('[gateway]\non_disconnect = "drain"', '2: gateway.on_disconnect is "drain"; it must be "cancel" or "drain:SECONDS"'),
        ('[gateway]\non_disconnect = "cancel\\n"', "2: gateway.on_disconnect is"),
        (
            '[routes.a]\ntargets = ["x/y"]\nweights = [inf]',
            "3: routes.a.weights has Infinity in its list; each must be a number",
        ),
        ("[gateway]\nkey_settings = { a = 1 }", "2: gateway.key_settings.a is 1; it must be a table: [gateway.key_settings.a]"),
        ('[prices."a/b"]\nprompt = -1', "2: prices.a/b.prompt is -1; it must be a number from 0 to 1000000000"),
        ("local = { models = 1 }", "1: local.models is 1; it must be a table: [local.models]"),
        ('[gateway]\non_disconnect = "drain:-1"', "2: gateway.on_disconnect is"),
        ('[gateway]\ntls_cert = "c.pem"', "2: gateway.tls_cert requires gateway.tls_key as well"),
        ('[gateway]\nport = 1\ntls_key = "c.pem"', "3: gateway.tls_key requires gateway.tls_cert as well"),
        ("[routes.a]\n", "1: routes.a has no targets; it needs at least one"),
        ("[routes.a]\ntargets = []", "1: routes.a has no targets"),
        (
            '[routes.a]\ntargets = ["x/y"]\nweights = ["1"]',
            '3: routes.a.weights has "1" in its list; each must be a number',
        ),
        ('[routes.a]\ntargets = ["x/y"]\nweights = 1', "3: routes.a.weights is 1; it must be a list of numbers of at least 0"),
        (
            '[routes.a]\ntargets = ["x/y"]\nweights = [\n1,\n2]',
            "3: routes.a.weights has 2 numbers; it must have one for each of the 1 targets",
        ),
        (
            '[routes."a.b"]\ntargets = ["x/y"]\nattempts = 0',
            "3: routes.a.b.attempts is 0; it must be a whole number from 1 to 20",
        ),
        ('[aliases]\na = "b"\nb = 1', "3: aliases.b is 1; it must be text"),
        ('[routes.a]\ntargets = ["x/y"]\n[aliases]\na = "x/y"', "4: aliases.a is also the name of a route"),
        ('[providers.h]\nwire = "ollama"\n\ncan = ["tool"]', '4: providers.h.can has "tool" in its list; each must be'),
    ],
)
def test_what_means_nothing_is_reported_with_its_place(text: str, says: str) -> None:
    """File, line, key, the value, what was expected, and what is near."""
    assert str(refused(text)).startswith(f"polychat.toml:{says}")


@pytest.mark.parametrize(
    "text",
    [
        '[gateway]\nkeys = "sk-verysecret"',
        '[gateway]\nkeys = ["sk-verysecret"]',
        '[gateway.keys]\nme = "sk-verysecret"',
        '[gateway.keys]\nme = "env:"',
        "[gateway.keys]\nme = 4711",
        '[providers.h]\napi_key = "sk-verysecret"',
        '[providers.h]\nheaders = { a = ["verysecret", 4711] }',
        '[providers.h]\nheaders = "sk-verysecret"',
        "[providers.h]\napi_key = 4711",
        '[providers.h]\nkey = "sk-verysecret"',
        '[providers.h]\nkey = ["H_KEY", "sk-verysecret"]',
        '[providers.h]\nheaders = { authorization = "Bearer sk-verysecret", a = 1 }',
    ],
)
def test_a_key_itself_is_refused_and_not_shown(text: str) -> None:
    """A secret is set by reference; an error does not repeat what may be one."""
    error = str(refused(text))
    assert error.startswith("polychat.toml:2: ")
    assert (
        "secret: env:NAME" in error
        or "env:NAME" in error
        or "names of environment variables, not the key itself" in error
        or "headers.a must be text" in error
        or "headers must be a table of text" in error
    )
    assert "verysecret" not in error
    assert "4711" not in error


@pytest.mark.parametrize(
    ("text", "line", "circle"),
    [
        ('[routes.a]\ntargets = ["x/y", "a"]', 2, {"a -> a"}),
        ('[routes.a]\ntargets = ["b"]\n[routes.b]\ntargets = ["a"]', 2, {"a -> b -> a", "b -> a -> b"}),
        ('[aliases]\na = "b"\nb = "c"\nc = "a"', 2, {"a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"}),
        ('[routes.a]\ntargets = ["b"]\n[aliases]\nb = "a"', 2, {"a -> b -> a", "b -> a -> b"}),
    ],
)
def test_names_that_lead_back_to_themselves_are_refused(text: str, line: int, circle: set[str]) -> None:
    """Routes through routes, aliases through aliases, and both mixed; the error shows the way round."""
    message = str(refused(text))
    assert any(message.endswith(f" refers to itself: {way}") for way in circle)
    assert int(message.split(":")[1]) >= line


def test_a_route_may_name_another() -> None:
    """And an alias a route: only a circle is an error."""
    read = parsed(
        '[routes.a]\ntargets = ["b", "c"]\n[routes.b]\ntargets = ["x/y"]\n[routes.c]\ntargets = ["b"]\n[aliases]\nd = "a"'
    )
    assert list(read.routes) == ["a", "b", "c"]


EVERYWHERE = '''\
# [gateway] in a comment
top.dotted = 1
"quoted key" = 2 # port = 3

[ gateway ] # a comment
host = """
port = 1
[routes.x]
"""
port = 2
literal = \'\'\'
[no.table]\'\'\'
"es\\"caped" = 3
list = [ # [a]
  "x", # ]
  { a = "]" },
]
limits.body = 4
[routes."gpt-4.1"]
targets = ["a"]
inline = { a = 1, b = { c = 2 } }
[a.b.'c d']
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("top", 2),
        ("top.dotted", 2),
        ("quoted key", 3),
        ("gateway", 5),
        ("gateway.host", 6),
        ("gateway.port", 10),
        ("gateway.literal", 11),
        ('gateway.es"caped', 13),
        ("gateway.list", 14),
        ("gateway.limits", 18),
        ("gateway.limits.body", 18),
        ("routes.gpt-4.1", 19),
        ("routes.gpt-4.1.targets", 20),
        ("routes.gpt-4.1.inline.b.c", 21),
        ("a", 22),
        ("a.b.c d", 22),
        ("a.b.c d.missing", 22),
        ("gateway.missing", 5),
        ("no.table", None),
        ("missing", None),
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_each_key_has_its_line(key: str, line: int | None, ends: str) -> None:
    """Headers, dotted and quoted keys; not what texts, lists and comments hold; else the nearest table round it."""
    assert line_of(EVERYWHERE.replace("\n", ends), key) == line


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), min_size=1, max_size=6)
values = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=5,
)
tables = st.dictionaries(names, st.dictionaries(names, st.tuples(values, st.integers(0, 2)), max_size=4), max_size=4)


@settings(max_examples=80, deadline=None)
@given(tables)
def test_what_is_written_is_found_where_it_was_written(expected: dict[str, dict[str, tuple[object, int]]]) -> None:
    """Whatever texts, lists and tables are in between."""
    import tomllib

    lines: list[str] = []
    places: dict[str, int] = {}
    for table, entries in expected.items():
        lines.append(f"[{name_text(table)}]")
        places[table] = len(lines)
        for name, (value, blank) in entries.items():
            lines += [""] * blank + [f"{name_text(name)} = {value_text(value)}"]
            places[f"{table}.{name}"] = len(lines)
    text = "\n".join(lines)
    tables = {table: {name: value for name, (value, _) in entries.items()} for table, entries in expected.items()}
    assert tomllib.loads(text) == tables
    assert {key: line_of(text, key) for key in places} == places


def test_what_is_shown_means_the_same() -> None:
    """The configuration as text, read again, is the configuration; secrets are references, and credentials are hidden."""
    read = parsed(
        """
        [gateway]
        keys = { me = "env:MINE" }
        cors = ["https://a.example", "https://b.example"]
        [routes."gpt-4.1"]
        targets = ["house/a", "house/b"]
        strategy = "random"
        weights = [1, 0]
        [aliases]
        "a b" = "gpt-4.1"
        [providers.house]
        wire = "openai-chat"
        base_url = "http://127.0.0.1:1/v1"
        drop = { seed = "no \\"seed\\"" }
        [local.models]
        one = "/m/one.gguf"
        two = { path = "/m/two.gguf", context = 5, pooling = "cls" }
        """
    )
    assert parsed(config_text(read)) == read
    secrets = parsed(
        '[providers.h]\nwire = "ollama"\nbase_url = "http://me:pass1@h/"\n'
        'headers = { Authorization = "Bearer pass2", X-Api-Key = "pass3", x-team = "blue" }'
    )
    shown = config_text(secrets)
    assert "pass" not in shown
    assert 'x-team = "(hidden)"' in shown  # whether a name sounds like a secret says nothing
    assert parsed(shown).providers["h"]["headers"]["Authorization"] == "(hidden)"


def test_a_registry_goes_by_what_it_was_given(own_config: Any) -> None:
    """Whatever becomes of the file: an invalid one affects only code that reads it again."""
    row = '[providers.house]\nwire = "openai-chat"\nbase_url = "http://127.0.0.1:9/v1"\n'
    file = own_config(row)
    of_file, own = Registry(config.read(file)), user_registry()
    assert user_registry() is own
    file.write_text("[gateway\n")
    assert of_file.find("house").address() == own.find("house").address() == "http://127.0.0.1:9/v1"
    with pytest.raises(BadInput):
        user_registry()
    file.write_text(row.replace(":9", ":10"))
    assert user_registry().find("house").address() == "http://127.0.0.1:10/v1"


def test_an_error_after_reading_has_its_line_too(own_config: Any) -> None:
    """A row that only the vendors' catalogue can judge is looked up in the file again."""
    from polychat.providers import vendors

    own_config('[gateway]\n\n[providers.house]\nwire = "ollama"\n')
    with pytest.raises(BadInput, match=r"polychat\.toml:3: providers\.house has no base_url"):
        vendors()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Annotated[str, Meta(max_length=40)], "text of at most 40 characters"),
        (Annotated[str, Meta(min_length=1)], "text that is not empty"),
        (str, "text"),
        (Annotated[float, Meta(gt=0, le=60)], "a number above 0 and at most 60"),
        (Annotated[int, Meta(ge=1)] | Literal["auto"] | None, 'a whole number of at least 1 or "auto"'),
    ],
)
def test_what_a_value_must_be_is_in_words(kind: Any, words: str) -> None:
    """An error names every bound of the setting, and a number where a word is not the only choice."""
    assert form(inspect.type_info(kind)) == words
