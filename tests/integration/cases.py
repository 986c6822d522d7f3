# SPDX-License-Identifier: GPL-3.0-or-later
"""Every state of every control-plane module as a case: what has to be there before, and the options of the call.

The matrix runs each in check mode, for real and again; the sweep breaks each of its requests in turn.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Callable
from typing import Any

from labkit import Lab

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import LOCATION, RESOURCE_GROUP

Options = dict[str, Any]
_numbers = itertools.count(1)
GROUP: Options = {"resource_group": RESOURCE_GROUP}
PLACE: Options = {**GROUP, "location": LOCATION}
CRYPTO_USER, CRYPTO_OFFICER = "21dbd100-6940-42c2-9190-5d6cb909625b", "515eb02d-2335-4d2d-92f2-b1cbdf9c3778"
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEHmTestTestTestTestTestTestTestTestTest"
ATTESTATION = "version= 1.0;authorizationrules{=> deny();};issuancerules{};"
PEM = (
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
    "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
    "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n-----END PRIVATE KEY-----\n"
)  # the example key of RFC 9500, section 2.3, for tests


@dataclasses.dataclass(frozen=True)
class Case:
    """``prepare`` makes what is needed under fresh names and returns the options of the call."""

    name: str
    module: str
    prepare: Callable[[Lab, str], Options]
    state: str = "present"
    sweep: bool = False

    def fresh(self, lab: Lab) -> Options:
        return {**self.prepare(lab, f"c{next(_numbers)}"), **({"state": self.state} if self.state != "present" else {})}


def done(lab: Lab, module: str, **options: Any) -> dict[str, Any]:
    result = lab.quick(module, **options)
    assert not result.get("failed"), (module, result)
    return result


# --- what is needed before


def fresh_vault(lab: Lab, tag: str) -> str:
    done(lab, "key_vault", name=f"kv-{tag}", **PLACE, enable_rbac_authorization=True)
    return f"https://kv-{tag}.vault.azure.net"


@functools.cache
def vault(lab: Lab, rbac: bool = True) -> str:
    """The name of a vault that many cases share; their keys and principals have names of their own."""
    name = f"kv-cases-{'rbac' if rbac else 'policy'}"
    done(lab, "key_vault", name=name, **PLACE, enable_rbac_authorization=rbac, key_managers=["self"])
    return name


def hsm(lab: Lab, tag: str) -> str:
    done(lab, "managed_hsm", name=f"hsm-{tag}", **PLACE, soft_delete_retention_days=7)
    return f"https://hsm-{tag}.managedhsm.azure.net"


@functools.cache
def active_hsm(lab: Lab) -> str:
    """One that many cases share, active and with the caller's roles."""
    uri = hsm(lab, "cases")
    lab.call("hsm_activate", name="hsm-cases")
    for role in (CRYPTO_USER, CRYPTO_OFFICER):
        lab.call("hsm_role", name="hsm-cases", role=role)
    return uri


def in_hsm(lab: Lab, tag: str) -> Options:
    return key_options(tag, hsm_uri=active_hsm(lab))


def key_options(tag: str, **place: Any) -> Options:
    return {**place, "key_name": f"app-{tag}", "key_type": "EC-HSM", "release_policy": release_policy()}


def in_vault(lab: Lab, tag: str) -> Options:
    return key_options(tag, vault_uri=f"https://{vault(lab)}.vault.azure.net")


def key(lab: Lab, tag: str) -> Options:
    options = in_vault(lab, tag)
    done(lab, "exportable_key", **options)
    return {name: value for name, value in options.items() if name != "release_policy"}


def machine(lab: Lab, tag: str) -> str:
    lab.call("resource", kind="vms", count=1, prefix=tag, group=RESOURCE_GROUP)
    return f"{tag}-0000"


def principals(lab: Lab, count: int = 2) -> list[str]:
    """Object ids of as many managed identities."""
    found: list[str] = lab.call("principals", count=count)
    return found


def granted(lab: Lab, **grant: Any) -> Options:
    options = {**grant, "principals": principals(lab)}
    done(lab, "release_access", **options)
    return options


def vault_grant(lab: Lab, rbac: bool) -> Options:
    return {"vault_name": vault(lab, rbac), **GROUP}


def revoked(lab: Lab, tag: str, **place: Any) -> Options:
    """A VM whose identity holds the permission."""
    name = machine(lab, tag)
    made = done(lab, "cvm_identity", vms=[name], **GROUP)
    done(lab, "release_access", **place, principals=[made["vms"][0]["principal_id"]])
    return {**place, "key_name": "app", "vms": [name], "vm_resource_group": RESOURCE_GROUP}


# --- the options of each call


def _vault_deleted(lab: Lab, tag: str) -> Options:
    fresh_vault(lab, tag)
    lab.call("vault_delete", name=f"kv-{tag}")
    return {"name": f"kv-{tag}", **PLACE, "enable_rbac_authorization": True}


def _identity(lab: Lab, tag: str) -> Options:
    return {"vms": [machine(lab, tag)], **GROUP}


def _identity_taken(lab: Lab, tag: str) -> Options:
    options = _identity(lab, tag)
    done(lab, "cvm_identity", **options)
    return options


def _user_identity(lab: Lab, tag: str) -> Options:
    return {"vms": [machine(lab, tag)], **PLACE, "user_assigned": [f"id-{tag}"], "system_assigned": True}


def _cvm(lab: Lab, tag: str) -> Options:
    return {"name": f"vm-{tag}", **PLACE, "ssh_public_keys": [SSH]}


def _cvm_there(lab: Lab, tag: str) -> Options:
    options = _cvm(lab, tag)
    done(lab, "cvm", **options)
    return options


def _scale_set(lab: Lab, tag: str) -> Options:
    return {**_cvm(lab, tag), "name": f"set-{tag}", "capacity": 2}


def _scale_set_there(lab: Lab, tag: str) -> Options:
    options = _scale_set(lab, tag)
    done(lab, "cvm_scale_set", **options)
    return options


@functools.cache
def disk_key(lab: Lab) -> Options:
    """A key in a vault with purge protection, for disks."""
    made = done(lab, "key_vault", name="kv-cases-disk", **PLACE, purge_protection=True)
    found = done(lab, "exportable_key", **key_options("disk", vault_uri=made["vault_uri"]))
    return {"key_url": found["kid"], "vault_id": made["vault"]["id"]}


def _disk(lab: Lab, tag: str) -> Options:
    return {"name": f"des-{tag}", **PLACE, **disk_key(lab)}


def _disk_there(lab: Lab, tag: str) -> Options:
    options = _disk(lab, tag)
    done(lab, "disk_encryption_set", **options)
    return {"name": options["name"], **GROUP}


def _activation(lab: Lab, tag: str) -> Options:
    hsm(lab, tag)
    folder = tempfile.mkdtemp(prefix="domain-", dir=lab.directory)
    certificates = lab.quorum()
    return {
        "name": f"hsm-{tag}", **GROUP, "security_domain_file": f"{folder}/domain.json",
        "security_domain_certificates": certificates,
    }  # fmt: skip


def _key_deleted(lab: Lab, tag: str) -> Options:
    options = key(lab, tag)
    done(lab, "exportable_key", **options, state="absent")
    return {**options, "release_policy": release_policy()}


def _provider_there(lab: Lab, tag: str) -> Options:
    options = {"name": f"att{tag}", **PLACE}
    done(lab, "attestation_provider", **options)
    return options


CASES = [
    Case("vault", "key_vault", lambda lab, tag: {"name": f"kv-{tag}", **PLACE, "tags": {"n": 1}}, sweep=True),
    Case("vault_rules", "key_vault", lambda lab, tag: fresh_vault(lab, tag) and {
        "name": f"kv-{tag}", **PLACE, "network_acls": {"default_action": "deny"}, "purge_protection": True}),
    Case("vault_recovered", "key_vault", lambda lab, tag: {**_vault_deleted(lab, tag), "deleted_action": "recover"}),
    Case("vault_purged", "key_vault", lambda lab, tag: {**_vault_deleted(lab, tag), "deleted_action": "purge"}),
    Case("hsm", "managed_hsm", lambda lab, tag: {"name": f"hsm-{tag}", **PLACE}, sweep=True),
    Case("hsm_absent", "managed_hsm", lambda lab, tag: hsm(lab, tag) and {"name": f"hsm-{tag}", **PLACE}, "absent"),
    Case("hsm_purged", "managed_hsm", lambda lab, tag: hsm(lab, tag) and {"name": f"hsm-{tag}", **PLACE}, "purged"),
    Case("activation", "managed_hsm_activation", _activation, sweep=True),
    Case("cvm", "cvm", _cvm, sweep=True),
    Case("cvm_absent", "cvm", _cvm_there, "absent"),
    Case("scale_set", "cvm_scale_set", _scale_set, sweep=True),
    Case("scale_set_changed", "cvm_scale_set", lambda lab, tag: {**_scale_set_there(lab, tag), "capacity": 3}),
    Case("scale_set_absent", "cvm_scale_set", _scale_set_there, "absent"),
    Case("identity", "cvm_identity", _identity, sweep=True),
    Case("user_identity", "cvm_identity", _user_identity),
    Case("identity_absent", "cvm_identity", _identity_taken, "absent"),
    Case("disk", "disk_encryption_set", _disk, sweep=True),
    Case("disk_absent", "disk_encryption_set", _disk_there, "absent"),
    Case("grant_policy", "release_access", lambda lab, tag: {
        **vault_grant(lab, False), "principals": principals(lab)}, sweep=True),
    Case("grant_role", "release_access", lambda lab, tag: {
        **vault_grant(lab, True), "principals": principals(lab)}, sweep=True),
    Case("grant_local", "release_access", lambda lab, tag: {
        "hsm_uri": active_hsm(lab), "principals": principals(lab, 1)}, sweep=True),
    Case("grant_exclusive", "release_access", lambda lab, tag: {
        **granted(lab, **vault_grant(lab, True)), "principals": principals(lab, 1), "exclusive": True}),
    Case("revoke_policy", "release_access", lambda lab, tag: granted(lab, **vault_grant(lab, False)), "absent"),
    Case("revoke_role", "release_access", lambda lab, tag: granted(lab, **vault_grant(lab, True)), "absent"),
    Case("revoke_local", "release_access", lambda lab, tag: granted(lab, hsm_uri=active_hsm(lab)), "absent"),
    Case("revoke_everyone", "release_access", lambda lab, tag: {
        **granted(lab, **vault_grant(lab, True)), "principals": [], "everyone": True}, "absent"),
    Case("revocation_policy", "release_revocation", lambda lab, tag: revoked(lab, tag, **vault_grant(lab, False)),
         sweep=True),
    Case("revocation_role", "release_revocation", lambda lab, tag: revoked(lab, tag, **vault_grant(lab, True)),
         sweep=True),
    Case("revocation_local", "release_revocation", lambda lab, tag: revoked(lab, tag, hsm_uri=active_hsm(lab)),
         sweep=True),
    Case("key", "exportable_key", in_vault, sweep=True),
    Case("key_hsm", "exportable_key", in_hsm),
    Case("key_import", "exportable_key", lambda lab, tag: {
        **in_vault(lab, tag), "import_material": PEM}),
    Case("key_changed", "exportable_key", lambda lab, tag: {
        **key(lab, tag), "tags": {"n": 1}, "enabled": False, "rotation_policy": {"rotate_after_create": "P90D"}}),
    Case("key_recovered", "exportable_key", lambda lab, tag: {**_key_deleted(lab, tag), "deleted_action": "recover"}),
    Case("key_anew", "exportable_key", lambda lab, tag: {**_key_deleted(lab, tag), "deleted_action": "purge"}),
    Case("key_stopped", "exportable_key", key, "stopped"),
    Case("key_absent", "exportable_key", key, "absent"),
    Case("key_purged", "exportable_key", key, "purged"),
    Case("provider", "attestation_provider", lambda lab, tag: {
        "name": f"att{tag}", **PLACE, "policies": {"SevSnpVm": ATTESTATION}}, sweep=True),
    Case("provider_absent", "attestation_provider", _provider_there, "absent"),
]  # fmt: skip
# Modules that only read: they change nothing, whatever is there.
READERS: list[tuple[str, Callable[[Lab, str], Options]]] = [
    ("cvm_info", lambda lab, tag: {"resource_groups": [RESOURCE_GROUP]}),
    ("exportable_key_info", lambda lab, tag: {"vault_uri": key(lab, tag)["vault_uri"], "deleted": True}),
    ("release_access_info", lambda lab, tag: vault_grant(lab, True)),
    ("attestation_provider_info", lambda lab, tag: {"location": LOCATION, "refresh": True}),
]
