# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all consumers share: the shape of one, the words of a refusal, and how programs are run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import typing as t

from ...policy.failure import SkrFailure

if t.TYPE_CHECKING:
    from ..material import Material

Diff = t.Dict[str, t.Any]
_SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE = 5.0


class Consumer(t.Protocol):
    """A place for a secret, whose options have been looked up and found possible."""

    def facts(self) -> t.Dict[str, t.Any]:
        """Public facts that name the place."""

    def deliver(self, material: Material, check_mode: bool) -> t.Tuple[bool, Diff]:
        """Bring the place to hold the material; returns whether that changes anything, and the diff."""

    def remove(self, check_mode: bool) -> t.Tuple[bool, Diff]:
        """Take the material away; nothing happens where it is gone already."""


def invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def search_path() -> str:
    """Where programs are looked for. That of a module run over ssh often lacks the folders for administration."""
    return f"{os.environ.get('PATH', '')}:{_SYSTEM}".lstrip(":")


def program(name: str, package: str) -> str:
    """The path of a program. Raises SkrFailure ``program_missing``."""
    found = shutil.which(name, path=search_path())
    if found is None:
        raise SkrFailure(
            "program_missing",
            f"The program {name} is not on this machine; it is in the package {package} or one of a like name.",
            {"program": name, "package": package},
        )
    return found


class Done(t.NamedTuple):
    """How a program ended. ``output`` is what it said on standard output, where that was asked for."""

    status: int
    output: bytearray


def run(
    command: t.Sequence[str],
    given: t.Union[bytes, bytearray] = b"",
    timeout: float = 60.0,
    keep_output: bool = False,
    pass_fds: t.Sequence[int] = (),
) -> Done:
    """Run a program without a shell, with ``given`` on its standard input and a bare environment.

    Its messages go nowhere, because they may quote what it was given. Raises SkrFailure ``program_missing`` or
    ``command_failed`` when it cannot be started or does not end in time; a status is for the caller to judge.
    """
    environment = {"PATH": search_path(), "LC_ALL": "C", "HOME": "/"}
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if keep_output else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            pass_fds=tuple(pass_fds),
            start_new_session=True,  # so that what it started itself ends with it
        )
    except FileNotFoundError as error:
        raise SkrFailure(
            "program_missing", f"The program {command[0]} is not on this machine.", {"program": command[0]}
        ) from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it has a name that no program can have"
        raise SkrFailure(
            "command_failed", f"{command[0]} cannot be started: {why}.", {"program": command[0]}
        ) from error
    return _talk(process, command[0], given, timeout)


def _talk(process: subprocess.Popen[bytes], name: str, given: t.Union[bytes, bytearray], timeout: float) -> Done:
    try:
        output, _none = process.communicate(t.cast(bytes, given), timeout)  # any buffer will do
    except subprocess.TimeoutExpired:
        _end(process)
        raise SkrFailure(
            "command_failed",
            f"{name} did not end within {timeout:g} seconds and was ended.",
            {"program": name, "timeout": timeout},
        ) from None
    except BaseException:  # an interrupt must not leave a child with a secret behind
        _end(process)
        raise
    return Done(process.returncode, bytearray(output or b""))


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            break
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


@contextlib.contextmanager
def pipe_with(content: t.Union[bytes, bytearray]) -> t.Iterator[int]:
    """A descriptor from which a child may read the content once; it is in no file and on no command line."""
    reader, writer = os.pipe()

    def feed() -> None:
        with contextlib.suppress(OSError), os.fdopen(writer, "wb", buffering=0) as stream:
            rest = memoryview(content)
            while rest:
                rest = rest[stream.write(rest) :]

    feeder = threading.Thread(target=feed, daemon=True)  # a pipe holds less than a secret may have
    feeder.start()
    try:
        yield reader
    finally:
        os.close(reader)
        feeder.join(_GRACE)
