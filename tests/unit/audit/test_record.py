# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout of a record: every member is there, of its type, and a time is a time."""

from __future__ import annotations

import json
import typing as t

import pytest
from unit.audit import audit_fakes as fakes
from unit.guest.release_fakes import refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import record


def test_a_record_of_the_guest_is_one() -> None:
    for made in (fakes.made(), fakes.refused()):
        assert record.read(fakes.octets(made), "x") == made
        token = record.token(made)
        assert token and token.count(".") == 2
    assert record.token({"attestation": None}) is None


@pytest.mark.parametrize(("path", "kinds"), record._LAYOUT)
def test_each_member(path: str, kinds: t.Tuple[type, ...]) -> None:
    """Missing, or of a type that it cannot have."""
    *parents, name = path.split(".")
    for change in ("missing", 1.5, True):
        if isinstance(change, bool) and bool in kinds:
            continue
        made = fakes.made()
        place = made
        for parent in parents:
            place = place[parent]
        if change == "missing":
            del place[name]
        else:
            place[name] = change
        with refused("record_invalid") as told:
            record.read(fakes.octets(made), "the file")
        assert path in told.value.message and "the file" in told.value.message


@pytest.mark.parametrize(
    ("member", "value"),
    [("schema", "azure-skr/evidence-record/2"), ("schema", None), ("id", "x"), ("id", 5), ("id", "20261125T120000Z-00000G"), ("outcome", "granted"),
     ("times", {"started": "2026-02-31T00:00:00Z", "ended": "2026-02-01T00:00:00Z"}), ("times", {"started": "2026-02-01T00:00:00Z"})],
)  # fmt: skip
def test_members_with_a_form(member: str, value: t.Any) -> None:
    with refused("record_invalid"):
        record.read(fakes.octets({**fakes.made(), member: value}), "x")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000, b" " * (record.LARGEST + 1)]
)
def test_what_is_no_record(content: bytes) -> None:
    with refused("record_invalid"):
        record.read(content, "x")


def test_times() -> None:
    assert record.seconds(fakes.iso(fakes.NOW)) == fakes.NOW
    for wrong in (
        None,
        5,
        "",
        "2026-11-25",
        "2026-13-01T00:00:00Z",
        "2026-11-25T00:00:00+01:00",
        "9999999-01-01T00:00:00Z",
    ):
        assert record.seconds(wrong) is None
    assert json.dumps(fakes.made())
