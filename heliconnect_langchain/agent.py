"""Agent middleware: `create_agent(model, tools, middleware=[HeliconeAgentMiddleware(user_id=...)])`.

For those who want no callback: the model calls of the agent are routed with its session and path. With the callback
handler beside it, the handler's words count for the path, and there is one record for each call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from heliconnect.callcontext import CallContext, Run, Scope, ambient, current, in_run, join_path
from heliconnect.errors import MissingExtraError
from heliconnect.wire.install import activate_for_runs

try:
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.runnables.config import var_child_runnable_config
except ImportError as exc:
    raise MissingExtraError("heliconnect_langchain.agent", "agents") from exc

__all__ = ["HeliconeAgentMiddleware"]


if TYPE_CHECKING:
    _Middleware = AgentMiddleware[Any, Any, Any]
else:
    _Middleware = AgentMiddleware  # langchain 1.0 takes two type parameters, later ones three


class HeliconeAgentMiddleware(_Middleware):
    """Routes the model calls of one agent, synchronous and asynchronous.

    name is the agent's step in the session path ("/trip planner/ChatOpenAI"). The session is, in this order, that given
    here, that of the surrounding context, LangGraph's `thread_id`; user and properties are those given here over the
    surrounding ones.
    """

    def __init__(
        self,
        agent: str = "agent",
        *,
        user_id: object = None,
        session_id: object = None,
        session_name: object = None,
        properties: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        self._agent = agent
        self._given = CallContext(
            user_id=user_id, session_id=session_id, session_name=session_name, properties=dict(properties or {})
        )
        activate_for_runs()

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """The agent calls its model."""
        with self._run(request):
            return handler(request)

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """The agent calls its model, asynchronously."""
        with self._run(request):
            return await handler(request)

    def _run(self, request: Any) -> Scope[Run]:
        model = type(getattr(request, "model", None)).__name__
        session_id = self._given.session_id or current().session_id or _thread_id()
        around = ambient().overlaid(self._given).overlaid(CallContext(session_id=session_id))
        return in_run(around, CallContext(session_path=join_path(around.session_path, self._agent, model)))


def _thread_id() -> object:
    config = var_child_runnable_config.get() or {}
    return (config.get("metadata") or {}).get("thread_id")
