"""A call that asks for more than being passed on: answers from the cache, limits, retries, fallbacks.

The request's body is read whole first; what is sent after that may be sent again. Only calls that ask for a feature
take this way, all others stream as they are.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from heliconnect.exchange import End
from heliconnect.protocol import PROPERTY_PREFIX, USER_ID
from heliconnect.server.dataplane.call import Call
from heliconnect.server.dataplane.heads import Line, ResponseHead
from heliconnect.server.dataplane.rewrites import line, retry_after_s, user_in, with_headers, with_usage
from heliconnect.server.dataplane.targets import Refusal
from heliconnect.server.features.caching import Answer, question_of
from heliconnect.server.features.limits import bucket_key
from heliconnect.server.features.retries import is_retried
from heliconnect.server.features.wishes import Wishes

if TYPE_CHECKING:
    from heliconnect.server.dataplane.provider_side import ProviderSide

__all__ = ["FeaturedCall"]

_MAX_REPLAYED = 64 << 20
_MAX_WAIT_S = 30.0
_NOT_CACHED = frozenset({b"set-cookie", b"connection", b"keep-alive", b"transfer-encoding", b"content-length"})
_LIMITED = (
    "Helicone user was rate limit via Helicone-RateLimit-Policy header. Please wait before making more requests. See "
    "https://docs.helicone.ai/features/advanced-usage/custom-rate-limits"
)


class FeaturedCall(Call):
    """A call with wishes. See `Call` for what it inherits."""

    def __init__(self, *arguments: Any, wishes: Wishes) -> None:
        super().__init__(*arguments)
        self._wishes = wishes
        self._pieces: list[bytes] = []
        self._framed: list[bytes] = []
        self._body = self._own_body = b""
        self._own_head = self.head
        self._is_whole = not wishes.needs_body
        self._question: str | None = None
        self._is_pilot = False
        self._kept: list[bytes] | None = None
        self._answer_head: ResponseHead | None = None
        self._is_own = False
        self._is_passenger = False
        self._attempt = 1
        self._fallback = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_deaf = False
        self._is_streaming = False
        if self._tee is not None:
            self._tee.warnings += wishes.warnings

    # The request

    def start(self) -> None:
        if self._mock or self._is_whole:
            super().start()
            return
        self._touch(self._plane.config.body_timeout)
        if self.head.expects_continue and self.wants_body:
            self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.request_done:
            self._begin()

    def _forward(self, piece: bytes, framed: bytes) -> None:
        if self._mock or self._is_whole:
            super()._forward(piece, framed)
            return
        self._received += len(piece)
        if self._received > self._plane.config.max_body:
            self._refuse(413, f"a body may have {self._plane.config.max_body} bytes", End.CANCELLED, "body too large")
            return
        if self._tee is not None:
            self._tee.request.add(piece)
        self._pieces.append(piece)
        self._framed.append(framed)
        self._touch(self._plane.config.body_timeout)
        if self.request_done:
            self._begin()
        elif self._received > _MAX_REPLAYED:
            self._stream_on()

    def _stream_on(self) -> None:
        """The body is too large to be kept for a second time: pass it on as it comes, but for the limit."""
        self._wishes = Wishes(policy=self._wishes.policy)
        if self._tee is not None:
            words = f"a request of more than {_MAX_REPLAYED} bytes is neither cached nor tried again"
            self._tee.warnings.append(words)
        self._is_whole = self._is_streaming = True
        self._waiting, self._framed, self._pieces = self._framed, [], []
        if self._may_pass():
            self._find_provider()

    def _begin(self) -> None:
        """The body is there: look whether an answer is, too."""
        self._body = b"".join(self._pieces)
        self._pieces, self._framed = [], []
        if self._wishes.wants_usage:
            self._body = with_usage(self._body)
        self._own_body = self._body
        wish = self._wishes.cache
        if wish is not None and self._target is not None:
            lines = self.head.lines
            self._question = question_of(wish, self.head.method, self._target.url, lines, self._body)
            if wish.reads:
                found = self._plane.answers.find(self._question, wish.bucket_size)
                if len(found) == wish.bucket_size:
                    self.give(random.choice(found))  # noqa: S311 - which of several answers is no secret
                    return
                self._added.append(b"helicone-cache: MISS")
                if wish.saves and wish.bucket_size == 1:
                    self._touch(_MAX_WAIT_S)
                    if self._plane.flights.join(self._question, self):
                        self._is_passenger = True
                        return
                    self._is_pilot = True
        self._ask()

    def ask(self) -> None:
        """Ask the provider: nobody else's answer can be given."""
        self._is_passenger = False
        self._ask()

    def give(self, answer: Answer) -> None:
        """Answer with what the cache has."""
        self._is_passenger, self._is_own = False, True
        self._added = []
        lines: list[Line] = [
            *answer.lines,
            line(b"helicone-cache", b"HIT"),
            line(b"helicone-cache-latency", b"%d" % round(answer.latency_ms)),
            line(b"helicone-cache-reference-id", answer.request_id.encode("latin-1")),
            line(b"content-length", b"%d" % len(answer.body)),
        ]
        self.provider_head(ResponseHead(200, b"OK", lines, len(answer.body), False, True), has_body=True)
        if answer.body:
            self.provider_body(answer.body)
        self.flush()
        self.provider_done()

    def _ask(self) -> None:
        if not self._may_pass():
            return
        if self._wishes.fallbacks and not self._aim_at_fallback():
            return
        self._try()

    def _may_pass(self) -> bool:
        """Whether the rate limit lets the call pass; if not, it is answered."""
        policy, tee = self._wishes.policy, self._tee
        if policy is None or tee is None:
            return True
        named = {lower.decode("latin-1"): value.decode("utf-8", "replace") for lower, _, value in self.head.lines}
        user = named.get(USER_ID.lower()) or user_in(self._body)
        start = PROPERTY_PREFIX.lower()
        properties = {name.removeprefix(start): value for name, value in named.items() if name.startswith(start)}
        key = bucket_key(policy, tee.caller or "-", user, properties)
        if key is None:
            self._added.append(b"helicone-ratelimit-policy: " + str(policy).encode())
            return True
        decision = self._plane.buckets.take(key, policy)
        self._added += decision.lines(policy)
        if decision.is_allowed:
            return True
        self._answer_limited()
        return False

    def _answer_limited(self) -> None:
        self._is_own = True  # nothing of this answer is the provider's
        body = json.dumps({"message": _LIMITED}).encode()
        lines = [
            line(b"content-type", b"application/json;charset=UTF-8"),
            line(b"x-helicone-error", b"rate_limited"),
            line(b"content-length", b"%d" % len(body)),
        ]
        self.provider_head(ResponseHead(429, b"Too Many Requests", lines, len(body), False, True), has_body=True)
        self.provider_body(body)
        self.flush()
        self.provider_done()

    # Attempts

    def _try(self) -> None:
        self._timer = None
        if self.is_over:
            return
        self._is_deaf = False
        self._is_whole = True
        body = self._body
        self._waiting = [b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"]
        if self.head.length is not None:
            self._waiting = [body] if body else []
        self._find_provider()

    def _head_for_upstream(self) -> bytes:
        """The caller's head, or the fallback's, with the length of the body that is sent."""
        if self._is_streaming or self.head.length is None or self.head.length == len(self._body):
            own = self.head
        else:
            lines = [
                (lower, name, b"%d" % len(self._body) if lower == b"content-length" else value)
                for lower, name, value in self.head.lines
            ]
            own = replace(self.head, lines=lines, length=len(self._body))
        original, self.head = self.head, own
        try:
            return super()._head_for_upstream()
        finally:
            self.head = original

    def _aim_at_fallback(self) -> bool:
        """Take the next of the fallbacks for target, headers and body; False when it is refused."""
        entry = self._wishes.fallbacks[self._fallback]
        target = self._plane.targets.of(self.head.target.decode("latin-1"), entry.target_url, "")
        if isinstance(target, Refusal):
            self._refuse(target.status, target.message, End.UNREACHABLE, target.message)
            return False
        self._target = target
        self._body = entry.body(self._own_body)
        if self._tee is not None:
            self._tee.url, self._tee.provider = target.url, target.provider
        self.head = with_headers(self._own_head, entry.headers, len(self._body))
        return True

    def _tries_again(self, status: int | None, retry_after_s: float | None = None) -> bool:
        """Whether another attempt follows an answer of this status, or a failure without one; it is under way then."""
        if self._has_answered or self.is_over or self._is_own:
            return False
        fallbacks, retry = self._wishes.fallbacks, self._wishes.retry
        code = 500 if status is None else status
        if self._fallback + 1 < len(fallbacks) and fallbacks[self._fallback].leads_on(code):
            self._drop_provider()
            self._fallback += 1
            if self._aim_at_fallback():
                self._timer = self._plane.loop.call_later(0, self._try)
            return True
        if retry is None or self._attempt >= retry.attempts or (status is not None and not is_retried(status)):
            return False
        self._drop_provider()
        delay_s = retry.delay_s(self._attempt, random.random(), retry_after_s)  # noqa: S311 - a pause is no secret
        self._attempt += 1
        self._touch(delay_s + self._plane.config.first_byte_timeout)
        self._timer = self._plane.loop.call_later(delay_s, self._try)
        return True

    def _drop_provider(self) -> None:
        """The rest of this answer is nobody's."""
        self._is_deaf = True
        side, self._provider = self._provider, None
        self._out = []
        if side is not None:
            side.close()

    # The answer

    def provider_head(self, head: ResponseHead, *, has_body: bool) -> None:
        if self._is_deaf or self._tries_again(head.status, retry_after_s(head)):
            return
        if self._wishes.fallbacks:
            self._added.append(b"helicone-fallback-index: %d" % self._fallback)
        wish = self._wishes.cache
        if wish is not None and wish.saves and head.status == 200 and not self._is_own and not self._omits_response():
            self._kept, self._answer_head = [], head
        super().provider_head(head, has_body=has_body)

    def provider_body(self, piece: bytes) -> None:
        if self._is_deaf:
            return
        if self._kept is not None:
            self._kept.append(piece)
        super().provider_body(piece)

    def provider_done(self) -> None:
        if self._is_deaf:
            return
        if self._kept is not None and self._answer_head is not None and self._question is not None:
            self._keep(self._answer_head, b"".join(self._kept))
        super().provider_done()

    def provider_failed(self, words: str) -> None:
        if not self._is_deaf and not self._tries_again(None):
            super().provider_failed(words)

    def provider_lost(self, side: ProviderSide, *, has_begun: bool) -> None:
        if self._is_deaf:
            return
        self._provider = None
        if has_begun or not self._tries_again(None):
            super().provider_lost(side, has_begun=has_begun)

    def _refuse(self, status: int, message: str, end: End, error: str) -> None:
        can_try = end is End.UNREACHABLE and status == 502
        if not (can_try and self._tries_again(None)):
            super()._refuse(status, message, end, error)

    def check(self, now: float) -> None:
        if self._is_passenger and now >= self._deadline and self._question is not None:
            self._plane.flights.leave(self._question, self)
            self.ask()  # the other's answer takes too long to wait for
            return
        super().check(now)

    def _omits_response(self) -> bool:
        return self.head.value(b"helicone-omit-response").lower() == b"true"

    def _keep(self, head: ResponseHead, body: bytes) -> None:
        """Save the answer for those who ask the same, and give it to those who wait for it."""
        wish, question, tee = self._wishes.cache, self._question, self._tee
        if wish is None or question is None or tee is None or len(body) > _MAX_REPLAYED:
            return
        lines = tuple(line for line in head.lines if line[0] not in _NOT_CACHED and line[0] not in head.dropped)
        answer = Answer(tee.request_id, tee.elapsed_ms, lines, body)
        self._plane.answers.save(question, wish.bucket_size, answer, wish.ttl_s)
        if self._is_pilot:
            self._is_pilot = False
            self._plane.loop.call_soon(self._plane.flights.land, question, answer)

    def _end(self, end: End, error: str | None) -> None:
        was_over = self.is_over
        super()._end(end, error)
        if was_over or not self.is_over:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._question is not None:
            if self._is_pilot:
                self._is_pilot = False
                self._plane.loop.call_soon(self._plane.flights.land, self._question, None)
            else:
                self._plane.flights.leave(self._question, self)
