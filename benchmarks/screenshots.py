"""The pictures of the page in the documents, from a run that runs, in real Chromium.

Usage::

    python benchmarks/screenshots.py --out docs/images      # console_driving.png, console_run.png
    python benchmarks/screenshots.py --out shots --all      # and the same at every width
    python benchmarks/screenshots.py --out docs/images --run RUN    # console_run.png, of that run
    python benchmarks/screenshots.py --out shots --smoke    # as soon as there is anything to see

A scripted person helps as long as it takes until the policy succeeds now and then: when the coach
says that the robot is stuck, the person takes over, and lets go when the coach says so.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from browser import HERE, Run, chromium, opened, record, until
from page import SMALL
from PIL import Image

sys.path.insert(0, str(HERE.parent))  # for the scripted person of the tests

ENV = "metaworld/drawer-open-v3"
SIZES = {1920: 1080, 1440: 900, 1024: 768, 390: 844}
DRIVING, REPLAY = 1440, 1920  # widths of the pictures in the documents
LARGEST = 300_000  # bytes of a picture
LONGEST_S = 900.0  # of waiting for a moment
KIND = "document.getElementById('coach').dataset.kind"
# A moment worth a picture: a person drives with the coach's word, some way into the episode.
MOMENT = f"document.body.dataset.situation === 'you' && {KIND} === 'let_go'"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=12, help="before the pictures")
    parser.add_argument("--all", action="store_true", help="also at the other widths")
    parser.add_argument("--run", type=Path, help="a finished run to look back on, and no other")
    parser.add_argument("--smoke", action="store_true", help="of the first moments of a run")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        if arguments.run is not None:
            folder = Path(name) / arguments.run.resolve().name
            shutil.copytree(arguments.run, folder)
            with Run("console", "--port", "0", folder=folder) as run:
                look_back(browser, run.url, arguments)
            return
        folder = Path(name) / "teach"
        demos = record(Path(name) / "demos", 2 if arguments.smoke else 5, "--env", ENV)
        flags = ("--env", ENV, "--data.dataset", str(demos), *SMALL, "--steps", "3000")
        episodes = 1 if arguments.smoke else arguments.episodes
        with Run("train", *flags, folder=folder) as run:
            teach(browser, run.url, episodes, arguments)
        with Run("console", "--port", "0", folder=folder) as run:
            look_back(browser, run.url, arguments)


def widths(arguments: argparse.Namespace, documents: int) -> list[int]:
    return list(SIZES) if arguments.all else [documents]


def teach(browser: Any, url: str, episodes: int, arguments: argparse.Namespace) -> None:
    """Help in so many episodes, then take a picture of a moment at each width."""
    from silri.envs.registry import create_env, find_env
    from tests.console.page_person import PagePerson

    page = opened(browser, url, DRIVING, SIZES[DRIVING])
    person = PagePerson(page, create_env(ENV, find_env(ENV).preset().config))
    until(page, "document.body.dataset.situation === 'policy'", LONGEST_S)
    wanted = widths(arguments, DRIVING)
    page.set_viewport_size({"width": wanted[0], "height": SIZES[wanted[0]]})
    ends = time.monotonic() + LONGEST_S
    while wanted:
        if time.monotonic() > ends:
            raise SystemExit("no moment came that is worth a picture")
        shown = person.look()
        running = shown["episode"]["kind"] == "training"
        kind = page.evaluate(KIND) if running else ""
        ripe = shown["episode"]["episode"] >= episodes and running and person.steps > 15
        if ripe and (page.evaluate(MOMENT) or (arguments.smoke and person.held)):
            page.wait_for_timeout(120)  # until it is drawn
            save(page, arguments.out / f"console_driving_{wanted.pop(0)}.png", DRIVING)
            if wanted:
                page.set_viewport_size({"width": wanted[0], "height": SIZES[wanted[0]]})
            continue
        if running and person.held and kind == "let_go":
            person.let_go()
        elif running and (person.held or kind in ("take_over", "start_over")):
            person.do_right(shown)
        page.wait_for_timeout(5)
    person.let_go()
    page.context.close()


def look_back(browser: Any, url: str, arguments: argparse.Namespace) -> None:
    """An episode in which a person helped, in its middle, with the map."""
    for width in widths(arguments, REPLAY):
        context = browser.new_context(viewport={"width": width, "height": SIZES[width]})
        page = context.new_page()
        page.goto(url)
        until(page, "silri.state.hello !== null && silri.library.episodes.length > 0")
        helped = page.evaluate(
            "(silri.library.episodes.filter((e) => e.kind === 'training' && e.success"
            " && e.human_share > 0.2).at(-1) || silri.library.episodes.at(-1)).episode"
        )
        page.evaluate(f"void silri.library.open({helped})")
        until(page, "silri.state.replay !== null")
        page.evaluate("silri.library.seek(silri.state.replay.steps.length * 0.7)")
        page.click("[data-tab=map]" if width == REPLAY else "[data-tab=why]")
        until(page, "silri.scene.views[0].step === silri.state.replay.cursor")
        if width == REPLAY:  # every state of the run is read for it
            until(page, "document.querySelector('#map [data-part=scale]').textContent !== ''")
        page.wait_for_timeout(500)  # until it is drawn
        save(page, arguments.out / f"console_run_{width}.png", REPLAY)
        context.close()


def save(page: Any, path: Path, documents: int) -> None:
    """A picture of the window; the documents' own has no width in its name."""
    if path.stem.endswith(f"_{documents}"):
        path = path.with_name(path.name.replace(f"_{documents}", ""))
    page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").save(path, optimize=True)  # smaller than the browser makes it
    if path.stat().st_size > LARGEST:
        with Image.open(path) as image:
            image.convert("RGB").quantize(256, kmeans=1).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
