"""The breaker: a dead gateway is left alone, tried again, and spoken of once."""

from __future__ import annotations

import logging

import pytest

from heliconnect.failover import Breaker, GatewayState, Verdict, judge
from heliconnect.settings import Gateway


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_dead_gateway_is_left_alone_for_the_cool_down(caplog: pytest.LogCaptureFixture) -> None:
    """During the cool-down calls go direct; then one call tries; success closes the breaker. Two log lines in all."""
    clock = Clock()
    breaker = Breaker(clock)
    with caplog.at_level(logging.WARNING):
        assert breaker.allows("gw", 1_000)
        breaker.failed("gw", "ConnectError", 1_000)
        assert [breaker.allows("gw", 1_000) for _ in range(3)] == [False, False, False]
        assert breaker.allows("other", 1_000)
        clock.now += 1.1
        assert [breaker.allows("gw", 1_000) for _ in range(2)] == [True, False]
        breaker.failed("gw", "ConnectError", 1_000)
        assert breaker.state("gw") == GatewayState(is_reachable=False, direct_calls=6)
        clock.now += 1.1
        assert breaker.allows("gw", 1_000)
        breaker.answered("gw")
        assert breaker.allows("gw", 1_000)
    assert breaker.state("gw").is_reachable
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "the gateway gw cannot be reached",
        "the gateway gw answers again: LLM calls are routed through it",
    ]


@pytest.mark.parametrize(
    ("gateway", "names", "unsent", "verdict"),
    [
        pytest.param(Gateway.LOCAL, {"helicone-id"}, None, Verdict.PASSED_ON, id="the-providers-answer"),
        pytest.param(Gateway.LOCAL, {"helicone-error"}, None, Verdict.PASSED_ON, id="an-error-that-may-have-been-sent"),
        pytest.param(Gateway.LOCAL, {"helicone-error"}, "true", Verdict.UNSENT, id="nothing-was-sent"),
        pytest.param(Gateway.LOCAL, {"content-type"}, None, Verdict.FOREIGN, id="something-else-on-that-port"),
        pytest.param(Gateway.CLOUD, {"content-type"}, None, Verdict.PASSED_ON, id="the-cloud-is-taken-at-its-word"),
    ],
)
def test_an_answer_is_judged(gateway: Gateway, names: set[str], unsent: str | None, verdict: Verdict) -> None:
    """Whether a request may be sent again is read off the answer's marks."""
    assert judge(gateway, names, unsent) is verdict
