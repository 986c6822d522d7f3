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
import warnings

from ..policy.failure import SkrFailure, SkrWarning
from . import akcert, akcert_renewal, collateral, jwt, maa, tee
from . import imds as imds_room
from .cache import Cache
from .evidence import EVENT_LOG, PCRS, Evidence, check_pcrs, collect
from .http import Http
from .tpm2 import Tpm, open_tpm
from .verifier import NONCE_NAME, VERIFIERS


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
    require_tee: str = "any"
    pcrs: t.Sequence[int] = PCRS
    renew_ak_certificate: str = "never"

    def check(self) -> None:
        """Refuse what cannot work before anything is opened. Raises SkrFailure ``invalid_input``."""
        maa.authority(self.attestation_url)
        self.extra_roots()
        for option, known in (("require_tee", tee.REQUIRE), ("renew_ak_certificate", akcert_renewal.WHEN)):
            if getattr(self, option) not in known:
                raise SkrFailure(
                    "invalid_input",
                    f"{option} is {getattr(self, option)!r}, wanted one of {', '.join(known)}.",
                    {"option": option},
                )
        if check_pcrs(self.pcrs) != PCRS:
            _warn("pcrs is not 0 to 7: Azure's attestation service is known to refuse other sets on Linux.")

    def extra_roots(self) -> str:
        """PEM text of roots to accept for hardware reports besides AMD's."""
        return read_pem("report_roots_path", self.report_roots_path)


@dataclasses.dataclass
class Attestation:
    """A validated guest token with the evidence it was given for. The token never leaves the guest code."""

    token: str
    claims: t.Dict[str, t.Any]
    evidence: Evidence
    authority: str
    signing_key: t.Optional[t.Dict[str, t.Any]] = None  # kid and x5c (base64 DER), by which the token was checked


@dataclasses.dataclass
class Session:
    """One open TPM and the two HTTP clients; counts what is spent."""

    guest: Guest
    tpm: Tpm
    http: Http
    imds: imds_room.Imds
    renewed: t.Optional[akcert.AkCertificate] = None  # once for all attestations of a job

    def counts(self) -> t.Dict[str, int]:
        return {
            "http_requests": self.http.count + self.imds.count,
            "tpm_commands": self.tpm.commands,
            "device_opens": self.tpm.opens,
            "create_primary": self.tpm.created,
        }

    def attest(
        self,
        payload: t.Optional[t.Mapping[str, str]] = None,
        user_data: t.Optional[bytes] = None,
        attestation_type: str = "guest",
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
            return self._attest(payload, user_data, attestation_type)
        except SkrFailure as error:
            if error.reason != "pcr_changed":
                raise
        return self._attest(payload, user_data, attestation_type)

    def _attest(
        self, payload: t.Optional[t.Mapping[str, str]], user_data: t.Optional[bytes], attestation_type: str
    ) -> Attestation:
        authority = maa.authority(self.guest.attestation_url)
        verifier = VERIFIERS[attestation_type]()
        wanted = {NONCE_NAME: tee.b64u(os.urandom(24)), **(payload or {})}
        evidence = collect(
            self.tpm,
            collateral.Chain(self.imds.vcek_chain, Cache(self.guest.cache_dir)),
            self.guest.extra_roots(),
            user_data,
            self.guest.pcrs,
            event_log_path=self.guest.event_log_path,
            fetch_quote=self.imds.td_quote,
            require=self.guest.require_tee,
            renew=self._renewed if self.guest.renew_ak_certificate == "when_due" else None,
        )
        try:
            token = verifier.attest(self.http, authority, evidence, wanted)
            keys = jwt.Authority(self.http, authority, self.guest.cache_dir)
            claims = verifier.validate(token, keys, authority, evidence, wanted)
        except SkrFailure:
            self.drop(evidence)
            raise
        return Attestation(token, claims, evidence, authority, keys.used)

    def _renewed(self, certificate: akcert.AkCertificate) -> akcert.AkCertificate:
        """A newer AK certificate where renewal is due. That it cannot be had is no failure: the old one may still do."""
        if not certificate.renewal_due:
            return certificate
        if self.renewed is not None:
            return self.renewed
        try:
            new, stored = akcert_renewal.renew(self.tpm, self.imds, certificate)
        except SkrFailure as error:
            _warn(f"The AK certificate was not renewed: {error.message}")
            return certificate
        self.renewed = new
        if not stored:
            _warn(
                "The AK certificate was renewed for this attestation only: the TPM lets none but the platform store it."
            )
        return new

    def drop(self, evidence: Evidence) -> None:
        """Remove the ephemeral key from the TPM before another attempt makes a new one."""
        self.tpm.flush(evidence.key_handle)


@contextlib.contextmanager
def session(guest: Guest) -> t.Iterator[Session]:
    """Open the TPM once for a whole job. Options are checked before it is opened. Raises SkrFailure."""
    guest.check()
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


def info(
    guest: Guest,
    payload: t.Optional[t.Mapping[str, str]],
    nonce: t.Optional[str] = None,
    user_data: t.Optional[str] = None,
    attestation_type: str = "guest",
) -> t.Dict[str, t.Any]:
    """What module ``attestation_info`` returns: validated claims and public facts, never the token."""
    written = user_data_bytes(user_data)
    if nonce is not None:
        payload = {**(payload or {}), NONCE_NAME: nonce}
    with session(guest) as job:
        attestation = job.attest(payload, written, attestation_type)
        claims = attestation.claims
        isolation = claims.get("x-ms-isolation-tee") if attestation_type == "guest" else claims
        isolation = isolation if isinstance(isolation, dict) else {}
        return {
            "changed": False,
            "validated": True,
            "authority": attestation.authority,
            "attestation_type": attestation_type,
            "claims": claims,
            "tee_type": isolation.get("x-ms-attestation-type"),
            "compliance_status": isolation.get("x-ms-compliance-status"),
            "secure_boot": claims.get("secureboot"),
            "issued_at": claims.get("iat"),
            "expires_at": claims.get("exp"),
            "evidence": attestation.evidence.facts(),
            "counts": job.counts(),
        }


def user_data_bytes(text: t.Optional[str], option: str = "user_data") -> t.Optional[bytes]:
    """The 64 bytes of an option in hex, filled up with zeros. Raises SkrFailure ``invalid_input``."""
    data = hex_option(option, text, 64)
    return None if data is None else data.ljust(64, b"\0")


def hex_option(option: str, text: t.Optional[str], most: int) -> t.Optional[bytes]:
    """An option's bytes. Raises SkrFailure ``invalid_input``."""
    if text is None:
        return None
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if not 1 <= len(data) <= most:
        raise SkrFailure("invalid_input", f"{option} is {text!r}, wanted 1 to {most} bytes in hex.", {"option": option})
    return data


def read_pem(option: str, path: t.Optional[str]) -> str:
    """The text of an option's PEM file; nothing without one. Raises SkrFailure ``invalid_input``."""
    if not path:
        return ""
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SkrFailure(
            "invalid_input", f"{option} is {path!r}, wanted a readable PEM file.", {"option": option}
        ) from error


def _warn(text: str) -> None:
    warnings.warn(SkrWarning(text), stacklevel=2)
