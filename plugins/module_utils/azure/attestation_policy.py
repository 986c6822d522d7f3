# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies of a private attestation provider: read back, compared as text, set and reset at the provider itself.

Not to be taken for a key's release policy: this one says which VMs the provider gives tokens to.
Requests: ``GET`` and ``PUT {attestUri}/policies/{type}``, ``POST {attestUri}/policies/{type}:reset``,
``GET {attestUri}/certificates`` (Azure REST reference, Attestation). Every answer is proven before it is believed.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import typing as t

from ..policy.failure import SkrFailure
from . import attestation_token as tokens
from .clients import Connection
from .plan import Plan

API_VERSION = "2022-08-01"
# Attestation types of the service, and those that came with a later version of its API.
TYPES = ("AzureGuest", "SevSnpVm", "TdxVm", "SgxEnclave", "OpenEnclave", "Tpm")
_LATER = {"TdxVm": "2025-06-01"}
# Default policies in the form of _shape; a type without default reads back as the empty text.
_DEFAULTS = (
    "",
    "version=1.0;authorizationrules{=>permit();};issuancerules{};",
    "version=1.0;authorizationrules{"
    + "".join(
        f'[type=="{claim}",value==false]=>deny();'
        for claim in (
            "x-ms-azurevm-default-securebootkeysvalidated",
            "x-ms-azurevm-debuggersdisabled",
            "secureboot",
            "x-ms-azurevm-signingdisabled",
            "x-ms-azurevm-dbvalidated",
            "x-ms-azurevm-dbxvalidated",
        )
    )
    + "=>permit();};issuancerules{};",
)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Policy texts by attestation type, types that shall have the service's default again, and who signs."""

    texts: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    reset: t.Tuple[str, ...] = ()
    signer: t.Optional[tokens.Signer] = None

    @property
    def types(self) -> t.List[str]:
        return sorted({*self.texts, *self.reset})


def wanted(
    texts: t.Mapping[str, t.Any],
    files: t.Mapping[str, t.Any],
    reset: t.Sequence[str],
    signer: t.Optional[tokens.Signer] = None,
) -> Wanted:
    """The options, checked, with the files read. Raises SkrFailure ``invalid_input``."""
    found: t.Dict[str, str] = {}
    for name, text in texts.items():
        found[_once(name, found, "policies")] = _text(text, f"policies[{name}]")
    for name, path in files.items():
        kind = _once(name, found, "policy_files")
        try:
            with open(str(path), encoding="utf-8-sig") as stream:
                found[kind] = _text(stream.read(), f"policy_files[{name}]")
        except (OSError, ValueError) as error:
            raise _invalid("policy_files", path, "a readable file of UTF-8 text") from error
    types = tuple(_once(name, found, "reset_policies") for name in reset)
    return Wanted(found, types, signer)


def kind_of(name: t.Any, option: str) -> str:
    """An attestation type in the service's own spelling."""
    for kind in TYPES:
        if kind.lower() == str(name).lower():
            return kind
    raise _invalid(option, name, f"attestation types out of {', '.join(TYPES)}")


def _once(name: t.Any, taken: t.Container[str], option: str) -> str:
    kind = kind_of(name, option)
    if kind in taken:
        raise _invalid(option, name, "each attestation type once in policies, policy_files and reset_policies")
    return kind


def _text(value: t.Any, option: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _invalid(option, value, "the text of a policy; the default comes back with reset_policies")
    return normal(value)


def _invalid(option: str, found: t.Any, wanted_text: str) -> SkrFailure:
    message = f"{option} has {found!r}, wanted {wanted_text}."
    return SkrFailure("invalid_input", message, {"option": option.partition("[")[0]})


def normal(text: str) -> str:
    """A policy as it is compared and sent: UNIX line ends, none at the end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _shape(text: str) -> str:
    """A policy without comments and white space."""
    return re.sub(r"\s+", "", re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL))


def is_default(text: str) -> bool:
    """Whether this is a default policy of the service, as far as those are known."""
    return _shape(text) in _DEFAULTS


@dataclasses.dataclass
class Service:
    """The own API of one provider, at its ``attestUri``."""

    connection: Connection
    url: str
    _keys: t.Dict[str, t.Any] = dataclasses.field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        # The caller's token goes to this address, so it is the attestation service's or none.
        suffix = re.escape(self.connection.login.cloud.attestation_suffix)
        if not suffix or not re.fullmatch(rf"https://([a-z0-9-]+\.)+{suffix}", self.url):
            raise SkrFailure(
                "service_error", f"The attestation provider's address {self.url!r} is not one of the service."
            )

    def keys(self) -> t.Dict[str, t.Any]:
        """The provider's signing keys, asked once."""
        if not self._keys:
            self._keys = self.connection.attestation("GET", f"{self.url}/certs", "the attestation provider's keys")
        return self._keys

    def _claims(self, answer: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
        return tokens.verified(answer, self.keys, self.url)

    def get(self, kind: str) -> str:
        """The text of the policy of one type as the provider has it."""
        answer = self._call("GET", kind)
        return tokens.text_of(str(self._claims(answer).get("x-ms-policy", "")))

    def set(self, kind: str, text: str, signer: t.Optional[tokens.Signer]) -> None:
        """Set one policy. Raises SkrFailure, also where the answer is not about what was sent."""
        sent = tokens.wrapped(text, signer)
        claims = self._claims(self._call("PUT", kind, content=sent))
        digest = tokens.b64u(hashlib.sha256(sent.encode()).digest())
        if claims.get("x-ms-policy-result") != "Updated":
            raise _unproven(kind, f"it reports {claims.get('x-ms-policy-result')!r}, wanted 'Updated'")
        if str(claims.get("x-ms-policy-token-hash", "")).rstrip("=") != digest:
            raise _unproven(kind, "the hash it reports is not that of the policy sent")
        if normal(self.get(kind)) != text:
            raise _unproven(kind, "it reads back otherwise than it was sent")

    def reset(self, kind: str, signer: t.Optional[tokens.Signer]) -> None:
        """Give one type its default policy back."""
        claims = self._claims(self._call("POST", kind, ":reset", tokens.wrapped(None, signer)))
        if claims.get("x-ms-policy-result") != "Removed":
            raise _unproven(kind, f"it reports {claims.get('x-ms-policy-result')!r}, wanted 'Removed'")

    def certificates(self) -> t.Set[bytes]:
        """The certificates (DER) under which the provider takes policies."""
        what = "the attestation provider's policy certificates"
        answer = self.connection.attestation("GET", f"{self.url}/certificates", what, API_VERSION)
        keys = self._claims(answer).get("x-ms-policy-certificates") or {}
        try:
            return {base64.b64decode(key["x5c"][0]) for key in keys.get("keys") or []}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise SkrFailure("service_error", f"{what}: the answer does not have the documented form.") from error

    def _call(self, method: str, kind: str, verb: str = "", content: t.Optional[str] = None) -> t.Dict[str, t.Any]:
        version = _LATER.get(kind, API_VERSION)
        what = f"attestation policy {kind} of {self.url}"
        return self.connection.attestation(method, f"{self.url}/policies/{kind}{verb}", what, version, content)


def _unproven(kind: str, what: str) -> SkrFailure:
    message = f"The attestation provider's answer about the policy {kind} does not verify: {what}."
    return SkrFailure("attestation_policy_unverified", message, {"attestation_type": kind})


def check_signer(want: Wanted, isolated: bool) -> None:
    """A provider that takes signed policies alone needs a signer. Raises SkrFailure before anything is sent."""
    if isolated and want.types and want.signer is None:
        raise SkrFailure(
            "attestation_policy_unsigned",
            "The provider takes signed policies only (trust model Isolated), and no signer was given.",
            {"trust_model": "Isolated"},
        )


def get(service: Service, types: t.Iterable[str]) -> t.Dict[str, str]:
    """The texts as the provider has them."""
    return {kind: service.get(kind) for kind in types}


def plan(want: Wanted, found: t.Mapping[str, str]) -> Plan:
    """What has to change. ``found``: texts by type; a type that is not in it is not known yet (a new provider's).

    ``body`` maps types to the text to set, or to None for a reset.
    """
    body: t.Dict[str, t.Any] = {
        kind: text for kind, text in want.texts.items() if kind not in found or normal(found[kind]) != text
    }
    # A default that is not recognised is reset again: the text afterwards tells whether that changed anything.
    body.update({kind: None for kind in want.reset if kind in found and not is_default(found[kind])})
    before = {kind: normal(text) for kind, text in found.items() if kind in want.types}
    after = {**before, **{kind: text if text is not None else "(default)" for kind, text in body.items()}}
    return Plan("update" if body else "none", before, after, body or None)


def apply(service: Service, want: Wanted, wish: Plan) -> t.Dict[str, str]:
    """Carry out a plan; returns the texts as the provider then has them, of the types that are wanted."""
    for kind, text in (wish.body or {}).items():
        if text is None:
            service.reset(kind, want.signer)
        else:
            service.set(kind, text, want.signer)
    return get(service, want.types)


def describe(texts: t.Mapping[str, str]) -> t.Dict[str, t.Dict[str, t.Any]]:
    """What the module returns of policies: hashes, not texts."""
    return {
        kind: {
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "policy_hash": tokens.policy_hash(text),
            "default": is_default(text),
        }
        for kind, text in sorted(texts.items())
    }
