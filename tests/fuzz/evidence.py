# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of evidence: a record with all its checks, a bundle, and what a host hands over."""

from __future__ import annotations

import gzip
import random
import typing as t
import zlib

from unit.audit import audit_fakes

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import (
    bundle,
    collect,
    metrics,
    record_checks,
    verify,
)

from . import mutate


def read_record(data: bytes) -> None:
    """All checks: a record that does not hold is a result, never an exception."""
    known = record_checks.Known({"sharedweu.weu.attest.azure.net": audit_fakes.key_set()}, audit_fakes.KEYS)
    found = record_checks.examine(data, "records/web-01/20261125T120000Z-000000.json", "web-01", known)
    assert found["verdict"] in ("verified", "failed", "incomplete")


def bundles() -> t.List[bytes]:
    return [audit_fakes.packed()]


def read_bundle(data: bytes) -> None:
    found = verify.verify(data, "a.tar.gz", verify.Trust())
    found.text(True)
    found.result()
    found.findings()


def packed_again(data: bytes, rng: random.Random) -> bytes:
    """Damage to the archive, to what is compressed, or to one file, whose manifest is then made anew."""
    kind = rng.random()
    if kind < 0.2:
        return mutate.anything(data, rng)
    try:
        if kind < 0.4:
            return gzip.compress(mutate.anything(gzip.decompress(data), rng), 1)
        found = bundle.load(data)
        path = rng.choice(sorted(found.files))
        return bundle.pack({**found.files, path: mutate.anything(found.files[path], rng)}, audit_fakes.CREATED)
    except (OSError, EOFError, zlib.error, bundle.SkrFailure):
        return mutate.anything(data, rng)


def collected() -> t.List[bytes]:
    records = {"20261125T120000Z-000000.released.json": audit_fakes.octets(audit_fakes.made())}
    return [collect.pack(collect.Collected(records, {"app": {"state": "ok"}}, {"app": "m 1"}, ["x"]))]


def read_collected(data: bytes) -> None:
    found = collect.unpack(data, "a.json.gz")
    metrics.merged(found.metrics.values())


def compressed_again(data: bytes, rng: random.Random) -> bytes:
    try:
        return gzip.compress(mutate.anything(gzip.decompress(data), rng), 1)
    except (OSError, EOFError, zlib.error):
        return mutate.anything(data, rng)
