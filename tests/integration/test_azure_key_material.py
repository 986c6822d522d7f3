# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that are brought along, single versions, and the end of all releases; through exportable_key."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from integration.site import Site
from integration.test_azure_key import ensure, make_vault
from labkit import Lab

from skrsim.lab.inventory import release_policy

RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)


def pem(key: Any, passphrase: bytes | None = None) -> bytes:
    protection: Any = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase)
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection))


def public_sha256(key: Any) -> str:
    import hashlib

    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


@pytest.fixture(scope="module")
def vault(shared_lab: Lab) -> str:
    return make_vault(shared_lab)


def test_import_from_a_file_then_no_change_then_other_material(local_lab: Lab, vault: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(RSA, b"open sesame"))
    options = {
        "release_policy": release_policy(), "import_file": str(path), "import_passphrase": "open sesame",
        "key_ops": ["wrapKey", "unwrapKey"],
    }  # fmt: skip
    mark = local_lab.mark
    planned = ensure(local_lab, vault, "mine", check=True, **options)
    assert planned["changed"] and local_lab.writes(mark) == []
    made = ensure(local_lab, vault, "mine", **options)
    assert made["changed"] and made["public_key_sha256"] == public_sha256(RSA), made
    assert [one["operation"] for one in local_lab.writes(mark)] == ["key_import"]
    assert "open sesame" not in json.dumps(made) and "PRIVATE" not in json.dumps(made)
    mark = local_lab.mark
    assert not ensure(local_lab, vault, "mine", **options)["changed"] and local_lab.writes(mark) == []
    other = {**options, "import_file": None, "import_passphrase": None, "import_material": pem(OTHER).decode()}
    given = {name: value for name, value in other.items() if value is not None}
    refused = ensure(local_lab, vault, "mine", **given)
    assert refused["reason"] == "key_material_differs" and local_lab.writes(mark) == []
    replaced = ensure(local_lab, vault, "mine", import_replace=True, **given)
    assert replaced["changed"] and replaced["public_key_sha256"] == public_sha256(OTHER)
    assert len(replaced["versions"]) == 2


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP256K1(), ec.SECP384R1(), ec.SECP521R1()])
def test_import_of_every_curve(local_lab: Lab, vault: str, curve: Any) -> None:
    key = ec.generate_private_key(curve)
    made = ensure(
        local_lab, vault, f"ec-{curve.name}", key_type="EC-HSM", import_material=pem(key).decode(),
        release_policy=release_policy(),
    )  # fmt: skip
    assert made["changed"] and made["public_key_sha256"] == public_sha256(key), made


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_rsa_of_every_size(local_lab: Lab, vault: str, size: int) -> None:
    made = ensure(local_lab, vault, f"rsa-{size}", key_size=size, release_policy=release_policy())
    assert made["changed"] and made["key"]["key_size"] == size


@pytest.mark.parametrize("curve", ["P-256", "P-256K", "P-384", "P-521"])
def test_ec_of_every_curve(local_lab: Lab, vault: str, curve: str) -> None:
    made = ensure(local_lab, vault, f"ec-made-{curve}", key_type="EC-HSM", curve=curve, release_policy=release_policy())
    assert made["changed"] and made["key"]["curve"] == curve


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"import_material": "SENTINEL no key"}, "import_material"),
        ({"import_material": pem(RSA, b"x").decode()}, "import_material"),
        ({"import_material": pem(ec.generate_private_key(ec.SECP256R1())).decode()}, "key_type"),
        ({"import_material": pem(RSA).decode(), "key_size": 3072}, "key_size"),
        ({"import_material": pem(rsa.generate_private_key(65537, 1024)).decode()}, "import_material"),
        ({"import_file": "/nowhere/key.pem"}, "import_file"),
    ],
)
def test_material_that_cannot_be_imported(local_lab: Lab, vault: str, options: dict[str, Any], option: str) -> None:
    mark = local_lab.mark
    refused = ensure(local_lab, vault, "no", release_policy=release_policy(), **options)
    assert (refused["reason"], refused["facts"]["option"]) == ("invalid_input", option), refused
    assert "SENTINEL" not in json.dumps(refused["msg"]) and "PRIVATE" not in json.dumps(refused)
    assert local_lab.audit(mark) == []


def test_attributes_of_one_version(local_lab: Lab, vault: str) -> None:
    first = ensure(local_lab, vault, "versions", release_policy=release_policy(), key_size=2048)
    ensure(local_lab, vault, "versions", rotate=True)
    mark = local_lab.mark
    old = ensure(local_lab, vault, "versions", key_version=first["key_version"], enabled=False, tags={"old": "yes"})
    assert old["changed"] and old["key"]["version"] == first["key_version"] and old["key"]["enabled"] is False
    assert [one["enabled"] for one in old["versions"] if one["version"] != first["key_version"]] == [True]
    (write,) = local_lab.writes(mark)
    assert write["path"].endswith(first["key_version"])
    mark = local_lab.mark
    again = ensure(local_lab, vault, "versions", key_version=first["key_version"], enabled=False, tags={"old": "yes"})
    assert not again["changed"] and local_lab.writes(mark) == []
    missing = ensure(local_lab, vault, "versions", key_version="0" * 32, enabled=False)
    assert missing["reason"] == "key_not_found"


def test_stopped_ends_every_release_in_one_action(local_lab: Lab) -> None:
    site = Site(local_lab)
    site.grant()
    site.ensure_key(rotate=True)
    assert "reason" not in site.release()
    mark = local_lab.mark
    planned = ensure(local_lab, site.vault, "app", check=True, state="stopped")
    assert planned["changed"] and len(planned["stopped_versions"]) == 2 and local_lab.writes(mark) == []
    stopped = ensure(local_lab, site.vault, "app", state="stopped")
    assert stopped["changed"] and not any(one["enabled"] for one in stopped["versions"])
    for version in ({}, {"key_version": stopped["versions"][-1]["version"]}):
        refused = site.release(**version)
        assert refused["reason"] == "key_disabled", refused
    mark = local_lab.mark
    again = ensure(local_lab, site.vault, "app", state="stopped")
    assert not again["changed"] and again["stopped_versions"] == [] and local_lab.writes(mark) == []
    narrow = release_policy()
    narrow["anyOf"][0]["allOf"].append({"claim": "never", "equals": "met"})
    narrowed = ensure(local_lab, site.vault, "app", state="stopped", release_policy=narrow)
    assert narrowed["changed"] and "never" in json.dumps(narrowed["diff"]["after"])


def test_a_version_that_cannot_be_disabled_is_told_and_the_others_are(local_lab: Lab, vault: str) -> None:
    ensure(local_lab, vault, "stop-some", release_policy=release_policy(), key_size=2048)
    ensure(local_lab, vault, "stop-some", rotate=True)
    with local_lab.fault("status", service="keyvault", operation="key_update", code=400, times=1):
        partly = ensure(local_lab, vault, "stop-some", state="stopped")
    assert partly["failed"] and len(partly["facts"]["still_enabled"]) == len(partly["facts"]["disabled"]) == 1
    assert partly["changed"] is True
    rest = ensure(local_lab, vault, "stop-some", state="stopped")
    assert rest["stopped_versions"] == partly["facts"]["still_enabled"]


def test_an_oct_key_is_imported_from_bytes(local_lab: Lab, tmp_path: Path) -> None:
    refused = local_lab.module(
        "exportable_key", **local_lab.azure(), hsm_uri="https://hsm-any.managedhsm.azure.net", key_name="sym",
        key_type="oct-HSM", key_size=256, import_material=base64.b64encode(bytes(16)).decode(),
        release_policy=release_policy(),
    )  # fmt: skip
    assert (refused["reason"], refused["facts"]["option"]) == ("invalid_input", "key_size")
