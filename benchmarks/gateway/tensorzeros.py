"""TensorZero's gateway as its Python package carries it: a server on loopback that says where. ``CONFIG``."""

from __future__ import annotations

import asyncio
import sys

from tensorzero import tensorzero


async def main(file: str) -> None:
    gateway = await tensorzero._start_http_gateway(
        config_file=file, clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=True
    )
    print(gateway.base_url, flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
