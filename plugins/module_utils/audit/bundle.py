# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle of evidence: what the hosts kept and what the control plane says, in one file that anybody can check.

manifest.json                   schema, when and by what it was made, SHA-256 and size of every other file, what is missing
records/HOST/ID.json            the records, byte for byte as the host wrote them
jwks/AUTHORITY.json             the signing keys by which the hosts checked their tokens
control/keys.json, access.json, vms.json
hosts.json                      every host of the audit, reachable or not, with the agent's status
metrics/HOST.prom
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import typing as t

from ..guest import documents
from ..policy import about
from ..policy.failure import SkrFailure
from . import archive, record

SCHEMA = "azure-skr/evidence-bundle/1"
MANIFEST = "manifest.json"
CONTROL = ("keys", "access", "vms")
Row = t.Dict[str, t.Any]
# Types of members of the rows, as far as somebody takes them apart; each may be null.
_MEMBERS: t.Dict[str, t.Dict[str, type]] = {
    "hosts.json": {"host": str, "reachable": bool, "reason": str, "status": dict},
    "control/keys.json": {
        "kid": str, "key_name": str, "vault_uri": str, "versions": list, "release_policy": dict, "policy_sha256": str, "explained": list,
        "accepted_findings": list,
    },
    "control/access.json": {"principal_id": str, "vm": str, "via": str, "scope": str},
    "control/vms.json": {"name": str, "user_assigned": list},
}  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
_RECORD = re.compile(r"records/([^/]+)/([^/]+)\.json")


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle that was read. ``files`` are all its files but the manifest; the properties are what is in them.

    Properties raise SkrFailure ``bundle_invalid`` or ``record_invalid`` where a file is not what it should be.
    """

    name: str
    sha256: str
    manifest: Row
    files: t.Dict[str, bytes]

    @functools.cached_property
    def records(self) -> t.Dict[str, t.List[record.Record]]:
        """The records of each host, oldest first; the hosts in the order of their names."""
        found: t.Dict[str, t.List[record.Record]] = {}
        for path, host in self.record_paths():
            found.setdefault(host, []).append(record.read(self.files[path], path))
        return found

    def record_paths(self) -> t.List[t.Tuple[str, str]]:
        """Path and host of each record."""
        found = ((path, _RECORD.fullmatch(path)) for path in sorted(self.files))
        return [(path, match.group(1)) for path, match in found if match]

    @functools.cached_property
    def hosts(self) -> t.List[Row]:
        return self._rows("hosts.json")

    @functools.cached_property
    def keys(self) -> t.List[Row]:
        return self._rows("control/keys.json")

    @functools.cached_property
    def access(self) -> t.List[Row]:
        return self._rows("control/access.json")

    @functools.cached_property
    def vms(self) -> t.List[Row]:
        return self._rows("control/vms.json")

    @functools.cached_property
    def jwks(self) -> t.Dict[str, Row]:
        """The key sets by the authority's host."""
        paths = [path for path in self.files if path.startswith("jwks/")]
        return {path[5:-5]: self._object(path) for path in sorted(paths)}

    @functools.cached_property
    def metrics(self) -> t.Dict[str, str]:
        """Prometheus text by host."""
        paths = [path for path in self.files if path.startswith("metrics/")]
        return {path[8:-5]: self.files[path].decode("utf-8", "replace") for path in sorted(paths)}

    @property
    def gaps(self) -> t.List[str]:
        """In words, what could not be collected."""
        found = self.manifest.get("gaps")
        return [str(one) for one in found] if isinstance(found, list) else []

    def _rows(self, path: str) -> t.List[Row]:
        """An absent file is an empty list: there is nothing to say."""
        found = _document(self.files[path], path) if path in self.files else []
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise SkrFailure("bundle_invalid", f"{path} is no list of objects.", {"file": path})
        for name, kind in _MEMBERS[path].items():
            for row in found:
                value = row.get(name)
                listed = kind is list and isinstance(value, list) and all(isinstance(one, (dict, str)) for one in value)
                if value is not None and not listed and (kind is list or not isinstance(value, kind)):
                    raise SkrFailure("bundle_invalid", f"{path} has a {name} that is none.", {"file": path})
        return found

    def _object(self, path: str) -> Row:
        found = _document(self.files[path], path)
        if not isinstance(found, dict):
            raise SkrFailure("bundle_invalid", f"{path} is no object.", {"file": path})
        return found


def load(content: bytes, name: str = "") -> Bundle:
    """Read a bundle and its manifest; what the manifest says is compared by :func:`compare`.

    Raises SkrFailure ``bundle_invalid``.
    """
    files = archive.unpack(content)
    if MANIFEST not in files:
        raise SkrFailure("bundle_invalid", f"The bundle has no {MANIFEST}.")
    manifest = _document(files.pop(MANIFEST), MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise SkrFailure("bundle_invalid", f"{MANIFEST} does not list the bundle's files.")
    if manifest.get("schema") != SCHEMA:
        found = str(manifest.get("schema"))[:80]
        raise SkrFailure("bundle_invalid", f"The bundle is of the kind {found!r}, wanted {SCHEMA!r}.", {"found": found})
    return Bundle(name, hashlib.sha256(content).hexdigest(), manifest, files)


def compare(bundle: Bundle) -> str:
    """The manifest's list against the files; returns how many. Raises SkrFailure ``bundle_altered``."""
    listed = bundle.manifest["files"]
    missing, added = sorted(set(listed) - set(bundle.files)), sorted(set(bundle.files) - set(listed))
    altered = sorted(path for path in bundle.files if path in listed and listed[path] != _entry(bundle.files[path]))
    told = [
        f"{word} {', '.join(paths[:5])}{' and others' if len(paths) > 5 else ''}"
        for word, paths in (("altered", altered), ("missing", missing), ("added", added))
        if paths
    ]
    if told:
        facts = {"altered": altered, "missing": missing, "added": added}
        raise SkrFailure(
            "bundle_altered", f"The bundle's files are not those of its manifest: {'; '.join(told)}.", facts
        )
    return f"{len(listed)} files"


def assemble(
    records: t.Mapping[str, t.Iterable[bytes]],
    hosts: t.Sequence[Row],
    control: t.Mapping[str, t.Sequence[Row]],
    metrics: t.Mapping[str, str],
) -> t.Dict[str, bytes]:
    """The files of a bundle, but its manifest. A record that cannot be read raises SkrFailure ``record_invalid``.

    ``records`` has the hosts' files as they wrote them; ``control`` is by the names in :data:`CONTROL`.
    """
    files: t.Dict[str, bytes] = {}
    key_sets: t.Dict[str, t.Dict[str, Row]] = {}
    for host, contents in records.items():
        for content in contents:
            found = record.read(content, f"a record of {host}")
            files[f"records/{plain(host)}/{found['id']}.json"] = content
            _add_key(key_sets, found)
    for authority, entries in key_sets.items():
        files[f"jwks/{plain(authority)}.json"] = _text({"keys": [entries[kid] for kid in sorted(entries)]})
    for name in CONTROL:
        files[f"control/{name}.json"] = _text(list(control.get(name, ())))
    files["hosts.json"] = _text([{**row, "folder": plain(str(row["host"]))} for row in hosts])
    files.update({f"metrics/{plain(host)}.prom": text.encode() for host, text in metrics.items() if text})
    return files


def pack(files: t.Mapping[str, bytes], created: str, gaps: t.Sequence[str] = ()) -> bytes:
    """The archive with its manifest; the same bytes for the same files, time and gaps."""
    manifest = {
        "schema": SCHEMA,
        "created": created,
        "tool": {"collection": about.COLLECTION, "version": about.VERSION},
        "files": {path: _entry(content) for path, content in files.items()},
        "gaps": list(gaps),
    }
    return archive.pack({**files, MANIFEST: _text(manifest)})


def plain(name: str) -> str:
    """A host's name as a file's: itself, or for an unusual one something like it with a piece of its hash."""
    if _PLAIN.fullmatch(name):
        return name
    like = re.sub(r"[^A-Za-z0-9._@-]", "-", name).lstrip(".-_@")[:80] or "host"
    return f"{like}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def authority_name(authority: str) -> str:
    """The file's name of an authority's keys: its host, in lower case."""
    return plain(authority.partition("://")[2].partition("/")[0].lower() or authority.lower())


def _add_key(key_sets: t.Dict[str, t.Dict[str, Row]], found: record.Record) -> None:
    """The key by which the host checked the token; two keys of one kid stay two, and the signature tells."""
    attestation = found["attestation"] or {}
    key = attestation.get("signing_key")
    if key:
        entry = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key["kid"], "x5c": [str(one) for one in key["x5c"]]}
        entries = key_sets.setdefault(authority_name(str(attestation["authority"])), {})
        entries[f"{key['kid']} {entry['x5c']}"] = entry


def _entry(content: bytes) -> Row:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def _text(document: t.Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode("ascii")


def _document(content: bytes, path: str) -> t.Any:
    try:
        return documents.loads(content)
    except ValueError as error:
        raise SkrFailure("bundle_invalid", f"{path} is no JSON document.", {"file": path}) from error
