# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence of simulated VMs, collected with the simulator's own TPM code, for tests that alter it and send it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import struct
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from conftest import GROUP, LOCATION, SILICON
from skrsim.core.app import App, build
from skrsim.core.messages import Request, Response
from skrsim.core.world import World
from skrsim.services.arm import seed
from skrsim.tee.platform import Platform
from skrsim.vtpm import relay as relays
from skrsim.vtpm import wire
from skrsim.vtpm.vm import AK_HANDLE, VirtualTpm

HOST = "sharedweu.weu.attest.azure.net"
SELECTION = bytes.fromhex("00000001000b03ff0000")


def selection(pcrs: t.Iterable[int], algorithm: int = 0x0B) -> bytes:
    """TPML_PCR_SELECTION of one bank."""
    bits = sum(1 << pcr for pcr in pcrs)
    return struct.pack(">IHB", 1, algorithm, 3) + bits.to_bytes(3, "little")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Vm:
    """A VM with its TPM, and its evidence as a dictionary that tests may alter."""

    def __init__(self, world: World, platform: Platform, directory: Path, name: str) -> None:
        self.name, self.platform, self.world = name, platform, world
        self.tpm = VirtualTpm(world, name, platform, directory / name)
        self.tpm.start()
        self.opener = self.tpm.relay.open()
        self._made: dict[str, tuple[bytes, bytes]] = {}  # EncKeyPub -> how it was made, and PCRs of its policy
        self.evidence = self.collect()

    def run(self, code: int, handles: list[int], auth: bytes = b"", parameters: bytes = b"") -> bytes:
        command = wire.command(code, handles, auth, parameters)
        answer = self.tpm.relay.transceive(self.opener, command)
        if wire.code_of(answer) == 0x922:  # retry: the first use of a key with dictionary protection
            answer = self.tpm.relay.transceive(self.opener, command)
        return wire.payload(answer)

    def collect(
        self,
        attributes: int = 0x00020432,
        policy: bytes | None = None,
        name_alg: int = 0x0B,
        scheme: bytes = b"\0\x10",
        bits: int = 2048,
        exponent: int = 0,
        pcrs: t.Sequence[int] = range(8),
        quoted: bytes = b"",
    ) -> dict[str, t.Any]:
        """The evidence; with an ephemeral key of another shape, other PCRs, or a quote of a selection of its own."""
        selected = selection(pcrs)
        values = []
        for pcr in pcrs:  # one at a time: the TPM gives at most eight at once
            values.append(self.run(wire.PCR_READ, [], b"", selection([pcr]))[20:52])
        digest = hashlib.sha256(b"".join(values)).digest()
        if policy is None:
            policy = hashlib.sha256(bytes(32) + struct.pack(">I", 0x17F) + selected + digest).digest()
        template = struct.pack(">HHI", 1, name_alg, attributes) + wire.sized(policy)
        template += b"\0\x10" + scheme + struct.pack(">HI", bits, exponent) + wire.sized(bytes(bits // 8))
        parameters = bytes.fromhex("000400000000") + wire.sized(template) + b"\0\0" + bytes(4)
        made = self.run(wire.CREATE_PRIMARY, [0x40000007], wire.PASSWORD, parameters)
        handle, _size, length = struct.unpack_from(">IIH", made)
        key = made[10 : 10 + length]
        self._made[b64(wire.sized(key))] = parameters, selected
        quote = self.run(0x158, [AK_HANDLE], wire.PASSWORD, b"\0\0\0\x10" + (quoted or selected))
        certify = self.run(0x148, [handle, AK_HANDLE], wire.PASSWORD * 2, b"\0\0\0\x10")
        self.run(wire.FLUSH, [], b"", struct.pack(">I", handle))
        ak = self.run(wire.READ_PUBLIC, [AK_HANDLE])
        public = ak[2 : 2 + struct.unpack_from(">H", ak)[0]]
        return self.document(dict(zip(pcrs, values, strict=True)), key, _attest(quote), _attest(certify), public)

    def document(
        self, values: dict[int, bytes], key: bytes, quote: tuple[bytes, bytes], certify: tuple[bytes, bytes], ak: bytes
    ) -> dict[str, t.Any]:
        return {
            "AttestationProtocolVersion": "2.0",
            "OSType": b64(b"Linux"),
            "OSDistro": b64(b"Ubuntu"),
            "OSVersionMajor": 24,
            "OSVersionMinor": 4,
            "OSBuild": b64(b"NotApplication"),
            "TcgLogs": b64(self.tpm.event_log),
            "ClientPayload": {"nonce": b64(b"nonce")},
            "TpmInfo": {
                "AikCert": b64(self.tpm.relay.overlay[relays.AK_CERT]),
                "AikPub": b64(wire.sized(ak)),
                "PcrQuote": b64(quote[0]),
                "PcrSignature": b64(quote[1]),
                "PcrSet": list(values),
                "PCRs": [{"Index": index, "Digest": b64(value)} for index, value in values.items()],
                "EncKeyPub": b64(wire.sized(key)),
                "EncKeyCertifyInfo": b64(certify[0]),
                "EncKeyCertifyInfoSignature": b64(certify[1]),
            },
            "IsolationInfo": self.isolation(),
        }

    def isolation(self) -> dict[str, t.Any]:
        """What the VM's kind wants there; the parts are kept for tests to alter."""
        tee = self.world.vms[self.name].tee
        if tee is None:
            return {"Type": "TrustedLaunch"}
        blob = self.tpm.relay.overlay[relays.HCL_REPORT]
        size = struct.unpack_from("<I", blob, 1232)[0]
        self.hardware, self.runtime = blob[32:1216], blob[1236 : 1236 + size]
        if tee == "TDX":
            self.quote = self.platform.thim_service.td_quote(self.name, self.hardware[:1024])
            return {"Type": "Tdx", "Evidence": {"Proof": b64(self.quote), "RunTimeData": b64(self.runtime)}}
        thim = self.platform.thim(self.name)
        self.chain = thim["vcekCert"] + thim["certificateChain"]
        evidence = {"Proof": proof(self.hardware, self.chain), "RunTimeData": b64(self.runtime)}
        return {"Type": "SevSnp", "Evidence": evidence}

    @property
    def template(self) -> bytes:
        """Parameters of CreatePrimary that make the key of the evidence."""
        return self._made[self.evidence["TpmInfo"]["EncKeyPub"]][0]

    def opened(self, token: str) -> dict[str, t.Any]:
        """The claims in a sealed token for the evidence; its key is made again and used under its policy."""
        envelope = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        parameters, selected = self._made[self.evidence["TpmInfo"]["EncKeyPub"]]
        made = self.run(wire.CREATE_PRIMARY, [0x40000007], wire.PASSWORD, parameters)
        nonce = wire.sized(bytes(20)) + b"\0\0\x01\0\x10\0\x0b"
        session = self.run(wire.START_SESSION, [0x40000007] * 2, b"", nonce)
        try:
            self.run(0x17F, [struct.unpack_from(">I", session)[0]], b"", b"\0\0" + selected)
            auth = session[:4] + b"\0\0\1\0\0"  # continueSession: flushed below, whatever happens
            cipher = wire.sized(base64.b64decode(envelope["EncryptedInnerKey"])) + b"\0\x15\0\0"
            key = self.run(0x159, [struct.unpack_from(">I", made)[0]], auth, cipher)[6:38]
        finally:
            for handle in (made[:4], session[:4]):
                self.run(wire.FLUSH, [], b"", handle)
        sealed, tag = (base64.b64decode(envelope[member]) for member in ("Jwt", "AuthenticationData"))
        iv = base64.b64decode(envelope["EncryptionParams"]["Iv"])
        return claims_of(AESGCM(key).decrypt(iv, sealed + tag, b"Transport Key").decode())


def claims_of(token: str) -> dict[str, t.Any]:
    """The claims of a token in clear."""
    part = token.split(".")[1]
    return t.cast(dict[str, t.Any], json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def _attest(body: bytes) -> tuple[bytes, bytes]:
    length = struct.unpack_from(">H", body, 4)[0]
    return body[6 : 6 + length], body[6 + length + 6 : 6 + length + 6 + 256]


def proof(report: bytes, chain: str) -> str:
    return b64(json.dumps({"SnpReport": b64u(report), "VcekCertChain": b64(chain.encode())}).encode())


class Bench:
    """A cloud without doors, and VMs in it."""

    def __init__(self, directory: Path) -> None:
        self.world = World.new()
        seed.resource_group(self.world, GROUP, LOCATION)
        self._directory = directory
        self.platform = Platform(self.world, SILICON)
        self.app: App = build(self.world, directory)
        self.vms: list[Vm] = []

    def vm(
        self,
        name: str,
        size: str = "Standard_DC2as_v5",
        security_type: str = "ConfidentialVM",
        debug: bool = False,
        **options: t.Any,
    ) -> Vm:
        """A new VM that has booted; ``options`` are those of its platform."""
        seed.vm(self.world, name, GROUP, LOCATION, debug, True, size, security_type)
        self.platform.option(name).change(options)
        self.vms.append(Vm(self.world, self.platform, self._directory, name))
        return self.vms[-1]

    def stop(self) -> None:
        for vm in self.vms:
            vm.tpm.stop()

    def verifies(self, token: str) -> bool:
        """Whether a key that the service lists has signed the token."""
        keys = asyncio.run(self.app.handle(Request("GET", "https", HOST, "/certs")))[0].json()["keys"]
        signed, _dot, signature = token.rpartition(".")
        for entry in keys:
            public = x509.load_der_x509_certificate(base64.b64decode(entry["x5c"][0])).public_key()
            assert isinstance(public, rsa.RSAPublicKey)
            with contextlib.suppress(InvalidSignature):
                raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
                public.verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
                return True
        return False

    def attested(self, vm: Vm) -> dict[str, t.Any]:
        """The claims of the token for a VM's evidence."""
        response, clause = self.send(vm.evidence)
        assert response.status == 200, (clause, response.body)
        return vm.opened(response.json()["token"])

    def send(
        self,
        inner: t.Any,
        path: str = "/attest/AzureGuest",
        version: str = "2020-10-01",
        member: str = "AttestationInfo",
    ) -> tuple[Response, str]:
        return self.post({member: b64u(json.dumps(inner).encode())} if path.endswith("Guest") else inner, path, version)

    def post(self, body: t.Any, path: str = "/attest/AzureGuest", version: str = "2020-10-01") -> tuple[Response, str]:
        """The answer to a whole body, and the clause that decided."""
        data = json.dumps(body).encode()
        request = Request("POST", "https", HOST, path, (("api-version", version),), {}, data, "one")
        mark = self.world.audit.last
        response, _fault = asyncio.run(self.app.handle(request))
        return response, str(self.world.audit.records(mark)[-1].get("clause", ""))


def refused(bench: Bench, inner: t.Any, check: str) -> None:
    response, clause = bench.send(inner)
    assert response.status == 400 and clause == f"maa.{check}", (response.status, clause, response.body)
    assert response.json()["error"]["code"] == "InvalidParameter" and response.json()["error"]["message"]


def flip(text: str, position: int = 40, bit: int = 1) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[position] ^= bit
    return b64(bytes(raw))
