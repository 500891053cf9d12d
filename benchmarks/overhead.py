"""What the client half costs: header building, a routed call against an unrouted one, and importing the package.

Run: python benchmarks/overhead.py. Prints medians of one run on loopback.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import httpx

import heliconnect as hc
from heliconnect.callcontext import CallContext
from heliconnect.protocol import context_headers
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply

MARK = ("helicone-id", "00000000-0000-4000-8000-000000000000")


def median_us(work: Callable[[], object], times: int) -> float:
    """The median time of `work` in microseconds, after a tenth as many unmeasured ones."""
    took = []
    for turn in range(times + times // 10):
        began = time.perf_counter()
        work()
        if turn >= times // 10:
            took.append((time.perf_counter() - began) * 1e6)
    return statistics.median(took)


def main() -> None:
    """Measure and print."""
    context = CallContext(user_id="u", session_id="s", properties={f"name {i}": f"value {i}" for i in range(5)})
    print(f"header building            {median_us(lambda: context_headers(context), 5_000):8.1f} us")
    with Provider() as server, httpx.Client() as plain, httpx.Client() as routed, httpx.Client() as idle:
        server.always(Reply(headers=(MARK,)))
        known = {"http://127.0.0.1:9": "openai"}
        hc.connect(routed, Settings(base_url=server.url, providers=known))
        hc.connect(idle, Settings(disabled=True))
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        path = "/v1/chat/completions"
        ways = [
            ("unpatched", plain, server.url),
            ("patched, disabled", idle, server.url),
            ("routed", routed, "http://127.0.0.1:9"),
        ]
        took: dict[str, list[float]] = {name: [] for name, _, _ in ways}
        for _ in range(5):  # in turns, so that a busy moment hits all alike
            for name, client, url in ways:
                took[name].append(median_us(lambda c=client, u=url: c.post(u + path, json=body), 60))  # type: ignore[misc]
        base = statistics.median(took["unpatched"])
        for name, found in took.items():
            middle = statistics.median(found)
            print(f"{name:26} {middle:8.1f} us a call, {middle - base:+.1f} us")
    bare, ours = (
        min(median_us(lambda c=code: subprocess.run([sys.executable, "-c", c], check=True), 1) for _ in range(9))  # type: ignore[misc]
        for code in ("pass", "import heliconnect")
    )
    print(f"import heliconnect         {(ours - bare) / 1000:8.1f} ms over a bare interpreter")


if __name__ == "__main__":
    main()
