"""What we ask of Jira Service Management, over the platform's REST API, version 3 (Cloud).

https://developer.atlassian.com/cloud/jira/platform/rest/v3/ Texts are documents (Atlassian Document Format). Jira has
no idempotency key: an issue that we open carries a label made of our key, by which it is found again.
"""

import base64
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from outreach.errors import InvalidInput, Unavailable
from webhooks.desks.base import OUR_TAG, DeskState
from webhooks.desks.http import DeskApi, list_in, own_tag
from webhooks.desks.jira import Mapping, state_of
from webhooks.wire import object_in, text

_MOST_PAGES = 1000
_FIELDS = "*navigable"


@dataclass(frozen=True, slots=True)
class JiraClient:
    """A `DeskClient` of one project; `issue_type` is what we open there, `link_type` ties it to its problem."""

    api: DeskApi
    project: str
    issue_type: str = "Incident"
    link_type: str = "Problem/Incident"
    mapping: Mapping = field(default_factory=Mapping)

    def open_ticket(
        self, subject: str, body: str, requester_email: str, problem_reference: str | None, key: str
    ) -> str:
        """Open an issue once per key; its first line names the customer, who need not have an account."""
        tag = own_tag(key)
        found = self._search(f'project = "{self.project}" AND labels = "{tag}"', most=1)
        reference = next((_key(issue) for issue in found), None)
        if reference is None:
            fields = {
                "project": {"key": self.project},
                "issuetype": {"name": self.issue_type},
                "summary": " ".join(subject.split())[:255],
                "description": document(f"Customer: {requester_email or 'no email address'}\n{body}"),
                "labels": [OUR_TAG, tag],
            }
            reference = _key(object_in(self.api.call("POST", "/rest/api/3/issue", payload={"fields": fields})))
        if problem_reference:
            # The same link a second time changes nothing at Jira.
            link = {
                "type": {"name": self.link_type},
                "inwardIssue": {"key": problem_reference},
                "outwardIssue": {"key": reference},
            }
            self.api.call("POST", "/rest/api/3/issueLink", payload=link)
        return reference

    def comment(self, reference: str, body: str, public: bool) -> None:
        """Add a comment; one that is not public is marked internal in the way of Service Management."""
        payload: dict[str, Any] = {"body": document(body)}
        if not public:
            payload["properties"] = [{"key": "sd.public.comment", "value": {"internal": True}}]
        self.api.call("POST", f"{_issue(reference)}/comment", payload=payload)

    def solve(self, reference: str, body: str) -> None:
        """Take a transition into the category "done" and say why; an issue that is done is left alone."""
        issue = object_in(self.api.call("GET", _issue(reference), query={"fields": "status"}))
        if object_in(issue, "fields", "status", "statusCategory").get("key") == "done":
            return
        answer = self.api.call("GET", f"{_issue(reference)}/transitions")
        for transition in list_in(answer, "transitions"):
            if object_in(transition, "to", "statusCategory").get("key") == "done":
                break
        else:
            raise InvalidInput(f"The workflow of {reference} offers no way to “done” from where it stands.")
        self.comment(reference, body, public=True)
        payload = {"transition": {"id": str(transition.get("id"))}}
        self.api.call("POST", f"{_issue(reference)}/transitions", payload=payload)

    def add_link(self, reference: str, url: str, title: str) -> None:
        """Put a remote link on an issue; its global id makes it one, however often it is put."""
        payload = {"globalId": f"{OUR_TAG}:{url}", "object": {"url": url, "title": title}}
        self.api.call("POST", f"{_issue(reference)}/remotelink", payload=payload)

    def fetch(self, reference: str) -> DeskState:
        """Return the issue as it is now."""
        return state_of(object_in(self.api.call("GET", _issue(reference))), self.mapping)

    def list_since(self, when: datetime) -> Iterator[DeskState]:
        """Yield the issues that changed since `when`: in minutes before now, as Jira's dates have no time zone."""
        minutes = max(1, int((datetime.now(UTC) - when).total_seconds() // 60) + 1)
        jql = f'project = "{self.project}" AND updated >= "-{minutes}m" ORDER BY updated ASC'
        for issue in self._search(jql):
            yield state_of(issue, self.mapping)

    def who_am_i(self) -> str:
        """Return the account id whose token we use."""
        found = text(object_in(self.api.call("GET", "/rest/api/3/myself")).get("accountId"), 200)
        if found is None:
            raise Unavailable("Jira answered without an account id.")
        return found

    def _search(self, jql: str, most: int = 100) -> Iterator[dict[str, Any]]:
        query = {"jql": jql, "maxResults": str(most), "fields": _FIELDS}
        for _ in range(_MOST_PAGES):
            answer = self.api.call("GET", "/rest/api/3/search/jql", query=query)
            yield from list_in(answer, "issues")
            token = text(object_in(answer).get("nextPageToken"), 2000)
            if token is None or most == 1:
                return
            query["nextPageToken"] = token


def connect(
    base_url: str,
    account: str,
    secret: str,
    *,
    mapping: Mapping,
    project: str,
    issue_type: str = "Incident",
    link_type: str = "Problem/Incident",
    allow: Collection[str] = (),
) -> JiraClient:
    """Return the client of one project, for the account (email) whose API token it is."""
    if not project.replace("_", "").isalnum() or not project.isascii():
        raise InvalidInput("The option project must be the key of a Jira project, such as CARE.", where="project")
    credentials = base64.b64encode(f"{account}:{secret}".encode()).decode()
    api = DeskApi(base_url, {"Authorization": f"Basic {credentials}"}, allow)
    return JiraClient(api, project, issue_type, link_type, mapping)


def document(body: str) -> dict[str, Any]:
    """Return plain text as a document: each line a paragraph, nothing in it is markup."""
    lines = body.splitlines() or [""]
    paragraphs = [
        {"type": "paragraph", "content": [{"type": "text", "text": line}] if line.strip() else []} for line in lines
    ]
    return {"type": "doc", "version": 1, "content": paragraphs}


def _issue(reference: str) -> str:
    return f"/rest/api/3/issue/{quote(reference, safe='')}"


def _key(issue: dict[str, Any]) -> str:
    found = text(issue.get("key"), 100)
    if found is None:
        raise Unavailable("Jira answered without the key of the issue.")
    return found
