# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the simulated cloud: plain typed data, no behaviour of any service.

Every service reads and writes its own part; what two services must agree on lives here.
"""

from __future__ import annotations

import dataclasses
import random
import re
import typing as t
import uuid

from cryptography import x509

from . import clouds
from .audit import Audit
from .clock import Clock
from .faults import FaultTable


@dataclasses.dataclass(frozen=True)
class Federated:
    """A federated credential of an application: whose token it takes, about whom, made for whom."""

    issuer: str
    subject: str
    audience: str = "api://AzureADTokenExchange"


@dataclasses.dataclass
class Principal:
    """Somebody in the tenant: an application, a managed identity or a user."""

    object_id: str
    app_id: str  # of a user: the name, which services show in its place
    kind: str  # "application" | "managed_identity" | "user"
    name: str  # of a user: the principal name, such as jo@example.com
    secret: str | None = None  # of a user: the password
    resource_id: str | None = None  # managed identities: the ARM id in the token's xms_mirid
    created_at: float = 0.0
    visible_at: float = 0.0  # from when Azure RBAC knows it (PrincipalNotFound before)
    certificates: list[x509.Certificate] = dataclasses.field(default_factory=list)  # of an application
    federated: list[Federated] = dataclasses.field(default_factory=list)  # of an application
    public: bool = False  # an application that takes users' passwords without proving itself
    mfa: bool = False  # a user who must prove more than a password


@dataclasses.dataclass
class UserIdentity:
    """A user-assigned managed identity (an ARM resource)."""

    id: str
    name: str
    location: str
    principal_id: str
    client_id: str


@dataclasses.dataclass
class VirtualMachine:
    """A VM as ARM and IMDS know it. ``name`` is unique in the simulator and names it at the doors."""

    name: str
    subscription: str
    resource_group: str
    location: str
    vm_id: str  # lower-case GUID
    size: str = "Standard_DC2as_v5"
    security_type: str = "ConfidentialVM"
    secure_boot: bool = True
    debug: bool = False  # the debug bit of the SNP guest policy or of the TD's attributes
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    system_principal: str | None = None  # object id
    user_identities: list[str] = dataclasses.field(default_factory=list)  # ARM ids
    identity_visible_at: float = 0.0  # from when IMDS knows the identities
    provisioning_state: str = "Succeeded"
    power_state: str = "running"
    etag: str = '"1"'
    v_tpm: bool = True
    encryption: str | None = "VMGuestStateOnly"  # securityEncryptionType; None on VMs that are not confidential
    disk_encryption_set: str | None = None  # ARM id, for the OS disk's customer key
    zones: list[str] = dataclasses.field(default_factory=list)
    interfaces: list[str] = dataclasses.field(default_factory=list)  # ARM ids
    profile: dict[str, t.Any] = dataclasses.field(default_factory=dict)  # members of PUT that are only kept

    @property
    def tee(self) -> str | None:
        """``SNP`` or ``TDX``, as the size says; None on a VM that is not confidential."""
        if self.security_type != "ConfidentialVM":
            return None
        return "TDX" if re.match(r"standard_[de]c\d+e", self.size, re.IGNORECASE) else "SNP"

    @property
    def id(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Compute/virtualMachines/{self.name}"
        )


@dataclasses.dataclass
class ScaleSet:
    """A scale set of confidential VMs (Uniform): its instances have no identity of their own."""

    name: str
    subscription: str
    resource_group: str
    location: str
    size: str
    capacity: int
    upgrade_mode: str = "Manual"
    zones: list[str] = dataclasses.field(default_factory=list)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    system_principal: str | None = None
    user_identities: list[str] = dataclasses.field(default_factory=list)
    identity_visible_at: float = 0.0
    provisioning_state: str = "Succeeded"
    etag: str = '"1"'
    profile: dict[str, t.Any] = dataclasses.field(default_factory=dict)  # virtualMachineProfile as given
    latest: set[str] = dataclasses.field(default_factory=set)  # instance ids that have the latest model

    @property
    def id(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Compute/virtualMachineScaleSets/{self.name}"
        )


@dataclasses.dataclass
class AccessPolicy:
    tenant_id: str
    object_id: str
    permissions: dict[str, list[str]]  # keys, secrets, certificates, storage
    application_id: str | None = None
    effective: dict[str, float] = dataclasses.field(default_factory=dict)  # "keys/release" -> from when


@dataclasses.dataclass
class Vault:
    name: str
    subscription: str
    resource_group: str
    location: str
    tenant_id: str
    sku: str = "premium"  # "standard" | "premium"
    rbac: bool = False
    purge_protection: bool = False
    retention_days: int = 90
    public_network_access: str = "Enabled"
    network_acls: dict[str, t.Any] | None = None
    access_policies: list[AccessPolicy] = dataclasses.field(default_factory=list)
    removed_permissions: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)  # and when
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    provisioning_state: str = "Succeeded"
    created_at: float = 0.0
    deleted_at: float | None = None
    cloud: str = "AzureCloud"  # through which it was made, which gives it its host name
    private_endpoints: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)  # name -> id, status, text

    KIND: t.ClassVar[str] = "vaults"

    @property
    def id(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.KeyVault/{self.KIND}/{self.name}"
        )

    @property
    def host(self) -> str:
        """Its name on the data plane."""
        return f"{self.name.lower()}.{self.service}"

    @property
    def service(self) -> str:
        """The suffix of its host, and behind "https://" the audience of tokens for it."""
        return clouds.CLOUDS[self.cloud].vault

    @property
    def slot(self) -> str:
        """Its name in the tables of keys: an HSM may be called as a vault is."""
        return self.host if self.is_hsm else self.name.lower()

    @property
    def is_hsm(self) -> bool:
        return False


@dataclasses.dataclass
class LocalAssignment:
    """A role assignment of a managed HSM's own RBAC. ``scope`` is "/", "/keys" or "/keys/NAME"."""

    name: str  # GUID
    scope: str
    role_id: str
    principal_id: str


@dataclasses.dataclass
class ManagedHsm(Vault):
    """A managed HSM: a vault of its own kind, with its own roles, of no use before it is activated."""

    hsm_sku: str = "Standard_B1"
    administrators: tuple[str, ...] = ()
    activated: bool = False
    activation_polls: int | None = None  # looks left until the activation that is under way ends
    local_assignments: dict[str, LocalAssignment] = dataclasses.field(default_factory=dict)  # by name

    KIND: t.ClassVar[str] = "managedHSMs"

    @property
    def service(self) -> str:
        return clouds.CLOUDS[self.cloud].hsm

    @property
    def is_hsm(self) -> bool:
        return True


@dataclasses.dataclass
class AttestationProvider:
    """A private attestation provider. Without policy signers its trust model is AAD, with them it is Isolated."""

    name: str
    subscription: str
    resource_group: str
    location: str
    host: str  # lower case, as in attestUri
    signers: list[bytes] = dataclasses.field(default_factory=list)  # certificates (DER) that sign policies
    policies: dict[str, str] = dataclasses.field(default_factory=dict)  # attestation type -> JWS as uploaded
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    public_network_access: str = "Enabled"
    tpm_authentication: str = "Enabled"

    @property
    def id(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Attestation/attestationProviders/{self.name}"
        )


@dataclasses.dataclass
class RoleAssignment:
    name: str  # GUID
    scope: str  # as given, with leading slash
    role_id: str  # last segment of the definition id, lower case
    principal_id: str
    principal_type: str
    created_at: float
    effective_at: float  # from when data planes honour it
    description: str | None = None
    removed_at: float | None = None  # data planes may honour it for a while after

    @property
    def id(self) -> str:
        return f"{self.scope}/providers/Microsoft.Authorization/roleAssignments/{self.name}"


@dataclasses.dataclass
class KeyVersion:
    """One version of a key. ``private`` is a cryptography private key object, or the bytes of an oct key."""

    version: str
    kty: str  # "RSA-HSM", "EC-HSM", "oct-HSM", "RSA", "EC"
    private: t.Any
    key_ops: list[str]
    created: int
    updated: int
    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None
    tags: dict[str, str] = dataclasses.field(default_factory=dict)
    curve: str | None = None


@dataclasses.dataclass
class Key:
    """A key with its versions, oldest first. The release policy belongs to the key, not a version."""

    name: str
    vault: str
    versions: list[KeyVersion] = dataclasses.field(default_factory=list)
    exportable: bool = False
    release_policy: dict[str, t.Any] | None = None  # parsed policy as the vault stored it
    policy_content_type: str = "application/json; charset=utf-8"
    policy_immutable: bool = False
    rotation_policy: dict[str, t.Any] | None = None
    deleted_at: float | None = None


@dataclasses.dataclass
class Delays:
    """How long changes take to be honoured, in seconds; ``late`` overrides per principal object id."""

    role_effective: float = 0.0
    access_policy_effective: float = 0.0
    identity_visible: float = 0.0
    principal_visible: float = 0.0
    operation_polls: int = 1  # how often an asynchronous operation answers InProgress
    late: dict[str, float] = dataclasses.field(default_factory=dict)  # VM name or object id -> seconds
    lingering: dict[str, float] = dataclasses.field(default_factory=dict)  # the same, until a removal counts


@dataclasses.dataclass
class World:
    """Everything. One per simulator process; all randomness comes from ``rng``."""

    clock: Clock
    audit: Audit
    faults: FaultTable
    rng: random.Random
    tenant_id: str
    subscription_id: str
    delays: Delays = dataclasses.field(default_factory=Delays)
    throttling: bool = False  # whether Resource Manager, vaults and the metadata service count requests
    throttling_tells: bool = True  # whether a vault's 429 says when to come again
    limits: dict[str, int] = dataclasses.field(default_factory=dict)  # kind of key -> a vault's limit in the lab
    resource_groups: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)  # lower name
    principals: dict[str, Principal] = dataclasses.field(default_factory=dict)  # object id
    user_identities: dict[str, UserIdentity] = dataclasses.field(default_factory=dict)  # lower ARM id
    vms: dict[str, VirtualMachine] = dataclasses.field(default_factory=dict)  # name
    scale_sets: dict[str, ScaleSet] = dataclasses.field(default_factory=dict)  # lower ARM id
    resources: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)  # lower ARM id -> ARM document
    vaults: dict[str, Vault] = dataclasses.field(default_factory=dict)  # lower name, live
    deleted_vaults: dict[str, Vault] = dataclasses.field(default_factory=dict)
    hsms: dict[str, ManagedHsm] = dataclasses.field(default_factory=dict)  # lower name, live
    deleted_hsms: dict[str, ManagedHsm] = dataclasses.field(default_factory=dict)
    attestation_providers: dict[str, AttestationProvider] = dataclasses.field(default_factory=dict)  # lower ARM id
    role_assignments: dict[str, RoleAssignment] = dataclasses.field(default_factory=dict)  # lower id
    removed_assignments: list[RoleAssignment] = dataclasses.field(default_factory=list)
    keys: dict[tuple[str, str], Key] = dataclasses.field(default_factory=dict)  # (slot of the vault, key) lower
    deleted_keys: dict[tuple[str, str], Key] = dataclasses.field(default_factory=dict)
    # What another service registers for its peers: "entra" (token issuer), "fetch" (simulated network),
    # "platform" (the hardware side of every VM), "ca" (the lab's certificate authority).
    services: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def new(cls, seed: int = 1, audit: Audit | None = None) -> World:
        rng = random.Random(seed)
        return cls(
            clock=Clock(),
            audit=audit or Audit(),
            faults=FaultTable(random.Random(seed + 1)),
            rng=rng,
            tenant_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            subscription_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        )

    def guid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def hex(self, digits: int) -> str:
        return f"{self.rng.getrandbits(4 * digits):0{digits}x}"

    def new_managed_identity(self, name: str, resource_id: str) -> Principal:
        """Make the service principal of a managed identity; RBAC knows it after ``principal_visible``."""
        now = self.clock.now()
        principal = Principal(
            object_id=self.guid(),
            app_id=self.guid(),
            kind="managed_identity",
            name=name,
            resource_id=resource_id,
            created_at=now,
            visible_at=now + self.delays.principal_visible,
        )
        self.principals[principal.object_id] = principal
        return principal

    def grant_delay(self, principal_id: str, default: float) -> float:
        """Seconds until a grant for this principal is honoured (``late`` names object ids or VM names)."""
        return self._delay(self.delays.late, principal_id, default)

    def lingers(self, principal_id: str, removed_at: float | None) -> bool:
        """Whether a permission that was taken from this principal then is honoured still."""
        delay = self._delay(self.delays.lingering, principal_id, 0.0)
        return removed_at is not None and self.clock.now() < removed_at + delay

    def _delay(self, named: dict[str, float], principal_id: str, default: float) -> float:
        if principal_id in named:
            return named[principal_id]
        for vm in self.vms.values():
            if vm.system_principal == principal_id and vm.name in named:
                return named[vm.name]
        return default
