"""A request in the words of Ollama's ``/api/chat``; sources in ``ollama``."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

from providers.contract import GenerateRequest, RequestRejected
from providers.toolkit.mapping import unseen_keys
from providers.toolkit.openai_chat import DIALECT


def request_body(
    model: str, load_body: Mapping[str, Any], request: GenerateRequest
) -> dict[str, Any]:
    """The JSON to send; ``load_body`` goes with it. Raises RequestRejected for the unsayable."""
    if request.task != "generate":
        raise RequestRejected("This deployment only generates.", param="task")
    if isinstance(request.input, Mapping):
        raise RequestRejected("This deployment takes text or messages.", param="input")
    given = (
        [{"role": "user", "content": request.input}]
        if isinstance(request.input, str)
        else request.input
    )
    body = {
        **load_body,
        "model": model,
        "messages": [_message(message) for message in given],
        "stream": True,  # also where the caller wants none: so it notices who leaves
        "options": {**load_body.get("options", {}), **_options(request)},
    }
    for key in unseen_keys(request):
        if request.dialect != DIALECT or key != "response_format":
            raise RequestRejected("Ollama's own API has no such parameter.", param=key)
        body |= _format(request.extra[key])
    return body


def _options(request: GenerateRequest) -> dict[str, Any]:
    parameters = request.parameters
    named = {
        "num_predict": parameters.max_output_tokens,
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "stop": list(parameters.stop) or None,
        "seed": parameters.seed,
    }
    return {name: value for name, value in named.items() if value is not None}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message in Ollama's words: text, and images as bare base64."""
    role, content = message.get("role"), message.get("content")
    if role not in ("system", "developer", "user", "assistant") or message.get("tool_calls"):
        raise RequestRejected("This deployment takes no tools (see server: plain).", param="input")
    made: dict[str, Any] = {"role": "system" if role == "developer" else role}
    texts: list[str] = []
    parts: list[Any] = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url" and (data := _base64(part.get("image_url"))) is not None:
            made.setdefault("images", []).append(data)
        else:
            raise RequestRejected("This deployment takes text and data: images.", param="input")
    return {**made, "content": "\n".join(texts)}


def _base64(image: Any) -> str | None:
    """What follows ``data:image/...;base64,``; None where it is something else."""
    url: Any = image.get("url") if isinstance(image, Mapping) else None
    head, _, data = str(url or "").partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        return None
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    return data


def _format(value: Any) -> dict[str, Any]:
    kind = value.get("type") if isinstance(value, Mapping) else None
    schema = value.get("json_schema") if isinstance(value, Mapping) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"format": "json"}
    if kind == "json_schema" and isinstance(schema, Mapping) and "schema" in schema:
        return {"format": schema["schema"]}
    raise RequestRejected("The format cannot be said.", param="response_format")
