"""The parts without a network: options, stamps, the function's own report; and whose ``modal``."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import socket
from typing import Any

import modal as sdk
import pytest
import yaml
from modal import exception

import providers.modal
from gateway.registry import Registry
from gateway.settings import Settings
from providers.contract import (
    Booting,
    CredentialsRejected,
    Host,
    Phases,
    Probeable,
    ProtocolViolation,
    ProviderError,
    RateLimited,
    Reconcilable,
    Scalable,
    Started,
    UpstreamFailed,
    UpstreamUnreachable,
)
from providers.modal import ModalOptions, ModalProvider, ModalSettings, plugin
from providers.modal.api import Outcome, Scale
from providers.modal.errors import error_of_status, translate
from providers.modal.evidence import Containers, before_the_call, phases_of, with_report
from providers.modal.report import NOTHING, Report, split
from providers.modal.stamps import stamp_of
from providers.toolkit.http import open_http
from tests.adapters.modal_help import ask

FOLDER = Path(providers.modal.__file__).parent
TOKENS = {"token_id": "ak-1", "token_secret": "as-1"}
STARTED = datetime(2026, 8, 12, 9, 12, 50, tzinfo=UTC)
CALL, CONTAINER = "fc-01KZTKXM6C4N65HCPCPQTG099K", "ta-01KZTKXPPTK9QNBG2VY5YKB19R"


def test_modal_means_the_sdk() -> None:
    assert FOLDER not in Path(str(sdk.__file__)).parents
    assert sdk.__version__ == "1.6.4"


@pytest.mark.parametrize(("flags", "folder"), [([], FOLDER.parent.parent), (["-P"], FOLDER.parent)])
def test_modal_means_the_sdk_in_a_process_of_its_own(flags: list[str], folder: Path) -> None:
    """In ``providers/`` itself Python needs -P: it would look there first."""
    ran = subprocess.run(
        [
            *(sys.executable, *flags, "-c"),
            "import providers.modal, modal; print(modal.__version__, modal.__file__)",
        ],
        cwd=folder,
        env={"PYTHONPATH": str(FOLDER.parent.parent), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.startswith("1.6.4 ") and str(FOLDER) not in ran.stdout


def test_every_class_of_the_sdk_has_an_error_of_ours() -> None:
    known = [c for c in vars(exception).values() if isinstance(c, type)]
    for kind in known:
        if not issubclass(kind, exception.Error) or kind.__name__.startswith("_"):
            continue
        try:
            error = kind("the prompt was 'attack at dawn'")
        except TypeError:
            error = kind("words", image_id="im-1")  # type: ignore[call-arg]
        ours = translate(error)
        assert isinstance(ours, ProviderError) and "dawn" not in ours.detail
    assert type(translate(exception.AuthError("x"))) is CredentialsRejected
    assert type(translate(exception.ResourceExhaustedError("x"))) is RateLimited
    assert type(translate(ZeroDivisionError())) is UpstreamFailed
    assert type(error_of_status(99)) is ProtocolViolation


def test_stamps() -> None:
    assert stamp_of(CALL, STARTED) == datetime(2026, 8, 12, 9, 12, 42, 444000, tzinfo=UTC)
    assert stamp_of(CALL.lower(), STARTED) == stamp_of(CALL, STARTED)
    for wrong in (None, "", "fc-", "fc-123", "fc-" + "U" * 26, "fc-" + "Z" * 26, CALL + "0"):
        assert stamp_of(wrong, STARTED) is None
    assert stamp_of(CALL, None) is None
    assert stamp_of(CALL, STARTED + timedelta(days=31)) is None
    assert stamp_of(CALL, STARTED - timedelta(minutes=1)) is None


def _ended(**changes: Any) -> Outcome:
    known = {"container_id": CONTAINER, "started_at": STARTED}
    return Outcome(**{**known, "ended_at": STARTED + timedelta(seconds=3), **changes})


def test_phases_of_a_call() -> None:
    met = Containers()
    cold = phases_of(CALL, _ended(), met)
    assert (cold.queue_seconds, cold.boot_seconds, cold.wait_seconds, cold.execute_seconds) == (
        2.574,
        4.982,
        7.556,
        3.0,
    )
    assert (cold.evidence, cold.caused_boot) == ("timestamps_reported", True)
    beside = phases_of(CALL, _ended(), met)
    assert beside.caused_boot is False
    later = "fc-" + "01KZTKZZZZ" + "0" * 16  # made a minute later, when the container had worked
    warm = phases_of(later, _ended(started_at=STARTED + timedelta(minutes=2)), met)
    assert (warm.boot_seconds, warm.evidence) == (0.0, "timestamps_reported")


def test_phases_do_not_guess() -> None:
    retried = phases_of(CALL, _ended(retries=1), Containers())
    assert retried.boot_seconds is None and retried.evidence is None
    skewed = phases_of(CALL, _ended(ended_at=STARTED - timedelta(seconds=1)))
    assert skewed.execute_seconds == 0.0
    nothing = phases_of(CALL, Outcome())
    assert nothing == Phases()
    older = "ta-" + "01KZTKWWWW" + "0" * 16  # made before the call, and never met
    unknown = phases_of(CALL, _ended(container_id=older), Containers())
    assert unknown.boot_seconds is None and unknown.evidence is None
    assert unknown.caused_boot is False and unknown.wait_seconds == 7.556


def test_containers_are_forgotten_in_time() -> None:
    met = Containers()
    for number in range(5000):
        assert met.meet(f"ta-{number}")
    assert not met.meet("ta-4999") and met.meet("ta-0")
    assert repr(met) == "Containers(4096)"


@pytest.mark.parametrize(
    ("scale", "told"),
    [
        (None, None),
        (Scale(0, 0, 0, 0), Booting("scale_state", caused_boot=True)),
        (Scale(2, 0, 0, 0), Booting("scale_state", caused_boot=None)),
        (Scale(0, 1, 0, 1), Started(evidence="scale_state")),
        (Scale(0, 1, 1, 0), None),
        (Scale(1, 1, 0, 1), None),
    ],
)
def test_the_scale_before_a_call(scale: Scale | None, told: Booting | Started | None) -> None:
    assert before_the_call(scale) == told


@pytest.mark.parametrize(
    ("report", "wait", "boot"),
    [
        ({"process_age_seconds": 12.1, "boot_seconds": 12.0}, None, 12.0),
        ({"process_age_seconds": 12.1, "boot_seconds": 12.0}, 5.0, 5.0),
        ({"process_age_seconds": 12.5, "boot_seconds": 12.0}, 0.4, 0.0),  # it came after the boot
        ({"process_age_seconds": 14.0, "boot_seconds": 12.0}, 3.0, 3.0),  # it came before its end
        ({"process_age_seconds": 60.0, "boot_seconds": 12.0}, None, 0.0),
        ({"process_age_seconds": 60.0}, None, None),
        ({"process_age_seconds": 60.0}, 3.0, 0.0),
        ({"process_age_seconds": 2.0}, 3.0, 2.0),
        ({"boot_seconds": 12.0}, 3.0, None),
        ({}, None, None),
    ],
)
def test_the_functions_own_word(
    report: dict[str, float], wait: float | None, boot: float | None
) -> None:
    said = with_report(Phases(wait_seconds=wait), Report(**report), Containers(), 0)
    assert said.boot_seconds == boot
    assert said.evidence == (None if boot is None else "delay_reported")


def test_the_report_is_told_from_ordinary_values() -> None:
    assert split("text") == (None, "text")
    assert split({"gateway": "10.0.0.1"}) == (None, {"gateway": "10.0.0.1"})
    odd = {"gateway": {"address": "10.0.0.1"}, "output": 1}
    assert split(odd) == (None, odd)
    report, rest = split({"gateway": {"instance_id": "ta-1"}})
    assert report == Report(instance_id="ta-1") and rest is NOTHING
    assert split({"gateway": {}, "output": "x"})[1] == "x"
    assert split({"gateway": {}, "a": 1, "output": "x"})[1] == {"a": 1, "output": "x"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"app": "a"},
        {"function": "f"},
        {"app": "a", "function": "f", "cls": "C", "method": "m"},
        {"app": "a", "cls": "C"},
        {"app": "a", "function": "f", "method": "m"},
        {"app": "a", "function": "f", "parameters": {"size": "s"}},
        {"app": "a", "function": "C.m"},
        {"app": "a", "function": "f", "path": "/x"},
        {"app": "a", "function": "f", "input": {"promt": "x"}},
        {"url": "https://x", "app": "a"},
        {"url": "https://x", "input": "kwargs"},
        {"url": "https://x", "read_scale": True},
        {"url": "https://x", "allow_pickle": True},
        {"url": "https://x", "app": "a", "cls": "C"},
        {"url": "ftp://x"},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ModalOptions.model_validate(options)


@pytest.mark.parametrize(
    "block",
    [
        {"token_id": "ak-1"},
        {"token_id": "wk-1", "token_secret": "x"},
        {"proxy_token_id": "wk-1"},
        {"base_url": "https://x"},
        {"server_url": "example.com"},
    ],
)
def test_settings_that_make_no_sense(block: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ModalSettings.model_validate(block)


def test_keys_that_would_be_ignored_are_refused(tmp_path: Path) -> None:
    host = Host(open_http(ModalSettings()), tmp_path)
    function = ModalOptions(app="a", function="f")
    with pytest.raises(ValueError, match="token_id"):
        plugin.build(ModalSettings(), host).bind("m", function)
    for extra in ({"proxy": "http://p"}, {"headers": {"a": "b"}}):
        settings = ModalSettings.model_validate({**TOKENS, **extra})
        with pytest.raises(ValueError, match="SDK"):
            plugin.build(settings, host).bind("m", function)


@pytest.mark.parametrize("listens", [True, False])
async def test_the_first_connection_is_bounded(tmp_path: Path, listens: bool) -> None:
    """The SDK by itself tries for 56 s."""
    with socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:  # and never says a word
            silent.listen()
        settings = ModalSettings.model_validate(
            {
                **TOKENS,
                "server_url": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "connect_timeout_seconds": 0.2,
            }
        )
        http = open_http(settings)
        provider = ModalProvider(settings, Host(http, tmp_path))
        bound = provider.bind("m", ModalOptions(app="a", function="f"))
        begun = time.monotonic()
        with pytest.raises(UpstreamUnreachable):
            await ask(bound)
        assert time.monotonic() - begun < 2
        await provider.aclose()
        await http.aclose()


def test_the_example_speaks_the_convention() -> None:
    text = (FOLDER / "EXAMPLE.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {"__name__": "my_app"}
    exec(compile(code, "EXAMPLE.md", "exec"), names)
    said = names["Said"]()
    said.ready()
    begun = split({"gateway": said.begin()})
    assert begun[0] is not None and begun[1] is NOTHING
    assert begun[0].boot_seconds is not None
    ended, output = split({"output": "hi", "gateway": said.begin() | said.end(3, 4)})
    assert output == "hi" and ended is not None and ended.usage is not None
    assert ended.usage.output_tokens == 4 and ended.execute_seconds is not None


def test_the_examples_configuration_binds(tmp_path: Path) -> None:
    text = (FOLDER / "EXAMPLE.md").read_text(encoding="utf-8")
    block = text.partition("```yaml\n")[2].partition("```")[0]
    for name, value in (("MODAL_TOKEN_ID", "ak-1"), ("MODAL_PROXY_TOKEN_ID", "wk-1")):
        block = block.replace(f"${{{name}}}", value)
    settings = Settings.model_validate(yaml.safe_load(block))
    registry = Registry(settings, open_http)
    registry.build()
    function, endpoint = registry.targets["my-llm"], registry.targets["my-chat"]
    for power in (Reconcilable, Scalable, Probeable):
        assert isinstance(function.deployment, power)
    for power in (Scalable, Probeable):
        assert isinstance(endpoint.deployment, power)
    assert not function.deployment.capabilities.cancels
    assert function.tariff is not None
