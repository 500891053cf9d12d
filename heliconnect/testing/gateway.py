"""A gateway for tests, in the process itself: every LLM call goes there, is answered as scripted, and can be asserted.

The pytest fixture `helicone` gives one (heliconnect.testing.plugin); this is the object itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from heliconnect import settings as process
from heliconnect.errors import MissingExtraError
from heliconnect.exchange import Capture, End, Exchange
from heliconnect.protocol import is_secret, redact
from heliconnect.routing import provider_by_prefix
from heliconnect.settings import Settings
from heliconnect.testing.provider import Provider
from heliconnect.testing.replies import Reply
from heliconnect.testing.wire import Received
from heliconnect.wire.install import activate_for_runs, install, uninstall
from heliconnect.wire.switch import Mode, switch

try:
    from heliconnect.recorder import finish
except ImportError as exc:
    raise MissingExtraError("the fixture `helicone`", "testing") from exc

__all__ = ["Call", "Helicone", "in_force", "vcr_config"]

_SETTLE_S = 2.0
_SECRETS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "helicone-auth", "cookie", "set-cookie")


@dataclass(frozen=True, slots=True)
class Call:
    """One LLM call as the gateway saw it, interpreted as a record is. Unknown is None."""

    request_id: str
    user_id: str | None
    session_id: str | None
    session_name: str | None
    session_path: str | None
    properties: Mapping[str, str]
    provider: str | None
    model: str | None
    status: int | None
    prompt: str | None
    completion: str | None
    total_tokens: int | None
    cost_usd: Decimal | None
    headers: Mapping[str, str] = field(repr=False)
    request: Any = field(repr=False)
    """The request's JSON; None where it was none."""


class Helicone:
    """The gateway of a test: what arrived, what it is to answer, and assertions about it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._provider = Provider(as_gateway=True, on_answer=self._answered)

    @property
    def url(self) -> str:
        """The gateway's base URL."""
        return self._provider.url

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls so far, in the order in which they ended."""
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline:
            with self._lock:
                found = tuple(self._calls)
            if len(found) >= len(self._provider.requests):
                break
            time.sleep(0.005)  # an answer may be read before it is noted
        return found

    def reply(self, text: str | None = None, *, times: int = 1, **options: Any) -> None:
        """Answer the next call with this text; options are those of `Reply`: status, tool_calls, usage, ..."""
        self._provider.script(*[Reply(text, **options)] * times)

    def script(self, *replies: Reply) -> None:
        """Answer the next calls with these, one after the other."""
        self._provider.script(*replies)

    def when(self, reply: Reply, **fits: Any) -> None:
        """Answer the calls that fit with this: `when(Reply("42"), model="gpt-4o")`; see `Provider.when`."""
        self._provider.when(reply, **fits)

    def always(self, reply: Reply) -> None:
        """Answer all calls that nothing else fits with this."""
        self._provider.always(reply)

    def route(self, origin: str, provider: str = "openai") -> None:
        """Route calls of a further origin too, "http://127.0.0.1:8000" say, that speaks this provider's API."""
        assert switch.override is not None, "route() works while the fixture is in use"
        known = {**switch.override.providers, origin: provider}
        switch.override = process.configure(replace(switch.override, providers=known))

    def clear(self) -> None:
        """Forget what arrived and what was scripted."""
        self._provider.clear()
        with self._lock:
            self._calls.clear()

    def assert_called(
        self,
        *,
        calls: int | None = None,
        properties: Mapping[str, object] | None = None,
        cost_usd_lt: float | Decimal | None = None,
        total_tokens_lt: int | None = None,
        prompt_contains: str | None = None,
        completion_contains: str | None = None,
        **expected: object,
    ) -> tuple[Call, ...]:
        """Some call, or exactly `calls` of them, have all that is given; gives those that do.

        expected are the fields of `Call`: user_id, session_id, session_name, session_path, model, provider, status,
        request_id. Raises AssertionError that shows what was recorded, TypeError for a field that there is none of.
        """
        unknown = expected.keys() - set(Call.__dataclass_fields__)
        if unknown:
            raise TypeError(f"assert_called() knows the fields of Call, got {', '.join(sorted(unknown))}")
        found = tuple(
            call
            for call in self.calls
            if all(getattr(call, name) == value for name, value in expected.items())
            and all(call.properties.get(name.lower()) == str(value) for name, value in (properties or {}).items())
            and (cost_usd_lt is None or (call.cost_usd is not None and call.cost_usd < Decimal(str(cost_usd_lt))))
            and (total_tokens_lt is None or (call.total_tokens is not None and call.total_tokens < total_tokens_lt))
            and (prompt_contains is None or prompt_contains in (call.prompt or ""))
            and (completion_contains is None or completion_contains in (call.completion or ""))
        )
        wanted = {**expected, "properties": properties, "cost_usd_lt": cost_usd_lt, "total_tokens_lt": total_tokens_lt}
        wanted |= {"prompt_contains": prompt_contains, "completion_contains": completion_contains}
        words = ", ".join(f"{name}={value!r}" for name, value in wanted.items() if value is not None)
        if calls is None:
            assert found, f"expected a call with {words or 'anything'}, none has it\n{self.table()}"
        else:
            assert len(found) == calls, (
                f"expected {calls} call(s) with {words or 'anything'}, {len(found)} have it\n{self.table()}"
            )
        return found

    def assert_not_called(self) -> None:
        """No call was made. Raises AssertionError that shows those that were."""
        assert not self.calls, f"expected no call\n{self.table()}"

    def table(self) -> str:
        """What was recorded, a line for each call."""
        if not self.calls:
            return "no call was recorded; those of an unknown provider are after helicone.route(origin)"
        rows: list[tuple[str, ...]] = [
            ("user", "session", "path", "model", "status", "tokens", "cost USD", "properties", "prompt")
        ]
        for call in self.calls:
            said = (call.user_id, call.session_name or call.session_id, call.session_path, call.model, call.status)
            shown = [*said, call.total_tokens, call.cost_usd, dict(call.properties) or None, (call.prompt or "")[:40]]
            rows.append(tuple("-" if one is None else str(one) for one in shown))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def _answered(self, request: Received, status: int, headers: Any, body: bytes) -> None:
        call = _call(request, status, headers, body)
        with self._lock:
            self._calls.append(call)


@contextmanager
def in_force() -> Iterator[Helicone]:
    """Route every LLM call of the process to a `Helicone` of its own; afterwards everything is as it was."""
    gateway = Helicone()
    before = (switch.mode, switch.override, process.current_or_none())
    with gateway._provider:
        switch.override = Settings(base_url=gateway.url, failover=False, record_direct=False)
        install(switch.override)
        try:
            yield gateway
        finally:
            mode, switch.override, settings = before
            process.set_current(settings)
            if mode is not Mode.ALL:
                uninstall()
            if mode is Mode.RUNS:
                activate_for_runs()


def vcr_config() -> dict[str, Any]:
    """Options of vcrpy and pytest-recording that keep every key out of a cassette: the value of `vcr_config`."""

    def without_secrets(response: dict[str, Any]) -> dict[str, Any]:
        for name in [name for name in response["headers"] if is_secret(name)]:
            del response["headers"][name]
        return response

    return {
        "filter_headers": [(name, "[filtered]") for name in _SECRETS],
        "filter_query_parameters": [("key", "[filtered]")],
        "before_record_response": without_secrets,
    }


def _call(request: Received, status: int, headers: Any, body: bytes) -> Call:
    exchange = finish(_capture(request, status, headers, body))
    try:
        sent = request.json()
    except ValueError:
        sent = None
    return Call(
        request_id=exchange.request_id,
        user_id=exchange.user_id,
        session_id=exchange.session_id,
        session_name=exchange.session_name,
        session_path=exchange.session_path,
        properties=exchange.properties,
        provider=exchange.provider,
        model=exchange.model,
        status=exchange.status,
        prompt=exchange.request_preview,
        completion=exchange.response_preview,
        total_tokens=None if exchange.usage is None else exchange.usage.total,
        cost_usd=_cost(exchange),
        headers=dict(exchange.request_headers),
        request=sent,
    )


def _cost(exchange: Exchange) -> Decimal | None:
    return None if exchange.cost is None else exchange.cost.total_usd


def _capture(request: Received, status: int, headers: Any, body: bytes) -> Capture:
    first = request.path.split("/")[1] if request.path.count("/") > 1 else ""
    provider = provider_by_prefix(first)
    path = request.path if provider is None else request.path[len(first) + 1 :]
    origin = request.headers.get("helicone-target-url") or (provider and provider.origin) or ""
    return Capture(
        request_id=request.headers.get("helicone-request-id", ""),
        started_at=request.received_at,
        method=request.method,
        target_url=f"{origin}{path}",
        provider=None if provider is None else provider.name,
        request_headers=redact(tuple((name.lower(), value) for name, value in request.header_pairs)),
        request_body=request.body,
        request_size_bytes=len(request.body),
        end=End.DONE,
        latency_ms=0.0,
        status=status,
        response_headers=redact(tuple((name.lower(), value) for name, value in headers)),
        response_body=body,
        response_size_bytes=len(body),
    )
