"""A validating admission webhook, the real protocol over TLS: it denies objects whose data has the key `bad`.

In: a certificate. Out: a URL for a ValidatingWebhookConfiguration, and what was reviewed, in order of arrival.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

from tests.kit.cluster.pki import Pair
from tests.kit.servers.threaded import Server

Json = dict[str, Any]
WORDS = "bad is not good: ask the team that owns this webhook"


class Admission(Server):
    """Serves until `stop`; a context manager, as every `Server`."""

    def __init__(self, tls: Pair) -> None:
        super().__init__(_Handler, tls)
        self.reviewed: list[str] = []

    @property
    def url(self) -> str:
        """Where the API server asks."""
        return f"https://127.0.0.1:{self.port}/validate"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one AdmissionReview."""
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        cast("Admission", self.server).reviewed.append(review["request"]["name"])
        body = json.dumps({**review, "response": _verdict(review["request"])}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Write nothing: tests read `reviewed`."""


def _verdict(request: Json) -> Json:
    bad = "bad" in ((request["object"] or {}).get("data") or {})
    status = {"code": 403, "message": WORDS}
    return {"uid": request["uid"], "allowed": not bad, **({"status": status} if bad else {})}
