"""Banana's protocols, without Banana: for Potassium servers that you run yourself.

THE HOSTED SERVICE HAS ENDED. Its end was announced on 2024-02-01 (blog.erikdunteman.com, "Banana
Pivot: Unpeeled", 2024-02-29); a deployment that points at ``*.banana.dev`` fails with
``ProviderRetired`` before anything is sent. What lives on is the server, and old code:

potassium     V2: POST to a Potassium server (0.5.0, the last one, 2023-12) or to a server of the
              older template. No queue, no job, no cancel: who hangs up does not stop the handler.
start_check   V1: ``start/v4/`` and ``check/v4/`` (2022 to 2023) at whoever still speaks it.

Sources:  potassium 0.5.0 and banana-dev 6.3.0, read and run 2026-11-23; docs.banana.dev and
          https://github.com/bananaml/serverless-template as read on that day.
Reported: V2: whether the server is up and free (``/_k/status``). It takes connections only once
          the model is loaded, so an answer read before the call proves that no boot was waited
          for; a refused connection is a boot only where ``waits_when_refused`` says so.
          V1: nothing about time: the verdict is ``unknown``.
          Neither reports tokens; a handler that counts can say so in its own answer.
Billing:  Banana billed each replica's seconds of boot, work and idle time. Today the machine is
          yours: set your own price, for example
          ``{usd_per_second: "0.0004", bills: [execute, boot, idle]}``.
Status:   service ended; the real Potassium 0.5.0 runs in the tests, V1 and the hosted edge's
          answers (423, 503, 504, 413, 418) are emulated.
"""

from __future__ import annotations

from providers.banana.options import BananaOptions, BananaSettings
from providers.banana.potassium import PotassiumDeployment
from providers.banana.start_check import StartCheckDeployment
from providers.contract import Deployment, Host, Http, Provider, ProviderPlugin

__all__ = [
    "BananaOptions",
    "BananaProvider",
    "BananaSettings",
    "PotassiumDeployment",
    "StartCheckDeployment",
    "plugin",
]


class BananaProvider:
    """Servers that speak one of Banana's two protocols."""

    def __init__(self, settings: BananaSettings, http: Http) -> None:
        self._settings = settings
        self._http = http

    def bind(self, model: str, options: BananaOptions) -> Deployment:
        url = options.url or self._settings.base_url
        if url is None:
            raise ValueError(
                "url: where is your server? Banana's hosted service has ended; "
                "this provider is for Potassium servers that you run yourself"
            )
        kind = StartCheckDeployment if options.api == "start_check" else PotassiumDeployment
        return kind(self._http, url.rstrip("/"), self._settings.api_key, model, options)

    async def aclose(self) -> None:
        """Nothing of its own: the HTTP client is the host's."""


def _build(settings: BananaSettings, host: Host) -> Provider:
    return BananaProvider(settings, host.http)


plugin = ProviderPlugin(
    name="banana",
    settings=BananaSettings,
    options=BananaOptions,
    build=_build,
    summary="the hosted service has ended; for Potassium servers that you run yourself",
    status="service ended",
)
