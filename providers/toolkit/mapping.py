"""How a common request becomes a model's own input, and a model's value becomes output events.

A model that is not a chat model takes its own names. A deployment says how:

    input: messages                          {"messages": [...], "max_tokens": ...}, OpenAI's names
    input: kwargs | payload                  the caller's own object; text goes in as ``prompt``
    input: {prompt: text, max_output_tokens: max_new_tokens}     our names -> the model's

An object as input is the model's own words and passes as it is, whatever the rule. A parameter
that the rule has no name for is refused by name: dropping it would answer another question.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from providers.contract import Delta, GenerateRequest, Output, OutputKind, RequestRejected

InputRule: TypeAlias = Literal["kwargs", "payload", "messages"] | dict[str, str]
OutputRule: TypeAlias = Literal["auto", "text", "json", "image", "audio", "video", "file"]

MESSAGES_NAMES: Mapping[str, str] = {
    "messages": "messages",
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop",
    "seed": "seed",
}
PROMPT_NAMES: Mapping[str, str] = {"prompt": "prompt"}
_KINDS: Mapping[OutputRule, OutputKind] = {"image": "image", "audio": "audio", "video": "video"}
_PARAMETERS = ("max_output_tokens", "temperature", "top_p", "stop", "seed")
# Keys of a dialect's ``extra`` that ``parameters`` shows too, or that only concern the stream.
_SEEN_ALREADY: Mapping[str, frozenset[str]] = {
    "openai_chat": frozenset(
        {
            *("max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed"),
            "stream_options",
        }
    )
}
KNOWN_NAMES = frozenset({"prompt", "system", "messages", *_PARAMETERS})


def model_input(rule: InputRule, request: GenerateRequest) -> dict[str, Any]:
    """The model's own input object.

    Raises: RequestRejected naming the field that has no place in it.
    """
    names = _names(rule)
    if isinstance(request.input, Mapping):
        made = dict(request.input)
    else:
        made = _from_common(names, request.input)
    for parameter in _PARAMETERS:
        value = getattr(request.parameters, parameter)
        if value is None or value == ():
            continue
        name = names.get(parameter)
        if name is None:
            raise RequestRejected(
                f"This deployment has no name for {parameter}; put the model's own into the input.",
                param=f"parameters.{parameter}",
            )
        made.setdefault(name, list(value) if isinstance(value, tuple) else value)
    for key in unseen_keys(request):
        raise RequestRejected("This deployment does not know the parameter.", param=key)
    return made


def unseen_keys(request: GenerateRequest) -> Iterator[str]:
    """The keys of ``extra`` that ``parameters`` does not show: to be honoured or refused."""
    seen_already = _SEEN_ALREADY.get(request.dialect or "", frozenset())
    for key, value in request.extra.items():
        if key not in seen_already and not (key == "n" and value == 1):
            yield key


def unknown_names(rule: InputRule) -> list[str]:
    """Keys of a rule that mean nothing; for the plugin's options to refuse."""
    return sorted(set(rule) - KNOWN_NAMES) if isinstance(rule, dict) else []


def _names(rule: InputRule) -> Mapping[str, str]:
    if isinstance(rule, dict):
        return rule
    return MESSAGES_NAMES if rule == "messages" else PROMPT_NAMES


def _from_common(
    names: Mapping[str, str], given: str | Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    if "messages" in names:
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        return {names["messages"]: messages}
    if "prompt" not in names:
        raise RequestRejected("This deployment takes the model's own input object.", param="input")
    if isinstance(given, str):
        return {names["prompt"]: given}
    return _from_messages(names, given)


def _from_messages(
    names: Mapping[str, str], messages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One user's text, and a system text where the model has a name for it; nothing is guessed."""
    made: dict[str, Any] = {}
    for message in messages:
        role, content = message.get("role"), message.get("content")
        name = names.get("system" if role in ("system", "developer") else "prompt")
        fits = role in ("system", "developer", "user") and isinstance(content, str)
        if not fits or name is None or name in made:
            raise RequestRejected(
                "This deployment takes a prompt, not a conversation.", param="input"
            )
        made[name] = content
    if names["prompt"] not in made:
        raise RequestRejected("The input has no user message.", param="input")
    return made


def output_events(rule: OutputRule, value: Any) -> Iterator[Delta | Output]:
    """Events for one whole value of a model.

    ``auto``: text for a string or a list of strings (pieces of one text), a file for bytes, an
    image (audio, video) for an address whose name ends like one, JSON for everything else.
    """
    if value is None:
        return
    if isinstance(value, bytes):
        yield Output(_KINDS.get(rule, "file"), data=value)
    elif rule == "json":
        yield Output("json", value=value)
    elif rule in ("image", "audio", "video", "file"):
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            yield _file(rule, item, index)
    elif isinstance(value, str):
        yield from _string(rule, value, 0)
    elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        if rule == "auto" and all(is_address(item) for item in value):
            for index, item in enumerate(value):
                yield from _string(rule, item, index)
        else:
            yield Delta("".join(value))
    elif rule == "text":
        raise RequestRejected("The model's output is no text; set output: json.")
    else:
        yield Output("json", value=value)


def is_address(text: str) -> bool:
    """Whether a string is the address of a file and nothing else."""
    return text.startswith(("https://", "http://", "data:")) and not any(c.isspace() for c in text)


def _string(rule: OutputRule, text: str, index: int) -> Iterator[Delta | Output]:
    if rule == "auto" and is_address(text):
        yield _file(kind_of(text), text, index)
    else:
        yield Delta(text, index=index)


def kind_of(address: str) -> OutputKind:
    """What an address leads to, by the media type that its name or its data says."""
    major = (media_type_of(address) or "").partition("/")[0]
    if major == "image":
        return "image"
    if major == "audio":
        return "audio"
    return "video" if major == "video" else "file"


def media_type_of(address: str) -> str | None:
    """The media type of an address; None where it says none."""
    if address.startswith("data:"):
        return address[5:].partition(",")[0].partition(";")[0] or None
    return mimetypes.guess_type(address.partition("?")[0].partition("#")[0])[0]


def _file(kind: OutputKind, item: Any, index: int) -> Output:
    if isinstance(item, str):
        return Output(kind, url=item, media_type=media_type_of(item), index=index)
    if isinstance(item, bytes):
        return Output(kind, data=item, index=index)
    return Output("json", value=item, index=index)
