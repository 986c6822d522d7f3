# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attestation of this VM: one pass from the TPM to validated claims, with the TPM kept open for what follows."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ..policy.failure import SkrFailure
from . import collateral, jwt, maa
from . import imds as imds_room
from .cache import Cache
from .evidence import EVENT_LOG, Evidence, b64, b64u, collect
from .http import Http
from .tpm2 import Tpm, open_tpm

NONCE_NAME = "nonce"


@dataclasses.dataclass(frozen=True)
class Guest:
    """How this VM reaches its TPM, its metadata service and the network; the options every guest module has."""

    attestation_url: str
    tpm_device: str = "/dev/tpmrm0"
    tpm_timeout: float = 15.0
    imds_endpoint: str = imds_room.ENDPOINT
    https_proxy: t.Optional[str] = None
    ca_path: t.Optional[str] = None
    report_roots_path: t.Optional[str] = None
    event_log_path: str = EVENT_LOG
    cache_dir: t.Optional[str] = "/run/azure-skr"

    def extra_roots(self) -> str:
        """PEM text of roots to accept for hardware reports besides AMD's."""
        if not self.report_roots_path:
            return ""
        try:
            with open(self.report_roots_path, encoding="ascii") as stream:
                return stream.read()
        except (OSError, UnicodeDecodeError) as error:
            raise SkrFailure(
                "invalid_input",
                f"report_roots_path is {self.report_roots_path!r}, wanted a readable PEM file.",
                {"option": "report_roots_path"},
            ) from error


@dataclasses.dataclass
class Attestation:
    """A validated guest token with the evidence it was given for. The token never leaves the guest code."""

    token: str
    claims: t.Dict[str, t.Any]
    evidence: Evidence
    authority: str


@dataclasses.dataclass
class Session:
    """One open TPM and the two HTTP clients; counts what is spent."""

    guest: Guest
    tpm: Tpm
    http: Http
    imds: imds_room.Imds

    def counts(self) -> t.Dict[str, int]:
        return {
            "http_requests": self.http.count + self.imds.count,
            "tpm_commands": self.tpm.commands,
            "device_opens": self.tpm.opens,
            "create_primary": self.tpm.created,
        }

    def attest(
        self, payload: t.Optional[t.Mapping[str, str]] = None, user_data: t.Optional[bytes] = None
    ) -> Attestation:
        """Collect evidence, have it attested, open and validate the token. Raises SkrFailure.

        ``payload`` is the caller's client payload (text values); a nonce is added where it has none. When the PCRs move
        meanwhile, all is done once more with their new values.
        """
        for name, value in (payload or {}).items():
            if not isinstance(value, str):
                raise SkrFailure(
                    "invalid_input",
                    f"client_payload.{name} is of type {type(value).__name__}, wanted text.",
                    {"option": "client_payload"},
                )
        try:
            return self._attest(payload, user_data)
        except SkrFailure as error:
            if error.reason != "pcr_changed":
                raise
        return self._attest(payload, user_data)

    def _attest(self, payload: t.Optional[t.Mapping[str, str]], user_data: t.Optional[bytes]) -> Attestation:
        authority = maa.authority(self.guest.attestation_url)
        wanted = {NONCE_NAME: b64u(os.urandom(24)), **(payload or {})}
        evidence = collect(
            self.tpm,
            collateral.Chain(self.imds.vcek_chain, Cache(self.guest.cache_dir)),
            self.guest.extra_roots(),
            user_data,
            event_log_path=self.guest.event_log_path,
        )
        try:
            token = maa.attest(self.http, authority, evidence, wanted)
            keys = jwt.Authority(self.http, authority, self.guest.cache_dir)
            nonce = b64(wanted[NONCE_NAME].encode())
            claims = jwt.validate(token, keys, authority, nonce, evidence.modulus)
        except SkrFailure:
            self.drop(evidence)
            raise
        return Attestation(token, claims, evidence, authority)

    def drop(self, evidence: Evidence) -> None:
        """Remove the ephemeral key from the TPM before another attempt makes a new one."""
        self.tpm.flush(evidence.key_handle)


@contextlib.contextmanager
def session(guest: Guest) -> t.Iterator[Session]:
    """Open the TPM once for a whole job. Options are checked before it is opened. Raises SkrFailure."""
    maa.authority(guest.attestation_url)
    guest.extra_roots()
    http, imds = clients(guest)
    with open_tpm(guest.tpm_device, guest.tpm_timeout) as tpm:
        try:
            yield Session(guest, tpm, http, imds)
        finally:
            imds.give_up()


def clients(guest: Guest) -> t.Tuple[Http, imds_room.Imds]:
    """The client for services and the one for the metadata service, which never uses a proxy."""
    return Http(guest.ca_path, guest.https_proxy), imds_room.Imds(
        Http(local=True, timeout=(5.0, 30.0)), guest.imds_endpoint
    )


def info(guest: Guest, payload: t.Optional[t.Mapping[str, str]]) -> t.Dict[str, t.Any]:
    """What module ``attestation_info`` returns: validated claims and public facts, never the token."""
    with session(guest) as job:
        attestation = job.attest(payload)
        claims = attestation.claims
        tee = claims.get("x-ms-isolation-tee")
        tee = tee if isinstance(tee, dict) else {}
        return {
            "changed": False,
            "validated": True,
            "authority": attestation.authority,
            "claims": claims,
            "tee_type": tee.get("x-ms-attestation-type"),
            "compliance_status": tee.get("x-ms-compliance-status"),
            "secure_boot": claims.get("secureboot"),
            "issued_at": claims.get("iat"),
            "expires_at": claims.get("exp"),
            "evidence": attestation.evidence.facts(),
            "counts": job.counts(),
        }
