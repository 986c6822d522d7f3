# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``skrsim``: bring a lab up, look into it, disturb it, take it down."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from . import control, leftovers
from .plan import KINDS, Plan

STATE = "lab.json"


def _default_directory() -> Path:
    return Path(os.environ.get("SKRSIM_DIR", ".lab")).absolute()


def choose_door(wanted: str) -> str:
    """``auto`` is ssh where root and the programs for it are there."""
    if wanted != "auto":
        return wanted
    programs = ("ip", "unshare", "ssh", "ssh-keygen")
    able = os.geteuid() == 0 and Path("/dev/fuse").exists() and Path("/usr/sbin/sshd").exists()
    return "ssh" if able and all(shutil.which(program) for program in programs) else "local"


def _plan(options: argparse.Namespace) -> Plan:
    late = {}
    for entry in options.late:
        name, separator, seconds = entry.partition("=")
        if not separator:
            raise ValueError(f"--late wants NAME=SECONDS, found {entry}")
        late[name] = float(seconds)
    plan = Plan(
        directory=options.dir,
        runtime=Path(tempfile.mkdtemp(prefix=leftovers.PREFIX)),
        door=choose_door(options.door),
        vms=options.vms,
        seed=options.seed,
        debug=tuple(options.debug),
        no_secure_boot=tuple(options.no_secure_boot),
        late=late,
        cache=options.cache,
        **{kind: tuple(dict.fromkeys(getattr(options, kind))) for kind in KINDS},
    )
    try:
        plan.check()
    except ValueError:
        shutil.rmtree(plan.runtime)
        raise
    return plan


def up(options: argparse.Namespace) -> int:
    state = options.dir / STATE
    if state.exists():
        raise ValueError(f"a lab is already up in {options.dir}; take it down first with: skrsim down")
    if shutil.which("swtpm") is None:
        raise ValueError("the program swtpm is not installed; on Debian and Ubuntu: apt-get install swtpm")
    for name in leftovers.sweep():
        print(f"removed what the killed lab {name} had left", flush=True)
    plan = _plan(options)
    options.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    plan.save(state)
    log = options.dir / "lab.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "skrsim.lab.daemon", str(state)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            start_new_session=True,
        )
    assert process.stdout is not None
    for line in process.stdout:  # the daemon's progress, until it says it is ready
        text = line.decode().rstrip()
        if text == "READY":
            print(f"inventory: {options.dir / 'inventory.yml'}", flush=True)
            return 0
        print(text, flush=True)
    process.wait()
    sys.stderr.write(log.read_text(errors="replace")[-2000:])
    leftovers.remove(plan.runtime)
    state.unlink()
    return 1


def _running(options: argparse.Namespace) -> Plan:
    state = options.dir / STATE
    if not state.exists():
        raise ValueError(f"no lab is up in {options.dir}")
    return Plan.load(state)


def down(options: argparse.Namespace) -> int:
    try:
        plan = _running(options)
    except ValueError as error:
        print(error)
        return 0
    try:
        pid = control.call(plan.control, "status")["pid"]
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    except control.ControlError as error:
        print(f"the lab's process is gone already ({error})")
    leftovers.remove(plan.runtime)
    (options.dir / STATE).unlink()
    print(f"lab in {options.dir} is down")
    return 0


def _call(options: argparse.Namespace, command: str, **parameters: t.Any) -> t.Any:
    return control.call(_running(options).control, command, **parameters)


def _parameters(entries: list[str]) -> dict[str, t.Any]:
    """NAME=VALUE words; a value is JSON where it can be read as JSON."""
    found: dict[str, t.Any] = {}
    for entry in entries:
        name, separator, value = entry.partition("=")
        if not separator:
            raise ValueError(f"a parameter is NAME=VALUE, found {entry}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def fault(options: argparse.Namespace) -> int:
    if options.action == "list":
        for row in _call(options, "fault_list"):
            print(json.dumps(row))
        return 0
    if options.action == "clear":
        _call(options, "fault_clear")
        return 0
    row = {
        "action": options.action,
        "service": options.service,
        "operation": options.operation,
        "vm": options.vm,
        "first": options.first,
        "times": options.times,
        "probability": options.probability,
        "parameters": _parameters(options.parameters),
    }
    print(f"fault {_call(options, 'fault_add', row=row)}")
    return 0


def clock(options: argparse.Namespace) -> int:
    now = _call(options, "clock", seconds=options.seconds)
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))
    return 0


def audit(options: argparse.Namespace) -> int:
    for record in _call(options, "audit", since=options.since):
        if options.writes and not record.get("write"):
            continue
        if options.service and record.get("service") != options.service:
            continue
        print(json.dumps(record))
    return 0


def status(options: argparse.Namespace) -> int:
    print(json.dumps(_call(options, "status"), indent=2))
    return 0


def vm(options: argparse.Namespace) -> int:
    print(_call(options, f"vm_{options.change}", name=options.name, values=_parameters(options.parameters)))
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="skrsim", description="A stand-in for Azure around Secure Key Release.")
    top.add_argument(
        "--dir",
        type=lambda text: Path(text).absolute(),
        default=_default_directory(),
        help="where the lab keeps its files (default: $SKRSIM_DIR or .lab)",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("up", help="bring a lab up and write its inventory")
    one.add_argument("--vms", type=int, default=3)
    one.add_argument("--door", choices=["auto", "ssh", "local"], default="auto")
    one.add_argument("--seed", type=int, default=1)
    for option, text in (
        ("--debug", "this VM can be debugged by its host"),
        ("--no-secure-boot", "this VM has booted without secure boot"),
        ("--tdx", "this VM runs under Intel TDX"),
        ("--trusted-launch", "this VM is not confidential, it has a virtual TPM alone"),
        ("--turin", "this SNP VM's host is an AMD Turin (its report has version 5)"),
        ("--genoa", "this SNP VM's host is an AMD Genoa"),
    ):
        one.add_argument(option, action="append", default=[], metavar="VM", help=f"{text}; may be repeated")
    one.add_argument(
        "--late",
        action="append",
        default=[],
        metavar="VM=SECONDS",
        help="grants for this VM take effect that much later",
    )
    one.add_argument(
        "--cache",
        type=lambda text: Path(text).absolute(),
        default=None,
        help="folder in which the throw-away AMD keys are kept between labs",
    )
    one.set_defaults(run=up)

    commands.add_parser("down", help="take the lab down").set_defaults(run=down)
    commands.add_parser("status", help="what is up").set_defaults(run=status)

    one = commands.add_parser("fault", help="add a fault (ACTION NAME=VALUE ...), or list or clear them")
    one.add_argument("action", help="list, clear, or what is to happen; the actions of each service are in the README")
    one.add_argument("parameters", nargs="*", metavar="NAME=VALUE")
    one.add_argument("--service")
    one.add_argument("--operation")
    one.add_argument("--vm")
    one.add_argument("--first", type=int, default=1)
    one.add_argument("--times", type=int)
    one.add_argument("--probability", type=float, default=1.0)
    one.set_defaults(run=fault)

    one = commands.add_parser("clock", help="show the lab's clock, or move it by so many seconds")
    one.add_argument("seconds", type=float, nargs="?", default=0.0)
    one.set_defaults(run=clock)

    one = commands.add_parser("audit", help="what the services were asked and how they decided (JSON lines)")
    one.add_argument("--since", type=int, default=0)
    one.add_argument("--writes", action="store_true")
    one.add_argument("--service")
    one.set_defaults(run=audit)

    one = commands.add_parser("vm", help="reboot a VM, move it to another host, or change what its platform is")
    one.add_argument("change", choices=["reboot", "move", "set"])
    one.add_argument("name")
    one.add_argument(
        "parameters",
        nargs="*",
        metavar="NAME=VALUE",
        help="reboot: kernel, secure_boot; set: generation, report_size, report_version, vlek, lower_user_data, lower_vm_id,"
        " id_key_digest, mrtd, quote_version",
    )
    one.set_defaults(run=vm)
    return top


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ValueError, control.ControlError) as error:
        print(f"skrsim: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
