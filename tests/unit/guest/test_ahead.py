# SPDX-License-Identifier: GPL-3.0-or-later
"""Work begun ahead: its result, its failure, and that nobody has to wait for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import ahead, http
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def test_result_is_waited_for() -> None:
    gate = threading.Event()

    def work() -> int:
        assert gate.wait(10)
        return 7

    begun = ahead.Ahead(work)
    gate.set()
    assert begun.result() == begun.result() == 7


def test_failure_is_told_to_who_asks() -> None:
    def work() -> None:
        raise SkrFailure("imds_unreachable", "No answer.")

    begun = ahead.Ahead(work)
    with pytest.raises(SkrFailure) as caught:
        begun.result()
    assert caught.value.reason == "imds_unreachable"


def test_unfinished_work_does_not_keep_the_process() -> None:
    code = f"import time; from {ahead.__name__} import Ahead; Ahead(lambda: time.sleep(60))"
    start = time.monotonic()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, env=env)
    assert time.monotonic() - start < 20


def test_given_up_client_does_not_ask_again() -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        client.given_up = True

    client = http.Http(local=True, sleep=sleep)
    with pytest.raises(SkrFailure) as caught:
        client.request("the metadata service", "GET", "http://127.0.0.1:9/", http.Retry(frozenset(), (1.0, 1.0, 1.0)))
    assert caught.value.facts["given_up"] and client.count == 1 and len(pauses) == 1
