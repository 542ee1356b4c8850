"""From a request to a model's own input, by a configured rule or by the names in its schema.

The schema is read once, for the first request that needs it: one short call on the connection that
the create call then uses. Several first requests share it. Where it cannot be read, text goes in as
``prompt``, as nearly all models have it, and later requests do not wait for a further try; only a
request with parameters is refused then, since a bound under a wrong name would be ignored, not
refused, by the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from providers.contract import GenerateRequest, ProviderError, RequestRejected
from providers.replicate.api import Api
from providers.replicate.schema import MAXIMUM_NAMES, InputNames, input_names
from providers.toolkit.mapping import MESSAGES_NAMES, InputRule, model_input

_SAY_HOW = "Set `input:` in the deployment, or send the model's own input object."


class ModelInput:
    """How one deployment's requests become its model's input objects."""

    def __init__(self, api: Api, schema_path: str | None, rule: InputRule | None) -> None:
        self._rule = rule
        self._schema = None if schema_path is None else _Schema(api, schema_path)

    async def of(self, request: GenerateRequest) -> dict[str, Any]:
        """The model's own input object. Raises ProviderError: then nothing may be started."""
        if self._rule is not None:
            return model_input(self._rule, request)
        given, has_parameters = request.input, _has_parameters(request)
        schema = self._schema
        if isinstance(given, Mapping) and not has_parameters:
            return model_input("payload", request)
        if schema is None:
            raise RequestRejected(f"The model shows no names of its input. {_SAY_HOW}")
        text_alone = isinstance(given, str) and not has_parameters
        if text_alone and schema.failed:
            schema.begin()
            return model_input("payload", request)
        try:
            names = await schema.names()
        except ProviderError as error:
            if text_alone:
                return model_input("payload", request)
            raise type(error)(
                f"The model's input names could not be read. {_SAY_HOW}",
                upstream_status=error.upstream_status,
                retry_after_seconds=error.retry_after_seconds,
            ) from error
        if names is None:
            raise RequestRejected(f"The model shows no names of its input. {_SAY_HOW}")
        return names.input_for(request)

    def most_output_tokens(self, request: GenerateRequest) -> int | None:
        """The bound on a request that states none, as far as it is known by now.

        Where it is not, the schema is read in the background, for the next one.
        """
        given, rule = request.input, self._rule
        if rule is not None:
            by_rule = rule if isinstance(rule, dict) else MESSAGES_NAMES
            name = None if rule in ("kwargs", "payload") else by_rule.get("max_output_tokens")
        elif self._schema is None:
            return None
        else:
            if not isinstance(given, Mapping) or any(name in given for name in MAXIMUM_NAMES):
                self._schema.begin()
            known = self._schema.known
            if known is None or not isinstance(given, Mapping):
                # Sent along, so that it holds whatever the model's default becomes.
                return None if known is None else known.usual_maximum
            name = known.names.get("max_output_tokens")
        value = given.get(name) if name is not None and isinstance(given, Mapping) else None
        return value if type(value) is int and value > 0 else None

    async def aclose(self) -> None:
        """Give up what is being read."""
        if self._schema is not None:
            await self._schema.aclose()


class _Schema:
    """The names in a model's schema. ``failed``: the last try to read them did."""

    def __init__(self, api: Api, path: str) -> None:
        self.known: InputNames | None = None
        self.failed = False
        self._api = api
        self._path = path
        self._read = False
        self._reading: asyncio.Task[ProviderError | None] | None = None

    def begin(self) -> asyncio.Task[ProviderError | None] | None:
        """Have it read, unless it has been, or is being read already; None: it has been."""
        if self._read:
            return None
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._try())
        return self._reading

    async def names(self) -> InputNames | None:
        """The names; None: the model shows none. Raises ProviderError where it cannot be read."""
        reading = self.begin()
        if reading is not None and (error := await asyncio.shield(reading)) is not None:
            raise error
        return self.known

    async def aclose(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    async def _try(self) -> ProviderError | None:
        try:
            self.known = input_names(await self._api.schema(self._path))
        except ProviderError as error:
            self.failed = True
            return error
        self.failed, self._read = False, True
        return None


def _has_parameters(request: GenerateRequest) -> bool:
    asked = request.parameters
    values = (asked.max_output_tokens, asked.temperature, asked.top_p, asked.seed)
    return bool(asked.stop) or any(value is not None for value in values)
