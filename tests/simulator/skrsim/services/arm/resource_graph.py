# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Resource Graph: one query over all that the caller may read, in pages of up to a thousand rows.

Of the Kusto query language it understands what such a client needs: a table, ``where`` with ``=~``, ``==``, ``in~`` and
``isnotempty``, ``project`` with ``tostring`` and ``tobool``, ``order by`` one column. Anything else is refused.
"""

from __future__ import annotations

import re
import typing as t

from ...core.messages import Response
from ...core.world import World
from . import networks, vms
from .call import Call, Route, route
from .errors import known, refuse

VERSIONS = ("2021-03-01", "2022-10-01", "2024-04-01")
MOST = 1000
_SPLIT = re.compile(r"""((?:'[^']*'|"[^"]*"|[^|'"])+)(?:\||$)""")
_PATH = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
_TEXT = r"'[^']*'"
_WHERE = re.compile(
    rf"(?P<path>{_PATH})\s*(?P<sign>=~|==|in~)\s*(?P<value>{_TEXT}|\(\s*{_TEXT}(?:\s*,\s*{_TEXT})*\s*\))"
    rf"|isnotempty\((?P<filled>{_PATH})\)"
)
_COLUMN = re.compile(rf"(?:(?P<name>\w+)\s*=\s*)?(?:(?P<cast>tostring|tobool)\((?P<inner>{_PATH})\)|(?P<path>{_PATH}))")
_ORDER = re.compile(r"order by (?P<column>\w+)(?: (?P<way>asc|desc))?")
Row = dict[str, t.Any]


class ResourceGraph:
    def routes(self) -> list[Route]:
        path = "/providers/Microsoft.ResourceGraph/resources"
        return [route("graph_query", "POST", path, VERSIONS, self.query)]

    def query(self, call: Call) -> Response:
        body = known(call.body(), "QueryRequest")
        subscriptions = body.get("subscriptions")
        if subscriptions is not None and not isinstance(subscriptions, list):
            raise _bad("subscriptions must be a list.")
        options = known(body.get("options") or {}, "QueryRequestOptions")
        if options.get("resultFormat", "objectArray") != "objectArray":
            raise _bad("The simulator answers with objectArray alone.")
        top, skip = options.get("$top", MOST), options.get("$skipToken") or "0"
        if not isinstance(top, int) or isinstance(top, bool) or not 1 <= top <= MOST:
            raise _bad(f"$top must be from 1 to {MOST}.")
        if not str(skip).isdigit():
            raise _bad("The skip token is not valid.")
        mine = call.world.subscription_id
        asked = [str(one).lower() for one in subscriptions] if subscriptions is not None else [mine]
        rows = run(str(body.get("query") or ""), _readable(call)) if mine in asked else []
        start = int(skip)
        page = rows[start : start + top]
        document: Row = {
            "totalRecords": len(rows), "count": len(page), "data": page, "facets": [],
            "resultTruncated": "true" if start + top < len(rows) else "false",
        }  # fmt: skip
        if start + top < len(rows):
            document["$skipToken"] = str(start + top)
        return Response.of(document)


def _bad(text: str) -> Exception:
    return refuse(400, "BadRequest", f"Please provide below info when asking for support: {text}")


def _readable(call: Call) -> list[Row]:
    """Rows of the resources that the caller may read; nobody is refused, who may read nothing sees nothing."""
    return [row for row in _rows(call.world) if call.may(f"{row['kind_of']}/read", row["id"])]


def _rows(world: World) -> list[Row]:
    documents = [vms.document(world, vm) for vm in world.vms.values()]
    for vm, document in zip(world.vms.values(), documents, strict=True):
        state = {"code": f"PowerState/{vm.power_state}"}
        document["properties"]["extended"] = {"instanceView": {"powerState": state}}
    documents += [
        networks.shown(world, one)
        for one in world.resources.values()
        if one["type"] == "Microsoft.Network/networkInterfaces"
    ]
    return [
        {
            **document,
            "kind_of": document["type"],
            "type": document["type"].lower(),
            "resourceGroup": document["id"].split("/")[4].lower(),
            "subscriptionId": world.subscription_id,
        }
        for document in documents
    ]


def run(query: str, rows: list[Row]) -> list[Row]:
    """The rows that a query gives. Raises Refusal for what is not understood."""
    table, *steps = [part.strip() for part in _SPLIT.findall(query)]
    if table.lower() != "resources":
        raise _bad(f"The table '{table}' is not known.")
    for step in steps:
        word, _blank, rest = step.partition(" ")
        if word == "where":
            rows = [row for row in rows if all(_holds(row, one) for one in re.split(r"\s+and\s+", rest.strip()))]
        elif word == "project":
            columns = [_column(one.strip()) for one in re.split(r",(?![^(]*\))", rest)]
            rows = [{name: _cast(cast, _value(row, path)) for name, cast, path in columns} for row in rows]
        elif order := _ORDER.fullmatch(re.sub(r"\s+", " ", step)):
            rows = sorted(rows, key=lambda row: str(row.get(order["column"])), reverse=order["way"] != "asc")
        else:
            raise _bad(f"The operator in '{step}' is not understood.")
    return rows


def _value(row: Row, path: str) -> t.Any:
    found: t.Any = row
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _holds(row: Row, condition: str) -> bool:
    parts = _WHERE.fullmatch(condition.strip())
    if parts is None:
        raise _bad(f"The condition '{condition}' is not understood.")
    if parts["filled"]:
        return _value(row, parts["filled"]) not in (None, "", [], {})
    found = str(_value(row, parts["path"]) or "")
    wanted: list[str] = re.findall(r"'([^']*)'", parts["value"])
    if parts["sign"] == "==":
        return found == wanted[0]
    return found.lower() in [one.lower() for one in wanted]


def _column(text: str) -> tuple[str, str | None, str]:
    parts = _COLUMN.fullmatch(text)
    if parts is None:
        raise _bad(f"The column '{text}' is not understood.")
    path = parts["inner"] or parts["path"]
    return parts["name"] or path.replace(".", "_"), parts["cast"], path


def _cast(cast: str | None, value: t.Any) -> t.Any:
    """As Kusto does it: a boolean becomes the text true, nothing becomes the empty text or null."""
    if cast == "tostring":
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if cast == "tobool":
        return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())
    return value
