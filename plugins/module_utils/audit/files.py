# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle on disk: ``NAME.tar.gz``, beside it ``NAME.tar.gz.sig`` (if there is a key) and ``NAME.tar.gz.sha256``.

What is made of it besides (metrics of the fleet) and what an auditor brings to check it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
import typing as t

from ..guest import documents
from ..policy.failure import SkrFailure
from . import archive, bundle, collect, metrics, record, signature, verify

MOST = 1 << 30
_MOST_TEXT = 16 << 20
Row = t.Dict[str, t.Any]


class Wanted(t.NamedTuple):
    """What a bundle is to be made of. ``source`` is a folder of files of :mod:`collect`, named ``HOST.json.gz`` after
    :func:`bundle.plain`; ``hosts`` are rows of host, reachable and reason; ``control`` is by ``bundle.CONTROL``."""

    source: str
    dest: str
    hosts: t.Sequence[Row]
    control: t.Mapping[str, t.Sequence[Row]]
    gaps: t.Sequence[str] = ()
    private_key: t.Optional[str] = None
    passphrase: t.Optional[str] = None
    created: t.Optional[str] = None
    metrics_dest: t.Optional[str] = None


def make(wanted: Wanted, check_mode: bool) -> Row:
    """Pack and sign; returns what a module returns. The same input changes nothing. Raises SkrFailure."""
    if not wanted.dest.endswith(".tar.gz"):
        raise SkrFailure(
            "invalid_input", f"dest is {wanted.dest!r}, wanted a path that ends in .tar.gz.", {"option": "dest"}
        )
    if wanted.created is not None and record.seconds(wanted.created) is None:
        text = f"created is {wanted.created!r}, wanted a time such as 2026-11-25T12:00:00Z."
        raise SkrFailure("invalid_input", text, {"option": "created"})
    key = None
    if wanted.private_key:
        key = signature.private(read("private_key", wanted.private_key, _MOST_TEXT), wanted.passphrase)
    files, gaps, told = _content(wanted)
    old = _existing(wanted.dest)
    created = wanted.created or _same(old, files, gaps) or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    content = bundle.pack(files, created, gaps)
    name = os.path.basename(wanted.dest)
    outputs = {wanted.dest: content, f"{wanted.dest}.sha256": signature.hash_line(content, name).encode()}
    if key is not None:
        outputs[f"{wanted.dest}.sig"] = _signature(key, content, f"{wanted.dest}.sig")
    if wanted.metrics_dest:
        outputs[wanted.metrics_dest] = told.encode()
    stale = [f"{wanted.dest}.sig"] if key is None and os.path.exists(f"{wanted.dest}.sig") else []
    new = [path for path, one in outputs.items() if _existing(path) != one]
    if not check_mode:
        for path in new:
            write(path, outputs[path])
        for path in stale:  # the signature of another bundle
            os.unlink(path)
    found = bundle.load(content, name)
    return {
        "changed": bool(new or stale),
        "bundle": wanted.dest,
        "sha256": found.sha256,
        "size": len(content),
        "created": created,
        "signed_by": signature.name(key.public_key()) if key is not None else None,
        "public_key_pem": signature.pem(key.public_key()) if key is not None else None,
        "records": {host: len(rows) for host, rows in found.records.items()},
        "gaps": list(found.gaps),
        "warnings": []
        if key is not None
        else ["The bundle is not signed: its hash list proves that it is whole, not who made it."],
    }


def _content(wanted: Wanted) -> t.Tuple[t.Dict[str, bytes], t.List[str], str]:
    """The bundle's files, what is missing, and the metrics of the fleet."""
    gaps, records, texts = list(wanted.gaps), t.cast(t.Dict[str, t.List[bytes]], {}), t.cast(t.Dict[str, str], {})
    rows: t.List[Row] = []
    for given in sorted(wanted.hosts, key=lambda row: str(row.get("host"))):
        host = str(given.get("host") or "")
        row: Row = {
            "host": host,
            "reachable": bool(given.get("reachable")),
            "reason": given.get("reason"),
            "status": {},
        }
        path = os.path.join(wanted.source, f"{bundle.plain(host)}.json.gz")
        if not row["reachable"]:
            gaps.append(f"{host}: {row['reason'] or 'not reached'}")
        elif os.path.exists(path):
            found = collect.unpack(read("source", path, MOST), path)
            records[host] = [found.records[name] for name in sorted(found.records)]
            row["status"] = found.status
            texts[host] = metrics.merged(found.metrics[name] for name in sorted(found.metrics))
            gaps += [f"{host}: {problem}" for problem in found.problems]
        else:
            gaps.append(f"{host}: nothing was collected")
        rows.append(row)
    read_records = {
        host: [record.read(one, f"a record of {host}") for one in contents] for host, contents in records.items()
    }
    files = bundle.assemble(records, rows, wanted.control, texts)
    unfit = next((path for path in files if not archive.fits(path)), None)
    if unfit:
        raise SkrFailure("invalid_input", f"{unfit!r} cannot be a file of a bundle.", {"option": "hosts"})
    return files, sorted(set(gaps)), metrics.fleet(texts, rows, read_records)


def _same(old: t.Optional[bytes], files: t.Mapping[str, bytes], gaps: t.Sequence[str]) -> t.Optional[str]:
    """When the bundle that is there was made, if it holds the same; it is not made anew then."""
    try:
        found = bundle.load(old) if old is not None else None
    except SkrFailure:
        return None
    if found is None or found.files != files or found.manifest.get("gaps") != list(gaps):
        return None
    created = found.manifest.get("created")
    return created if record.seconds(created) is not None else None


def _signature(key: signature.Private, content: bytes, path: str) -> bytes:
    """One that is there and holds is kept: ECDSA gives another each time."""
    there = _existing(path)
    if there is not None and signature.signed(key.public_key(), content, there):
        return there
    return signature.sign(key, content)


def _existing(path: str) -> t.Optional[bytes]:
    try:
        with open(path, "rb") as stream:
            return stream.read(MOST)
    except OSError:
        return None


def write(path: str, content: bytes) -> None:
    """Atomic replacement; for the user alone, because evidence says much of a fleet. Raises SkrFailure ``invalid_input``."""
    folder = os.path.dirname(path) or "."
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        text = f"dest is {path!r}, wanted a file that can be written: {error.strerror}."
        raise SkrFailure("invalid_input", text, {"option": "dest"}) from error


def publish(dest: str, text: str, check_mode: bool) -> bool:
    """Write a report; whether that changes anything. Raises SkrFailure ``invalid_input``."""
    content = text.encode("utf-8")
    if _existing(dest) == content:
        return False
    if not check_mode:
        write(dest, content)
    return True


def read(option: str, path: str, most: int) -> bytes:
    """A file of an option. Raises SkrFailure ``invalid_input``."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        text = f"{option} is {path!r}, wanted a readable file: {error.strerror}."
        raise SkrFailure("invalid_input", text, {"option": option}) from error
    if len(content) > most:
        raise SkrFailure(
            "invalid_input", f"{option} is {path!r}, which has more than {most >> 20} MiB.", {"option": option}
        )
    return content


def check(
    path: str,
    public_key: t.Optional[str],
    sha256: t.Optional[str],
    jwks: t.Sequence[str],
    names: t.Optional[t.Mapping[str, str]] = None,
) -> verify.Result:
    """Verify a bundle on disk with what the auditor has; ``jwks`` are paths, or ``AUTHORITY=PATH``. Raises SkrFailure.

    Without key and hash list the list beside the bundle is used, if there is one. ``names`` are the options' names in
    messages, where they differ.
    """
    option = {name: (names or {}).get(name, name) for name in ("bundle", "public_key", "sha256", "jwks")}
    content = read(option["bundle"], path, MOST)
    listed, beside = None, False
    if sha256:
        listed = read(option["sha256"], sha256, _MOST_TEXT).decode("utf-8", "replace")
    elif not public_key and os.path.exists(f"{path}.sha256"):
        listed, beside = read(option["sha256"], f"{path}.sha256", _MOST_TEXT).decode("utf-8", "replace"), True
    trust = verify.Trust(
        public_key=_pem(option["public_key"], public_key) if public_key else None,
        signature=_existing(f"{path}.sig") if public_key else None,
        hash_list=listed,
        beside=beside,
        key_sets=dict(_key_set(option["jwks"], one) for one in jwks),
    )
    return verify.verify(content, os.path.basename(path), trust)


def _pem(option: str, given: str) -> bytes:
    """A public key as text, or the file of it."""
    if given.lstrip().startswith("-----BEGIN "):
        return given.encode("utf-8", "replace")
    return read(option, os.path.expanduser(given), _MOST_TEXT)


def _key_set(option: str, given: str) -> t.Tuple[str, Row]:
    authority, path = given.split("=", 1) if given.startswith("https://") and "=" in given else ("", given)
    try:
        found = documents.loads(read(option, path, _MOST_TEXT))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise SkrFailure(
            "invalid_input", f"{option} is {given!r}, wanted a file with a key set (JWKS).", {"option": option}
        )
    return authority, found
