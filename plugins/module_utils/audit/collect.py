# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a host to the controller: its records, status and metrics in one compressed file, whose bytes no job output shows."""

from __future__ import annotations

import gzip
import json
import os
import pwd
import shutil
import tempfile
import time
import typing as t
import zlib

from ..guest import documents, metrics, status
from ..guest import record as records
from ..policy.failure import SkrFailure
from . import bundle, record

SCHEMA = "azure-skr/evidence-collected/1"
_MOST = 64 << 20


class Collected(t.NamedTuple):
    """What a host gave: records as it wrote them by file name, status and metrics of each of the agent's instances."""

    records: t.Dict[str, bytes]
    status: t.Dict[str, t.Dict[str, t.Any]]
    metrics: t.Dict[str, str]
    problems: t.List[str]


def collect(evidence_dir: str, state_dir: str, since: t.Optional[float] = None) -> Collected:
    """Read what is on this host; ``since`` (Unix seconds) leaves older records out. Nothing there is no failure."""
    problems: t.List[str] = []
    found: t.Dict[str, bytes] = {}
    for name in _names(evidence_dir, problems):
        begin = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(since)) if since is not None else ""
        if name[: len(begin)] < begin:
            continue
        try:
            with open(os.path.join(evidence_dir, name), "rb") as stream:
                content = stream.read(record.LARGEST + 1)
            record.read(content, name)
        except OSError as error:
            problems.append(f"{name}: {error.strerror}")
            continue
        except SkrFailure as failure:
            problems.append(failure.message)
            continue
        found[name] = content
    now, states = time.time(), {name: status.read(state_dir, name) for name in status.names(state_dir)}
    told = {name: {**one, "state": status.judge(one, now)[1]} for name, one in states.items() if one}
    return Collected(found, told, {name: metrics.text(name, one) for name, one in told.items()}, problems)


def _names(folder: str, problems: t.List[str]) -> t.List[str]:
    try:
        return records.names(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"{folder}: {error.strerror}")
        return []


def since(text: t.Optional[str]) -> t.Optional[float]:
    """Unix seconds of the option of that name: a time, or a date at its beginning. Raises SkrFailure ``invalid_input``."""
    if not text:
        return None
    found = record.seconds(text if "T" in text else f"{text}T00:00:00Z")
    if found is None:
        wanted = "a time such as 2026-11-25T00:00:00Z or a date such as 2026-11-25"
        raise SkrFailure("invalid_input", f"since is {text!r}, wanted {wanted}.", {"option": "since"})
    return found


def hand_over(collected: Collected, host: str, reader: t.Optional[str], check_mode: bool) -> t.Dict[str, t.Any]:
    """Put the file where the login user alone may read it; returns a module's result. Raises SkrFailure ``invalid_input``."""
    told: t.Dict[str, t.Any] = {
        "changed": True,
        "file_name": f"{bundle.plain(host)}.json.gz",
        "records": len(collected.records),
        "instances": {name: one["state"] for name, one in collected.status.items()},
        "problems": collected.problems,
    }
    if check_mode:
        return told
    user = _reader(reader)
    folder = tempfile.mkdtemp(prefix="azure-skr.")  # for its owner alone, who is still this user
    path = os.path.join(folder, "collected.json.gz")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pack(collected))
        if user != os.geteuid():
            for one in (path, folder):  # the folder last: until then nobody else can touch what is in it
                os.chown(one, user, -1)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise SkrFailure(
            "invalid_input",
            f"reader is user id {user}, to whom user id {os.geteuid()} cannot give a file: {error.strerror}.",
            {"option": "reader"},
        ) from error
    return {**told, "path": path, "folder": folder}


def _reader(given: t.Optional[str]) -> int:
    """The login user's id: the one given, or who became root by one of the usual programs, or this very one."""
    environ = os.environ if os.geteuid() == 0 else {}
    name = (
        given or environ.get("SUDO_UID") or environ.get("DOAS_USER") or environ.get("PKEXEC_UID") or str(os.geteuid())
    )
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        text = f"reader is {name!r}, wanted a user of this machine."
        raise SkrFailure("invalid_input", text, {"option": "reader"}) from None


def pack(collected: Collected) -> bytes:
    """The file's bytes; the same for the same content."""
    document = {
        "schema": SCHEMA,
        "records": {name: content.decode("utf-8") for name, content in collected.records.items()},
        "status": collected.status,
        "metrics": collected.metrics,
        "problems": collected.problems,
    }
    return gzip.compress(json.dumps(document, sort_keys=True).encode(), mtime=0)


def unpack(content: bytes, where: str) -> Collected:
    """Read such a file. Raises SkrFailure ``record_invalid``; the records themselves are not looked at here."""
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        document = documents.loads(decoder.decompress(content, _MOST))
        if not decoder.eof or document["schema"] != SCHEMA:
            raise ValueError
        found = Collected(
            {str(name): str(text).encode() for name, text in document["records"].items()},
            {str(name): dict(one) for name, one in document["status"].items()},
            {str(name): str(one) for name, one in document["metrics"].items()},
            [str(one) for one in document["problems"]],
        )
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError):
        raise SkrFailure(
            "record_invalid", f"{where} is nothing that was collected from a host.", {"file": where}
        ) from None
    return found
