"""Watches the cold starts of all deployments and posts what worsened; off the path of requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from gateway.alert_settings import AlertSettings
from gateway.clock import Clock, rfc3339
from gateway.execution.operation import new_id
from gateway.registry import Target
from gateway.warmth.alarm import Alarm, Thresholds, Totals, Worsening
from gateway.webhooks import WebhookRefused, post

logger = logging.getLogger(__name__)

_PAUSES_SECONDS = (1.0, 10.0, 60.0)
_MOST_PAUSE_SECONDS = 60.0


class Alerting:
    """The configured alerts over the deployments that run here."""

    def __init__(
        self, alerts: Sequence[AlertSettings], targets: Mapping[str, Target], clock: Clock
    ) -> None:
        self._alarms = [(settings, Alarm(_thresholds(settings))) for settings in alerts]
        self._targets = targets
        self._clock = clock
        self._p90s: dict[str, tuple[int, float | None]] = {}
        self._posts: set[asyncio.Task[None]] = set()

    async def watch(self, after: asyncio.Future[None]) -> None:
        """For ever, once ``after`` is done: history that comes in at once is no news."""
        await asyncio.wait((after,))
        while self._alarms:
            at = self._clock.monotonic()
            self.tick(at)
            wakeup = min(alarm.next_wakeup(at) for _, alarm in self._alarms)
            await asyncio.sleep(min(_MOST_PAUSE_SECONDS, wakeup - at))

    def tick(self, at: float) -> None:
        """Look once, and post in the background."""
        for settings, alarm in self._alarms:
            for name in settings.deployments or self._targets:
                alarm.observe(name, at, self._totals(name))
            for worse in alarm.decide(at):
                task = asyncio.get_running_loop().create_task(self._tell(settings, worse))
                self._posts.add(task)
                task.add_done_callback(self._posts.discard)

    def _totals(self, name: str) -> Totals:
        warmth = self._targets[name].warmth
        counts, boots = warmth.counts, warmth.boots
        known = self._p90s.get(name)
        if known is None or known[0] != boots.count:  # a quantile costs more than a look
            p90 = warmth.boot_quantile(0.9) if boots.count else None
            known = self._p90s[name] = (boots.count, p90)
        return Totals(counts.cold, counts.warm, boots.count, known[1])

    async def aclose(self) -> None:
        """Give up what is not posted yet."""
        for task in self._posts:
            task.cancel()

    async def _tell(self, settings: AlertSettings, worse: Worsening) -> None:
        wall_us = self._clock.wall_us()
        body = orjson.dumps(message(settings, worse, wall_us))
        message_id = f"msg_{new_id(wall_us)}"
        for pause in (*_PAUSES_SECONDS, None):
            try:
                await post(
                    settings.webhook.get_secret_value(),
                    body,
                    secret=settings.secret.get_secret_value(),
                    message_id=message_id,
                    timestamp=self._clock.wall_us() // 1_000_000,
                    allow_private_addresses=settings.allow_private_addresses,
                )
                return
            except WebhookRefused as refused:
                logger.warning("alert %s: its webhook was not told: %s", settings.name, refused)
            if pause is None:
                return
            await asyncio.sleep(pause)


def message(settings: AlertSettings, worse: Worsening, wall_us: int) -> dict[str, Any]:
    """What is posted."""
    start_us = wall_us - round(settings.window_seconds * 1e6)
    asked = {
        "group_by": "deployment",
        "deployment": worse.deployment,
        "start_time": rfc3339(start_us),
        "end_time": rfc3339(wall_us),
        "against": f"{max(1, round(settings.against_seconds))}s",
    }
    link = f"{(settings.report_base_url or '').rstrip('/')}/v1/cold-starts?{urlencode(asked)}"
    return {
        "type": "cold_starts.worsened",
        "timestamp": rfc3339(wall_us),
        "data": {
            "alert": settings.name,
            "deployment": worse.deployment,
            "what": worse.what,
            "unit": "seconds" if worse.what == "boot_p90" else "share",
            "before": round(worse.before, 6),
            "now": round(worse.now, 6),
            "count_before": worse.count_before,
            "count_now": worse.count_now,
            "window_seconds": settings.window_seconds,
            "against_seconds": settings.against_seconds,
            "report": link,
        },
    }


def _thresholds(settings: AlertSettings) -> Thresholds:
    return Thresholds(
        settings.cold_rate_increase,
        settings.boot_p90_increase,
        settings.window_seconds,
        settings.against_seconds,
        settings.fewest_attempts,
        settings.fewest_boots,
        settings.repeat_after_seconds,
    )
