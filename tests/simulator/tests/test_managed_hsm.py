# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed HSM from its creation to a released key, through Microsoft's unmodified clients."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import typing as t
import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.keyvault.administration import KeyVaultAccessControlClient
from azure.keyvault.keys import KeyClient, KeyReleasePolicy
from azure.keyvault.securitydomain import SecurityDomainClient
from azure.mgmt.keyvault import KeyVaultManagementClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from vault_caller import POLICY, VaultLab

from skrsim.core.app import App
from skrsim.core.running import Running
from skrsim.core.world import ManagedHsm, Principal, World
from skrsim.services.arm import seed

pytestmark = pytest.mark.usefixtures("clean_environment")
GROUP, NAME, URI = "rg-test", "hsm-test", "https://hsm-test.managedhsm.azure.net"
CANONICAL = json.dumps({"version": "1.0.0", "anyOf": POLICY["anyOf"]}).encode()
CRYPTO_USER, RELEASE_USER = "21dbd100-6940-42c2-9190-5d6cb909625b", "21dbd100-6940-42c2-9190-5d6cb909625c"
DEFINITION = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/"


def certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "quorum")])
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now.replace(year=2099))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


KEYS = [rsa.generate_private_key(65537, 2048) for _index in range(3)]


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key: rsa.RSAPrivateKey) -> dict[str, t.Any]:
    der, numbers = certificate(key), key.public_key().public_numbers()
    return {
        "kid": b64u(hashlib.sha256(der).digest()),
        "kty": "RSA",
        "key_ops": ["verify", "encrypt", "wrapKey"],
        "n": b64u(numbers.n.to_bytes(256, "big")),
        "e": b64u(numbers.e.to_bytes(3, "big")),
        "x5c": [base64.b64encode(der).decode()],
        "use": "enc",
        "x5t": b64u(hashlib.sha1(der).digest()),
        "x5t#S256": b64u(hashlib.sha256(der).digest()),
        "alg": "RSA-OAEP-256",
    }


class Site:
    def __init__(self, world: World, running: Running, operator: Principal) -> None:
        self.world, self.running, self.operator = world, running, operator
        door = {"proxies": {"https": running.proxy_url()}, "connection_verify": str(running.bundle)}
        self.credential = ClientSecretCredential(
            world.tenant_id, operator.app_id, str(operator.secret), disable_instance_discovery=True, **door
        )
        self.door = door
        self.arm = KeyVaultManagementClient(self.credential, world.subscription_id, **door).managed_hsms
        self.keys = KeyClient(URI, self.credential, **door)
        self.roles = KeyVaultAccessControlClient(URI, self.credential, **door)
        self.domain = SecurityDomainClient(URI, self.credential, **door)

    def body(self, **properties: t.Any) -> dict[str, t.Any]:
        wanted = {
            "tenantId": self.world.tenant_id,
            "initialAdminObjectIds": [self.operator.object_id],
            "softDeleteRetentionInDays": 7,
            **properties,
        }
        return {"location": "westeurope", "sku": {"family": "B", "name": "Standard_B1"}, "properties": wanted}

    def create(self, **properties: t.Any) -> t.Any:
        poller = self.arm.begin_create_or_update(GROUP, NAME, self.body(**properties), polling_interval=0)
        return poller.result()

    def activate(self) -> t.Any:
        body = {"certificates": [jwk(key) for key in KEYS], "required": 2}
        return self.domain.begin_download(body, polling_interval=0).result()

    def allow(self, role: str, scope: str = "/") -> t.Any:
        return self.roles.create_role_assignment(scope, DEFINITION + role, self.operator.object_id)


@pytest.fixture
def site(app: App, running: Running, world: World, operator: Principal) -> Site:
    return Site(world, running, operator)


def test_creation_takes_time_and_the_hsm_is_not_active(site: Site) -> None:
    made = site.create()
    assert made.properties.provisioning_state == "Succeeded"
    assert made.properties.security_domain_properties.activation_status == "NotActivated"
    assert made.properties.hsm_uri == URI + "/"
    polls = [r for r in site.world.audit.records(service="arm") if r["operation"] in ("operation_status", "hsm_get")]
    assert len(polls) >= 2
    with pytest.raises(HttpResponseError, match="not activated"):
        site.keys.get_key("app")
    with pytest.raises(HttpResponseError, match="not activated"):
        site.allow(CRYPTO_USER)


def test_activation_gives_the_blob_once_asked_and_makes_the_hsm_usable(site: Site) -> None:
    site.create()
    blob = json.loads(site.activate().value)
    assert len(blob["SharedKeys"]["enc_shares"]) == 3 and blob["SharedKeys"]["required"] == 2
    assert site.arm.get(GROUP, NAME).properties.security_domain_properties.activation_status == "Active"
    with pytest.raises(HttpResponseError) as refused:  # the administrator has roles, and no keys
        site.keys.create_rsa_key("app", hardware_protected=True)
    assert refused.value.status_code == 403
    assert site.world.audit.records()[-1]["clause"] == "hsm.local_rbac"
    site.allow(CRYPTO_USER)
    assert site.keys.create_rsa_key("app", hardware_protected=True).key.e == b"\x01\x00\x01"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body["certificates"].pop(), "from 3 to 10"),
        (lambda body: body.update(required=1), "quorum"),
        (lambda body: body.update(required=4), "quorum"),
        (lambda body: body["certificates"].__setitem__(1, body["certificates"][0]), "different"),
        (lambda body: body["certificates"][0].update(n="AQAB"), "'n' does not belong"),
        (lambda body: body["certificates"][0].update({"x5t#S256": "AAAA"}), "thumbprint"),
        (lambda body: body.update(more=1), "members"),
    ],
)
def test_a_wrong_quorum_is_refused(site: Site, change: t.Callable[[dict[str, t.Any]], None], message: str) -> None:
    site.create()
    body: dict[str, t.Any] = {"certificates": [jwk(key) for key in KEYS], "required": 2}
    change(body)
    with pytest.raises(HttpResponseError, match=message):
        site.domain.begin_download(body, polling_interval=0).result()
    assert not site.world.hsms[NAME].activated


def active(site: Site) -> ManagedHsm:
    site.create()
    site.activate()
    site.allow(CRYPTO_USER)
    return site.world.hsms[NAME]


def test_local_roles_at_key_scope(site: Site) -> None:
    hsm = active(site)
    name = uuid.uuid4()
    other = seed.application(site.world, "other", "x", ())
    made = site.roles.create_role_assignment("/keys/app", DEFINITION + RELEASE_USER, other.object_id, name=name)
    assert made.properties.scope == "/keys/app"
    again = site.roles.create_role_assignment("/keys/app", DEFINITION + RELEASE_USER, other.object_id, name=name)
    assert again.role_assignment_id == made.role_assignment_id
    with pytest.raises(ResourceExistsError):
        site.roles.create_role_assignment("/keys/app", DEFINITION + RELEASE_USER, other.object_id)
    assert [
        one.name for one in site.roles.list_role_assignments("/keys/app") if one.properties.scope == "/keys/app"
    ] == [str(name)]
    assert {d.role_name for d in site.roles.list_role_definitions("/")} >= {"Managed HSM Crypto Service Release User"}
    site.roles.delete_role_assignment("/keys/app", str(name))
    assert str(name) not in hsm.local_assignments
    site.roles.delete_role_assignment("/keys/app", str(name))  # the client takes 404 for done


def test_the_last_administrator_stays(site: Site) -> None:
    hsm = active(site)
    (first,) = [one for one in hsm.local_assignments.values() if one.role_id.startswith("a290e904")]
    with pytest.raises(HttpResponseError, match="last administrator"):
        site.roles.delete_role_assignment("/", first.name)


def test_the_policy_must_begin_with_its_version_and_keeps_its_booleans(site: Site) -> None:
    active(site)
    unordered = json.dumps({"anyOf": POLICY["anyOf"], "version": "1.0.0"}).encode()
    for text in (unordered, CANONICAL.replace(b"{", b"{\r\n", 1)):
        with pytest.raises(HttpResponseError, match="missing 'version' property"):
            site.keys.create_rsa_key(
                "app", hardware_protected=True, exportable=True, release_policy=KeyReleasePolicy(text)
            )
    made = site.keys.create_rsa_key(
        "app", hardware_protected=True, exportable=True, release_policy=KeyReleasePolicy(CANONICAL)
    )
    stored = json.loads(made.properties.release_policy.encoded_policy)
    assert stored["anyOf"][0]["allOf"][2]["equals"] is False
    assert list(stored) == sorted(stored)


def test_oct_keys_and_their_attestation(site: Site) -> None:
    active(site)
    made = site.keys.create_oct_key(
        "sym", size=256, hardware_protected=True, exportable=True, release_policy=KeyReleasePolicy(CANONICAL)
    )
    assert str(made.key_type.value) == "oct-HSM" and made.key.k is None
    shown = site.keys.get_key_attestation("sym")
    assert shown.properties.attestation.certificate_pem_file.startswith(b"-----BEGIN CERTIFICATE-----")
    with pytest.raises(HttpResponseError, match="not supported by this managed HSM"):
        site.keys.create_rsa_key("soft")


def test_purging_a_key_needs_the_crypto_officer(site: Site) -> None:
    active(site)
    site.keys.create_rsa_key("app", hardware_protected=True)
    site.keys.begin_delete_key("app", _polling_interval=0).wait()
    with pytest.raises(HttpResponseError) as refused:
        site.keys.purge_deleted_key("app")
    assert refused.value.status_code == 403
    site.allow("515eb02d-2335-4d2d-92f2-b1cbdf9c3778")
    site.keys.purge_deleted_key("app")
    with pytest.raises(ResourceNotFoundError):
        site.keys.get_deleted_key("app")


def test_deletion_recovery_and_purge(site: Site) -> None:
    active(site)
    site.keys.create_rsa_key("app", hardware_protected=True)
    site.arm.begin_delete(GROUP, NAME, polling_interval=0).wait()
    (gone,) = site.arm.list_deleted()
    assert gone.properties.mhsm_id.endswith("/managedHSMs/hsm-test")
    with pytest.raises(ResourceExistsError, match="deleted state"):
        site.create()
    site.create(createMode="recover")
    assert site.keys.get_key("app").name == "app"
    site.arm.begin_delete(GROUP, NAME, polling_interval=0).wait()
    site.arm.begin_purge_deleted(NAME, "westeurope", polling_interval=0).wait()
    assert not site.world.deleted_hsms
    assert site.create().properties.security_domain_properties.activation_status == "NotActivated"


def test_a_vault_and_an_hsm_of_one_name_keep_their_keys_apart(site: Site, app: App) -> None:
    active(site)
    lab = VaultLab(app)
    lab.world.vaults[NAME] = lab.world.vaults["v"]
    site.keys.create_rsa_key("app", hardware_protected=True)
    assert (f"{NAME}.managedhsm.azure.net", "app") in site.world.keys
    assert (NAME, "app") not in site.world.keys


def test_unchangeable_members(site: Site) -> None:
    site.create(enablePurgeProtection=True)
    for body, message in (
        (site.body(initialAdminObjectIds=[str(uuid.uuid4())]), "initialAdminObjectIds"),
        (site.body(enablePurgeProtection=False), "cannot be set to false"),
        ({**site.body(), "sku": {"family": "B", "name": "Custom_B32"}}, "SKU"),
    ):
        with pytest.raises(HttpResponseError, match=message):
            site.arm.begin_create_or_update(GROUP, NAME, body, polling_interval=0).result()
