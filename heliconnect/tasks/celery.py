"""Celery: `carry_celery()`, once in each process, carries the call context from `delay` to the task.

Source of the signals: https://docs.celeryq.dev/en/stable/userguide/signals.html
"""

from __future__ import annotations

from typing import Any

from heliconnect.callcontext import CallContext, Scope, use
from heliconnect.carrying import pack, unpack
from heliconnect.errors import MissingExtraError

try:
    from celery.signals import before_task_publish, task_postrun, task_prerun
except ImportError as exc:
    raise MissingExtraError("heliconnect.tasks.celery", "celery") from exc

__all__ = ["carry_celery"]

_HEADER = "heliconnect"
_SCOPE = "_heliconnect_scope"
_ID = "heliconnect-context"


def carry_celery() -> None:
    """Connect to Celery's signals, for every app of the process: where tasks are sent and where they run."""
    before_task_publish.connect(_publish, weak=False, dispatch_uid=_ID)
    task_prerun.connect(_begin, weak=False, dispatch_uid=_ID)
    task_postrun.connect(_end, weak=False, dispatch_uid=_ID)


def _publish(headers: Any = None, **_: Any) -> None:
    packed = pack()
    if packed and isinstance(headers, dict):
        headers.setdefault(_HEADER, packed)


def _begin(task: Any = None, **_: Any) -> None:
    request = getattr(task, "request", None)
    packed = getattr(request, _HEADER, None)
    if packed is None and not getattr(request, "is_eager", False):
        packed = {}  # a worker's process has no context of its own to give
    if packed is not None:
        scope: Scope[CallContext] = use(unpack(packed))
        scope.__enter__()
        request.__dict__[_SCOPE] = scope


def _end(task: Any = None, **_: Any) -> None:
    request = getattr(task, "request", None)
    scope = getattr(request, _SCOPE, None)
    if scope is not None:
        scope.__exit__(None, None, None)
