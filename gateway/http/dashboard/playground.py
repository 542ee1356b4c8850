"""A prompt at two deployments side by side. The answers are streamed by the page's script."""

from __future__ import annotations

from fastapi import Request

from gateway.http.dashboard.asking import Asked
from gateway.http.dashboard.view import View
from gateway.http.dashboard.visits import Visit


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """What can be asked for; the URL says which two, never the prompt."""
    state, caller = visited.state, visited.caller
    names = [*state.settings.models, *(f"deployment:{name}" for name in state.registry.targets)]
    choices = [name for name in names if caller.models is None or name in caller.models]
    pair = [
        asked.one(side, choices[min(number, len(choices) - 1)] if choices else "")
        for number, side in enumerate(("left", "right"))
    ]
    shown = {"choices": choices, "pair": pair, "may_run": caller.may("generate")}
    return View("playground.html", shown)
