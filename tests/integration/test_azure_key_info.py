# SPDX-License-Identifier: GPL-3.0-or-later
"""The module exportable_key_info: one key in full, all of a vault in short, and nothing is ever written."""

from __future__ import annotations

from typing import Any

import pytest
from integration.test_azure_key import ensure, make_vault
from labkit import Lab

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import explain, model
from skrsim.lab.inventory import release_policy


@pytest.fixture(scope="module")
def vault(shared_lab: Lab) -> str:
    name = make_vault(shared_lab)
    for key in ("one", "two", "gone"):
        ensure(shared_lab, name, key, release_policy=release_policy(), key_size=2048)
    ensure(shared_lab, name, "gone", state="absent")
    return name


def info(lab: Lab, vault: str, **options: Any) -> dict[str, Any]:
    return lab.module("exportable_key_info", **lab.azure(), vault_uri=f"https://{vault}.vault.azure.net", **options)


def test_one_key_in_full(local_lab: Lab, vault: str) -> None:
    mark = local_lab.mark
    found = info(local_lab, vault, key_name="one")
    (key,) = found["keys"]
    assert (
        key["name"] == "one"
        and key["exportable"]
        and len(key["versions"]) == 1
        and "BEGIN PUBLIC" in key["public_key_pem"]
    )
    assert key["explanation"] == explain.explain(model.parse(release_policy()))
    assert [one["code"] for one in key["lint"] if one["severity"] == "error"] == ["satisfied_by_any_tenant"]
    assert not found["changed"] and local_lab.writes(mark) == []


def test_all_keys_of_a_vault_and_the_deleted(local_lab: Lab, vault: str) -> None:
    found = info(local_lab, vault, deleted=True)
    assert [key["name"] for key in found["keys"]] == ["one", "two"] and "versions" not in found["keys"][0]
    assert len({key["policy_sha256"] for key in found["keys"]}) == 1
    (gone,) = found["deleted"]
    assert gone["name"] == "gone" and gone["purge_on"] > gone["deleted_on"]


def test_a_key_that_is_not_there(local_lab: Lab, vault: str) -> None:
    assert info(local_lab, vault, key_name="nobody")["keys"] == []
    bad = info(local_lab, vault, key_name="no_such/name")
    assert bad["failed"] and bad["reason"] == "invalid_input" and "key_name" in bad["msg"]
