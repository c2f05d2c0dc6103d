"""g4f's API with its provider for servers of one's own. ``PORT UPSTREAM MODEL…``."""

from __future__ import annotations

import sys

from g4f.client.factory import AbstractClientFactory

port, upstream, *models = sys.argv[1:]
base = f"http://127.0.0.1:{upstream}/v1"
# Or it would fetch a list of servers from its own site, and not start without it.
AbstractClientFactory._live_providers = {"providers": {"default": {"baseUrl": base}}, "defaultModels": {}}

import g4f.api  # noqa: E402
from g4f.Provider.needs_auth.Custom import Custom  # noqa: E402

Custom.base_url = base
Custom.models = models
Custom.default_model = models[0]
g4f.api.AppConfig.set_config(provider="Custom", gui=False, ignore_cookie_files=True)
g4f.api.run_api(bind=f"127.0.0.1:{port}", workers=None)
