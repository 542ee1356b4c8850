"""Models on this machine: the embedded engine, any other server by command, or one by address.

Docs:     https://github.com/ggml-org/llama.cpp/tree/master/tools/server (read 2026-11-23)
          https://github.com/xorbitsai/xllamacpp
Reported: usage with every answer; boots are our own, so their evidence is the process we started.
Status:   run here against the real engine (xllamacpp 2026.10.11549).
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
