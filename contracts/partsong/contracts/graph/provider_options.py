"""Provider options: fields of a vendor's own request that an agent sets, by the vendor's names.

Only names that the vendor's SDK knows, and none of what the agent, its conversation or its loop say themselves: the model,
the messages, the tools, the schema, the limits, and how the answer streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from partsong.contracts.errors import Problem

__all__ = ["KNOWN_OPTIONS", "RESERVED_OPTIONS", "option_findings"]

KNOWN_OPTIONS: Mapping[str, frozenset[str]] = {
    "anthropic": frozenset(
        [
            "container",
            "inference_geo",
            "metadata",
            "output_config",
            "service_tier",
            "speed",
            "stop_sequences",
            "thinking",
            "tool_choice",
            "top_k",
            "top_p",
            "user_profile_id",
        ]
    ),
    "openai": frozenset(
        [
            "max_tool_calls",
            "metadata",
            "parallel_tool_calls",
            "prompt_cache_key",
            "prompt_cache_retention",
            "reasoning",
            "safety_identifier",
            "service_tier",
            "text",
            "tool_choice",
            "top_logprobs",
            "top_p",
            "truncation",
            "user",
        ]
    ),
    "openai-chat": frozenset(
        [
            "extra_body",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "metadata",
            "parallel_tool_calls",
            "prediction",
            "presence_penalty",
            "prompt_cache_key",
            "prompt_cache_retention",
            "reasoning_effort",
            "safety_identifier",
            "seed",
            "service_tier",
            "stop",
            "store",
            "tool_choice",
            "top_logprobs",
            "top_p",
            "user",
            "verbosity",
            "web_search_options",
        ]
    ),
    "google": frozenset(
        [
            "cached_content",
            "frequency_penalty",
            "labels",
            "logprobs",
            "media_resolution",
            "presence_penalty",
            "response_logprobs",
            "safety_settings",
            "seed",
            "service_tier",
            "stop_sequences",
            "thinking_config",
            "tool_config",
            "top_k",
            "top_p",
        ]
    ),
}
"""What may be set, by provider; `extra_body` is for what servers know that only speak like OpenAI."""

RESERVED_OPTIONS = frozenset(
    [
        "model",
        "messages",
        "input",
        "contents",
        "system",
        "instructions",
        "system_instruction",
        "tools",
        "functions",
        "stream",
        "stream_options",
        "format",
        "response_format",
        "response_schema",
        "response_json_schema",
        "response_mime_type",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "temperature",
        "n",
        "candidate_count",
        "http_options",
    ]
)
"""What no option may set, for the agent says it by fields of its own."""


def option_findings(
    options: Mapping[str, Mapping[str, JsonValue]], models: tuple[str, ...], where: str
) -> Iterator[Problem]:
    """All that is wrong with the options of an agent that asks these models."""
    asked = {model.partition(":")[0] for model in models}
    for provider, fields in options.items():
        if provider not in asked and "auto" not in asked:
            yield _wrong(
                f"{where}.{provider}",
                f"none of the agent's models is one of {provider}'s",
                f"the models are {', '.join(models)}",
            )
            continue
        known = KNOWN_OPTIONS.get(provider)
        for name, value in fields.items():
            if name in RESERVED_OPTIONS or (known is not None and name not in known):
                yield _unknown(f"{where}.{provider}.{name}", provider, name, known)
            elif isinstance(value, dict):
                for inner in sorted(value.keys() & RESERVED_OPTIONS):
                    place = f"{where}.{provider}.{name}.{inner}"
                    yield _unknown(place, provider, f"{name}.{inner}", known)


def _unknown(where: str, provider: str, name: str, known: frozenset[str] | None) -> Problem:
    if name.rpartition(".")[2] in RESERVED_OPTIONS:
        return _wrong(
            where,
            f"{name} is not for an option of {provider} to set",
            "the agent has a field of its own for it, or the platform decides it",
        )
    return _wrong(
        where,
        f"{provider} has no option {name!r}",
        f"there are: {', '.join(sorted(known or ()))}",
    )


def _wrong(where: str, message: str, fix: str) -> Problem:
    return Problem(code="agent.unknown_option", message=message, where=where, fix=fix)
