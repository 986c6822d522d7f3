# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for a known private key, and for any token, wherever it must not be."""

from __future__ import annotations

import base64
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

# A compact JWT: two base64url parts that begin with {" and a third part.
TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}")


class Sentinel:
    """The forms in which a key could show: raw, hex, base64 of any alignment, PEM body, decimal."""

    def __init__(self, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self.needles: dict[str, bytes] = {}
        for name, value in _secrets(key).items():
            raw = value.to_bytes((value.bit_length() + 7) // 8, "big")[:48]
            self.needles[f"{name} raw"] = raw
            self.needles[f"{name} hex"] = raw.hex().encode()
            self.needles[f"{name} HEX"] = raw.hex().upper().encode()
            self.needles[f"{name} decimal"] = str(value).encode()[:60]
            for shift in range(3):  # base64 depends on where in the text the bytes begin
                part = raw[shift : shift + 45]
                piece = base64.b64encode(part)[: 4 * (len(part) // 3)]
                self.needles[f"{name} base64 {shift}"] = piece
                self.needles[f"{name} base64url {shift}"] = piece.replace(b"+", b"-").replace(b"/", b"_")
            self.needles[f"{name} escaped"] = repr(raw)[2:-1].encode()
        forms = {"PKCS#8": serialization.PrivateFormat.PKCS8, "PKCS#1": serialization.PrivateFormat.TraditionalOpenSSL}
        for name, form in forms.items():
            pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
            # The first lines of an RSA key hold the modulus, which is public, and the last ones of an EC key the point.
            secret = pem.splitlines()[8:-1] if "p raw" in self.needles else pem.splitlines()[1:2]
            for number, line in enumerate(secret):
                self.needles[f"{name} line {number}"] = line

    def found_in(self, data: bytes, tokens: bool = True) -> list[str]:
        """The names of what is found in the data."""
        found = [name for name, needle in self.needles.items() if len(needle) > 16 and needle in data]
        return found + (["a token"] if tokens and TOKEN.search(data) else [])

    def files(self, roots: list[Path], delivered: set[str], since: float) -> list[str]:
        """Files below the roots, written since then, that hold any of it; the delivered file may."""
        hits = []
        for path in _files(roots):
            try:
                if str(path) in delivered or path.stat().st_ctime < since or path.stat().st_size > 64 << 20:
                    continue
                found = self.found_in(path.read_bytes())
            except OSError:
                continue  # it is gone
            if found:
                hits.append(f"{path}: {found}")
        return hits


def _secrets(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, int]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {"d": key.private_numbers().private_value}
    numbers = key.private_numbers()
    return {"d": numbers.d, "p": numbers.p, "q": numbers.q, "dp": numbers.dmp1, "qi": numbers.iqmp}


def _files(roots: list[Path]) -> Iterator[Path]:
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not os.path.ismount(os.path.join(folder, name))]
            for name in names:
                path = Path(folder, name)
                try:
                    regular = stat.S_ISREG(path.lstat().st_mode)
                except OSError:
                    continue  # it is gone, or the device of a lab that was killed
                if regular:
                    yield path


class CommandLines(threading.Thread):
    """Samples the command line of every process on the machine until stopped."""

    def __init__(self, sentinel: Sentinel) -> None:
        super().__init__(daemon=True)
        self._sentinel, self._stop_it = sentinel, threading.Event()
        self._seen: set[bytes] = set()
        self.hits: list[str] = []
        self.samples = 0

    def run(self) -> None:
        while not self._stop_it.is_set():
            self.samples += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if line and line not in self._seen:
                    self._seen.add(line)
                    self.hits += self._sentinel.found_in(line)
            time.sleep(0.01)

    def finish(self) -> list[str]:
        self._stop_it.set()
        self.join()
        return self.hits
