"""``gateway prices fetch``: live sources, each on a real socket, and the rows that stay."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.accounting.metering import NOTHING
from gateway.accounting.prices import PriceRow, built_in_rows
from gateway.accounting.pricing import Billable, Seconds, price
from gateway.ledger.layout import take
from gateway.pricebook.configured import price_book
from gateway.pricebook.stored import append_rows, note_seen, seen_on, stored_rows
from gateway.settings import ConfigError, load
from tests.emulators.huggingface import HuggingFace
from tests.emulators.lambda_cloud import KEY, LambdaCloud
from tests.emulators.modal import TOKEN, serve_modal
from tests.emulators.runpod import RunPod
from tests.pricebook.conftest import Here

TODAY = datetime.now(UTC).date()
NOVITA = "huggingface-router:deepseek-ai/DeepSeek-V4-Pro:novita"
A10 = "lambda-cloud-gpu-1x-a10"


class Sources:
    """The emulated sources, and a configuration that leads to them."""

    def __init__(self, tmp_path: Path, emulator: Callable[[Any], str]) -> None:
        self.huggingface, self.lambda_cloud = HuggingFace(), LambdaCloud()
        self.data_dir = tmp_path / "data"
        self.config = tmp_path / "gateway.yml"
        self.tree: dict[str, Any] = {
            "server": {"data_dir": str(self.data_dir)},
            "price_book": {
                "sources": {
                    "huggingface": {"base_url": emulator(self.huggingface)},
                    "lambda-cloud": {"base_url": emulator(self.lambda_cloud), "api_key": KEY},
                }
            },
        }
        self.write()

    def write(self, **more: Any) -> None:
        self.tree |= more
        self.config.write_text(yaml.safe_dump(self.tree), encoding="utf-8")


@pytest.fixture
def sources(tmp_path: Path, emulator: Callable[[Any], str]) -> Sources:
    return Sources(tmp_path, emulator)


def fetched(here: Here, sources: Sources, *asked: str, status: int = 0) -> dict[str, Any]:
    ran = here("prices", "fetch", *asked, "--json", "-c", sources.config)
    assert (ran.status, ran.err) == (status, "")
    return {one["source"]: one for one in json.loads(ran.out)}


def files(sources: Sources) -> dict[str, bytes]:
    folder = sources.data_dir / "prices"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.yml"))}


def test_rows_are_dated_and_say_where_they_come_from(here: Here, sources: Sources) -> None:
    done = fetched(here, sources, "huggingface")["huggingface"]
    assert (len(done["new"]), done["unchanged"], done["problem"]) == (2, 0, None)
    assert done["left_out"] == [
        "huggingface-router:deepseek-ai/DeepSeek-V4-Pro:featherless-ai",  # states no price
        "huggingface-router:deepseek-ai/DeepSeek-V4-Pro:deepinfra",  # does not answer
    ]
    again = here("prices", "fetch", "huggingface", "--csv", "-c", sources.config)
    (told,) = csv.DictReader(io.StringIO(again.out))
    assert (told["source"], told["new"], told["unchanged"]) == ("huggingface", "0", "2")
    assert (told["left_out"], told["problem"]) == ("2", "")
    row = next(row for row in stored_rows(sources.data_dir) if row.name == NOVITA)
    assert row.usd_per_million_input_tokens == Decimal("1.69")
    assert row.usd_per_million_output_tokens == Decimal("3.38")
    assert (row.effective_from, row.checked_on) == (TODAY, TODAY)
    assert row.fetched_at is not None and row.fetched_at.utcoffset() == timedelta(0)
    assert abs(row.fetched_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert row.source.endswith("/v1/models")
    listed = json.loads(here("prices", "--json", "-c", sources.config, "--name", NOVITA).out)
    assert listed[0]["origin"] == "fetched" and listed[0]["fetched_at"]


def test_only_what_changed_is_appended(here: Here, sources: Sources) -> None:
    fetched(here, sources, "huggingface")
    once = files(sources)
    again = fetched(here, sources, "huggingface")["huggingface"]
    assert (again["new"], again["unchanged"]) == ([], 2)
    assert files(sources) == once
    providers = sources.huggingface.models[0]["providers"]
    providers[0]["pricing"] = {"input": 1.7, "output": 3.38}
    third = fetched(here, sources, "huggingface")["huggingface"]
    assert (len(third["new"]), third["unchanged"]) == (1, 1)
    assert files(sources)["huggingface.yml"].startswith(once["huggingface.yml"])  # append only
    tariff = price_book(load(sources.config, {})).find(NOVITA)
    assert tariff is not None and len(tariff.rows) == 2
    assert tariff.rows[0].usd_per_million_input_tokens == Decimal("1.7")
    assert len({row.id for row in tariff.rows}) == 2


def test_a_deployment_may_name_a_fetched_row(here: Here, sources: Sources) -> None:
    deployment = {
        "provider": "huggingface",
        "model": "deepseek-ai/DeepSeek-V4-Pro:novita",
        "price": NOVITA,
    }
    more = {
        "deployments": {"d": deployment},
        "models": {"d": {"deployments": ["d"]}},
        "providers": {"huggingface": {"token": "hf_x"}},
    }
    sources.write(**more)
    before = here("check", "-c", sources.config)
    assert before.status == 2 and f"no price named '{NOVITA}'" in before.err
    fetched(here, sources, "huggingface")
    after = here("check", "-c", sources.config)
    assert after.status == 0 and f"{NOVITA}@{TODAY}T" in after.out


def test_machines_of_lambda_cloud(here: Here, sources: Sources) -> None:
    sources.lambda_cloud.types["odd"] = {"instance_type": {"name": "odd"}}
    done = fetched(here, sources, "lambda-cloud")["lambda-cloud"]
    assert done["left_out"] == ["lambda-cloud-odd"]
    rows = {row.name: row for row in stored_rows(sources.data_dir)}
    a10 = rows[A10]
    assert a10.bills == {"execute", "idle"} and a10.shared and a10.round_up_seconds is None
    cost = price(a10, Billable(NOTHING, execute=Seconds(3600.0), boot=Seconds(60.0)))
    assert cost.total_usd == Decimal("0.86")  # an hour; the boot before the health check is free
    assert cost.pending == ("idle",)
    assert rows["lambda-cloud-gpu-8x-b200-sxm6"].usd_per_second == Decimal("0.01486666666666666667")


@pytest.mark.parametrize(
    ("refused", "problem"),
    [
        ((403, "global/invalid-api-key"), "CredentialsRejected: "),
        ((429, "global/quota-exceeded"), "RateLimited: "),
        ((500, "global/unknown"), "UpstreamFailed: "),
    ],
)
def test_a_source_that_refuses(
    here: Here, sources: Sources, refused: tuple[int, str], problem: str
) -> None:
    sources.lambda_cloud.refuse = refused
    done = fetched(here, sources, status=1)
    assert done["lambda-cloud"]["problem"].startswith(problem)
    assert KEY not in json.dumps(done)
    assert len(done["huggingface"]["new"]) == 2  # the others are read all the same
    assert list(files(sources)) == ["huggingface.yml"]
    assert sources.lambda_cloud.asked == 1  # one request a second is allowed: it is not repeated


@pytest.mark.parametrize("types", [3, [3], {"x": {}}, {"x": {"instance_type": {"name": 7}}}])
def test_a_list_that_cannot_be_read(here: Here, sources: Sources, types: Any) -> None:
    sources.lambda_cloud.types = types
    done = fetched(here, sources, "lambda-cloud", status=1)["lambda-cloud"]
    assert done["problem"] == "ProtocolViolation: The list of machines cannot be read."
    assert files(sources) == {}


@pytest.fixture
def modal() -> Iterator[Any]:
    with serve_modal() as running:
        yield running


def test_rates_of_modal(here: Here, sources: Sources, modal: Any) -> None:
    block = {"server_url": modal.url, "token_id": TOKEN[0], "token_secret": TOKEN[1]}
    sources.write(providers={"mine": {"kind": "modal", **block}})
    done = fetched(here, sources, "modal")["modal"]
    assert done["problem"] is None
    assert done["left_out"] == ["cpu_hour_cost_sandbox", "volume_gib_month_cost"]
    rows = {row.name: row for row in stored_rows(sources.data_dir)}
    built_in = {row.name: row for row in built_in_rows()}
    assert rows.keys() == {
        *("modal-a10", "modal-a100-80gb", "modal-h100", "modal-cpu-core", "modal-memory-gib")
    }
    for name, row in rows.items():
        was = built_in[name]
        assert row.bills == was.bills == {"execute", "boot", "idle"}
        assert row.usd_per_second is not None and was.usd_per_second is not None
        assert abs(row.usd_per_second / was.usd_per_second - 1) < Decimal("0.01"), name
    modal.rates["gpu_hour_cost_h100"] = "4.00"
    again = fetched(here, sources, "modal")["modal"]
    assert [row["name"] for row in again["new"]] == ["modal-h100"]
    assert again["unchanged"] == 4


def test_modal_refuses_a_wrong_token(here: Here, sources: Sources, modal: Any) -> None:
    block = {"server_url": modal.url, "token_id": TOKEN[0], "token_secret": "wrong-secret"}
    sources.write(providers={"modal": block})
    done = fetched(here, sources, "modal", status=1)["modal"]
    assert done["problem"].startswith("CredentialsRejected: ")
    assert "wrong-secret" not in json.dumps(done)


def test_cards_and_pools_of_runpod(
    here: Here, sources: Sources, emulator: Callable[[Any], str]
) -> None:
    app = RunPod()
    block = {"api_key": app.key, "management_url": f"{emulator(app)}/rest/v2"}
    sources.write(providers={"mine": {"kind": "runpod", **block}})
    done = fetched(here, sources, "runpod")["runpod"]
    assert done["problem"] is None
    # One is in no pool, and the cards of one pool do not agree.
    assert done["left_out"] == ["runpod-tesla-v100", "runpod-odd-24"]
    rows = {row.name: row for row in stored_rows(sources.data_dir)}
    built_in = {row.name: row for row in built_in_rows()}
    assert rows.keys() == {
        *("runpod-rtx-4090", "runpod-ada-24", "runpod-l40s", "runpod-ada-48-pro"),
        *("runpod-l4", "runpod-rtx-3090"),
    }
    for name in ("runpod-rtx-4090", "runpod-ada-24", "runpod-l40s", "runpod-ada-48-pro"):
        row, was = rows[name], built_in[name]
        assert row.bills == was.bills == {"execute", "boot", "idle"}
        assert row.usd_per_second is not None and was.usd_per_second is not None
        assert abs(row.usd_per_second / was.usd_per_second - 1) < Decimal("0.02"), name
    app.may_manage = False
    done = fetched(here, sources, "runpod", status=1)["runpod"]
    assert done["problem"].startswith("CredentialsRejected: ")


def test_what_has_no_credentials_is_not_asked(here: Here, sources: Sources) -> None:
    del sources.tree["price_book"]["sources"]["lambda-cloud"]
    sources.write()
    ran = here("prices", "fetch", "-c", sources.config)
    assert ran.status == 0
    assert ran.out.splitlines()[0] == "huggingface: 2 new, 0 unchanged, 2 left out"
    assert "lambda-cloud: not asked: needs price_book.sources.lambda-cloud.api_key" in ran.out
    assert "modal: not asked: needs a provider block of kind modal" in ran.out
    assert "runpod: not asked: needs a provider block of kind runpod" in ran.out
    for source, words in (
        ("lambda-cloud", "prices of lambda-cloud need price_book.sources"),
        ("modal", "prices of modal need a provider block"),
        ("acme", "no source of prices named 'acme' (huggingface, lambda-cloud, modal, runpod)"),
    ):
        named = here("prices", "fetch", source, "-c", sources.config)
        assert (named.status, named.out) == (2, "") and words in named.err


def test_only_some_names(here: Here, sources: Sources) -> None:
    done = fetched(here, sources, "--name", "TOGETHER")
    (row,) = done["huggingface"]["new"]
    assert row["name"].endswith(":together")
    assert done["lambda-cloud"]["new"] == []


def test_a_check_keeps_a_price_fresh(here: Here, sources: Sources) -> None:
    """The same figure seen again is not written again, and is not old any more."""
    old = TODAY - timedelta(days=200)
    row = {
        "name": A10,
        "effective_from": old,
        "checked_on": old,
        "source": "s",
        "usd_per_second": "0.00023888888888888889",
        "bills": ["execute", "idle"],
        "shared": True,
        "fetched_at": datetime(old.year, old.month, old.day, tzinfo=UTC),
    }
    append_rows(sources.data_dir, "lambda-cloud", [PriceRow.model_validate(row)])

    def listed() -> dict[str, Any]:
        out = here("prices", "--json", "--name", A10, "-c", sources.config).out
        found: dict[str, Any] = json.loads(out)[0]
        return found

    assert listed()["stale"] is True
    done = fetched(here, sources, "lambda-cloud", "--name", A10)["lambda-cloud"]
    assert (done["new"], done["unchanged"]) == ([], 1)
    assert (listed()["stale"], listed()["checked_on"]) == (False, TODAY.isoformat())


def test_the_operators_own_row_stays_in_force(here: Here, sources: Sources) -> None:
    own = {
        "name": A10,
        "effective_from": date(2026, 1, 1),
        "checked_on": TODAY,
        "source": "our contract",
        "usd_per_second": "0.0001",
    }
    sources.write(prices=[own])
    fetched(here, sources, "lambda-cloud")
    tariff = price_book(load(sources.config, {})).find(A10)
    assert tariff is not None
    now_us = int(datetime.now(UTC).timestamp()) * 1_000_000
    held = tariff.at(now_us)
    assert held is not None and held.source == "our contract"


def test_a_file_that_was_spoilt_is_named(here: Here, sources: Sources) -> None:
    fetched(here, sources, "huggingface")
    path = sources.data_dir / "prices" / "huggingface.yml"
    for spoilt in ("- {name: x}", "nonsense", "a: [", "- 3"):
        path.write_text(spoilt)
        ran = here("check", "-c", sources.config)
        assert (ran.status, ran.out) == (2, "")
        assert "huggingface.yml: is no list of price rows" in ran.err


def test_two_fetches_do_not_meet(here: Here, sources: Sources) -> None:
    folder = sources.data_dir / "prices"
    folder.mkdir(parents=True)
    held = take(folder / ".lock", create=True)
    assert held is not None
    ran = here("prices", "fetch", "-c", sources.config)
    assert ran.status == 2 and "another 'gateway prices fetch' is at work" in ran.err


def test_what_was_seen_is_lost_without_harm(tmp_path: Path) -> None:
    assert seen_on(tmp_path) == {}
    note_seen(tmp_path, {"a@1": date(2026, 1, 1)})
    note_seen(tmp_path, {"b@1": date(2026, 1, 2)})
    assert seen_on(tmp_path) == {"a@1": date(2026, 1, 1), "b@1": date(2026, 1, 2)}
    for spoilt in ("", "[]", '{"a": 3}', '{"a": "yesterday"}'):
        (tmp_path / "prices" / "seen.json").write_text(spoilt)
        assert seen_on(tmp_path) == {}


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "prices" / "x.yml").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"x\.yml: cannot be read"):
        stored_rows(tmp_path)
