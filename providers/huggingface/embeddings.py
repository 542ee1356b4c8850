"""Feature extraction: nested lists of numbers, which are not always one vector for each text.

Source: https://huggingface.co/docs/inference-providers/tasks/feature-extraction (2026-08-22).
Pooled models give a vector for each text; others one for each token of it. TEI and pipelines also
put a lone text's vector into a list of one.
"""

from __future__ import annotations

from typing import Any

from providers.contract import Output, ProtocolViolation


def embedding_outputs(inputs: Any, value: Any) -> list[Output]:
    """One output for each text, in order.

    A vector is an ``embedding``; what was not pooled into one goes out as ``json``, since picking
    or averaging tokens would be a guess. Raises ProtocolViolation when texts are missing.
    """
    if isinstance(inputs, list):
        if not isinstance(value, list) or len(value) != len(inputs):
            raise ProtocolViolation("The provider's answer has not one embedding for each text.")
        return [_output(item, index) for index, item in enumerate(value)]
    return [_output(value, 0)]


def _output(value: Any, index: int) -> Output:
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if not isinstance(value, list) or not value:
        raise ProtocolViolation("The provider's answer is no embedding.")
    if all(type(number) in (int, float) for number in value):
        return Output("embedding", value=value, index=index)
    return Output("json", value=value, index=index)
