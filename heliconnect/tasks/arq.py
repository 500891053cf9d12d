"""arq: `carry_pool(pool)` where jobs are enqueued, `on_job_start = carry_job` where they run.

A job's arguments are its function's own, so the context lies beside the job in Redis, as long as a job may.
Source: https://arq-docs.helpmanual.io
"""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

from heliconnect.callcontext import use
from heliconnect.carrying import pack, unpack
from heliconnect.errors import MissingExtraError

try:
    import arq  # noqa: F401 - what this module is made for
except ImportError as exc:
    raise MissingExtraError("heliconnect.tasks.arq", "arq") from exc

__all__ = ["carry_job", "carry_pool"]

_log = logging.getLogger("heliconnect")
_KEY = "heliconnect:context:"
_TTL_MS = 86_400_000


def carry_pool(pool: Any) -> Any:
    """Let the jobs enqueued by this pool carry the call context; gives back the same pool."""
    if "enqueue_job" in pool.__dict__:
        return pool
    original = pool.enqueue_job

    async def enqueue_job(function: str, *args: Any, _job_id: str | None = None, **kwargs: Any) -> Any:
        job_id = _job_id or uuid.uuid4().hex
        try:
            packed = pack()
            if packed:
                await pool.set(_KEY + job_id, json.dumps(packed), px=_TTL_MS, nx=True)
        except Exception as error:  # noqa: BLE001 - a job must not fail for the context of its calls
            _log.warning("a job's context could not be kept (%s)", type(error).__name__)
        return await original(function, *args, _job_id=job_id, **kwargs)

    pool.enqueue_job = enqueue_job
    return pool


async def carry_job(ctx: dict[str, Any]) -> None:
    """A worker's `on_job_start`: the context of who enqueued the job is in force for this job alone."""
    try:
        raw = await ctx["redis"].get(_KEY + str(ctx["job_id"]))
        found = unpack(json.loads(raw) if raw else None)
    except Exception as error:  # noqa: BLE001 - as above
        _log.warning("a job's context could not be read (%s)", type(error).__name__)
        return
    use(found).__enter__()  # each job runs in a task of its own, with which this ends
