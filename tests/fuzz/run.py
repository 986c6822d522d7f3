# SPDX-License-Identifier: GPL-3.0-or-later
"""`make fuzz`: so many inputs over all targets, guided by coverage where Atheris is installed; prints a table.

Each target runs in a process of its own. The seed is fixed; an input that breaks a target is printed and kept below
.build/fuzz, and ``--target NAME --input FILE`` reads it again.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".collections")]
CODE = "ansible_collections.confidential.azure_skr.plugins.module_utils"
OUT = ROOT / ".build" / "fuzz"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--target", help="this one alone")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plain", action="store_true", help="without coverage, even where Atheris is installed")
    parser.add_argument("--input", type=Path, help="read one file instead")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    chosen = options()
    guided = not chosen.plain and importlib.util.find_spec("atheris") is not None
    if chosen.child:
        return child(chosen, guided)
    from fuzz import targets

    wanted = [target for target in targets.TARGETS if chosen.target in (None, target.name)]
    if not wanted:
        print(f"--target is {chosen.target!r}, wanted one of {', '.join(target.name for target in targets.TARGETS)}.")
        return 2
    if chosen.input:
        wanted[0].read(chosen.input.read_bytes())
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    shares = sum(target.share for target in wanted)
    print(f"{chosen.inputs} inputs, {'guided by coverage (Atheris)' if guided else 'not guided'}, seed {chosen.seed}")
    print(f"{'target':22}{'inputs':>9}{'accepted':>10}{'seconds':>9}{'slowest':>12}")
    began, defects, total = time.monotonic(), 0, 0
    with concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool:
        runs = [
            pool.submit(process, target.name, -(-chosen.inputs * target.share // shares), chosen) for target in wanted
        ]
        for target, run in zip(wanted, runs):
            found = run.result()
            total += found["inputs"]
            slowest = f"{found['slowest'] * 1000:.1f} ms"
            print(f"{target.name:22}{found['inputs']:>9}{found['accepted']:>10}{found['seconds']:>9.1f}{slowest:>12}")
            if found["defect"]:
                defects += 1
                print(f"   DEFECT: {found['defect'][:1000]}")
            sys.stdout.flush()
    print(f"{total} inputs in {time.monotonic() - began:.0f} s, {defects} targets with a defect")
    return 1 if defects else 0


def process(name: str, inputs: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Run a target in a process of its own and return its tally."""
    words = ["--child", "--target", name, "--inputs", str(inputs), "--seed", str(chosen.seed)]
    words += ["--plain"] if chosen.plain else []
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
    (OUT / f"{file_name(name)}.log").write_text(done.stderr)
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        text = f"it ended with {done.returncode} and no tally: {done.stderr[-600:]}"
        return {"inputs": 0, "accepted": 0, "seconds": 0.0, "slowest": 0.0, "defect": text}
    return found


def file_name(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name)


def child(chosen: argparse.Namespace, guided: bool) -> int:
    if guided:
        import atheris

        with atheris.instrument_imports(include=[CODE]):
            from fuzz import engine, targets
    else:
        from fuzz import engine, targets
    target = next(target for target in targets.TARGETS if target.name == chosen.target)
    try:
        made = engine.Engine(target, chosen.seed, patience=2.0 if guided else 1.0)  # tracing takes time too
        if guided:
            _guided(made, chosen)
        made.run(chosen.inputs)
    except engine.Defect as defect:
        return told(made, defect)
    return told(made, None)


def told(made: Any, defect: Any) -> int:
    """Print the tally, and keep the input of a defect."""
    if defect is not None:
        (OUT / f"{file_name(made.target.name)}.input").write_bytes(defect.data)
    print(json.dumps({**dataclasses.asdict(made.tally), "defect": str(defect) if defect else ""}), flush=True)
    return 1 if defect else 0


def _guided(made: Any, chosen: argparse.Namespace) -> None:
    """Let libFuzzer choose what is damaged further. It never returns, so the process ends from within."""
    import random

    import atheris
    from fuzz import engine

    def one(data: bytes) -> None:
        try:
            made.feed(data)
        except engine.Defect as defect:
            os._exit(told(made, defect))
        if made.tally.inputs >= chosen.inputs:
            os._exit(told(made, None))

    def mutate(data: bytes, largest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.1:
            return made.make()[:largest]
        return made.target.mutate(data, rng)[:largest]

    with tempfile.TemporaryDirectory() as folder, engine.complaints():
        for number, specimen in enumerate(made.target.specimens()):
            Path(folder, str(number)).write_bytes(specimen)
        words = [
            f"-seed={chosen.seed}",
            f"-runs={chosen.inputs}",
            "-max_len=200000",
            "-len_control=0",
            "-rss_limit_mb=0",
        ]
        atheris.Setup([sys.argv[0], *words, folder], one, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
