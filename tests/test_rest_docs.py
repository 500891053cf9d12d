"""docs/rest.md names every route and every column that can be asked for."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from heliconnect.store.hql_views import TABLES
from tests.conftest import Running

PAGE = (Path(__file__).parents[1] / "docs" / "rest.md").read_text()


def test_every_route_is_named(live: Running) -> None:
    """Those of /openapi.json; of the metrics their last part."""
    paths = httpx.get(f"{live.url}/openapi.json").json()["paths"]
    names = [path.removeprefix("/v1/metrics/") for path in paths]
    assert [name for name in names if name not in PAGE] == []
    assert len(names) > 45


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.name))
def test_every_column_is_named(table: object) -> None:
    """With its type and its meaning, as /v1/helicone-sql/schema tells them."""
    found = next(one for one in TABLES if one is table)
    missing = [c.name for c in found.columns if f"| `{c.name}` | {c.type} | {c.comment} |" not in PAGE]
    assert missing == []


def test_the_documentation_page_leads_to_the_description(live: Running) -> None:
    """/docs is there, without a script of anyone else's."""
    answer = httpx.get(f"{live.url}/docs")
    assert (answer.status_code, answer.headers["location"]) == (307, "/openapi.json")
