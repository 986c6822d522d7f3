# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The thin layer between a module and its function: run it, return its result, turn failures into readable ones."""

from __future__ import annotations

import sys
import typing as t
import warnings

from .policy.failure import SkrFailure, SkrWarning

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def run(module: AnsibleModule, function: t.Callable[[], t.Dict[str, t.Any]]) -> t.NoReturn:
    """Call ``function`` and end the module with its result, or with the failure it raised.

    A failure that nobody foresaw becomes ``internal_error`` with the place it came from; neither its text
    nor a traceback is shown, because either may quote values that must not be seen.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SkrWarning)
        result = _result(function)
    told = [str(one.message) for one in caught if isinstance(one.message, SkrWarning)]
    for warning in dict.fromkeys([*told, *result.pop("warnings", [])]):
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)
    raise AssertionError("exit_json ends the process")


def _result(function: t.Callable[[], t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    try:
        return function()
    except SkrFailure as failure:
        return {"failed": True, **failure.as_result()}
    except ImportError as error:
        package = error.name or "unknown"
        message = f"The Python package {package} is not installed for {sys.executable}."
        facts = {"package": package, "interpreter": sys.executable}
        return {"failed": True, **SkrFailure("library_missing", message, facts).as_result()}
    except Exception as error:  # the outermost layer: no traceback may reach a user
        return {"failed": True, **_unforeseen(error).as_result()}


def _unforeseen(error: BaseException) -> SkrFailure:
    """Name the innermost place of our own code that the error passed through."""
    place = "unknown"
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if "azure_skr" in name:
            place = f"{name.rpartition('module_utils.')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    kind = type(error).__name__
    return SkrFailure("internal_error", f"Unforeseen {kind} at {place}.", {"exception": kind, "place": place})
