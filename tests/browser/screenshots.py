"""Pictures of the main pages, light and dark, for the README: a demo machine plays its story and Chromium looks on.

`./run screenshots` writes them to `docs/images`. The story stops at moments that are worth a look: the proposals,
the launch before its approval, the campaign under way, the problem with its replies.
"""

import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from app import machine
from app.commands import demo as command
from app.demo import Doors, Story
from app.demo_screen import Screen
from outreach import embedded
from outreach.settings import get_settings
from tests.browser.conftest import CHROMIUM, OPTIONS

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
LARGEST = 300 * 1024  # bytes
WIDE, PHONE = {"width": 1440, "height": 960}, {"width": 375, "height": 812}


class Camera:
    """One signed-in browser per theme; takes each page in both."""

    def __init__(self, browser: Any, url: str, password: str) -> None:
        self.url = url
        self.pages = {}
        for theme in ("light", "dark"):
            context = browser.new_context(viewport=WIDE, color_scheme=theme, timezone_id="America/New_York")
            context.set_default_timeout(60_000)
            page = self.pages[theme] = context.new_page()
            page.goto(f"{url}/sign-in")
            page.get_by_label("Email address").fill(command.OPERATOR)
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(lambda found: "/sign-in" not in found)

    def take(self, name: str, path: str, *, wait_for: str, phone: bool = False) -> None:
        """Take one page, light and dark, once what it waits for is there."""
        for theme, page in self.pages.items():
            page.set_viewport_size(PHONE if phone else WIDE)
            page.goto(self.url + path)
            page.locator(wait_for).first.wait_for()
            page.wait_for_timeout(700)  # frames inside the page draw themselves
            target = IMAGES / f"{name}-{theme}.png"
            page.screenshot(path=target)
            size = target.stat().st_size
            if size > LARGEST:
                sys.exit(f"{target.name} is {size // 1024} KiB; at most {LARGEST // 1024} are wanted.")


def play(story: Story, camera: Camera) -> None:
    """Play the story and take a picture where there is something to see."""
    story.begin_by_day()
    story.import_company()
    story.customers_write()
    story.desk_marks_known()
    problem = f"/problems/{story.problem}"
    camera.take("scope", f"{problem}/scope", wait_for=".proposals li")
    story.manager_accepts_scope()
    campaign = story.wait(lambda: story.find_campaign("known"), "the known campaign")
    camera.take("launch", f"/campaigns/{campaign['key']}/launch", wait_for=".checks li")
    camera.take("launch-phone", f"/campaigns/{campaign['key']}/launch", wait_for=".checks li", phone=True)
    story.approve_and_watch("known")
    story.customers_answer()
    camera.take("inbox", "/inbox?view=all", wait_for=".letter")
    camera.take("campaign", f"/campaigns/{campaign['key']}", wait_for=".funnel")
    camera.take("problem", problem, wait_for="[data-chart] canvas")
    camera.take("problem-phone", problem, wait_for="[data-chart] canvas", phone=True)
    camera.take("problems", "/problems?tab=all", wait_for=".board-row")
    camera.take("template", "/templates/problem-known/edit?channel=email", wait_for="#words .subject")
    camera.take("segment", f"/segments/scope-of-{story.problem}", wait_for="[data-chart] canvas")
    camera.take("system", "/system", wait_for=".standings li")


def main() -> None:
    """Start a demo machine of its own, and take all pictures."""
    if CHROMIUM is None:
        sys.exit("This needs Chromium: apt-get install chromium, or name one in CHROME.")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="outreach-screenshots-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # the embedded PostgreSQL may run as another user
        os.environ.update(command._OWN_SETTINGS | {"OUTREACH_HOME": str(home)})
        get_settings.cache_clear()
        screen, password = Screen(), secrets.token_urlsafe(12)
        with machine.running(sandbox=True, report=screen.say) as running:
            doors = Doors(running.url, running.sandbox_url or "", *command._people(password))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
                play(Story(doors, running, screen, home / "story"), Camera(browser, running.url, password))
                browser.close()
        embedded.destroy(home)
    screen.say(f"The pictures are in {IMAGES}")


if __name__ == "__main__":
    main()
