# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as a VM keeps them, made by the guest's own code around a token that a throw-away authority signed."""

from __future__ import annotations

import copy
import json
import time
import typing as t

from unit.guest import release_fakes as fakes

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import bundle
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import (
    attest,
    jws,
    preflight,
    record,
    release,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

NOW = 1_795_600_000.0
CREATED = "2026-11-25T12:00:00Z"
KID = "authority-key"
HOSTS = [{"host": "web-01", "reachable": True, "reason": None, "status": {"app": {"state": "ok"}}}]
KEYS = [
    {
        "kid": fakes.KID,
        "key_name": "app",
        "vault_uri": fakes.VAULT,
        "versions": [{"version": fakes.VERSION, "enabled": True}],
    }
]


class Evidence:
    """Stands for the evidence of an attestation."""

    def facts(self) -> t.Dict[str, t.Any]:
        return {"tee": "snp", "ak_cert_days_left": 300}


def policy(**wanted: t.Any) -> t.Dict[str, t.Any]:
    """Asks for secure boot, and for more by claim."""
    rows = {"secureboot": True, **wanted}
    conditions = [{"claim": name, "equals": value} for name, value in rows.items()]
    return {"version": "1.0.0", "anyOf": [{"authority": fakes.ISSUER, "allOf": conditions}]}


def token(claims: t.Dict[str, t.Any], key: str = "authority") -> str:
    return fakes.sign({"alg": "RS256", "kid": KID, "typ": "JWT"}, claims, fakes.rsa_key(key))


def key_set(key: str = "authority") -> t.Dict[str, t.Any]:
    return fakes.key_set(**{KID: fakes.rsa_key(key)})


def made(failure: t.Optional[SkrFailure] = None, wanted_policy: t.Any = None, **notes: t.Any) -> t.Dict[str, t.Any]:
    """A record of a release, or of a try that failed so."""
    claims = fakes.guest_claims("nonce", NOW)
    entry = key_set()["keys"][0]
    known = preflight.Known(model.parse(wanted_policy or policy()), "given")
    attestation = attest.Attestation(
        token(claims), claims, t.cast(t.Any, Evidence()), fakes.ISSUER, {"kid": KID, "x5c": entry["x5c"]}
    )
    answer = None if failure else jws.Answer(fakes.KID, {"kty": "RSA-HSM"}, {"enabled": True}, b"")
    result = None if failure else {
        "delivered": {"deliver_to": "file", "dest": "/run/app.pem"}, "changed": True, "counts": {"http_requests": 3},
        "public_key_sha256": "ab" * 32, "warnings": [],
    }  # fmt: skip
    given: t.Dict[str, t.Any] = {
        "started": NOW, "attested": NOW + 1, "answered": NOW + 2, "attestation": attestation, "known": known, "answer": answer,
        "request_id": "request-1", "result": result, **notes,
    }  # fmt: skip
    wanted = release.Wanted(fakes.VAULT, "app", evidence_dir="/nowhere")
    return copy.deepcopy(record.make(attest.Guest(fakes.ISSUER), wanted, record.Notes(**given), failure))


def refused() -> t.Dict[str, t.Any]:
    """Of a VM without secure boot wanted otherwise: the policy is not met."""
    wanted = policy(secureboot=False)
    verdict = preflight.evaluate.evaluate(model.parse(wanted), fakes.guest_claims("nonce", NOW))
    return made(preflight.not_met(verdict, fakes.ISSUER, {"preflight": True}), wanted)


def octets(found: t.Any) -> bytes:
    return (json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n").encode()


def files(*records: t.Dict[str, t.Any], hosts: t.Any = None, keys: t.Any = None) -> t.Dict[str, bytes]:
    control = {"keys": KEYS if keys is None else keys, "access": [], "vms": []}
    contents = {"web-01": [octets(one) for one in records or (made(), refused())]}
    return bundle.assemble(
        contents, HOSTS if hosts is None else hosts, control, {"web-01": 'azure_skr_attempts{name="app"} 1\n'}
    )


def packed(*records: t.Dict[str, t.Any], **how: t.Any) -> bytes:
    return bundle.pack(files(*records, **how), CREATED)


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
