# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest agent ``azure-skr``: finds the command that was typed, runs it, tells its result or its failure.

Exit status: what the command says (0 is success), 2 when it could not do its work and tells the reason.
"""

from __future__ import annotations

import argparse
import os
import sys
import types
import typing as t

from ..policy.failure import SkrFailure
from . import commands

PROGRAM = "azure-skr"


def parser(wanted: t.Iterable[types.ModuleType]) -> argparse.ArgumentParser:
    """A parser that knows these commands."""
    made = argparse.ArgumentParser(prog=PROGRAM, description="Secure Key Release on an Azure confidential VM.")
    offered = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in wanted:
        description = (command.__doc__ or "").strip()
        one = offered.add_parser(
            command.NAME,
            help=command.HELP,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add(one)
        one.set_defaults(module=command)
    return made


def main(arguments: t.Optional[t.Sequence[str]] = None) -> int:
    """Run a command; no traceback reaches a user."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    typed = commands.load(given[0]) if given else None
    options = vars(parser([typed] if typed else commands.every()).parse_args(given))
    command: types.ModuleType = options.pop("module")
    try:
        status, text = command.run(options)
        if text:
            sys.stdout.write(f"{text}\n")
        sys.stdout.flush()  # a reader that has gone is noticed here and not at the interpreter's end
        return int(status)
    except SkrFailure as failure:
        _complain(_told(failure, bool(options.get("json"))))
        status_of: t.Callable[[SkrFailure], int] = getattr(command, "exit_status", lambda _failure: 2)
        return status_of(failure)
    except KeyboardInterrupt:
        _complain(f"{PROGRAM}: interrupted")
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except ImportError as error:
        _complain(_told(_library_missing(error), bool(options.get("json"))))
    except Exception as error:  # the outermost layer: its text might quote what must not be seen
        _complain(f"{PROGRAM}: unforeseen {type(error).__name__} [internal_error]")
    return 2


def _told(failure: SkrFailure, as_json: bool) -> str:
    result = failure.as_result()
    if not as_json:
        return f"{PROGRAM}: {result['msg']}"
    import json

    return json.dumps(result, indent=2)


def _library_missing(error: ImportError) -> SkrFailure:
    package = (error.name or "unknown").partition(".")[0]
    return SkrFailure(
        "library_missing",
        f"The Python package {package} is not installed for {sys.executable}.",
        {"package": package, "interpreter": sys.executable},
    )


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
