# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verification says, in one form: of each record, of the bundle, and of its signature.

Taken are the rows {host, record_id, ok, reason, message}; a whole ``verify.Result`` or its dictionary, which says of every
record how it is; and the rows of ``verify.Result.findings`` (severity and code in place of ok and reason), which tell only
of what is not as it should be, so that a record they do not name was verified.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .plain import Doc, at, flag, plain, rows, text


@dataclasses.dataclass(frozen=True)
class Finding:
    """Of a record, or of the bundle where ``host`` and ``record_id`` are empty. ``ok`` None: it could not be checked."""

    host: str
    record_id: str
    ok: t.Optional[bool]
    reason: str
    message: str


class Judgements(t.NamedTuple):
    """``signature`` is {} where nothing tells of it; ``silence`` says that a record without a finding was verified."""

    findings: t.List[Finding]
    signature: Doc
    silence: bool


def read(given: t.Any, folders: t.Mapping[str, str]) -> Judgements:
    """Findings in any form. ``folders`` are hosts by their folder in the bundle."""
    whole = plain(given)
    if "checks" in whole and "records" in whole:
        return Judgements(*_result(whole, folders), silence=False)
    listed = given if isinstance(given, t.Iterable) and not isinstance(given, (str, bytes, t.Mapping)) else ()
    rows_ = [plain(one) for one in listed]
    told = [_row(row, folders) for row in rows_ if "severity" not in row or _counts(row)]
    return Judgements(told, {}, silence=any("severity" in row for row in rows_))


def _counts(row: Doc) -> bool:
    """Whether a row of the verifier says that something fails or lacks proof; others tell of events and of gaps."""
    return row["severity"] == "failed" or (row["severity"] == "warning" and row.get("code") == "not_checked")


def _row(row: Doc, folders: t.Mapping[str, str]) -> Finding:
    host = text(row, "host")
    ok = False if row.get("severity") == "failed" else flag(row, "ok")
    record = text(row, "record_id") or text(row, "record")
    return Finding(folders.get(host, host), record, ok, text(row, "reason") or text(row, "code"), text(row, "message"))


def _result(result: Doc, folders: t.Mapping[str, str]) -> t.Tuple[t.List[Finding], Doc]:
    found, signature = [], {"state": "unchecked"}
    for check in rows(result, "checks"):
        state, name, message = text(check, "state"), text(check, "name"), text(check, "message")
        if name == "signature" and state in ("ok", "failed"):
            signature = {"state": "valid" if state == "ok" else "invalid", "key": message if state == "ok" else ""}
        if name == "hash" and state == "ok":
            signature = {"state": "hash", "key": message}
        if state == "failed":
            found.append(Finding("", "", False, text(check, "reason"), message))
        elif at(check, "gap") is True:
            found.append(Finding("", "", None, "not_checked", _open(check)))
    for record in rows(result, "records"):
        host, ident = text(record, "host"), text(record, "id")
        host = folders.get(host, host)
        failed = [check for check in rows(record, "checks") if text(check, "state") == "failed"]
        open_ = [check for check in rows(record, "checks") if at(check, "gap") is True]
        verdict = text(record, "verdict")
        if verdict == "verified":
            found.append(Finding(host, ident, True, "verified", ""))
        found += [Finding(host, ident, False, text(check, "reason"), text(check, "message")) for check in failed]
        found += [Finding(host, ident, None, "not_checked", _open(check)) for check in open_]
        if verdict == "failed" and not failed:
            found.append(Finding(host, ident, False, "failed", text(record, "message")))
    return found, t.cast(Doc, signature)


def _open(check: Doc) -> str:
    return f"Not checked that the {text(check, 'title')}: {text(check, 'message')}"
