# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle's form: the same bytes for the same files, readable by tar, and nothing else accepted."""

from __future__ import annotations

import gzip
import io
import tarfile
import typing as t

import pytest
from unit.guest.release_fakes import refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import archive

FILES = {"manifest.json": b"{}\n", "records/web-01/a.json": b"x" * 513, "empty": b""}


def test_there_and_back_and_always_the_same_bytes() -> None:
    packed = archive.pack(FILES)
    assert archive.unpack(packed) == FILES
    assert archive.pack(dict(reversed(list(FILES.items())))) == packed
    with tarfile.open(fileobj=io.BytesIO(packed)) as found:
        assert sorted(found.getnames()) == sorted(FILES)
        members = found.getmembers()
        assert {(one.mtime, one.uid, one.mode) for one in members} == {(0, 0, 0o644)}


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a/../../b", "a//b", "", "a/./b", "-x", "a\nb", "é", "a/" + "x" * 300]
)
def test_paths_that_are_not_packed(path: str) -> None:
    assert not archive.fits(path)
    with refused("invalid_input"):
        archive.pack({path: b""})


def by_tar(*entries: t.Tuple[str, t.Dict[str, t.Any]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=form) as made:
        for name, members in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o644
            for member, value in members.items():
                setattr(entry, member, value)
            made.addfile(entry, io.BytesIO(bytes(entry.size)))
    return gzip.compress(plain.getvalue())


@pytest.mark.parametrize(
    "entry",
    [
        ("/etc/cron.d/x", {}),
        ("../../x", {}),
        ("x", {"type": tarfile.SYMTYPE, "linkname": "/etc/shadow"}),
        ("x", {"type": tarfile.LNKTYPE, "linkname": "manifest.json"}),
        ("x", {"type": tarfile.DIRTYPE}),
        ("x", {"type": tarfile.FIFOTYPE}),
        ("x", {"type": tarfile.CHRTYPE}),
        ("x", {"mode": 0o4755}),
        ("x", {"uid": 0, "uname": "root"}),
        ("x", {"mtime": 5}),
    ],
)
def test_whatever_else_tar_can_hold_is_refused(entry: t.Tuple[str, t.Dict[str, t.Any]]) -> None:
    with refused("bundle_invalid") as told:
        archive.unpack(by_tar(entry))
    assert "plain files" in told.value.message


def test_other_forms_of_tar_are_refused() -> None:
    with refused("bundle_invalid"):
        archive.unpack(by_tar(("x" * 150, {}), form=tarfile.GNU_FORMAT))
    with refused("bundle_invalid"):
        archive.unpack(by_tar(("ü", {}), form=tarfile.PAX_FORMAT))


def test_twice_and_cut_and_more() -> None:
    packed, plain = archive.pack(FILES), gzip.decompress(archive.pack(FILES))
    for broken in (packed[:-9], packed + b"x", packed + packed, b"", b"PK\3\4", gzip.compress(plain[:-1024]), gzip.compress(plain + bytes(512)),
                   gzip.compress(plain[:512]), gzip.compress(b"x" * 512), gzip.compress(plain[:1024] + plain)):  # fmt: skip
        with refused("bundle_invalid"):
            archive.unpack(broken)


def test_no_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 16)
    with refused("bundle_invalid") as told:
        archive.unpack(gzip.compress(bytes(1 << 24)))
    assert "more than" in told.value.message
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(archive, "MOST_FILES", 2)
    with refused("bundle_invalid") as told:
        archive.unpack(archive.pack(FILES))
    assert "more than 2 files" in told.value.message
