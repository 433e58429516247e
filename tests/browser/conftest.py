"""A real Chromium on the real pages; a test that fails leaves a picture of what it saw."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.web.remembered import forget
from outreach import clock, operators
from outreach.db import transaction
from outreach.permissions import person_at_the_terminal
from outreach.vocabulary import Role

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PASSWORD = "four unrelated words"
CHROMIUM = next(
    (
        found
        for name in (os.environ.get("CHROME"), "chromium", "chromium-browser", "google-chrome")
        if name and (found := shutil.which(name))
    ),
    None,
)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
           "--disable-sync", "--no-first-run", "--disable-dev-shm-usage"]  # fmt: skip


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of pages; Playwright's event loop ends before other tests come that run their own."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (apt-get install chromium, or name one in CHROME)")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield running
        running.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep a picture of every open page of a test that fails."""
    report = (yield).get_result()
    if report.when != "call" or not report.failed:
        return
    folder = Path(tempfile.mkdtemp(prefix="outreach-browser-"))
    for number, page in enumerate(getattr(item, "open_pages", [])):
        path = folder / f"{item.name}-{number}.png"
        try:
            page.screenshot(path=path, full_page=True)
        except sync_api.Error as error:  # the picture is an extra; the failure itself is what counts
            path = Path(f"no picture: {error}")
        report.sections.append(("what the browser saw", str(path)))


@pytest.fixture
def open_page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Open a page of its own session; `told` collects what its console complains about."""
    contexts, request.node.open_pages = [], []

    def make(width: int = 1280, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, timezone_id="UTC")
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.told = []
        page.on("console", lambda message: page.told.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.told.append(str(error)))
        request.node.open_pages.append(page)
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    forget()


def an_operator(email: str, role: Role) -> None:
    """Add somebody who can sign in with `PASSWORD`."""
    with transaction() as session:
        operators.create_operator(
            session, email=email, name=email.partition("@")[0], role=role, password=PASSWORD,
            actor=person_at_the_terminal("test"), now=clock.now(session),
        )  # fmt: skip


def sign_in(page: Any, url: str, email: str, then: str = "/") -> None:
    """Sign in as a person does."""
    page.goto(f"{url}/sign-in?next={then}")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda found: "/sign-in" not in found)
