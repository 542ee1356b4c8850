"""Hugging Face: the router to its inference providers, its own hf-inference, dedicated endpoints.

API:      https://router.huggingface.co/v1 (OpenAI's chat completions) and /hf-inference/models/{id}
          (``{"inputs": ..., "parameters": ...}``); https://<endpoint>.endpoints.huggingface.cloud
          with https://api.endpoints.huggingface.cloud/v2 for its state; the classic
          https://api-inference.huggingface.co, which answers 410 since 2026-02 and is kept for
          servers that still speak like it.
Sources:  https://huggingface.co/docs/inference-providers (repository of 2026-08-22),
          https://huggingface.co/docs/inference-endpoints (2026-08-20), huggingface_hub 2.4.0,
          text-generation-inference at db931fcf (2026-01-08), text-embeddings-inference
          router/src/http/server.rs. Read 2026-11-23.
Reports:  who served a call (``x-inference-provider``, kept as the revision) and its request id;
          tokens; queue and work seconds, in whole answers of TGI and TEI only, never in streams;
          an endpoint's state when asked for. Not: what a call cost (save for upstreams that say
          so in ``usage``), the seconds of a boot, who else waits for it.
Billing:  router: the serving provider's token price, no markup; hf-inference: seconds of work by
          hardware; endpoints: by the minute and replica while initializing or running.
Status:   emulator only; the emulator is driven by huggingface_hub 2.4.0 in the test suite.
"""

from providers.huggingface.options import HuggingFaceOptions, HuggingFaceSettings
from providers.huggingface.provider import HuggingFaceProvider, plugin

__all__ = ["HuggingFaceOptions", "HuggingFaceProvider", "HuggingFaceSettings", "plugin"]
