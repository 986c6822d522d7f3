# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a vault: create, import, read, update, rotate, delete, recover, purge."""

from __future__ import annotations

import asyncio
import base64
import os
import typing as t

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ...core.messages import Response
from ...core.world import Key, KeyVersion
from . import bundle, hsm_policy, policy
from .call import Call
from .errors import bad, key_not_found, refuse, skr

OPS = {"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey", "import", "export"}
CREATE = ("kty", "key_size", "public_exponent", "key_ops", "attributes", "tags", "crv", "release_policy")
IMPORT = ("Hsm", "key", "attributes", "tags", "release_policy")
UPDATE = ("key_ops", "attributes", "tags", "release_policy")
ATTRIBUTES = (
    "enabled",
    "nbf",
    "exp",
    "exportable",
    "created",
    "updated",
    "recoveryLevel",
    "recoverableDays",
    "hsmPlatform",
    "attestation",
)
ROTATION = ("id", "lifetimeActions", "attributes")
POLICY = ("contentType", "data", "immutable")
JWK = ("kid", "kty", "key_ops", "n", "e", "d", "dp", "dq", "qi", "p", "q", "k", "key_hsm", "crv", "x", "y")
SIZES, OCT_SIZES = (2048, 3072, 4096), (128, 192, 256)
_DEFAULT_OPS = {
    "RSA": ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
    "EC": ["sign", "verify"],
    "oct": ["encrypt", "decrypt", "wrapKey", "unwrapKey"],
}


def known(document: t.Any, members: t.Container[str]) -> dict[str, t.Any]:
    if not isinstance(document, dict):
        raise bad("The request body must be a JSON object.")
    for name in document:
        if name not in members:
            raise bad(f"Unknown member '{name}' in the request body.")
    return document


def _attributes(body: dict[str, t.Any]) -> dict[str, t.Any]:
    """Attributes and tags of a body, checked for their types; returns the attributes."""
    found = known(body.get("attributes") or {}, ATTRIBUTES)
    for name, value in found.items():
        wanted = bool if name in ("enabled", "exportable") else int if name in ("nbf", "exp") else object
        if value is not None and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
            raise bad(f"The attribute '{name}' is not valid.")
    tags = body.get("tags") or {}
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise bad("The property 'tags' must be an object of texts.")
    return found


def version_of(call: Call, key: Key, version: str) -> KeyVersion:
    if not version:
        return key.versions[-1]
    for found in key.versions:
        if found.version == version.lower():
            return found
    raise key_not_found(f"{key.name}/{version}")


async def create(call: Call) -> Response:
    name = call.key_name()
    body = known(call.body(), CREATE)
    kty = str(body.get("kty"))
    _kind(call, kty)
    wanted = _exportable(call, body, kty)
    _existing(call, name, wanted)
    material, curve = await _generate(body, kty)
    return _store(call, name, wanted, body, kty, curve, material)


async def import_(call: Call) -> Response:
    name = call.key_name()
    body = known(call.body(), IMPORT)
    jwk = known(body.get("key"), JWK)
    hsm = bool(body.get("Hsm")) or str(jwk.get("kty", "")).endswith("-HSM")
    kty = str(jwk.get("kty", "")).removesuffix("-HSM") + ("-HSM" if hsm else "")
    _kind(call, kty)
    wanted = _exportable(call, body, kty)
    _existing(call, name, wanted)
    try:
        material = await asyncio.to_thread(_from_jwk, jwk)
    except (KeyError, ValueError, TypeError):
        raise bad("The key material cannot be imported.") from None
    if kty.startswith("RSA") and material.key_size not in SIZES:
        raise bad(f"The key size {material.key_size} is not supported.")
    if "key_ops" in jwk:
        body = {**body, "key_ops": jwk["key_ops"]}
    return _store(call, name, wanted, body, kty, jwk.get("crv"), material)


def _kind(call: Call, kty: str) -> None:
    """What kinds of key there are: a managed HSM has those of an HSM alone, and oct keys besides."""
    hsm = call.vault.is_hsm
    kinds = ("RSA-HSM", "EC-HSM", "oct-HSM") if hsm else ("RSA", "RSA-HSM", "EC", "EC-HSM")
    if kty not in kinds:
        raise bad(f"The key type '{kty}' is not supported by this {'managed HSM' if hsm else 'vault'}.")
    if kty.endswith("-HSM") and call.vault.sku != "premium":
        raise (
            bad("HSM protected keys are not supported by vaults of the standard SKU.")
            if not call.exportable_asked()
            else skr(1001)
        )


def _exportable(call: Call, body: dict[str, t.Any], kty: str) -> tuple[bool, dict[str, t.Any] | None]:
    """Whether an exportable key is wanted, and the release policy member; all rules checked."""
    attributes = _attributes(body)
    exportable, member = bool(attributes.get("exportable")), body.get("release_policy")
    if exportable and (call.vault.sku != "premium" or not call.version_at_least("7.3")):
        raise skr(1001)
    if exportable and not kty.endswith("-HSM"):
        raise skr(1006)
    if exportable and not member:
        raise skr(1004)
    if member and not exportable:
        raise skr(1005)
    return exportable, known(member, POLICY) if member else None


def _not_deleted(call: Call, name: str) -> None:
    if call.slot(name) in call.world.deleted_keys:
        raise refuse(
            409,
            "Conflict",
            f"Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only "
            "be recovered or purged.",
            "ObjectIsDeletedButRecoverable",
        )


def _existing(call: Call, name: str, wanted: tuple[bool, dict[str, t.Any] | None]) -> Key | None:
    """The key that gets another version, if the name is in use and may be."""
    _not_deleted(call, name)
    key = call.world.keys.get(call.slot(name))
    _compatible(call, key, wanted)
    return key


def _compatible(call: Call, key: Key | None, wanted: tuple[bool, dict[str, t.Any] | None]) -> None:
    if key is None:
        return
    exportable, member = wanted
    if key.exportable != exportable:
        raise skr(1003)
    if member and key.policy_immutable and _stored(call, member) != key.release_policy:
        raise skr(1020)


def _stored(call: Call, member: dict[str, t.Any]) -> dict[str, t.Any]:
    """The policy as this service keeps it."""
    read = hsm_policy.stored_form if call.vault.is_hsm else policy.stored_form
    return read(str(member.get("data")))


async def _generate(body: dict[str, t.Any], kty: str) -> tuple[t.Any, str | None]:
    if kty.startswith("RSA"):
        size = body.get("key_size", 2048)
        if size not in SIZES:
            raise bad(f"The key size {size} is not supported.")
        return await asyncio.to_thread(rsa.generate_private_key, 65537, size), None
    if kty.startswith("oct"):
        size = body.get("key_size", 256)
        if size not in OCT_SIZES:
            raise bad(f"The key size {size} is not supported.")
        return os.urandom(size // 8), None
    curve = str(body.get("crv") or "P-256")
    if curve not in bundle.CURVES:
        raise bad(f"The curve '{curve}' is not supported.")
    return ec.generate_private_key(bundle.CURVES[curve]()), curve


def _from_jwk(jwk: dict[str, t.Any]) -> t.Any:
    def number(name: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=" * (-len(jwk[name]) % 4)), "big")

    if str(jwk["kty"]).startswith("oct"):
        material = base64.urlsafe_b64decode(jwk["k"] + "=" * (-len(jwk["k"]) % 4))
        if 8 * len(material) not in OCT_SIZES:
            raise ValueError("size")
        return material
    if str(jwk["kty"]).startswith("RSA"):
        public = rsa.RSAPublicNumbers(number("e"), number("n"))
        p, q, d, dp, dq, qi = (number(name) for name in ("p", "q", "d", "dp", "dq", "qi"))
        return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key()
    curve = bundle.CURVES[jwk["crv"]]()
    return ec.EllipticCurvePrivateNumbers(
        number("d"), ec.EllipticCurvePublicNumbers(number("x"), number("y"), curve)
    ).private_key()


def _store(
    call: Call,
    name: str,
    wanted: tuple[bool, dict[str, t.Any] | None],
    body: dict[str, t.Any],
    kty: str,
    curve: str | None,
    material: t.Any,
) -> Response:
    exportable, member = wanted
    operations = _operations(body) or _DEFAULT_OPS[kty.removesuffix("-HSM")]
    # Somebody else may have made the key while the material was made.
    key = _existing(call, name, wanted)
    stored = _stored(call, member) if member else None
    if key is None:
        key = Key(name, call.vault.slot, exportable=exportable)
    if stored is not None:
        _set_policy(key, t.cast(dict[str, t.Any], member), stored)
    now = int(call.now)
    version = KeyVersion(call.world.hex(32), kty, material, operations, now, now, curve=curve)
    _set_attributes(version, body)
    key.versions.append(version)
    call.world.keys[call.slot(name)] = key
    return Response.of(bundle.whole(call.vault, key, version), write=True)


def _operations(body: dict[str, t.Any]) -> list[str]:
    found = body.get("key_ops") or []
    if not isinstance(found, list) or not all(isinstance(name, str) and name in OPS for name in found):
        raise bad(f"The key operations {found!r} are not valid.")
    return list(found)


def _set_policy(key: Key, member: dict[str, t.Any], stored: dict[str, t.Any]) -> None:
    key.release_policy = stored
    key.policy_content_type = str(member.get("contentType") or "application/json; charset=utf-8")
    key.policy_immutable = bool(member.get("immutable")) or key.policy_immutable


def _set_attributes(version: KeyVersion, body: dict[str, t.Any]) -> None:
    attributes = body.get("attributes") or {}
    for name in ("enabled", "nbf", "exp"):
        if attributes.get(name) is not None:
            setattr(version, name, attributes[name])
    if body.get("tags") is not None:
        version.tags = dict(body["tags"])


async def get(call: Call) -> Response:
    key = call.key()
    return Response.of(bundle.whole(call.vault, key, version_of(call, key, call.version)))


async def attestation(call: Call) -> Response:
    """A managed HSM's statement on a key: certificate chain and signed claims. Vaults have none."""
    key = call.key()
    version = version_of(call, key, call.version)
    if not call.vault.is_hsm:
        raise refuse(404, "NotFound", "Key attestation is offered by managed HSMs only.")
    ca = call.world.services["ca"]
    found = bundle.whole(call.vault, key, version)
    claims = f"SIMULATED attestation of {bundle.kid(call.vault, key, version)}".encode()
    found["attributes"]["attestation"] = {
        "certificatePemFile": bundle.b64u(ca.ca_pem),
        "privateKeyAttestation": bundle.b64u(claims),
        "publicKeyAttestation": bundle.b64u(claims),
        "version": "1.0",
    }
    return Response.of(found)


async def versions(call: Call) -> Response:
    key = call.key()
    # The service promises no order; newest last would be too kind.
    shown = sorted(key.versions, key=lambda version: version.version)
    return call.page([bundle.item(call.vault, key, version, True) for version in shown])


async def list_(call: Call) -> Response:
    mine = [key for (slot, _name), key in sorted(call.world.keys.items()) if slot == call.vault.slot]
    return call.page([bundle.item(call.vault, key, key.versions[-1], False) for key in mine])


async def update(call: Call) -> Response:
    key = call.key()
    version = version_of(call, key, call.version)
    body = known(call.body(), UPDATE)
    attributes = _attributes(body)
    if "exportable" in attributes and bool(attributes["exportable"]) != key.exportable:
        raise skr(1003)
    stored = None
    if body.get("release_policy"):
        if call.version:
            raise skr(1016)
        if not key.exportable:
            raise skr(1005)
        member = known(body["release_policy"], POLICY)
        stored = _stored(call, member)
        if key.policy_immutable and stored != key.release_policy:
            raise skr(1020)
    operations = _operations(body)
    if stored is not None:
        _set_policy(key, body["release_policy"], stored)
    if body.get("key_ops") is not None:
        version.key_ops = operations
    _set_attributes(version, body)
    version.updated = int(call.now)
    return Response.of(bundle.whole(call.vault, key, version), write=True)


async def rotate(call: Call) -> Response:
    key = call.key()
    last = key.versions[-1]
    size: dict[str, t.Any] = {"crv": last.curve}
    if not last.kty.startswith("EC"):
        bits = 8 * len(last.private) if isinstance(last.private, bytes) else last.private.key_size
        size = {"key_size": bits}
    material, curve = await _generate(size, last.kty)
    now = int(call.now)
    version = KeyVersion(
        call.world.hex(32),
        last.kty,
        material,
        list(last.key_ops),
        now,
        now,
        True,
        last.nbf,
        last.exp,
        dict(last.tags),
        curve,
    )
    key.versions.append(version)
    return Response.of(bundle.whole(call.vault, key, version), write=True)


async def rotation_policy(call: Call) -> Response:
    key = call.key()
    if call.request.method == "PUT":
        key.rotation_policy = _rotation(known(call.body(), ROTATION))
        return Response.of(
            {"id": f"{bundle.base_url(call.vault)}/keys/{key.name}/rotationpolicy", **key.rotation_policy}, write=True
        )
    default = {
        "lifetimeActions": [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}],
        "attributes": {},
    }
    return Response.of(
        {"id": f"{bundle.base_url(call.vault)}/keys/{key.name}/rotationpolicy", **(key.rotation_policy or default)}
    )


def _rotation(document: dict[str, t.Any]) -> dict[str, t.Any]:
    """A rotation policy, checked down to its leaves."""
    known(document.get("attributes") or {}, ("expiryTime", "created", "updated"))
    actions = document.get("lifetimeActions") or []
    if not isinstance(actions, list):
        raise bad("The property 'lifetimeActions' must be a list.")
    for entry in actions:
        known(entry, ("trigger", "action"))
        trigger = known(entry.get("trigger"), ("timeAfterCreate", "timeBeforeExpiry"))
        kind = known(entry.get("action"), ("type",)).get("type")
        if len(trigger) != 1 or str(kind).lower() not in ("rotate", "notify"):
            raise bad("A lifetime action has one trigger, and the action 'Rotate' or 'Notify'.")
    return document


# --- deletion


def _deleted_document(call: Call, key: Key) -> dict[str, t.Any]:
    return {**bundle.whole(call.vault, key, key.versions[-1]), **_deletion(call, key)}


def _deletion(call: Call, key: Key) -> dict[str, t.Any]:
    at = int(key.deleted_at or 0)
    return {
        "recoveryId": f"{bundle.base_url(call.vault)}/deletedkeys/{key.name}",
        "deletedDate": at,
        "scheduledPurgeDate": at + 86400 * call.vault.retention_days,
    }


async def delete(call: Call) -> Response:
    key = call.key()
    key.deleted_at = call.now
    call.world.deleted_keys[call.slot(key.name)] = call.world.keys.pop(call.slot(key.name))
    return Response.of(_deleted_document(call, key), write=True)


def _deleted(call: Call) -> Key:
    key = call.world.deleted_keys.get(call.slot(call.name))
    if key is None:
        raise key_not_found(call.name)
    return key


async def deleted_get(call: Call) -> Response:
    return Response.of(_deleted_document(call, _deleted(call)))


async def deleted_list(call: Call) -> Response:
    mine = [key for (slot, _name), key in sorted(call.world.deleted_keys.items()) if slot == call.vault.slot]
    return call.page([bundle.item(call.vault, key, key.versions[-1], False) | _deletion(call, key) for key in mine])


async def recover(call: Call) -> Response:
    key = _deleted(call)
    key.deleted_at = None
    call.world.keys[call.slot(key.name)] = call.world.deleted_keys.pop(call.slot(key.name))
    return Response.of(bundle.whole(call.vault, key, key.versions[-1]), write=True)


async def purge(call: Call) -> Response:
    key = _deleted(call)
    if call.vault.purge_protection:
        raise refuse(
            403,
            "Forbidden",
            'Operation "purge" is not allowed because purge protection is enabled for this vault.',
            "ForbiddenByPolicy",
        )
    del call.world.deleted_keys[call.slot(key.name)]
    return Response(204, audit={"write": True})
