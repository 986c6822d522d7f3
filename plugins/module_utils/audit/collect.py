# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a host to the controller: its records, status and metrics in one compressed file, whose bytes no job output shows."""

from __future__ import annotations

import gzip
import json
import os
import time
import typing as t
import zlib

from ..guest import documents, metrics, status
from ..guest import record as records
from ..policy.failure import SkrFailure
from . import record

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
