# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence of one release try: what was asked, what this VM proved, what was decided and why; never a secret.

A record is one JSON file. It keeps the attestation token, because only the token's signature lets somebody else check
the claims later. The token is no credential: a vault wraps a key to the ephemeral key that the token names, and none but
this TPM can make or use that, until the VM's next boot. It is kept as flattened JSON (RFC 7515, 7.2.2) all the same, so
that no tool takes it for a bearer token. Beside it stands the public certificate by which it was checked.

That a record cannot be written is a warning and never costs the release: evidence must not be able to keep a machine down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t
import warnings

from ..policy.failure import SkrFailure, SkrWarning

if t.TYPE_CHECKING:
    from .attest import Attestation, Guest
    from .jws import Answer
    from .preflight import Known
    from .release import Wanted

SCHEMA = "azure-skr/evidence-record/1"
DEFAULT_FOLDER = "/var/lib/azure-skr/evidence"
KEEP = 100  # records of each outcome: an hour of failures must not push out the evidence of releases
RELEASED, REFUSED, FAILED = "released", "refused", "failed"
# Somebody decided against this VM, in distinction to what did not work.
REFUSALS = frozenset(
    {
        "policy_not_met", "authority_mismatch", "permission_missing", "vault_firewall", "key_disabled", "key_not_exportable",
        "key_expired", "key_not_yet_valid", "attestation_refused", "attestation_policy_denied", "attestation_not_verified",
        "vault_token_rejected", "not_a_cvm", "tee_mismatch",
    }
)  # fmt: skip
# Somebody may have tried something: a VM that may not have the key asked for it, or an answer was not the vault's.
SECURITY = frozenset(
    {
        "policy_not_met", "response_signature_invalid", "response_chain_untrusted", "response_key_mismatch",
        "response_nonce_mismatch", "wrap_algorithm_mismatch", "token_signature", "token_issuer", "token_nonce", "token_binding",
    }
)  # fmt: skip
_ELSEWHERE = ("trace", "failing", "near_misses", "satisfied", "authorities", "security_event")  # in the record already
Record = t.Dict[str, t.Any]


@dataclasses.dataclass
class Notes:
    """What a release has come to know; the steps write it down, and the record is made of it at the end."""

    started: float = dataclasses.field(default_factory=time.time)
    attested: t.Optional[float] = None
    answered: t.Optional[float] = None
    attestation: t.Optional[Attestation] = None
    known: t.Optional[Known] = None
    answer: t.Optional[Answer] = None
    request_id: t.Optional[str] = None
    result: t.Optional[t.Dict[str, t.Any]] = None

    def attests(self, attestation: Attestation) -> None:
        self.attestation, self.attested = attestation, time.time()

    def heard(self, request_id: t.Optional[str]) -> None:
        """The vault answered, whatever it said; the id is its own for this request."""
        self.request_id, self.answered = request_id or None, time.time()


@contextlib.contextmanager
def kept(guest: Guest, wanted: Wanted) -> t.Iterator[Notes]:
    """Notes of a try that become its record at the end, be it a success or not; without a folder nothing is kept."""
    notes = Notes()
    try:
        yield notes
    except Exception as error:
        if wanted.evidence_dir:
            failure = error if isinstance(error, SkrFailure) else _unforeseen(error)
            complaint = _write(wanted.evidence_dir, guest, wanted, notes, failure)
            if complaint:
                warnings.warn(SkrWarning(complaint), stacklevel=2)
        raise
    if wanted.evidence_dir and notes.result is not None:
        complaint = _write(wanted.evidence_dir, guest, wanted, notes, None)
        if complaint:
            notes.result["warnings"] = [*notes.result["warnings"], complaint]


def _unforeseen(error: Exception) -> SkrFailure:
    if isinstance(error, ImportError):
        return SkrFailure("library_missing", f"The Python package {error.name or 'unknown'} is not installed.")
    return SkrFailure("internal_error", f"Unforeseen {type(error).__name__}.")


def _write(folder: str, guest: Guest, wanted: Wanted, notes: Notes, failure: t.Optional[SkrFailure]) -> t.Optional[str]:
    """Make and keep the record; returns a complaint where that cannot be done."""
    try:
        record = make(guest, wanted, notes, failure)
        keep(folder, record)
    except OSError as error:
        return f"No evidence of this release was kept: evidence_dir is {folder!r}, wanted a folder to write in: {error.strerror}."
    except Exception as error:  # nothing that goes wrong here may cost the key
        return f"No evidence of this release was kept: unforeseen {type(error).__name__}."
    return None


def make(guest: Guest, wanted: Wanted, notes: Notes, failure: t.Optional[SkrFailure]) -> Record:
    """The record of a try that has ended; members that nobody came to know are None."""
    from ..policy import about
    from .akcert import iso

    ended = time.time()
    result = notes.result or {}
    facts = dict(failure.facts) if failure else {}
    claims = notes.attestation.claims if notes.attestation else {}
    times = {"started": notes.started, "attested": notes.attested, "answered": notes.answered, "ended": ended}
    return {
        "schema": SCHEMA,
        "id": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(notes.started)) + f"-{os.urandom(3).hex()}",
        "times": {name: None if at is None else iso(at) for name, at in times.items()},
        "duration_s": round(ended - notes.started, 3),
        "host": {"name": _host_name(), "vm_id": _vm_id(claims)},
        "tool": {"collection": about.COLLECTION, "version": about.VERSION, "door": wanted.door},
        "request": _request(guest, wanted),
        "outcome": RELEASED if failure is None else REFUSED if failure.reason in REFUSALS else FAILED,
        "reason": failure.reason if failure else RELEASED,
        "message": failure.message if failure else None,
        "next_step": failure.next_step if failure else None,
        "facts": {name: value for name, value in facts.items() if name not in _ELSEWHERE},
        "security_event": bool(failure and (failure.reason in SECURITY or facts.get("security_event"))),
        "key": _key(notes, result),
        "request_id": notes.request_id,
        "policy": _policy(notes),
        "attestation": _attestation(notes.attestation),
        "evidence": {"secure_boot": claims.get("secureboot"), **notes.attestation.evidence.facts()}
        if notes.attestation
        else None,
        "delivered": result.get("delivered") or result.get("secrets"),
        "changed": result.get("changed", failure.changed if failure else False),
        "counts": result.get("counts"),
        "warnings": list(result.get("warnings", ())),
    }


def _request(guest: Guest, wanted: Wanted) -> Record:
    source = wanted.identity
    named = {name: getattr(source, name, None) for name in ("client_id", "object_id", "resource_id", "tenant")}
    return {
        "vault_uri": wanted.vault_uri,
        "hsm_uri": wanted.hsm_uri,
        "key_name": wanted.key_name,
        "key_version": wanted.key_version,
        "attestation_url": guest.attestation_url,
        "wrap_algorithm": wanted.wrap_algorithm,
        "deliver_to": wanted.target.deliver_to,
        "dest": wanted.target.dest,
        "identity": {
            "kind": "application" if hasattr(source, "tenant") else "managed",
            **{name: value for name, value in named.items() if value},
        },
    }


def _key(notes: Notes, result: t.Mapping[str, t.Any]) -> t.Optional[Record]:
    """The key that the vault released, also where it was refused or lost afterwards."""
    if notes.answer is None:
        return None
    return {
        "kid": notes.answer.kid,
        "version": notes.answer.kid.rpartition("/")[2],
        "type": notes.answer.jwk.get("kty"),
        "public_key_sha256": result.get("public_key_sha256"),
        "attributes": notes.answer.attributes,
    }


def _policy(notes: Notes) -> t.Optional[Record]:
    """The policy that this VM knew, with the decision on every condition (by the same words at the gate and here)."""
    from ..policy import canonical, evaluate

    known = notes.known
    if known is None or (known.policy is None and known.source is None):
        return None
    found: Record = dict.fromkeys(("sha256", "document", "satisfied", "trace", "failing"))
    found["source"] = known.source
    if known.policy is not None:
        found.update(sha256=canonical.digest(known.policy), document=canonical.as_dict(known.policy))
        if notes.attestation is not None:
            # Over the canonical document, whose positions the trace names.
            from ..policy import model

            verdict = evaluate.evaluate(model.parse(found["document"]), notes.attestation.claims).as_dict()
            found.update({name: verdict[name] for name in ("satisfied", "trace", "failing")})
    return found


def _attestation(attestation: t.Optional[Attestation]) -> t.Optional[Record]:
    if attestation is None:
        return None
    parts = attestation.token.split(".")
    token = dict(zip(("protected", "payload", "signature"), parts)) if len(parts) == 3 else None
    return {
        "authority": attestation.authority,
        "token": token,
        "signing_key": attestation.signing_key,
        "claims": attestation.claims,
    }


def _vm_id(claims: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """As the hardware's report names it, else as the verifier does."""
    from ..policy import near, vocabulary

    index = near.Index(claims)
    for path in (vocabulary.VM_UNIQUE_ID, vocabulary.VM_ID):
        found = index.lookup(path)
        if isinstance(found, str):
            return found
    return None


def _host_name() -> str:
    import socket

    return socket.gethostname()


def keep(folder: str, record: t.Mapping[str, t.Any]) -> str:
    """Write a record by atomic replacement, for root alone, and remove the oldest beyond :data:`KEEP`. Raises OSError.

    Returns its path, ``FOLDER/ID.OUTCOME.json``.
    """
    import json
    import tempfile

    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, f"{record['id']}.{record['outcome']}.json")
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=folder)  # of mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            # Not json.dump, which leaves the encoder that is written in C unused.
            stream.write(json.dumps(record, separators=(",", ":"), sort_keys=True) + "\n")
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    for old in names(folder, str(record["outcome"]))[:-KEEP]:
        with contextlib.suppress(OSError):  # another instance may have removed it
            os.unlink(os.path.join(folder, old))
    return path


def names(folder: str, outcome: t.Optional[str] = None) -> t.List[str]:
    """Names of the records in a folder, oldest first; of one outcome or of all. Raises OSError."""
    end = f".{outcome}.json" if outcome else ".json"
    return sorted(name for name in os.listdir(folder) if name.endswith(end) and name[:1].isdigit())
