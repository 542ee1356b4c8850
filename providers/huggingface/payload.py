"""A common request in the words of ``{"inputs": ..., "parameters": ...}``.

Source: https://huggingface.co/docs/inference-providers/tasks (2026-08-22); ranges of parameters
from text-generation-inference router/src/validation.rs (db931fcf, 2026-01-08).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from providers.contract import GenerateRequest, Parameters, RequestRejected
from providers.huggingface.options import Api
from providers.toolkit.mapping import model_input

_NAMES: Mapping[Api, Mapping[str, str]] = {
    "text-generation": {
        "max_output_tokens": "max_new_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "stop": "stop",
        "seed": "seed",
    },
    "text-to-image": {"seed": "seed"},
    "feature-extraction": {},
    "native": {},
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one model is asked, and what is always sent there."""

    url: str
    model: str
    api: Api
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # the token is in there
    parameters: Mapping[str, Any] = field(default_factory=dict)
    details: bool = True


def inputs_body(place: Place, request: GenerateRequest) -> dict[str, Any]:
    """The JSON to send. Raises RequestRejected for what the model's task cannot say."""
    task = "embed" if place.api == "feature-extraction" else "generate"
    if request.task != task:
        raise RequestRejected(f"This deployment can only {task}.", param="task")
    # Parameters have a place of their own here, so the mapping sees none.
    body = model_input({"prompt": "inputs"}, replace(request, parameters=Parameters()))
    if "inputs" not in body:
        raise RequestRejected("The input object needs the key inputs.", param="input")
    given = body.get("parameters")
    if given is not None and not isinstance(given, Mapping):
        raise RequestRejected("The parameters must be an object.", param="input.parameters")
    if place.api == "feature-extraction":  # takes its parameters beside the inputs
        _named(place.api, request)
        return {**body, **place.parameters}
    parameters = {**_named(place.api, request), **(given or {}), **place.parameters}
    if place.api == "text-generation":
        # Without it TGI's compatible route gives the prompt back, too, as if it were generated.
        parameters.setdefault("return_full_text", False)
        if place.details:
            parameters.setdefault("details", True)
        body["stream"] = request.stream
    if parameters:
        body["parameters"] = parameters
    return body


def _named(api: Api, request: GenerateRequest) -> dict[str, Any]:
    """The common parameters under the model's names."""
    asked, names = request.parameters, _NAMES[api]
    named: dict[str, Any] = {}
    for ours in ("max_output_tokens", "temperature", "top_p", "stop", "seed"):
        value = getattr(asked, ours)
        if value is None or value == ():
            continue
        if ours not in names:
            raise RequestRejected(
                "This deployment has no such parameter; put the model's own into the input.",
                param=f"parameters.{ours}",
            )
        if ours == "temperature" and value == 0:
            named["do_sample"] = False  # TGI refuses 0 and means this by it
        elif ours == "top_p" and value == 1:
            continue  # TGI refuses 1, which is what it does without the parameter
        else:
            named[names[ours]] = list(value) if isinstance(value, tuple) else value
    return named
