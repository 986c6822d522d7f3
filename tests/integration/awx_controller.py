# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of a controller's API as the modules of awx.awx ask for: objects by name, associations, surveys, approval nodes.

It refuses what AWX refuses of surveys and credential types, and a node's data that its job template does not ask for.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from integration.awx_rules import credential_type_problems, survey_problems

Row = dict[str, Any]
# What AWX answers for members that nobody set.
DEFAULTS: dict[str, Row] = {
    "inventories": {"kind": "", "host_filter": None, "variables": ""},
    "projects": {"scm_revision": "0" * 40},
    "execution_environments": {"pull": ""},
}
ROLES = {
    "job_templates": ("execute_role",),
    "workflow_job_templates": ("execute_role", "approval_role"),
}


class Controller:
    """The objects, by the last word of their path, and what was written."""

    token = "sentinel-oauth-token"

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.linked: dict[str, list[int]] = {}
        self.surveys: dict[int, Row] = {}
        self.writes: list[str] = []
        self.url = ""

    def add(self, kind: str, /, **values: Any) -> Row:
        number = sum(map(len, self.rows.values())) + 1
        related = {"survey_spec": f"/api/v2/{kind}/{number}/survey_spec/"}
        roles = {role: {"id": 10000 * (place + 1) + number} for place, role in enumerate(ROLES.get(kind, ()))}
        row = {
            "id": number, "url": f"/api/v2/{kind}/{number}/", "related": related,
            "type": {"inventories": "inventory"}.get(kind, kind.removesuffix("s")),
            "summary_fields": {"object_roles": roles}, **DEFAULTS.get(kind, {}), **values,
        }  # fmt: skip
        self.rows.setdefault(kind, []).append(row)
        return row

    def all(self, kind: str) -> list[Row]:
        return self.rows.get(kind, [])

    def named(self, kind: str, name: str) -> Row:
        (found,) = [row for row in self.all(kind) if row.get("name", row.get("identifier")) == name]
        return found

    # --- requests

    def get(self, path: str, where: dict[str, str]) -> tuple[int, Any]:
        parts = path.removeprefix("/api/v2/").strip("/").split("/")
        if len(parts) == 1:
            names = ["job_templates", "workflow_job_templates"] if parts == ["unified_job_templates"] else parts
            rows = [row for name in names for row in self.all(name) if _is(row, where)]
            return 200, {"count": len(rows), "results": rows, "next": None}
        if len(parts) == 3 and parts[2] == "survey_spec":
            return 200, self.surveys.get(int(parts[1]), {})
        if len(parts) == 3:
            numbers = self.linked.get(path, [])
            return 200, {"count": len(numbers), "results": [{"id": number} for number in numbers], "next": None}
        rows = [row for row in self.all(parts[0]) if row["id"] == int(parts[1])]
        return (200, rows[0]) if rows else (404, {"detail": "Not found."})

    def write(self, method: str, path: str, body: Row) -> tuple[int, Any]:
        self.writes.append(f"{method} {path}")
        parts = path.removeprefix("/api/v2/").strip("/").split("/")
        if len(parts) == 1:
            problems = self._refused(parts[0], body)
            return (400, {"__all__": problems}) if problems else (201, self.add(parts[0], **body))
        if method == "PATCH":
            (row,) = [row for row in self.all(parts[0]) if row["id"] == int(parts[1])]
            row.update(body)
            return 200, row
        if parts[2] == "survey_spec":
            problems = survey_problems(body)
            if problems:
                return 400, {"error": problems}
            self.surveys[int(parts[1])] = body
            return 200, {}
        if parts[2] == "create_approval_template":
            row = self.add("workflow_approval_templates", **body)
            node = next(row for row in self.all(parts[0]) if row["id"] == int(parts[1]))
            node["related"]["unified_job_template"] = row["url"]
            node["unified_job_template"] = row["id"]
            return 201, row
        numbers = self.linked.setdefault(path, [])
        numbers.remove(body["id"]) if body.get("disassociate") else numbers.append(body["id"])
        return 204, None

    def _refused(self, kind: str, body: Row) -> list[str]:
        if kind == "credential_types":
            return credential_type_problems(body.get("inputs", {}), body.get("injectors", {}))
        if kind == "workflow_job_template_nodes" and body.get("extra_data"):
            survey = self.surveys.get(body["unified_job_template"], {"spec": []})
            asked = {question["variable"] for question in survey["spec"]}
            return [f"{name} is not asked for on launch" for name in set(body["extra_data"]) - asked]
        return []


def _is(row: Row, where: dict[str, str]) -> bool:
    for name, wanted in where.items():
        if name == "page_size" or (name == "organization" and "organization" not in row):
            continue  # a job template's organization is its project's
        if str(row.get(name)) != wanted:
            return False
    return True


@contextmanager
def controller() -> Iterator[Controller]:
    made = Controller()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            if self.headers.get("Authorization") != f"Bearer {made.token}":
                status, found = 401, {"detail": "Authentication credentials were not provided."}
            elif not re.match("/api/v2/", url.path):
                status, found = 404, {}
            elif self.command == "GET":
                status, found = made.get(url.path, dict(parse_qsl(url.query)))
            else:
                status, found = made.write(self.command, url.path, body)
            data = b"" if found is None else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-API-Product-Name", "AWX")
            self.send_header("X-API-Product-Version", "24.6.1")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *_words: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
