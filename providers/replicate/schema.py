"""A model's own input names, read from the schema that Replicate shows with it.

Source: ``openapi_schema`` of the 3,808 models in npm ``all-the-public-replicate-models`` 1.352.0.
Of the 223 that stream text, 199 take ``prompt``, 11 ``message``, 2 each ``text`` and ``question``;
the bound on tokens is ``max_new_tokens`` 122 times, ``max_tokens`` 67 and ``max_length`` 21; stops
are one string, cut at commas, 57 times of 57.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from providers.contract import GenerateRequest, RequestRejected
from providers.toolkit.mapping import model_input

MAXIMUM_NAMES = ("max_tokens", "max_new_tokens", "max_length")
_CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "message", "text", "question"),
    "system": ("system_prompt",),
    "max_output_tokens": MAXIMUM_NAMES,
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "stop": ("stop_sequences", "stop"),
    "seed": ("seed",),
}


@dataclass(frozen=True, slots=True)
class InputNames:
    """Our names and the model's.

    ``joined_stops``: it takes stops as one string. ``usual_maximum``: how many tokens it makes at
    most where the caller says nothing; None: it does not say.
    """

    names: dict[str, str]
    joined_stops: bool = False
    usual_maximum: int | None = None

    def input_for(self, request: GenerateRequest) -> dict[str, Any]:
        """The model's own input object. Raises RequestRejected naming what has no place in it."""
        made = model_input(self.names, request)
        if self.usual_maximum is not None and not isinstance(request.input, Mapping):
            made.setdefault(self.names["max_output_tokens"], self.usual_maximum)
        stop, stops = self.names.get("stop"), request.parameters.stop
        if self.joined_stops and stop is not None and made.get(stop) == list(stops) and stops:
            if any("," in sequence for sequence in stops):
                raise RequestRejected(
                    "This model cannot stop at a text with a comma.", param="parameters.stop"
                )
            made[stop] = ",".join(stops)
        return made


def input_names(shown: Mapping[str, Any]) -> InputNames | None:
    """Read a model or a version of one; None: it shows no input schema."""
    version = shown.get("latest_version", shown)
    properties: Any = version
    for key in ("openapi_schema", "components", "schemas", "Input", "properties"):
        properties = properties.get(key) if isinstance(properties, Mapping) else None
    if not isinstance(properties, Mapping):
        return None
    names: dict[str, str] = {}
    for ours, candidates in _CANDIDATES.items():
        for name in candidates:
            if name in properties and (
                ours != "prompt" or _said(properties[name], "type") == "string"
            ):
                names[ours] = name
                break
    stop = names.get("stop")
    joined_stops = stop is not None and _said(properties[stop], "type") == "string"
    maximum = names.get("max_output_tokens")
    usual = None if maximum is None else _said(properties[maximum], "default")
    is_bound = type(usual) is int and usual > 0
    return InputNames(names, joined_stops, usual if is_bound else None)


def _said(field: Any, key: str) -> Any:
    return field.get(key) if isinstance(field, Mapping) else None
