"""Clients that were written for Helicone work with the gateway, unmodified, as if they called the provider directly.

A client whose package is absent is skipped: `scripts/clients` runs all of them, in environments of their own.
"""

from __future__ import annotations

import pytest

from tests.clients.node import CLIENTS as NODE_CLIENTS
from tests.clients.node import asking_for_usage, npm_package
from tests.clients.python import CLIENTS as PYTHON_CLIENTS
from tests.clients.said import Client, Record, a_user, check_client, needed, python_package, said
from tests.conftest import Running

# The SDKs' own: closed loops, clients that nobody closes, what they deprecate.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("client", [pytest.param(client, id=client.name) for client in PYTHON_CLIENTS])
def test_a_python_client_works_as_if_direct(client: Client, live: Running, record_property: Record) -> None:
    """Same answers, same requests at the provider but for Helicone's headers, and a record of each call."""
    record_property("package", needed(client.package, python_package(client.package)))
    check_client(live, client, record_property)


@pytest.mark.parametrize("client", [pytest.param(client, id=client.name) for client in NODE_CLIENTS])
def test_an_npm_client_works_as_if_direct(client: Client, live: Running, record_property: Record) -> None:
    """Same answers, same requests at the provider but for Helicone's headers, and a record of each call."""
    record_property("package", needed(client.package, npm_package(client.package)))
    check_client(live, client, record_property)


@pytest.mark.parametrize("client", [pytest.param(client, id=client.name) for client in asking_for_usage()])
def test_a_client_that_asks_for_no_usage_gets_it_by_a_header(client: Client, live: Running) -> None:
    """`Helicone-Stream-Usage: true`: the gateway asks for it, the client is told, and the record has it."""
    needed(client.package, npm_package(client.package))
    user = a_user(client.name)
    answers = client.call(live.url, {**said(user), "Helicone-Stream-Usage": "true"})
    assert all(got.input_tokens for got in answers)
    assert live.provider.requests[-1].json()["stream_options"] == {"include_usage": True}
    for record, got in zip(live.records(user, len(answers)), answers, strict=True):
        assert (record["prompt_tokens"], record["completion_tokens"]) == (got.input_tokens, got.output_tokens)
        assert record["costUSD"] > 0
