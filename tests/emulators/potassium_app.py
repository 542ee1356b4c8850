"""A small app for the real Potassium server; the tests of the banana adapter run it.

    python potassium_app.py --port N [--init-seconds S] [--begun FILE]

``FILE`` is there from the moment in which the model begins to load.

In a process of its own: Potassium takes over the file descriptors 1 and 2 (potassium 0.5.0).
"""

# mypy: disable-error-code="untyped-decorator,import-untyped,import-not-found"
from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from potassium import Potassium, Request, Response

PIECE_SECONDS = 0.02
PIECES = 200

app: Any = Potassium("a-small-app")
arguments = argparse.Namespace(init_seconds=0.0, begun=None)


@app.init
def init() -> dict[str, Any]:
    if arguments.begun is not None:
        arguments.begun.touch()
    time.sleep(arguments.init_seconds)
    return {"yielded": 0, "background": [], "requests": [], "worked": []}


@app.handler("/")
def upper(context: dict[str, Any], request: Request) -> Response:
    begun_at = time.monotonic()
    context["requests"].append(request.id)
    prompt = request.json["prompt"]
    counts = {"tokens_in": len(prompt.split()), "tokens_out": 2}
    time.sleep(request.json.get("seconds", 0.0))
    context["worked"].append(time.monotonic() - begun_at)
    return Response(json={"outputs": prompt.upper(), "usage": counts})


@app.handler("/work")
def work(context: dict[str, Any], request: Request) -> Response:
    time.sleep(request.json["seconds"])
    return Response(json={"outputs": "done"})


@app.handler("/stream")
def stream(context: dict[str, Any], request: Request) -> Response:
    def pieces() -> Iterator[bytes]:
        for number in range(request.json.get("pieces", PIECES)):
            context["yielded"] += 1
            yield f"{number} ✓ ".encode()
            time.sleep(PIECE_SECONDS)

    return Response(body=pieces(), headers={"Content-Type": "text/plain; charset=utf-8"})


@app.handler("/picture")
def picture(context: dict[str, Any], request: Request) -> Response:
    headers = {"Content-Type": "image/png"} if request.json.get("typed") else {}
    return Response(body=request.json["content"].encode(), headers=headers)


@app.handler("/fails")
def fails(context: dict[str, Any], request: Request) -> Response:
    raise ValueError(f"the prompt was {request.json['prompt']}")


@app.handler("/says")
def says(context: dict[str, Any], request: Request) -> Response:
    return Response(json={"outputs": None}, status=request.json["status"])


@app.background("/later")
def later(context: dict[str, Any], request: Request) -> None:
    time.sleep(request.json["seconds"])
    context["background"].append(request.json["name"])


@app.handler("/facts")
def facts(context: dict[str, Any], request: Request) -> Response:
    return Response(json=context)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--init-seconds", type=float, default=0.0)
    parser.add_argument("--begun", type=Path, default=None)
    parser.parse_args(namespace=arguments)
    app.serve(host="127.0.0.1", port=arguments.port)
