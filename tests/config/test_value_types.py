"""The types of values: what a name of a variable is, and what is the key itself in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import inspect

from polychat.backends.builtin import known
from polychat.config.decoding import misfit
from polychat.config.reading import File, parsed
from polychat.config.vendor_spec import VendorTable
from polychat.errors import BadInput

KEYS = (
    *("gsk_2fPq0xYdT7bLm9RvWc4Ze1Kj8Hn3Us6Ag5Bo", "sk_live_abcdefgh", "csk_x"),
    *("AIzaSyD3x_mpleKeyOfThirtyNineLetters00", "hf_QwErTyUiOpAsDf"),
    *("a3f8c91e07b64d52a1c0e9f7b8d6a4c2", "Zk3vN8qLw2Xr7Tb5Yd1Mf6Pg9Hs4Jc0e"),
    *("github_pat_11ABCDEFG0abcdefghijkl", "MY_a3f8c91e07b64d52a1c0"),
)
"""Keys that are valid names of variables, as known services and random generators write them."""
NAMES = (
    *("OPENAI_API_KEY", "hf_token", "my_own_key", "HF_HUB_ENABLE_HF_TRANSFER", "AZURE_OPENAI_GPT4O_KEY_2", "_"),
    *("k1", "SK_PROXY_KEY"),
    *("APPLICATIONDEFAULTCREDENTIALS", "myCompanyInternalKey2", "K8S_CLUSTER_EU_WEST_1_TOKEN", "GPT4ALL_KEY"),
    *("SKYPILOT_KEY", "PK_KEY"),
)
PLACES = (
    '[providers.h]\nkey = "{}"',
    '[providers.h]\nkey = ["MY_KEY", "{}"]',
    '[providers.h]\nparams = {{ region = "{}" }}',
    '[providers.h]\nhost_env = "{}"',
    '[providers.h]\napi_key = "env:{}"',
    '[gateway.keys]\nme = "env:{}"',
    '[gateway.admin.keys]\nme = "keyring:{}"',
    '[gateway.state]\nencryption_keys = "env:{}"',
    '[mcp.m]\nurl = "http://127.0.0.1/"\nheaders = {{ x-team = "env:{}" }}',
)
"""Each is a place for a name, which the command, errors and logs show."""


@pytest.mark.parametrize("place", PLACES)
def test_a_key_in_place_of_its_name_is_refused_and_not_shown(place: str) -> None:
    """It is a valid name of a variable, so nothing else would find it before it is on a screen; names stay valid."""
    for key in KEYS:
        with pytest.raises(BadInput, match=r"polychat\.toml:\d+: .* not the (key|secret) itself") as caught:
            parsed(place.format(key), Path("polychat.toml"))
        assert key not in str(caught.value)
    for name in NAMES:
        parsed(place.format(name), Path("polychat.toml"))


def test_every_vendors_variables_are_names() -> None:
    """Those that polychat knows; one that looked like a key could not be written into a configuration."""
    names = {name for row in known().values() for name in (*row.key, *row.params.values(), *filter(None, [row.host_env]))}
    assert len(names) > 50
    assert [name for name in names if misfit(VendorTable, "key", name)] == []


def test_no_pattern_stands_beside_a_collection() -> None:
    """msgspec 0.22 frees the pattern of a text in such a union once too often: the interpreter may abort when it ends."""

    def texts(kind: Any, seen: set[type]) -> Iterator[str]:
        match kind:
            case inspect.StructType(cls=cls, fields=fields) if cls not in seen:
                seen.add(cls)
                for field in fields:
                    yield from (f"{cls.__name__}.{field.name} {text}" for text in texts(field.type, seen))
            case inspect.Metadata(type=inner) | inspect.VarTupleType(item_type=inner) | inspect.DictType(value_type=inner):
                yield from texts(inner, seen)
            case inspect.UnionType(types=types):
                plain = [inner.type if isinstance(inner, inspect.Metadata) else inner for inner in types]
                if any(isinstance(one, inspect.VarTupleType | inspect.DictType | inspect.ListType) for one in plain):
                    yield from (one.pattern for one in plain if isinstance(one, inspect.StrType) and one.pattern)
                for inner in types:
                    yield from texts(inner, seen)

    seen: set[type] = set()
    assert list(texts(inspect.type_info(File), seen)) == []
    assert len(seen) > 15
