"""RunPod Serverless: queue-based endpoints, whose workers run your handler or vLLM.

A request is one job: ``POST /run``, then looks at ``/status`` until it has ended, and at
``/stream`` for the pieces of a generator. ``POST /cancel`` on every other way out. No job is
submitted twice.

Sources:  https://docs.runpod.io/serverless (github.com/runpod/docs at a900806e, 2026-08-20),
          https://docs.runpod.io/api-reference-v2/openapi.json (2.0.0, the same), the ``runpod`` SDK
          and worker 1.12.0, runpod-workers/worker-vllm at 7a925039 (2026-08-20); read 2026-11-26.
Reported: ``delayTime``, queue and boot together, and ``executionTime``, in milliseconds;
          ``workerId``. What the wait was comes from the list of workers: see ``evidence``. Tokens:
          only where a handler counts, or vLLM does.
Billing:  the seconds from a worker's start (boot of its container, loading of the model) until it
          is stopped: boot, work and the idle timeout; the time for placing a worker and for
          downloading its image is free (workers/overview, serverless/pricing). Rounded up to a
          second over a worker's life. A handler that takes several jobs at a time bills the second
          once and reports it for each: give its price ``shared: true``.
          Public endpoints put the job's own price into their output (public-endpoints/models).
Kept:     results for 30 minutes after the end (``/run``), less where the job's own time to live,
          the gateway's deadline, is over before.
Not here: load-balancing endpoints and ``/openai/v1``: they report neither delay nor job. As plain
          OpenAI-compatible addresses they are for ``kind: openai_chat``.
Status:   never run against the live service. The real worker 1.12.0 runs jobs in one test, and has
          run the real handler of worker-vllm in front of an emulated vLLM once (2026-11-26).
"""

from __future__ import annotations

from providers.contract import ProviderPlugin
from providers.runpod.deployment import (
    QueueDeployment,
    RunPodDeployment,
    RunPodProvider,
    WarmableDeployment,
)
from providers.runpod.options import RunPodOptions, RunPodSettings

__all__ = [
    "QueueDeployment",
    "RunPodDeployment",
    "RunPodOptions",
    "RunPodProvider",
    "RunPodSettings",
    "WarmableDeployment",
    "plugin",
]

plugin = ProviderPlugin(
    name="runpod",
    settings=RunPodSettings,
    options=RunPodOptions,
    build=RunPodProvider,
    summary="RunPod Serverless: queue-based endpoints, your own handlers and vLLM workers",
    status="emulator only",
)
