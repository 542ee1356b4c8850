"""Why an engine did not come up, in words for callers; the details go to the operator's log."""

from __future__ import annotations

from providers.contract import ProviderError, UpstreamFailed

REPORTED = {
    "model_missing": "The local engine's model file is missing.",
    "not_gguf": "The local engine's model file is not a GGUF file, or it is damaged.",
    "engine_missing": "The local engine is not installed.",
    "load_failed": "The local engine could not load its model.",
    "command_missing": "The local engine's command could not be started.",
}
SIGNALLED = {
    # SIGILL: the wheel for x86-64 is compiled for these, with no choice at run time.
    4: "The local engine cannot run on this CPU: it lacks AVX2, FMA or BMI2.",
    # SIGKILL
    9: "The local engine was killed while it started; most likely memory ran out.",
}


def boot_failure(exit_code: int, reason: str | None) -> ProviderError:
    """The error for an engine that ended before it was ready.

    ``reason`` is what it reported itself; ``exit_code`` is -n or 128 + n for signal n.
    """
    if reason is not None:
        return UpstreamFailed(REPORTED.get(reason, "The local engine could not start."))
    number = -exit_code if exit_code < 0 else exit_code - 128
    return UpstreamFailed(
        SIGNALLED.get(number, f"The local engine ended while it started (exit code {exit_code}).")
    )
