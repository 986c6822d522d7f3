# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Application secrets in the guest: one release of the key, every envelope opened in memory, each secret delivered."""

from __future__ import annotations

import dataclasses
import typing as t

from ..policy.failure import SkrFailure
from . import attest, crypto, deliver, envelope, release
from . import material as forms
from .deliver.common import invalid


class Secret(t.NamedTuple):
    """An envelope and where what is in it goes; ``where`` names it in failures."""

    envelope: envelope.Envelope
    target: deliver.Target
    where: str


def secrets(entries: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[Secret]:
    """Read the option ``secrets``. Raises SkrFailure: invalid_input, secret_envelope_invalid."""
    if not entries:
        raise invalid("secrets", list(entries), "at least one envelope")
    return [_secret(number, entry) for number, entry in enumerate(entries)]


def _secret(number: int, entry: t.Mapping[str, t.Any]) -> Secret:
    where = f"secrets[{number}]"
    given, path, name = entry.get("envelope"), entry.get("envelope_file"), entry.get("name")
    if (given is None) == (path is None):
        raise invalid(f"{where}.envelope", "given" if given else None, "either envelope or envelope_file")
    if path is not None:
        try:
            with open(path, "rb") as stream:
                given = stream.read(envelope.LARGEST_ENVELOPE + 1)
        except OSError as error:
            raise SkrFailure(
                "invalid_input",
                f"{where}.envelope_file is {path!r}, wanted a file that can be read: {error.strerror}.",
                {"option": f"{where}.envelope_file"},
            ) from error
    if not isinstance(given, (str, bytes, dict)):
        raise invalid(f"{where}.envelope", type(given).__name__, "a JSON object")
    found = envelope.parse(given, where)
    if name is not None and found.name != name:
        raise SkrFailure(
            "secret_envelope_invalid",
            f"{where} is the envelope of {found.name!r}, wanted that of {name!r}.",
            {"found": found.name, "wanted": name},
        )
    return Secret(found, deliver.target(entry), where)


def unwrap(
    guest: attest.Guest, wanted: release.Wanted, entries: t.Sequence[Secret], check_mode: bool = False
) -> t.Dict[str, t.Any]:
    """Release the key, open all envelopes, then deliver each secret; the key is wiped. Raises SkrFailure.

    Nothing is delivered unless all envelopes open.
    """

    def prepare() -> release.HandOver:
        places = [deliver.check(entry.target) for entry in entries]
        for number, place in enumerate(places):
            if place.facts() in [other.facts() for other in places[:number]]:
                raise invalid(entries[number].where, place.facts(), "a place that no other secret goes to")

        def hand_over(key: forms.Material) -> t.Dict[str, t.Any]:
            return _deliver(key, entries, places, check_mode)

        return hand_over

    # For the evidence, of which check mode keeps none: the key itself is delivered nowhere.
    target, folder = deliver.Target(deliver_to="secrets"), None if check_mode else wanted.evidence_dir
    return release.perform(guest, dataclasses.replace(wanted, target=target, evidence_dir=folder), prepare)


def _deliver(
    key: forms.Material, entries: t.Sequence[Secret], places: t.Sequence[deliver.Place], check_mode: bool
) -> t.Dict[str, t.Any]:
    if not isinstance(key.private, crypto.rsa.RSAPrivateKey):
        raise SkrFailure("key_cannot_wrap", f"The key released is of kind {key.kind}.", {"kind": key.kind})
    opened: t.List[forms.Material] = []
    results: t.List[t.Dict[str, t.Any]] = []
    changed = False
    try:
        for entry in entries:
            opened.append(forms.secret(envelope.unwrap(entry.envelope, key.private, entry.where)))
        for entry, place, secret in zip(entries, places, opened):
            try:
                done, diff = place.deliver(secret, check_mode)
            except SkrFailure as failure:
                failure.changed = failure.changed or changed
                failure.facts.setdefault("secret", entry.where)
                raise
            changed = changed or done
            results.append({"name": entry.envelope.name, "changed": done, "delivered": place.told(diff), "diff": diff})
    finally:
        for secret in opened:
            secret.wipe()
    return {
        "changed": changed,
        "secrets": [{name: one[name] for name in ("name", "changed", "delivered")} for one in results],
        "diff": {side: {"secrets": [one["diff"][side] for one in results]} for side in ("before", "after")},
    }
