# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the doctor examines, and the means: bounded calls, a client that asks once, and what the checks tell each other."""

from __future__ import annotations

import dataclasses
import threading
import time
import typing as t
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from ...policy.failure import SkrFailure
from .. import clouds, crypto, hcl, keyvault, maa, sign_in
from ..attest import Guest
from ..http import NEVER, Http, Reply, Retry
from . import findings
from .findings import Finding

LIMIT = 10.0  # seconds that one look at the network may take
_TIMEOUT = (4.0, 5.0)  # connecting, and waiting for each piece of an answer


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be examined; what is not given is not looked at, and that is told.

    ``guest.attestation_url`` is empty where none is given. ``identity`` gives the identity, or raises SkrFailure for
    options that cannot work: that is a finding like any other.
    """

    guest: Guest
    identity: t.Callable[[], sign_in.Source]
    vault_uri: t.Optional[str] = None
    hsm_uri: t.Optional[str] = None
    key_name: t.Optional[str] = None
    key_version: t.Optional[str] = None
    dest: t.Optional[str] = None

    def key(self) -> t.Optional[keyvault.KeyId]:
        """The key's address, with a name in its place where none is given; None without a vault. Raises SkrFailure."""
        if not self.vault_uri and not self.hsm_uri:
            return None
        return keyvault.key_id(self.vault_uri, self.hsm_uri, self.key_name or "unnamed", self.key_version)

    def authority(self) -> t.Optional[str]:
        """The attestation provider's address, or None. Raises SkrFailure."""
        return maa.authority(self.guest.attestation_url) if self.guest.attestation_url else None

    def cloud(self) -> clouds.Cloud:
        """The cloud of the vault or of the attestation provider; the public one where neither tells."""
        for url in (self.hsm_uri or self.vault_uri, self.guest.attestation_url):
            known = clouds.by_host(urlsplit(url or "").hostname or "")
            if known is not None:
                return known
        return clouds.PUBLIC


@dataclasses.dataclass
class Notes:
    """What one check learnt and another needs. Threads only ever set members of their own."""

    report: t.Optional[hcl.HclReport] = None
    no_report: bool = False  # the TPM was asked and has none
    modulus: int = 0  # of the attestation key
    pcrs: t.Optional[t.List[bytes]] = None
    chain_pem: str = ""
    no_chain: t.Optional[SkrFailure] = None  # why it could not be fetched
    compute: t.Dict[str, t.Any] = dataclasses.field(default_factory=dict)  # of the metadata service
    metadata_answers: bool = False
    tenant: str = ""  # of the vault, as its challenge tells
    open: t.Set[str] = dataclasses.field(default_factory=set)  # hosts to which a verified connection could be made
    vault_open: bool = False
    skews: t.Dict[str, float] = dataclasses.field(default_factory=dict)  # host -> its clock less ours, in seconds


class Once(Http):
    """Asks once: the doctor looks, it does not persevere. Notes what time it is for who answered."""

    def __init__(
        self, notes: Notes, ca_path: t.Optional[str], https_proxy: t.Optional[str], local: bool = False
    ) -> None:
        super().__init__(ca_path, https_proxy, local, _TIMEOUT)
        self._notes = notes

    def request(self, what: str, method: str, url: str, retry: Retry = NEVER, *words: t.Any, **rest: t.Any) -> Reply:
        before = time.time()
        reply = super().request(what, method, url, NEVER, *words, **rest)
        skew = skew_of(reply.headers.get("date", ""), before, time.time())
        if skew is not None:
            self._notes.skews[urlsplit(url).hostname or url] = skew
        return reply


def skew_of(date: str, before: float, after: float) -> t.Optional[float]:
    """How far ahead of this VM's clock the answer's Date is; it counts whole seconds. None where there is none."""
    try:
        there = parsedate_to_datetime(date).timestamp() + 0.5
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return there - (before + after) / 2


def need_cryptography() -> None:
    """Raises SkrFailure ``library_missing``."""
    if not crypto.AVAILABLE:
        raise SkrFailure("library_missing", "The Python package cryptography is missing.", {"package": "cryptography"})


T = t.TypeVar("T")


def bounded(function: t.Callable[[], T], limit: float = LIMIT, reason: str = "host_unreachable") -> T:
    """The function's result, or a failure when it takes too long: name resolution knows no time limit of its own.

    Raises what the function raises; SkrFailure for the time.
    """
    results: t.List[T] = []
    errors: t.List[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # it is raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)  # one that hangs must not keep the process
    thread.start()
    thread.join(limit)
    if errors:
        raise errors[0]
    if not results:
        raise Slow(reason, f"There was no answer within {limit:.0f} seconds.")
    return results[0]


class Slow(Exception):
    """Something took too long."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Told(Exception):
    """A finding that ends its check; for codes that no failure of the guest's rooms has."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.found)
        self.finding = finding


def guarded(check: str, function: t.Callable[[], t.Iterable[Finding]], subject: str = "") -> t.List[Finding]:
    """The findings of one check, whatever happens to it."""
    try:
        return list(function())
    except Told as told:
        return [told.finding]
    except Slow as slow:
        return [findings.found("failed", check, slow.code, str(slow), subject)]
    except SkrFailure as failure:
        if failure.reason == "library_missing":  # told once, by the check of the libraries
            return [findings.skipped(check, f"The Python package {failure.facts.get('package')} is missing.", subject)]
        return [findings.of_failure(check, failure, subject)]
    except ImportError as error:
        package = (error.name or "unknown").partition(".")[0]
        return [findings.skipped(check, f"The Python package {package} is missing.", subject)]
    except Exception as error:  # one check's defect must not hide what the others found; its text may quote anything
        return [
            findings.found(
                "failed", check, "internal_error", f"Unforeseen {type(error).__name__} at {_place(error)}.", subject
            )
        ]


def _place(error: BaseException) -> str:
    """The innermost place of our own code that the error came from."""
    place, trace = "unknown", error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if ".guest." in name:
            place = f"{name.rpartition('.guest.')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def parallel(*functions: t.Callable[[], t.List[Finding]]) -> t.List[Finding]:
    """The findings of functions that run at the same time; each is bounded by what it calls."""
    made: t.List[t.List[Finding]] = [[] for _function in functions]

    def work(number: int) -> None:
        made[number] = functions[number]()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for some in made for one in some]
