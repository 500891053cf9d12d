"""The custom logger: gives each LiteLLM call a context to carry, made of its metadata, its user and its surroundings.

LiteLLM carries headers from its hooks to the wire, but only ASCII text, and no callback can change a synchronous call's
base URL. So the hooks add one header, a reference to the context; where the request leaves, `heliconnect.outgoing` puts
the context's own headers in its place and the gateway's URL in the provider's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from heliconnect.callcontext import CallContext, current
from heliconnect.carrying import Executor
from heliconnect.errors import HeliconnectError, MissingExtraError
from heliconnect.protocol import CONTEXT_REF
from heliconnect.references import leave
from heliconnect.settings import get_settings, is_disabled
from heliconnect.wire.install import activate_for_runs
from heliconnect.wire.switch import Mode, switch

try:
    import litellm
    from litellm.integrations.custom_logger import CustomLogger
except ImportError as exc:
    raise MissingExtraError("heliconnect_litellm", "litellm") from exc

__all__ = ["HeliconeLogger"]

_log = logging.getLogger("heliconnect")
_SDK_PROVIDERS = frozenset({"openai", "azure", "custom_openai", "text-completion-openai", "azure_text"})
# The kinds of call whose `extra_headers` LiteLLM sends as headers. With others, images say, they end in the body.
_WITH_HEADERS = frozenset(
    {
        *("completion", "acompletion", "embedding", "aembedding", "text_completion", "atext_completion"),
        *("responses", "aresponses", "anthropic_messages"),
    }
)
_OTHER = "helicone"
_CALLBACK_LISTS = ("success_callback", "_async_success_callback", "failure_callback", "callbacks", "input_callback")
_FIELDS = ("user_id", "session_id", "session_name", "session_path")
# What LiteLLM itself writes into the metadata of a call; all else is the caller's.
_LITELLMS = frozenset(
    {
        *("hidden_params", "model_group", "model_group_size", "model_info", "deployment", "api_base", "caching_groups"),
        *("previous_models", "endpoint", "headers", "tags", "attempted_fallbacks", "max_fallbacks"),
        *("spend_logs_metadata", "attempted_retries", "max_retries", "original_model_group"),
        *("deployment_model_name", "requester_metadata", "requester_ip_address", "global_max_parallel_requests"),
        *("trace_id", "trace_name", "generation_id", "generation_name", "applied_guardrails", "raw_request"),
        *("litellm_api_version", "litellm_parent_otel_span", "mcp_tool_call_metadata", "vector_store_request_metadata"),
    }
)


class HeliconeLogger(CustomLogger):
    """Routes every LiteLLM call, sync and async, streamed or not, through routers and their fallbacks.

    `user` becomes the user id. Of `metadata`, user_id, session_id, session_name, session_path and properties are taken
    as such (each also with the prefix `helicone_`), any other text, number or boolean as a property. All of it goes
    over the surrounding context; `Helicone-*` headers in `extra_headers` win.

    The id of a call's record is `response._hidden_params["additional_headers"]["llm_provider-helicone-id"]`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._told: set[str] = set()
        activate_for_runs()
        _carry_into_batches()

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        """LiteLLM's hook before a call leaves; the headers it is about to send are within reach.

        The parameters' names are part of the hook: LiteLLM passes them by keyword.
        """
        try:
            if _routes():
                self._take_over()
            additional = kwargs.get("additional_args") or {}
            body, headers = additional.get("complete_input_dict"), additional.get("headers")
            if isinstance(body, MutableMapping) and _is_sdk_call(kwargs):
                headers = body["extra_headers"] = dict(body.get("extra_headers") or {})  # not the caller's own
            if isinstance(headers, MutableMapping) and not _has_reference(headers) and _routes():
                headers[CONTEXT_REF] = leave(_context(kwargs))
        except Exception as error:  # noqa: BLE001 - no mistake of ours may fail the call
            self._report(error)

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any] | None:
        """LiteLLM's hook before an asynchronous call, for each deployment a router tries."""
        try:
            if not _routes() or str(getattr(call_type, "value", call_type)) not in _WITH_HEADERS:
                return None
            headers = {
                name: value
                for name, value in dict(kwargs.get("extra_headers") or {}).items()
                if name.lower() != CONTEXT_REF.lower()
            }
            return {**kwargs, "extra_headers": {**headers, CONTEXT_REF: leave(_context(kwargs))}}
        except Exception as error:  # noqa: BLE001 - no mistake of ours may fail the call
            self._report(error)
            return None

    def _take_over(self) -> None:
        """LiteLLM's own callback "helicone" logs calls after the fact: of routed ones it would make a second record."""
        lists = [getattr(litellm, name, None) for name in _CALLBACK_LISTS]
        found = [one for one in lists if isinstance(one, list) and _OTHER in one]
        for one in found:
            one[:] = [callback for callback in one if callback != _OTHER]
        if found:
            _log.warning(
                "LiteLLM's own callback %r was on beside HeliconeLogger and would record every call twice: it was "
                "taken out of LiteLLM's callbacks",
                _OTHER,
            )

    def _report(self, error: Exception) -> None:
        kind = f"{type(error).__name__}: {error}" if isinstance(error, HeliconnectError) else type(error).__name__
        if kind not in self._told:
            self._told.add(kind)
            _log.warning("a LiteLLM call could not be given its context: %s", kind)


def _carry_into_batches() -> None:
    """`batch_completion` calls from threads of a pool: they take the context along, and nothing else changes."""
    try:
        batches: Any = import_module("litellm.batch_completion.main")
        if getattr(batches, "ThreadPoolExecutor", None) is ThreadPoolExecutor:
            batches.ThreadPoolExecutor = Executor
    except Exception as error:  # noqa: BLE001 - without it batches lack the surrounding context, and work
        _log.warning("LiteLLM's batches cannot carry the context: %s", type(error).__name__)


def _routes() -> bool:
    """Whether a call could be routed at all: a context is left for it only then."""
    return switch.mode is not Mode.OFF and not get_settings().disabled and not is_disabled()


def _is_sdk_call(kwargs: Mapping[str, Any]) -> bool:
    """Whether LiteLLM is about to hand the call to the OpenAI SDK, where headers are one of its keywords.

    Everywhere else the same dictionary is the request's body, and must be left alone.
    """
    return kwargs.get("custom_llm_provider") in _SDK_PROVIDERS and "responses" not in str(kwargs.get("call_type"))


def _has_reference(headers: Mapping[str, Any]) -> bool:
    return any(str(name).lower() == CONTEXT_REF.lower() for name in headers)


def _context(kwargs: Mapping[str, Any]) -> CallContext:
    """The surrounding context, with what the call's own user and metadata say on top."""
    metadata = _metadata(kwargs)
    found = {field: _said(metadata, field) for field in _FIELDS}
    optional = kwargs.get("optional_params")
    if found["user_id"] is None:
        found["user_id"] = kwargs.get("user") or (optional.get("user") if isinstance(optional, Mapping) else None)
    properties = _said(metadata, "properties")
    own = {
        name: value
        for name, value in metadata.items()
        if isinstance(value, str | int | float | bool) and not _is_litellms(name)
    }
    named = {**own, **(properties if isinstance(properties, Mapping) else {})}
    return current().overlaid(CallContext(**found, properties=named))


def _metadata(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = kwargs.get("litellm_params")
    nested = parameters.get("metadata") if isinstance(parameters, Mapping) else None
    metadata = kwargs.get("metadata") or nested
    return metadata if isinstance(metadata, Mapping) else {}


def _said(metadata: Mapping[str, Any], name: str) -> Any:
    return metadata.get(f"helicone_{name}") or metadata.get(name)


def _is_litellms(name: object) -> bool:
    text = str(name)
    is_field = text.removeprefix("helicone_") in {*_FIELDS, "properties"}
    return is_field or text in _LITELLMS or text.startswith(("user_api_key", "litellm_", "_"))
