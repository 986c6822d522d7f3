# SPDX-License-Identifier: GPL-3.0-or-later
"""Private attestation providers and their policies through the module, and releases under such an authority."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from integration.site import Site
from labkit import Lab

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import LOCATION, RESOURCE_GROUP

PERMIT = "version= 1.0;\nauthorizationrules\n{\n  => permit();\n};\nissuancerules\n{\n};\n"
DENY = "version= 1.0;\nauthorizationrules\n{\n};\nissuancerules\n{\n};\n"


def provider(lab: Lab, name: str, check: bool = False, **options: Any) -> dict[str, Any]:
    wanted = {"resource_group": RESOURCE_GROUP, "location": LOCATION, **options}
    return lab.module("attestation_provider", check=check, diff=True, **lab.azure(), name=name, **wanted)


def test_made_changed_and_deleted(local_lab: Lab) -> None:
    mark = local_lab.mark
    planned = provider(local_lab, "ours1", check=True, policies={"AzureGuest": PERMIT})
    assert planned["changed"] and local_lab.writes(mark) == []
    assert "permit" in planned["diff"]["after"]["policies"]["AzureGuest"]
    made = provider(local_lab, "ours1", policies={"AzureGuest": PERMIT}, tags={"n": 1})
    assert made["changed"] and made["authority"] == "https://ours1.weu.attest.azure.net", made
    assert [one["operation"] for one in local_lab.writes(mark)] == ["provider_put", "policy_put"]
    mark = local_lab.mark
    again = provider(local_lab, "ours1", policies={"AzureGuest": PERMIT.replace("\n", "\r\n") + "\r\n"}, tags={"n": 1})
    assert not again["changed"] and local_lab.writes(mark) == [] and again["policies"] == made["policies"]
    other = provider(local_lab, "ours1", check=True, policies={"AzureGuest": DENY, "SevSnpVm": PERMIT})
    assert other["changed"] and local_lab.writes(mark) == []
    assert provider(local_lab, "ours1", policies={"AzureGuest": DENY}, tags={})["changed"]
    reset = provider(local_lab, "ours1", policies={"AzureGuest": ""})
    assert reset["changed"] and "permit" in reset["diff"]["after"]["policies"]["AzureGuest"]
    mark = local_lab.mark
    assert not provider(local_lab, "ours1", policies={"AzureGuest": ""})["changed"] and local_lab.writes(mark) == []
    moved = provider(local_lab, "ours1", location="northeurope")
    assert (moved["reason"], moved["facts"]["option"]) == ("attestation_provider_fixed", "location")
    gone = provider(local_lab, "ours1", state="absent")
    assert gone["changed"], gone
    mark = local_lab.mark
    assert not provider(local_lab, "ours1", state="absent")["changed"] and local_lab.writes(mark) == []


def test_what_the_service_does_not_take_is_refused_and_told(local_lab: Lab) -> None:
    made = provider(local_lab, "ours2", policies={"AzureGuest": "permit everybody"})
    assert made["reason"] == "attestation_policy_refused" and "grammar" in made["msg"] and made["changed"] is True
    mark = local_lab.mark
    for options, option in (
        ({"policies": {"TdxVm": PERMIT}}, "policies"),
        ({"policy_signing_key": "/nowhere"}, "policy_signing_certificate"),
        ({"policy_signing_certificates": ["/nowhere"]}, "policy_signing_certificates"),
    ):
        refused = provider(local_lab, "ours2", **options)
        assert (refused["reason"], refused["facts"]["option"]) == ("invalid_input", option)
    assert provider(local_lab, "a-b")["facts"]["option"] == "name"
    assert local_lab.audit(mark) == []


@pytest.mark.parametrize("claim", [{"code": 200, "body": {"token": "x.y.z"}}, {"code": 200, "body": {}}])
def test_an_answer_that_is_not_signed_is_not_believed(local_lab: Lab, claim: dict[str, Any]) -> None:
    provider(local_lab, "ours3")
    with local_lab.fault("status", service="maa", operation="policy_put", **claim):
        refused = provider(local_lab, "ours3", policies={"AzureGuest": DENY})
    assert refused["reason"] in ("attestation_protocol", "token_signature"), refused


def signer(folder: Path) -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now.replace(year=2099))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "certificate.pem").write_bytes(certificate)
    return str(folder / "key.pem"), str(folder / "certificate.pem")


def test_an_isolated_provider_takes_signed_policies_alone(local_lab: Lab, tmp_path: Path) -> None:
    key, certificate = signer(tmp_path)
    signers = {"policy_signing_certificates": [certificate]}
    unsigned = provider(local_lab, "ours4", policies={"SevSnpVm": PERMIT}, **signers)
    assert unsigned["reason"] == "attestation_policy_unsigned" and unsigned["changed"] is True
    pair = {"policy_signing_key": key, "policy_signing_certificate": certificate}
    signed = provider(local_lab, "ours4", policies={"SevSnpVm": PERMIT}, **signers, **pair)
    assert signed["changed"] and signed["provider"]["trust_model"] == "Isolated", signed
    assert "PRIVATE" not in json.dumps(signed)
    (tmp_path / "other").mkdir()
    foreign = signer(tmp_path / "other")
    refused = provider(local_lab, "ours4", policies={"SevSnpVm": DENY}, policy_signing_key=foreign[0],
                       policy_signing_certificate=foreign[1])  # fmt: skip
    assert refused["reason"] == "attestation_policy_refused" and "signer" in refused["msg"]


def test_keys_are_released_under_a_private_authority_until_its_policy_denies(local_lab: Lab) -> None:
    made = provider(local_lab, "ours5", policies={"AzureGuest": PERMIT})
    policy = release_policy()
    policy["anyOf"][0]["authority"] = made["authority"]
    site = Site(local_lab, release_policy=policy)
    site.grant()
    done = site.release(attestation_url=made["authority"])
    assert done.get("public_key_sha256") == site.key["public_key_sha256"], done
    provider(local_lab, "ours5", policies={"AzureGuest": DENY})
    denied = site.release(attestation_url=made["authority"])
    assert denied["reason"] == "attestation_policy_denied", denied
