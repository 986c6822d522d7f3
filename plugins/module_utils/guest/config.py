# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's configuration: one JSON file per key, ``/etc/azure-skr/NAME.json``, with the options of module ``key_release``
and a few of the agent's own. It holds no secret and may be read by anybody; only root may have written it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import typing as t
from urllib.parse import urlsplit

from ..policy.failure import SkrFailure
from . import request

FOLDER = "/etc/azure-skr"
STATE_DIR = "/run/azure-skr/status"
_MAX_FILE = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TYPES: t.Dict[str, t.Tuple[t.Tuple[type, ...], str]] = {
    "str": ((str,), "text"),
    "path": ((str,), "text with an absolute path"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "dict": ((dict,), "an object"),
    "list": ((list,), "a list"),
}


class Configuration(t.NamedTuple):
    """A file that was read: the instance's name, where it was, and every option, with defaults where none was given."""

    name: str
    path: str
    options: t.Dict[str, t.Any]


def agent_argument_spec() -> t.Dict[str, t.Any]:
    """Options that only the agent has."""
    return {
        "state_dir": {"type": "path", "default": STATE_DIR},
        "metrics_path": {"type": "path"},
        "stale_after": {"type": "float", "default": 0},
    }


def locate(name: t.Optional[str], path: t.Optional[str]) -> t.Tuple[str, str]:
    """Name and path of an instance, of which at least one is given. Raises SkrFailure ``invalid_input``."""
    if path and not name:
        name = os.path.basename(path)
        name = name[:-5] if name.endswith(".json") else name
    if not name or not _NAME.fullmatch(name):
        raise _invalid("NAME", name, "up to 64 letters, digits and _.- that begin with a letter or digit")
    return name, path or os.path.join(FOLDER, f"{name}.json")


def load(name: t.Optional[str], path: t.Optional[str] = None) -> Configuration:
    """Read and check an instance's configuration, by name or by path. Raises SkrFailure ``invalid_input``."""
    name, path = locate(name, path)
    try:
        document = json.loads(_read(path), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise _invalid("configuration", path, f"JSON ({where})") from error
    if not isinstance(document, dict):
        raise _invalid("configuration", path, f"a JSON object, not {_kind(document)}")
    return Configuration(name, path, check(document))


def _once(pairs: t.List[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return found


def _read(path: str) -> bytes:
    """The file's bytes, if only root (or the very user who runs this) can have written them."""
    try:
        with open(path, "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise _invalid("configuration", path, "a regular file")
            if found.st_uid not in (0, os.geteuid()):
                raise _invalid("configuration", path, f"a file of root; it belongs to user id {found.st_uid}")
            if found.st_mode & 0o022:
                wanted = f"a file that only its owner may write; its mode is {stat.S_IMODE(found.st_mode):04o}"
                raise _invalid("configuration", path, wanted)
            return stream.read(_MAX_FILE)
    except OSError as error:
        raise _invalid("configuration", path, f"a readable file: {error.strerror}") from error


def check(document: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Check every option; returns them with defaults where none was given. Raises SkrFailure ``invalid_input``."""
    spec = {**request.argument_spec(), **agent_argument_spec()}
    names = {alias: name for name, one in spec.items() for alias in (name, *one.get("aliases", ()))}
    given: t.Dict[str, t.Any] = {}
    for option, value in document.items():
        if option not in names:
            raise _unknown(option, list(spec))
        if names[option] in given:
            raise _invalid(option, value, f"{names[option]} only once")
        given[names[option]] = value
    options = {name: _value(name, given.get(name), one) for name, one in spec.items()}
    for group in request.EXCLUSIVE:
        both = [name for name in group if options[name] is not None]
        if len(both) > 1:
            raise _invalid(both[1], options[both[1]], f"nothing beside {both[0]}")
    for group in request.ONE_OF:
        if all(options[name] is None for name in group):
            raise _invalid(group[0], None, f"a value, or {' or '.join(group[1:])}")
    _no_secret(options["https_proxy"])
    return options


def _value(name: str, value: t.Any, spec: t.Mapping[str, t.Any]) -> t.Any:
    if value is None:
        if spec.get("required"):
            raise _invalid(name, None, "a value")
        return spec.get("default")
    types, wanted = _TYPES[spec["type"]]
    fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
    if not fits:
        raise _invalid(name, value, wanted)
    if spec["type"] == "path" and not os.path.isabs(value):
        raise _invalid(name, value, wanted)
    if "choices" in spec and value not in spec["choices"]:
        raise _invalid(name, value, f"one of {', '.join(spec['choices'])}")
    if spec["type"] == "list":
        for member in value:
            _value(name, member, {"type": spec.get("elements", "str"), "required": True})
    return float(value) if spec["type"] == "float" else value


def _no_secret(proxy: t.Optional[str]) -> None:
    try:
        password = urlsplit(proxy or "").password
    except ValueError:
        password = None
    if password:
        raise SkrFailure(
            "invalid_input",
            "https_proxy holds a password, which does not belong in this file; wanted it in the variable HTTPS_PROXY "
            "of the unit's environment file.",
            {"option": "https_proxy"},
        )


def _unknown(option: str, known: t.List[str]) -> SkrFailure:
    import difflib

    near = difflib.get_close_matches(option, known, 1)
    hint = f"; did you mean {near[0]}?" if near else f", wanted one of {', '.join(sorted(known))}."
    return SkrFailure("invalid_input", f"{option} is no option of the configuration{hint}", {"option": option})


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    shown = "missing" if found is None else repr(found)[:200]
    if option == "https_proxy":
        shown = "not a text"  # it may hold a password
    return SkrFailure("invalid_input", f"{option} is {shown}, wanted {wanted}.", {"option": option})


def _kind(document: t.Any) -> str:
    return {list: "a list", str: "text", type(None): "null", bool: "true or false"}.get(type(document), "a number")
