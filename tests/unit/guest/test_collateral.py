# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's certificate chain is kept between runs, and fetched where the kept one is of no use."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.cache import Cache
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.collateral import Chain


class Host:
    def __init__(self, *chains: str) -> None:
        self.chains, self.asked = list(chains), 0

    def __call__(self) -> str:
        self.asked += 1
        return self.chains.pop(0)


def test_a_second_run_asks_nobody(tmp_path: Path) -> None:
    host = Host("one")
    first, second = Chain(host, Cache(str(tmp_path / "cache"))), Chain(host, Cache(str(tmp_path / "cache")))
    assert (first(), first.kept) == ("one", False) and (second(), second.kept) == ("one", True) and host.asked == 1


def test_a_kept_chain_that_does_not_fit_is_replaced(tmp_path: Path) -> None:
    Cache(str(tmp_path)).save("vcek-chain.pem", b"\xffold")
    host = Host("new")
    chain = Chain(host, Cache(str(tmp_path)))
    chain()
    assert chain.kept and host.asked == 0
    assert (chain(), chain.kept) == ("new", False)
    assert Chain(host, Cache(str(tmp_path)))() == "new" and host.asked == 1


def test_old_files_and_files_of_others_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "vcek-chain.pem"
    path.write_text("old")
    week = time.time() - 8 * 86400
    os.utime(path, (week, week))
    assert Chain(Host("new"), Cache(str(tmp_path)))() == "new"
    if os.geteuid() == 0:
        os.chown(path, 4242, 4242)
        assert Chain(Host("mine"), Cache(str(tmp_path)))() == "mine"


def test_without_a_folder_nothing_is_kept() -> None:
    host = Host("a", "b")
    assert [Chain(host, Cache(None))(), Chain(host, Cache(None))()] == ["a", "b"]


def test_a_folder_that_cannot_be_written_is_no_failure() -> None:
    assert Chain(Host("a"), Cache("/proc/nowhere"))() == "a"
