"""What every page owes to everybody, looked at in one visit, and which role may open which page."""

from collections.abc import Iterable
from typing import Any

import pytest
import urllib3

from outreach.permissions import Permission, permissions_of
from outreach.vocabulary import Role
from tests.browser.conftest import PASSWORD, sync_api

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}
AT_REST = """() => !document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling, .htmx-added')
                   && [...document.images].every(image => image.complete)"""
# A function: Playwright evaluates an expression anew each time it looks, which the page's policy forbids.
FITS = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
SERIOUS = """options => axe.run(options).then(found => found.violations
    .filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => `${each.id}: ${each.nodes[0].html.slice(0, 150)} ${JSON.stringify(each.nodes[0].any.slice(0, 1))}`))"""


def at_rest(page: Any) -> None:
    """Wait until every part that the page fetches for itself is in its place, and every picture came or failed."""
    page.wait_for_function(AT_REST)


def faults_of(page: Any, url: str, paths: Iterable[str]) -> list[str]:
    """Visit each page once; return what is wrong with it for assistive technology, on a phone, or by hostile words."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = []
    for path in paths:
        page.set_viewport_size(DESK)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")  # colours change at once
        status = page.goto(url + path).status
        at_rest(page)
        found += [f"{path}: status {status}"] if status != 200 else []
        found += [f"{path}: it leads to {page.url}"] if page.url != url + path else []
        found += [f"{path}: it ran"] if page.evaluate("window.ran") is not None else []
        found += [f"{path}: a picture of theirs"] if page.locator("img[src=x]").count() else []
        page.evaluate(axe.axe_script)
        found += [f"{path} light: {each}" for each in page.evaluate(SERIOUS, {"resultTypes": ["violations"]})]
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        # All that the theme changes is colours.
        contrast = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
        found += [f"{path} dark: {each}" for each in page.evaluate(SERIOUS, contrast)]
        page.set_viewport_size(PHONE)
        try:
            page.wait_for_function(FITS, timeout=5_000)  # pictures are drawn anew for the new width
        except sync_api.TimeoutError:
            found.append(f"{path}: wider than a phone")
    return found


def wrong_doors(url: str, pages: dict[str, Permission]) -> list[str]:
    """Ask for each page as each role and as nobody; return where it opens or stays shut against its permission."""
    wrong = []
    with urllib3.PoolManager(timeout=30) as pool:

        def ask(path: str, **cookie: str) -> urllib3.BaseHTTPResponse:
            return pool.request("GET", url + path, headers={"Accept": "text/html", **cookie}, redirect=False)

        for role in Role:
            fields = {"email": f"{role}@example.com", "password": PASSWORD}
            signed_in = pool.request(
                "POST", f"{url}/sign-in", fields=fields, encode_multipart=False, redirect=False,
                headers={"Sec-Fetch-Site": "same-origin"},
            )  # fmt: skip
            assert signed_in.status == 303
            cookie = signed_in.headers["Set-Cookie"].partition(";")[0]
            for path, permission in pages.items():
                status = ask(path, Cookie=cookie).status
                expected = 200 if permission in permissions_of(role) else 403
                wrong += [f"{role} {path}: {status}"] if status != expected else []
        for path in pages:
            answer = ask(path)
            leads = (answer.status, answer.headers.get("Location", "").partition("=")[0])
            wrong += [f"nobody {path}: {leads}"] if leads != (303, "/sign-in?next") else []
    return wrong
