"""Models on this machine: the embedded engine, any other server by command, or one by address.

Docs:     https://github.com/ggml-org/llama.cpp/tree/master/tools/server (read 2026-11-23)
          https://github.com/xorbitsai/xllamacpp
Reported: usage with every answer. Boots of our own processes are proved by their start; a server by
          address says what its record in ``dialects`` knows how to read (loaded, asleep, seconds).
Status:   the real engine (xllamacpp 2026.10.11549), embedded and by address, runs in the tests;
          vLLM, SGLang, TGI, NIM, Ollama and LM Studio are emulated.
"""

from providers.local.options import LocalOptions, LocalSettings
from providers.local.provider import LocalProvider, plugin, prepare
from providers.local.weights import Progress, WeightsUnavailable

__all__ = [
    "LocalOptions",
    "LocalProvider",
    "LocalSettings",
    "Progress",
    "WeightsUnavailable",
    "plugin",
    "prepare",
]
