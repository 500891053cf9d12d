"""Clients from npm: a script of node/ makes the calls and prints, as JSON, what it got.

Their packages are looked for where the scripts are: in HELICONNECT_NODE_CLIENTS, a copy of node/ after `npm ci`, or in
node/ itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from tests.clients.said import KEY, Client, Got, Headers

FOLDER = Path(os.environ.get("HELICONNECT_NODE_CLIENTS") or Path(__file__).parent / "node")


def npm_package(package: str) -> str | None:
    """An npm package with its version, by the name it is installed under; None where it or Node is absent."""
    manifest = FOLDER / "node_modules" / package / "package.json"
    if shutil.which("node") is None or not manifest.exists():
        return None
    found = json.loads(manifest.read_text())
    return f"{found['name']} {found['version']} (npm)"


def run(script: str, **given: Any) -> Any:
    """Run a script of node/; gives what it printed last."""
    environ = {**os.environ, "MASTRA_TELEMETRY_DISABLED": "1"}
    words = ["node", "--no-warnings", script, json.dumps({"key": KEY, **given})]
    done = subprocess.run(words, cwd=FOLDER, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def call(script: str, package: str, url: str, headers: Headers) -> list[Got]:
    """The calls of a script, at a URL with headers."""
    return [Got(*one) for one in run(script, package=package, url=url, headers=headers)]


def client(name: str, package: str, script: str, shown: str) -> Client:
    return Client(name, package, shown, partial(call, script, package))


_OPENAI = "chat and Responses, whole and streamed; embeddings"
CLIENTS = (
    client("npm openai 5", "openai", "openai.mjs", _OPENAI),
    client("npm openai 6", "openai-6", "openai.mjs", _OPENAI),
    client("@ai-sdk/openai", "@ai-sdk/openai", "ai-sdk.mjs", "chat and Responses, `generateText` and `streamText`"),
    client("@ai-sdk/anthropic", "@ai-sdk/anthropic", "ai-sdk.mjs", "`generateText` and `streamText`"),
    client(
        *("@helicone/ai-sdk-provider", "@helicone/ai-sdk-provider", "helicone.mjs"),
        "`generateText` and `streamText`, session, user and properties by `extraBody.helicone`",
    ),
    client("Mastra", "@mastra/core", "mastra.mjs", "an agent's model by `url` and `headers`: `generate` and `stream`"),
)


def asking_for_usage() -> list[Client]:
    """The clients that need a header for the usage of their streams: they do not ask the provider for it."""
    return [one for one in CLIENTS if one.package in {"@helicone/ai-sdk-provider", "@mastra/core"}]
