"""@NAME@: a connector of wabridge, for a CRM with an HTTP API.

What it writes here is a note for each event. Change note, and where it goes."""

import json
import urllib.error
import urllib.parse
import urllib.request

from wabridge_plugin import Connector, Failure, serve


class Plugin(Connector):
    name = "@NAME@"
    version = "0.1.0"
    max_batch = 50
    idempotency = "upsert"  # the CRM keeps one note for each id: twice is harmless
    secrets = ("token",)
    settings = ("base_url",)

    def check(self, account):
        ask(account, "GET", "/v1/me")

    def write(self, account, event):
        return ask(account, "POST", "/v1/events", note(event))["id"]


def note(event):
    """An event, as the CRM wants to have it. Kinds that nobody knows yet are notes too."""
    contact, message = event.get("contact") or {}, event.get("message") or {}
    return {
        "id": event["id"], "kind": event["kind"], "time": event["time"],
        "contact": contact.get("id", ""), "name": contact.get("name", ""),
        "address": contact.get("phone") or contact.get("bsuid") or "",
        "text": message.get("text", ""), "direction": message.get("direction", ""),
    }


def ask(account, method, path, body=None):
    """One request to the CRM. Its errors get their codes here, and nowhere else."""
    base = account.settings.get("base_url", "")
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise Failure("invalid", "settings.base_url is not an address", op="settings", hint="set base_url, as in https://crm.example.com")
    token = account.secrets.get("token", "")
    request = urllib.request.Request(
        base + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=account.seconds_left()) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise refused(error) from None
    except (OSError, ValueError):  # no connection, no answer in time, or half of one
        raise Failure("unknown_outcome" if body else "unavailable", "the CRM does not answer", op=path, source="vendor") from None


def refused(error):
    codes = {401: "unauthenticated", 403: "forbidden", 400: "invalid", 404: "invalid", 409: "invalid", 422: "invalid", 429: "rate_limited"}
    try:
        retry_after = float(error.headers.get("Retry-After", 0))
    except ValueError:
        retry_after = 0
    hint = "see the lane's secret token" if error.code in (401, 403) else ""
    return Failure(codes.get(error.code, "unavailable"), f"the CRM answers {error.code}", op="request", hint=hint,
                   vendor=str(error.code), retry_after=retry_after, source="vendor")


if __name__ == "__main__":
    serve(Plugin())
