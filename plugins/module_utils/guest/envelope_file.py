# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Envelopes in files: made where there is none for the key, replaced atomically, and left alone otherwise."""

from __future__ import annotations

import contextlib
import os
import tempfile
import typing as t

from ..policy.failure import SkrFailure
from . import envelope

_TRIES = 8


class Wanted(t.NamedTuple):
    """A secret, as text or in a file, the key it is wrapped for, and where the envelope goes."""

    public_key: str
    secret: t.Optional[str] = None
    secret_file: t.Optional[str] = None
    name: t.Optional[str] = None
    dest: t.Optional[str] = None
    mode: str = "0644"
    force: bool = False


def wrap(wanted: Wanted, check_mode: bool = False) -> t.Dict[str, t.Any]:
    """What module ``secret_wrap`` returns. Raises SkrFailure."""
    key_sha256 = envelope.fingerprint(envelope.public_key(wanted.public_key))
    mode = _mode(wanted.mode)
    content, found = _read(wanted.dest)
    after = {"exists": True, "public_key_sha256": key_sha256, "name": wanted.name}
    before: t.Dict[str, t.Any] = {"exists": content is not None}
    if content is not None:
        before.update(public_key_sha256=found and found.key_sha256, name=found and found.name)
    told: t.Dict[str, t.Any] = {"public_key_sha256": key_sha256, "diff": {"before": before, "after": after}}
    if wanted.dest:
        told["dest"] = wanted.dest
    if before == after and not wanted.force and content is not None:
        kept = content.strip()
        return {"changed": False, **told, **({} if _masked(wanted, kept) else {"envelope": kept})}
    made = _wrapped(wanted)  # in check mode too, for its refusals
    if check_mode:
        return {"changed": True, **told}
    if wanted.dest:
        _write(wanted.dest, f"{made}\n", mode)
    if not _masked(wanted, made):
        told["envelope"] = made
    return {"changed": True, **told}


def _wrapped(wanted: Wanted) -> str:
    """Another one where a result with it would be damaged: Ansible masks the secret wherever its letters come in a row."""
    secret = _secret(wanted)
    for _try in range(_TRIES):
        made = envelope.wrap(wanted.public_key, secret, wanted.name)
        if not _masked(wanted, made):
            return made
    if wanted.dest:
        return made  # the file is whole, and the result goes without
    raise SkrFailure(
        "invalid_input",
        "secret is so short that masking it would damage the envelope in the result; wanted dest or secret_file.",
        {"option": "secret"},
    )


def _masked(wanted: Wanted, made: str) -> bool:
    return wanted.secret is not None and wanted.secret in made


def _mode(text: str) -> int:
    try:
        mode = int(str(text), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise SkrFailure("invalid_input", f"mode is {text!r}, wanted octal digits such as '0644'.", {"option": "mode"})
    return mode


def _read(dest: t.Optional[str]) -> t.Tuple[t.Optional[str], t.Optional[envelope.Envelope]]:
    """The file's text and the envelope in it; None for one that is missing, or that is no envelope."""
    if not dest:
        return None, None
    try:
        with open(dest, encoding="utf-8", errors="replace") as stream:
            text = stream.read(envelope.LARGEST_ENVELOPE)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        raise SkrFailure(
            "invalid_input", f"dest is {dest!r}, wanted a file: {error.strerror}.", {"option": "dest"}
        ) from error
    try:
        return text, envelope.parse(text)
    except SkrFailure:
        return text, None


def _secret(wanted: Wanted) -> bytes:
    if wanted.secret_file is None:
        return str(wanted.secret).encode("utf-8", "surrogateescape")
    try:
        with open(wanted.secret_file, "rb") as stream:
            return stream.read(envelope.LARGEST_SECRET + 1)
    except OSError as error:
        raise SkrFailure(
            "invalid_input",
            f"secret_file is {wanted.secret_file!r}, wanted a file that can be read: {error.strerror}.",
            {"option": "secret_file"},
        ) from error


def _write(dest: str, text: str, mode: int) -> None:
    folder = os.path.dirname(os.path.abspath(dest))
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".", dir=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(descriptor, mode)
        os.replace(temporary, dest)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise SkrFailure("delivery_failed", f"{dest} cannot be written: {error.strerror}.", {"dest": dest}) from error
