"""Replicate: predictions of official models, of versions, and of one's own deployments.

API:      https://api.replicate.com/v1, OpenAPI 1.0.0-a1; POST a prediction, follow its stream or
          look at it until it has ended.
Sources:  https://replicate.com/docs/reference/http (as recorded 2026-06-30; marked "reference"
          below), /docs/topics/predictions/{lifecycle,streaming,rate-limits},
          /docs/reference/webhooks, the ``replicate`` SDK 1.0.7, and the 3,808 public predictions in
          the npm package ``all-the-public-replicate-models`` 1.352.0 (marked "recorded
          predictions"); all read 2026-11-23.
Webhooks: asked for where the gateway has an address that Replicate reaches; streams and looks need
          none.
Reported: when a prediction was created, began and ended, and the seconds that its model ran;
          images, and tokens only by the provider's own language models.
Not told: queueing and booting apart (both are ``starting``), which machine served, any price, the
          hardware, and how many machines of a deployment are up.
Billing:  the seconds that the model ran; start-up is free on public models. A deployment is billed
          for every second that a machine of it is up.
Status:   emulator only. The emulator itself is held against the unmodified SDK, and one test puts
          Replicate's own model runtime behind it (cog 0.23.1).
"""

from providers.replicate.options import ReplicateOptions, ReplicateSettings
from providers.replicate.provider import ReplicateProvider, plugin

__all__ = [
    "ReplicateOptions",
    "ReplicateProvider",
    "ReplicateSettings",
    "plugin",
]
