# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This VM's own evidence, read and verified here: what the module hardware_report_info does.

Nothing is made in the TPM and nobody is asked to vouch for the VM. What cannot be had, such as certificates that the host
does not give, is told in the list of checks instead of ending it.
"""

from __future__ import annotations

import time
import typing as t

from ..policy.failure import SkrFailure
from . import attest, collateral, der, evidence, hcl, hcl_index, tee
from .cache import Cache
from .evidence import certificate_content, read_event_log
from .tee import b64
from .tpm2 import Tpm, open_tpm, templates
from .verify import Material, Run, TpmQuote, Wanted, verify

# What is wrong with the VM or its TPM rather than with its evidence.
_FINAL = ("invalid_input", "ak_missing", "library_missing")


def info(guest: attest.Guest, wanted: Wanted, include_evidence: bool = False) -> t.Dict[str, t.Any]:
    """The module's result. Raises SkrFailure where the TPM cannot be used."""
    pcrs = evidence.check_pcrs(guest.pcrs)
    roots = wanted.roots_pem
    _http, imds = attest.clients(guest)
    with open_tpm(guest.tpm_device, guest.tpm_timeout) as tpm:
        source = _Source(tpm, collateral.Chain(imds.vcek_chain, Cache(guest.cache_dir)), imds.td_quote, roots)
        material = source.material(wanted, pcrs, guest.event_log_path)
        commands = tpm.commands
    run = verify(material, wanted, time.time())
    _trusted_launch(run)
    result = run.result()
    result["evidence"].setdefault("isolation", _ISOLATION.get(str(result["evidence"].get("tee")), None))
    result.update(changed=False, counts={"tpm_commands": commands, "http_requests": imds.count})
    result["text"] = run.text()
    if include_evidence:
        result["document"] = document(material)
    return result


_ISOLATION = {"snp": "SevSnp", "tdx": "Tdx", "none": "TrustedLaunch"}


def _trusted_launch(run: Run) -> None:
    if run.material.hcl_report is not None:
        return
    run.facts.update(tee.TrustedLaunch().facts())
    run.skip("hardware", "hardware vouches for this VM", "it is a Trusted Launch VM: the host can read its memory")


class _Source:
    """One opening of the TPM, and what the host gives; remembers the last of it, verified or not."""

    def __init__(
        self,
        tpm: Tpm,
        fetch_chain: t.Callable[[], str],
        fetch_quote: t.Callable[[bytes], bytes],
        roots_pem: str,
    ) -> None:
        self._tpm, self._roots = tpm, roots_pem
        self._fetch_chain, self._fetch_quote = fetch_chain, fetch_quote
        self._found = Material()

    def material(self, wanted: Wanted, pcrs: t.Sequence[int], log_path: str) -> Material:
        found = self._found
        index = self._tpm.nv_read_public(templates.NV_HCL_REPORT)
        _area, ak = evidence.attestation_key(self._tpm)
        found.ak_modulus = ak.modulus
        if index is not None:
            self._hardware(index.size, ak.modulus, wanted.user_data)
        try:
            found.ak_certificate = certificate_content(self._tpm)
        except SkrFailure as error:
            if not error.reason.startswith("ak_cert_"):
                raise
            found.missing["ak_certificate"] = error
        found.tpm_quote = self._quote(pcrs, wanted.quote_nonce or b"")
        log = read_event_log(log_path)
        found.event_log = log or None
        return found

    def _hardware(self, size: int, ak_modulus: int, user_data: t.Optional[bytes]) -> None:
        """The report with what endorses it. Where they do not verify, they are taken all the same, to be told of."""

        def read() -> hcl.HclReport:
            report = hcl_index.read(self._tpm, size, ak_modulus, user_data)
            self._found.hcl_report = report.raw
            return report

        try:
            tee.endorse(read, self, self._quote_of, self._roots, "any")
        except SkrFailure as error:
            if error.reason in _FINAL or error.reason.startswith("tpm_"):
                raise
        if self._found.hcl_report is None:
            self._found.hcl_report = self._tpm.nv_read(templates.NV_HCL_REPORT, size)

    @property
    def kept(self) -> bool:
        return bool(getattr(self._fetch_chain, "kept", False))

    def __call__(self) -> str:
        """The chain, as ``tee.endorse`` fetches it."""
        try:
            text = self._fetch_chain()
            self._found.certificates = der.pem_certificates(text)
        except SkrFailure as error:
            self._found.missing["certificates"] = error
            raise
        except ValueError:
            self._found.certificates = [text.encode("ascii", "replace")]
        return text

    def _quote_of(self, report: bytes) -> bytes:
        try:
            self._found.td_quote = self._fetch_quote(report)
        except SkrFailure as error:
            self._found.missing["td_quote"] = error
            raise
        return self._found.td_quote

    def _quote(self, pcrs: t.Sequence[int], nonce: bytes) -> TpmQuote:
        """PCR values and a quote of them; again where they moved in between, which the checks would tell otherwise."""
        for _attempt in range(3):
            values = self._tpm.pcr_read(pcrs)
            quoted = self._tpm.quote(templates.AK_HANDLE, pcrs, nonce)
            if templates.pcr_digest(values) in quoted.data:
                break
        return TpmQuote(quoted.data, quoted.signature, dict(zip(pcrs, values)))


def document(material: Material) -> t.Dict[str, t.Any]:
    """All of it as a document that ``azure-skr verify --evidence`` takes on any machine. Nothing in it is secret."""
    found: t.Dict[str, t.Any] = {}
    for member in ("hcl_report", "td_quote", "ak_certificate", "event_log"):
        value = getattr(material, member)
        if value is not None:
            found[member] = b64(value)
    if material.certificates:
        found["vcek_chain"] = "".join(der.to_pem(one) for one in material.certificates)
    if material.tpm_quote is not None:
        found["tpm_quote"] = {
            "message": b64(material.tpm_quote.message),
            "signature": b64(material.tpm_quote.signature),
            "pcrs": {str(pcr): value.hex() for pcr, value in material.tpm_quote.pcrs.items()},
        }
    return found
