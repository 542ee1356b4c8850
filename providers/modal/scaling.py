"""A function that was looked up once, and its scale: read, set, and shown as a state."""

from __future__ import annotations

import logging

from providers.contract import Booting, ModelNotFound, ProbeState, ProviderError, Started
from providers.modal.api import Api, Ref, Target
from providers.modal.evidence import before_the_call
from providers.modal.once import Once

_log = logging.getLogger(__name__)


class Lookup:
    """Looks up one function when it is first needed, and again after Modal has forgotten it.

    The SDK's handles keep for ever what they were told, and a redeployment may change it.
    """

    def __init__(self, api: Api, ref: Ref) -> None:
        self._target: Once[Target] = Once(lambda: api.find(ref))

    async def target(self) -> Target:
        """The function. Raises a ProviderError where Modal does not know it."""
        return await self._target.get()

    def forget_after(self, error: ProviderError) -> None:
        """Look up anew next time, where the error says that the function has changed."""
        if isinstance(error, ModelNotFound):
            self._target.forget()

    async def aclose(self) -> None:
        """End a look-up that is under way."""
        await self._target.aclose()


class Scaled:
    """The scale of one function."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def before_the_call(self) -> Booting | Started | None:
        """What can be said of a call before it is made; evidence must not fail a request."""
        try:
            target = await self._lookup.target()
            return before_the_call(await target.scale())
        except ProviderError as error:
            self._lookup.forget_after(error)
            _log.debug("no scale before the call: %s", type(error).__name__)
            return None

    async def probe(self) -> ProbeState:
        """Reading the scale wakes nothing."""
        try:
            scale = await (await self._lookup.target()).scale()
        except ProviderError as error:
            self._lookup.forget_after(error)
            return "unknown"
        if scale.containers:
            return "ready"
        return "booting" if scale.backlog else "down"

    async def set(self, minimum: int, maximum: int | None) -> None:
        """Keep between so many containers; lasts until the app is deployed anew."""
        target = await self._lookup.target()
        await target.set_scale(minimum, maximum)
