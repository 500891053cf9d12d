"""The callback handler: puts the context of a run over the calls that its models make.

It is synchronous and runs inline, the only kind that LangChain calls in the context of the request in every mode:
invoke, ainvoke, stream, astream, batch, in graphs, agents and tools. What it sets is a mutable holder, taken out of
force at the first token, the end or the error, because callbacks cannot reset a context variable in every mode.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from heliconnect.callcontext import CallContext, Run, add_teller, ambient, enter_run, join_path
from heliconnect.errors import MissingExtraError
from heliconnect.wire.install import activate_for_runs
from heliconnect_langchain.paths import is_plumbing, run_path

try:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.runnables.config import var_child_runnable_config
except ImportError as exc:
    raise MissingExtraError("heliconnect_langchain", "langchain") from exc

__all__ = ["HeliconeCallbackHandler"]

_log = logging.getLogger("heliconnect")
_MAX_RUNS = 10_000
_naming = threading.Lock()


@dataclass(slots=True)
class _Node:
    """A run under way. outside is the context around the outermost run of its tree.

    named counts the runs directly below that say something, by name. Not frozen, as each run of a chain makes one.
    """

    name: str
    parent: _Node | None
    run_id: UUID
    outside: CallContext
    metadata: Mapping[str, Any]
    holder: Run | None = None
    named: dict[str, int] = field(default_factory=dict)

    @property
    def root(self) -> _Node:
        return self if self.parent is None else self.parent.root

    def names(self) -> list[str]:
        return [*(self.parent.names() if self.parent is not None else ()), self.name]


def _label(name: str, parent: _Node | None) -> str:
    """A run's name in the path: the second of a name in the same place is "search 2", and so on, by their start."""
    above = parent
    while above is not None and above.parent is not None and is_plumbing(above.name):
        above = above.parent
    if above is None or is_plumbing(name):
        return name
    with _naming:
        count = above.named[name] = above.named.get(name, 0) + 1
    return name if count == 1 else f"{name} {count}"


class HeliconeCallbackHandler(BaseCallbackHandler):
    """Routes the model calls of the runs it is given to, with their session, path, user and properties.

        chain.invoke(question, config={"callbacks": [HeliconeCallbackHandler()], "run_name": "trip planner"})

    The session path comes from the run tree ("/trip planner/ChatOpenAI"), below the path of the surrounding context;
    the second run of a name in the same place is numbered ("/trip planner/search 2/ChatOpenAI"), by their start. Calls
    without callbacks of their own, embeddings and an SDK's inside a node or a tool, have the path of the run around.
    The session is, in this order: `session_id` of the run's metadata, that given here, that of the surrounding
    context, LangGraph's `thread_id`, the outermost run. User and properties: metadata (`user_id`, `properties`, each
    also with the prefix `helicone_`), what is given here, the surrounding context.
    """

    run_inline = True
    raise_error = False

    def __init__(
        self,
        *,
        user_id: object = None,
        session_id: object = None,
        session_name: object = None,
        properties: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        self._given = CallContext(
            user_id=user_id, session_id=session_id, session_name=session_name, properties=dict(properties or {})
        )
        self._nodes: OrderedDict[UUID, _Node] = OrderedDict()
        self._holders: OrderedDict[UUID, list[Run]] = OrderedDict()
        activate_for_runs()
        add_teller(_of_the_run_around)

    def request_ids(self, run_id: UUID) -> list[str]:
        """The `Helicone-Request-Id` of every call made under a run, in order, also of runs that have ended.

        Kept for the last 10,000 runs. Empty for a run that is unknown.
        """
        return [request_id for holder in self._holders.get(run_id, ()) for request_id in holder.request_ids]

    # Runs that group others

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **info: Any) -> None:
        self._start(serialized, run_id, info)

    def on_tool_start(self, serialized: Any, input_str: str, *, run_id: UUID, **info: Any) -> None:
        self._start(serialized, run_id, info)

    def on_retriever_start(self, serialized: Any, query: str, *, run_id: UUID, **info: Any) -> None:
        self._start(serialized, run_id, info)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id)

    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id)

    # Runs that call a model

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **info: Any) -> None:
        self._start(serialized, run_id, info, calls_model=True)

    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **info: Any) -> None:
        self._start(serialized, run_id, info, calls_model=True)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **_: Any) -> None:
        node = self._nodes.get(run_id)
        if node is not None and node.holder is not None:
            node.holder.active = False

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self._end(run_id)

    # What all of them share

    def _start(self, serialized: Any, run_id: UUID, info: Mapping[str, Any], *, calls_model: bool = False) -> None:
        try:
            parent_id = info.get("parent_run_id")
            parent = self._nodes.get(parent_id) if parent_id is not None else None
            name = info.get("name") or _class_name(serialized)
            outside = ambient() if parent is None else parent.outside
            node = _Node(_label(str(name), parent), parent, run_id, outside, info.get("metadata") or {})
            if calls_model:
                node.holder = enter_run(self._context(node, calls_model=True))
                self._remember(node, node.holder)
            _put(self._nodes, run_id, node)
        except Exception as error:  # noqa: BLE001 - no mistake of ours may fail the run
            _log.warning("a LangChain run could not be observed: %s", type(error).__name__)

    def _end(self, run_id: UUID) -> None:
        node = self._nodes.pop(run_id, None)
        if node is not None and node.holder is not None:
            node.holder.active = False

    def _remember(self, node: _Node, holder: Run) -> None:
        """The holder's request ids belong to its run and to every run around it."""
        around: _Node | None = node
        while around is not None:
            holders = self._holders.get(around.run_id, [])
            _put(self._holders, around.run_id, [*holders, holder])
            around = around.parent

    def context_below(self, run_id: UUID | None) -> CallContext | None:
        """What a call carries that is made right below this run without a callback; None for a run that is unknown."""
        node = self._nodes.get(run_id) if run_id is not None else None
        return None if node is None else self._context(node, calls_model=False)

    def _context(self, node: _Node, *, calls_model: bool) -> CallContext:
        """What a call carries over its surroundings: a model's own run, or one made inside another run."""
        outside, metadata, given = ambient(), node.metadata, self._given
        session_id = _said(metadata, "session_id") or given.session_id or outside.session_id
        session_name = _said(metadata, "session_name") or given.session_name or outside.session_name
        root = node.root
        if session_id is None:
            session_id = metadata.get("thread_id") or str(root.run_id)
            session_name = session_name or (None if is_plumbing(root.name) else root.name)
        properties = _said(metadata, "properties")
        return CallContext(
            user_id=_said(metadata, "user_id") or given.user_id,
            session_id=session_id,
            session_name=session_name,
            session_path=_path(node, outside, calls_model=calls_model),
            properties={**given.properties, **(properties if isinstance(properties, Mapping) else {})},
        )


def _path(node: _Node, here: CallContext, *, calls_model: bool) -> str:
    """The outside path, the run tree, then the steps taken inside the run, then the model."""
    base, now = join_path(node.outside.session_path), join_path(here.session_path)
    inside = now.removeprefix(base) if now.startswith(base) else ""
    around, model = node.names(), []
    if calls_model:
        *around, last = around
        model = [last]
    return join_path(base, run_path(around), inside, run_path(model))


def _of_the_run_around() -> CallContext | None:
    """The context of the LangChain run that this code runs in, if a handler of ours watches it."""
    try:
        callbacks = (var_child_runnable_config.get() or {}).get("callbacks")
        handlers = getattr(callbacks, "handlers", ())
        ours = next((one for one in handlers if isinstance(one, HeliconeCallbackHandler)), None)
        return None if ours is None else ours.context_below(getattr(callbacks, "parent_run_id", None))
    except Exception:  # noqa: BLE001 - a private name of LangChain's: without it, the surrounding context counts
        return None


def _said(metadata: Mapping[str, Any], name: str) -> Any:
    return metadata.get(f"helicone_{name}") or metadata.get(name)


def _class_name(serialized: Any) -> str:
    if isinstance(serialized, Mapping):
        path = serialized.get("id") or [serialized.get("name", "")]
        return str(path[-1])
    return ""


def _put(mapping: OrderedDict[UUID, Any], key: UUID, value: Any) -> None:
    """Set a key of a mapping that is bounded: runs that were cancelled never end."""
    mapping[key] = value
    while len(mapping) > _MAX_RUNS:
        mapping.popitem(last=False)
