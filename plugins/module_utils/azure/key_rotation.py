# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of a key: whether a new version is due, and the vault's own rotation policy.

The rotation policy says when the vault makes a new version by itself, and how long versions are valid. Not to be confused
with the release policy. Durations are those of ISO 8601, such as P90D, P18M or P2Y.
"""

from __future__ import annotations

import re
import time
import typing as t

from ..policy.failure import SkrFailure
from .clients import SAFE_TO_REPEAT, errors

_DURATION = re.compile(r"P(?=\d)(\d+Y)?(\d+M)?(\d+D)?")
_AGE = re.compile(
    r"P(?=[\dT])(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?"
)
_DAY = 86400
_SECONDS = (365 * _DAY, 30 * _DAY, 7 * _DAY, _DAY, 3600, 60, 1)
SETTLE = 3.0  # seconds in which another run that decided at the same moment has made its version too


class Rotation(t.NamedTuple):
    """Durations as text; empty text removes what is set. ``after_create`` and ``before_expiry`` exclude each other."""

    after_create: str = ""
    before_expiry: str = ""
    notify_before_expiry: str = ""
    expires_in: str = ""


def read(options: t.Optional[t.Mapping[str, t.Any]]) -> t.Optional[Rotation]:
    """The option ``rotation_policy``, checked. Raises SkrFailure ``invalid_input``."""
    if options is None:
        return None
    made = Rotation(
        *(
            _duration(name, options.get(name))
            for name in ("rotate_after_create", "rotate_before_expiry", "notify_before_expiry", "expires_in")
        )
    )
    if made.after_create and made.before_expiry:
        raise _wrong("rotate_before_expiry", made.before_expiry, "nothing, because rotate_after_create is set")
    if (made.before_expiry or made.notify_before_expiry) and not made.expires_in:
        raise _wrong("expires_in", "", "a duration, because an action is bound to the expiry")
    return made


def _duration(name: str, value: t.Any) -> str:
    text = "" if value is None else str(value).upper()
    if text and not _DURATION.fullmatch(text):
        raise _wrong(name, value, "an ISO 8601 duration in years, months or days such as P90D")
    return text


def _wrong(name: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure(
        "invalid_input", f"rotation_policy.{name} is {found!r}, wanted {wanted}.", {"option": "rotation_policy"}
    )


def read_age(option: str, value: t.Any) -> t.Optional[float]:
    """An age in seconds, from seconds or an ISO 8601 duration such as PT1H or P30D (a month has 30 days, a year 365).

    None stays None. Raises SkrFailure ``invalid_input``.
    """
    if value is None:
        return None
    text = str(value).strip().upper()
    if re.fullmatch(r"\d{1,11}", text):
        return float(text)
    parts = _AGE.fullmatch(text)
    if parts is None:
        raise SkrFailure(
            "invalid_input",
            f"{option} is {value!r}, wanted seconds or an ISO 8601 duration such as PT1H or P30D.",
            {"option": option},
        )
    return float(sum(int(number or 0) * unit for number, unit in zip(parts.groups(), _SECONDS)))


def due(newest: t.Any, older_than: t.Optional[float], now: t.Optional[float] = None) -> bool:
    """Whether a new version is to be made, from the properties of the newest one.

    Without an age always. A disabled version serves nobody, so it holds no new one off. A version from the future, as this
    machine's clock has it, is young.
    """
    if older_than is None or not newest.enabled or newest.created_on is None:
        return True
    age: float = (time.time() if now is None else now) - newest.created_on.timestamp()
    return age >= older_than


def settled(read: t.Callable[[], t.Any]) -> t.Any:
    """The newest version a moment after one was made.

    The service has no condition for making a version, so two runs that decide at the same moment make two. Both look again
    after that moment, and both go on with the newest: that which a release without a version gets as well.
    """
    time.sleep(SETTLE)
    return read()


def ensure(
    client: t.Any, name: str, wanted: Rotation, exists: bool, check_mode: bool, result: t.Dict[str, t.Any]
) -> None:
    """Compare and write; adds ``changed``, the difference and ``rotation_policy`` to the result. Raises SkrFailure."""
    with errors(f"the rotation policy of key {name}"):
        found = describe(client.get_key_rotation_policy(name)) if exists else Rotation()
        if found != wanted:
            diff = result.setdefault("diff", {"before": {}, "after": {}})
            diff["before"] = {**diff["before"], "rotation_policy": found._asdict()}
            diff["after"] = {**diff["after"], "rotation_policy": wanted._asdict()}
            result["changed"] = True
            if not check_mode:
                client.update_key_rotation_policy(name, _model(wanted), **SAFE_TO_REPEAT)
        result["rotation_policy"] = wanted._asdict()


def describe(policy: t.Any) -> Rotation:
    """The service's policy in our terms; the case of its actions varies."""
    found = {"expires_in": policy.expires_in or ""}
    for entry in policy.lifetime_actions or []:
        kind = str(getattr(entry.action, "value", entry.action)).lower()
        if kind == "rotate" and entry.time_after_create:
            found["after_create"] = entry.time_after_create
        elif kind == "rotate":
            found["before_expiry"] = entry.time_before_expiry or ""
        elif found["expires_in"]:  # without an expiry the service states a default that never comes due
            found["notify_before_expiry"] = entry.time_before_expiry or ""
    return Rotation(**found)


def _model(wanted: Rotation) -> t.Any:
    from azure.keyvault.keys import KeyRotationLifetimeAction, KeyRotationPolicy

    actions = []
    if wanted.after_create:
        actions.append(KeyRotationLifetimeAction("Rotate", time_after_create=wanted.after_create))
    if wanted.before_expiry:
        actions.append(KeyRotationLifetimeAction("Rotate", time_before_expiry=wanted.before_expiry))
    if wanted.notify_before_expiry:
        actions.append(KeyRotationLifetimeAction("Notify", time_before_expiry=wanted.notify_before_expiry))
    return KeyRotationPolicy(lifetime_actions=actions, expires_in=wanted.expires_in or None)
