"""``python -m tests.pictures``: the picture of the dashboard in the README, made anew.

Serves a week of traffic against emulators (``week``), opens the dashboard in a real Chromium and
writes ``deploy/dashboard.png``. With ``--all FOLDER`` every page is written there instead, at three
widths, light and dark.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser import NAMES, Browser, find, running_browser
from tests.pictures.week import Week, a_week, ask

PICTURE = Path(__file__).parents[2] / "deploy" / "dashboard.png"
WIDTHS = (375, 1024, 1920)
PAGES = {
    "now": "",
    "cost": "/cost?last=7d&group_by=deployment",
    "operations": "/operations?last=7d",
    "operation": "/operations/{cold}",
    "charges": "/charges?last=7d",
    "prices": "/prices?name=huggingface",
    "cold-starts": "/cold-starts?last=7d",
    "keep-warm": "/keep-warm?plan=llama-8b-t4",
    "compare": "/compare?model=chat&last=7d",
    "playground": "/playground",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.pictures")
    parser.add_argument("--calls", type=int, default=500, help="how many calls the week has")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page instead")
    given = parser.parse_args()
    program = find()
    if program is None:
        parser.error(f"no browser is installed: none of {', '.join(NAMES)} is on the path")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            a_week(folder / "data", calls=given.calls) as week,
            running_browser(program, folder) as browser,
        ):
            if given.all is None:
                cold = ask(week, "chat", "search")
                picture(browser, week, cold, PICTURE)
                print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")
            else:
                every_page(browser, week, given.all)


def picture(browser: Browser, week: Week, cold: str, path: Path) -> None:
    """The page of costs, as far as it goes on a screen."""
    shot(browser, week, PAGES["cost"], path, 1280, 1390)


def every_page(browser: Browser, week: Week, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    week.clock.advance(3600.0)  # whatever was up is asleep
    cold = ask(week, "chat", "search")
    week.gateway.get("/v1/operations")
    for name, page in PAGES.items():
        for width in WIDTHS:
            for dark in (False, True):
                path = folder / f"{name}-{width}{'-dark' if dark else ''}.png"
                shot(browser, week, page.format(cold=cold), path, width, dark=dark)


def shot(
    browser: Browser,
    week: Week,
    page: str,
    path: Path,
    width: int,
    height: int | None = None,
    *,
    dark: bool = False,
) -> None:
    """A page as a file; ``height`` None: all of it."""
    browser.size(width, height or 900, dark=dark)
    browser.open(f"{week.gateway.url}/dashboard{page}")
    whole = Image.open(io.BytesIO(browser.png())).convert("RGB")
    if height is not None:
        whole = whole.crop((0, 0, width, height))
    whole.save(path, optimize=True)


if __name__ == "__main__":
    main()
