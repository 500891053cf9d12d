"""Keys of a gateway that others may reach: who may call, who may read, and what a browser sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

import heliconnect as hc
from heliconnect.server.keys import KEYS, KeyFileError, Keys
from heliconnect.server.supervisor import ServerOptions, running
from heliconnect.settings import Settings
from heliconnect.testing import Provider

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
LIST = {"filter": "all", "limit": 1}


@dataclass(frozen=True)
class Guarded:
    """A server that demands keys, one that reads and one that only writes."""

    url: str
    folder: Path
    reader: str
    writer: str


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, _provider: Provider) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    keys = Keys(folder / KEYS)
    reader, writer = keys.create("reader"), keys.create("writer", reads=False)
    options = ServerOptions(folder, port=0, upstreams={"openai": _provider.url}, demands_keys=True)
    with running(options) as server:
        yield Guarded(server.url, folder, reader, writer)


def call(guarded: Guarded, headers: dict[str, str], path: str = "/oai/v1/chat/completions") -> httpx.Response:
    return httpx.post(guarded.url + path, json=CHAT, headers={"Authorization": "Bearer sk-p", **headers})


def read(guarded: Guarded, headers: dict[str, str]) -> int:
    return httpx.post(f"{guarded.url}/v1/request/query-clickhouse", json=LIST, headers=headers).status_code


def test_calls_need_a_key(guarded: Guarded, provider: Provider) -> None:
    """In `Helicone-Auth`, in the path or as `Authorization`; without one nothing reaches the provider."""
    refused = call(guarded, {})
    assert (refused.status_code, refused.headers["helicone-unsent"]) == (401, "true")
    assert call(guarded, {"Helicone-Auth": "Bearer sk-helicone-nobody"}).status_code == 401
    assert provider.requests == []
    for key in (guarded.reader, guarded.writer):
        assert call(guarded, {"Helicone-Auth": f"Bearer {key}"}).status_code == 200
        assert call(guarded, {}, f"/{key}/oai/v1/chat/completions").status_code == 200
        assert call(guarded, {"Authorization": f"Bearer {key}"}).status_code == 200
    assert len(provider.requests) == 6


def test_a_client_with_a_key_is_routed_and_one_without_goes_direct(guarded: Guarded, provider: Provider) -> None:
    """No call fails for want of a key of ours."""
    for key, user in ((guarded.writer, "with"), (None, "without")):
        settings = Settings(api_key=key, base_url=guarded.url, providers={provider.url: "openai"}, record_direct=False)
        with hc.connect(openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k"), settings) as client:
            with hc.context(user_id=user):
                assert client.chat.completions.create(model="gpt-4o", messages=CHAT["messages"]).choices
    assert len(provider.requests) == 2
    assert not [got for got in provider.requests if "helicone-auth" in got.headers]


def test_records_are_for_readers(guarded: Guarded) -> None:
    """A public key writes logs and sees nothing; health is open."""
    assert read(guarded, {}) == 401
    assert read(guarded, {"Authorization": f"Bearer {guarded.writer}"}) == 401
    assert read(guarded, {"Authorization": f"Bearer {guarded.reader}"}) == 200
    assert read(guarded, {"Helicone-Auth": f"Bearer {guarded.reader}"}) == 200
    log = {
        "providerRequest": {"url": "custom-model-nopath", "json": CHAT, "meta": {}},
        "providerResponse": {"status": 200, "headers": {}, "json": {}},
    }
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {guarded.writer}"}, 200)):
        assert httpx.post(f"{guarded.url}/custom/v1/log", json=log, headers=headers).status_code == status
        assert httpx.post(f"{guarded.url}/v1/traces", json={}, headers=headers).status_code == status
    assert httpx.get(f"{guarded.url}/healthcheck").status_code == 200
    for path in ("/openapi.json", "/metrics", "/docs"):
        assert httpx.get(guarded.url + path).status_code == 401, path


def test_a_browser_is_asked_once(guarded: Guarded) -> None:
    """It keeps a session, not the key; a wrong key, and one that may not read, are refused."""
    with httpx.Client(base_url=guarded.url, follow_redirects=True) as browser:
        asked = browser.get("/ui/requests?user=x")
        assert asked.url.path == "/ui/login"
        assert "This gateway asks for a key" in asked.text
        for wrong in ("nonsense", guarded.writer):
            answer = browser.post("/ui/login", data={"key": wrong, "next": "/ui/requests?user=x"})
            assert "That is no key of this gateway" in answer.text
        inside = browser.post("/ui/login", data={"key": guarded.reader, "next": "/ui/requests?user=x"})
        assert (inside.status_code, inside.url.path, inside.url.query) == (200, "/ui/requests", b"user=x")
        cookie = inside.history[0].headers["set-cookie"]
        assert guarded.reader not in cookie
        assert all(words in cookie for words in ("HttpOnly", "SameSite=Strict", "Max-Age=604800"))
        assert browser.get("/ui/sessions").url.path == "/ui/sessions"
        browser.post("/ui/logout")
        assert browser.get("/ui/sessions").url.path == "/ui/login"


@pytest.mark.parametrize("wanted", ["https://evil.example", "//evil.example", "/ui\\evil", "javascript:alert(1)"])
def test_the_login_leads_to_no_other_site(guarded: Guarded, wanted: str) -> None:
    """Wherever its link says."""
    answer = httpx.post(f"{guarded.url}/ui/login", data={"key": guarded.reader, "next": wanted})
    assert answer.headers["location"] == "/ui/"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), id="signature"),
        pytest.param(lambda text: text.replace(text.split(".")[1], "99999999999"), id="time"),
        pytest.param(lambda text: "f" * 32 + text[32:], id="key"),
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: "é.1.x", id="nonsense"),
    ],
)
def test_a_forged_session_is_none(tmp_path: Path, change: object) -> None:
    """Nor one that is over, nor that of a key that was revoked."""
    keys = Keys(tmp_path / KEYS)
    hashed = next(iter(_hashes(keys.create("ada"), keys)))
    session = keys.session(hashed, 1_000)
    assert keys.knows_session(session, 2_000)
    assert not keys.knows_session(session, 1_000 + 7 * 86_400)
    assert not keys.knows_session(change(session), 2_000)  # type: ignore[operator]  # each case is a function
    keys.revoke("ada")
    assert not keys.knows_session(session, 2_000)


def _hashes(key: str, keys: Keys) -> list[str]:
    assert key not in keys._path.read_text()
    assert keys._path.stat().st_mode & 0o077 == 0
    return [one.hash for one in keys.all()]


def test_a_revoked_key_is_refused_at_once(guarded: Guarded) -> None:
    """By servers that run already; a new one is taken at once."""
    keys = Keys(guarded.folder / KEYS)
    made = keys.create("guest")
    assert call(guarded, {"Helicone-Auth": f"Bearer {made}"}).status_code == 200
    keys.revoke("guest")
    assert call(guarded, {"Helicone-Auth": f"Bearer {made}"}).status_code == 401
    with pytest.raises(KeyFileError, match="no key named 'guest'"):
        keys.revoke("guest")
    with pytest.raises(KeyFileError, match="a key named 'reader' already"):
        keys.create("reader")


def test_keys_that_cannot_be_read_let_nobody_in(tmp_path: Path) -> None:
    """Nor are they written over."""
    (tmp_path / KEYS).write_text("{")
    keys = Keys(tmp_path / KEYS)
    assert not keys.may_write("0" * 64)
    with pytest.raises(KeyFileError, match="cannot be read"):
        keys.create("ada")
    assert (tmp_path / KEYS).read_text() == "{"


def test_the_commands(tmp_path: Path) -> None:
    """Make, list, revoke; the key is on the standard output alone, and nowhere in the folder."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "heliconnect.cli", "keys", *words, "--data-dir", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))

    made = run("create", "ada")
    key = made.stdout.strip()
    assert key.startswith("sk-helicone-")
    assert run("create", "bob", "--write-only").stdout.startswith("pk-helicone-")
    assert run("create", "ada").returncode == 1
    listed = run("list").stdout
    assert [line.split()[:2] for line in listed.splitlines()] == [["ada", "reads"], ["bob", "writes"]]
    assert key not in listed
    assert key not in (tmp_path / KEYS).read_text()
    assert run("revoke", "ada").returncode == 0
    assert [one["name"] for one in json.loads((tmp_path / KEYS).read_text())["keys"]] == ["bob"]
    assert run("revoke", "ada").returncode == 1
