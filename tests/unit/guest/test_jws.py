# SPDX-License-Identifier: GPL-3.0-or-later
"""The vault's signed answer: signature, chain, name and binding to the request, each refused by its own reason."""

from __future__ import annotations

import base64
import copy
import datetime
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import KID, VAULT, VERSION, certificate, chain, ec_key, refused, rsa_key, signed_answer

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import jws, keyvault

PINNED = keyvault.KeyId(VAULT, "app", VERSION)
LATEST = keyvault.KeyId(VAULT, "app", None)
ALGORITHM = "RSA_AES_KEY_WRAP_256"
GOOD = fakes.payload(ec_key("released"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CA bundle with the throw-away root among others, some of them unreadable."""
    path = tmp_path_factory.mktemp("bundle") / "ca.pem"
    junk = base64.encodebytes(b"\x30\x06\x30\x00\x30\x00\x03\x00").decode()
    path.write_bytes(
        b"# a comment\n"
        + f"-----BEGIN CERTIFICATE-----\n{junk}-----END CERTIFICATE-----\n".encode()
        + fakes.pem(certificate("other", ec_key("other"), "other", ec_key("other")), chain()[-1])
    )
    return str(path)


def verify(token: str, bundle: str, key: keyvault.KeyId = PINNED, now: t.Optional[float] = None) -> jws.Answer:
    return jws.verify(token, key, ALGORITHM, "nonce", bundle, now)


def changed(*path: str, to: t.Any = None, drop: bool = False) -> t.Dict[str, t.Any]:
    """The good payload with one member replaced or dropped."""
    document = copy.deepcopy(GOOD)
    node = document
    for part in path[:-1]:
        node = node[part]
    if drop:
        del node[path[-1]]
    else:
        node[path[-1]] = to
    return document


def test_a_good_answer(bundle: str) -> None:
    answer = verify(signed_answer(GOOD), bundle)
    assert answer.kid == KID and answer.jwk["crv"] == "P-256" and answer.attributes["exportable"] is True
    assert len(answer.ciphertext) > 256 and "key_hsm" not in answer.jwk


def test_a_managed_hsms_header_has_no_type_and_no_sha1_thumbprint(bundle: str) -> None:
    token = signed_answer(GOOD)
    header, _payload, _signed, _signature = jws.jwt.split(token)
    for member in ("typ", "x5t"):
        del header[member]
    assert verify(fakes.sign(header, GOOD, rsa_key("leaf")), bundle).kid == KID


def test_a_chain_without_its_root(bundle: str) -> None:
    assert verify(signed_answer(GOOD, chain()[:2]), bundle).kid == KID


# --- step 1 and 2: signature


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS384", "RS512", "PS256", "ES256", "", None, []])
def test_only_rs256_counts(bundle: str, algorithm: t.Any) -> None:
    with refused("response_signature_invalid"):
        verify(signed_answer(GOOD, alg=algorithm), bundle)


@pytest.mark.parametrize(
    "header",
    [
        {"x5c": None},
        {"x5c": []},
        {"x5c": "text"},
        {"x5c": [5]},
        {"x5c": ["%"]},
        {"x5c": [fakes.b64(b"not a certificate")]},
        {"x5c": [fakes.b64(b"\x30\x06\x30\x00\x30\x00\x03\x00")]},
        {"x5t": fakes.b64u(bytes(20))},
        {"x5t#S256": fakes.b64u(bytes(32))},
        {"x5t": "%"},
        {"x5t#S256": 5},
    ],
)
def test_a_header_that_does_not_describe_its_certificate(bundle: str, header: t.Dict[str, t.Any]) -> None:
    with refused("response_signature_invalid"):
        verify(signed_answer(GOOD, **header), bundle)


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "e30.e30.", "e30.e30.e30"])
def test_no_jws_at_all(bundle: str, token: str) -> None:
    with refused("response_signature_invalid"):
        verify(token, bundle)


def test_an_unsigned_answer(bundle: str) -> None:
    with refused("response_signature_invalid"):
        verify(signed_answer(GOOD).rpartition(".")[0] + ".", bundle)


def test_any_altered_byte_is_noticed(bundle: str) -> None:
    token = signed_answer(GOOD)
    first, second = token.index("."), token.rindex(".")
    for place in (first + 5, (first + second) // 2, second - 2, second + 10, len(token) - 9):
        altered = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with refused("response_signature_invalid"):
            verify(altered, bundle)


def test_a_signature_by_another_key(bundle: str) -> None:
    with refused("response_signature_invalid"):
        verify(signed_answer(GOOD, key=rsa_key("other")), bundle)


def test_a_certificate_with_another_kind_of_key(bundle: str) -> None:
    leaf = certificate("leaf", ec_key("leaf"), "middle", ec_key("middle"), ["*.vault.azure.net"])
    with refused("response_signature_invalid"):
        verify(signed_answer(GOOD, [leaf, *chain()[1:]]), bundle)


RSA_OID = bytes.fromhex("06092a864886f70d010101")
UNREADABLE = [
    pytest.param(lambda der: der.replace(RSA_OID, RSA_OID[:-1] + b"\x7f"), id="unknown kind"),
    pytest.param(lambda der: der.replace(RSA_OID + b"\x05\x00\x03", RSA_OID + b"\x05\x00\x04"), id="no bit string"),
]


@pytest.mark.parametrize("spoil", UNREADABLE)
def test_a_certificate_whose_key_cannot_be_read(bundle: str, spoil: t.Callable[[bytes], bytes]) -> None:
    good = fakes.der(chain()[0])
    assert spoil(good) != good
    with refused("response_signature_invalid"):
        verify(signed_answer(GOOD, [spoil(good)]), bundle)


# --- step 3: chain


def own_chain(**leaf: t.Any) -> t.List[x509.Certificate]:
    """The usual chain with another leaf."""
    members: t.Dict[str, t.Any] = {"hosts": ["*.vault.azure.net"], **leaf}
    return [certificate("leaf", rsa_key("leaf"), "middle", ec_key("middle"), **members), *chain()[1:]]


def with_middle(**middle: t.Any) -> t.List[x509.Certificate]:
    """The usual chain with another intermediate."""
    return [chain()[0], certificate("middle", ec_key("middle"), "root", rsa_key("root"), **middle), chain()[2]]


def usage(sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not sign, False, False, False, False, sign, sign, False, False)


NAMES = x509.NameConstraints([x509.DNSName("example.com")], None)


@pytest.mark.parametrize(
    "certificates",
    [
        pytest.param(lambda: own_chain(days=(-30, -1)), id="leaf expired"),
        pytest.param(lambda: own_chain(days=(1, 30)), id="leaf not yet valid"),
        pytest.param(lambda: with_middle(days=(-30, -1)), id="intermediate expired"),
        pytest.param(lambda: chain()[:1], id="leaf alone"),
        pytest.param(lambda: [chain()[0], chain()[2]], id="intermediate left out"),
        pytest.param(lambda: [chain()[0], chain()[2], chain()[1]], id="wrong order"),
        pytest.param(lambda: with_middle(ca=False), id="intermediate is no CA"),
        pytest.param(lambda: with_middle(extra=[(usage(False), True)]), id="intermediate may not sign certificates"),
        pytest.param(lambda: with_middle(extra=[(NAMES, True)]), id="intermediate is constrained to other names"),
        pytest.param(
            lambda: [certificate("leaf", rsa_key("leaf"), "leaf", rsa_key("leaf"), ["*.vault.azure.net"])],
            id="self-signed leaf",
        ),
        pytest.param(
            lambda: [chain()[0], certificate("middle", ec_key("middle"), "root", rsa_key("false"))],
            id="intermediate signed by another root of the same name",
        ),
        pytest.param(
            lambda: [
                chain()[0],
                certificate("middle", ec_key("middle"), "root", rsa_key("false")),
                certificate("root", rsa_key("false"), "root", rsa_key("false")),
            ],
            id="another root of the same name",
        ),
        pytest.param(
            lambda: [
                certificate("leaf", rsa_key("leaf"), "middle", ec_key("false"), ["*.vault.azure.net"]),
                *chain()[1:],
            ],
            id="leaf signed by another intermediate of the same name",
        ),
    ],
)
def test_a_chain_that_is_not_trusted(bundle: str, certificates: t.Callable[[], t.Sequence[x509.Certificate]]) -> None:
    with refused("response_chain_untrusted"):
        verify(signed_answer(GOOD, list(certificates())), bundle)


def test_an_intermediate_that_may_sign_certificates(bundle: str) -> None:
    assert verify(signed_answer(GOOD, with_middle(extra=[(usage(True), True)])), bundle).kid == KID


@pytest.mark.parametrize("spoil", UNREADABLE)
def test_an_intermediate_whose_key_cannot_be_read(bundle: str, spoil: t.Callable[[bytes], bytes]) -> None:
    middle = certificate("middle", rsa_key("middle"), "root", rsa_key("root"))
    leaf = certificate("leaf", rsa_key("leaf"), "middle", rsa_key("middle"), ["*.vault.azure.net"])
    assert verify(signed_answer(GOOD, [leaf, middle]), bundle).kid == KID
    with refused("response_chain_untrusted"):
        verify(signed_answer(GOOD, [leaf, spoil(fakes.der(middle))]), bundle)


def test_a_leaf_that_poses_as_an_authority_is_none(bundle: str) -> None:
    """Whoever has a certificate of the trusted authority for his own host must not be able to issue others."""
    middle = certificate("mine", rsa_key("mine"), "middle", ec_key("middle"), ["mine.example"])
    leaf = certificate("leaf", rsa_key("leaf"), "mine", rsa_key("mine"), ["*.vault.azure.net"])
    with refused("response_chain_untrusted"):
        verify(signed_answer(GOOD, [leaf, middle, *chain()[1:]]), bundle)


def test_a_path_length_is_kept(bundle: str) -> None:
    def authority(name: str, key: t.Any, issuer: str, signer: t.Any, length: t.Optional[int]) -> x509.Certificate:
        now = datetime.datetime(2026, 1, 1)
        return (
            x509.CertificateBuilder()
            .subject_name(fakes.name(name))
            .issuer_name(fakes.name(issuer))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(True, length), critical=True)
            .sign(signer, fakes.hashes.SHA256())
        )

    lower = authority("lower", ec_key("lower"), "middle", ec_key("middle"), None)
    leaf = certificate("leaf", rsa_key("leaf"), "lower", ec_key("lower"), ["*.vault.azure.net"])
    for length, fits in ((None, True), (1, True), (0, False)):
        middle = authority("middle", ec_key("middle"), "root", rsa_key("root"), length)
        token = signed_answer(GOOD, [leaf, lower, middle])
        if fits:
            assert verify(token, bundle).kid == KID
        else:
            with refused("response_chain_untrusted"):
                verify(token, bundle)


def test_the_clock_counts(bundle: str) -> None:
    with refused("response_chain_untrusted"):
        verify(signed_answer(GOOD), bundle, now=4_000_000_000.0)
    with refused("response_chain_untrusted"):
        verify(signed_answer(GOOD), bundle, now=1_000_000_000.0)


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nAAAA\n", "nothing"])
def test_a_bundle_that_does_not_know_the_root(tmp_path: Path, content: t.Optional[str]) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with refused("response_chain_untrusted") as info:
        verify(signed_answer(GOOD), str(path))
    assert str(path) in info.value.message


def test_a_root_that_expired_in_the_bundle_is_no_anchor(tmp_path: Path) -> None:
    root = certificate("root", rsa_key("root"), "root", rsa_key("root"), days=(-30, -1))
    (tmp_path / "ca.pem").write_bytes(fakes.pem(root))
    with refused("response_chain_untrusted"):
        verify(signed_answer(GOOD, chain()[:2]), str(tmp_path / "ca.pem"))


# --- step 4: name


@pytest.mark.parametrize(
    "hosts",
    [
        ["vault.azure.net"],
        ["*.azure.net"],
        ["*.net"],
        ["other.vault.azure.net"],
        ["*.vault.azure.net.evil.example"],
        ["my*.vault.azure.net"],
        ["*"],
        ["*.*.azure.net"],
        ["evil.example"],
    ],
)
def test_a_certificate_for_other_hosts(bundle: str, hosts: t.List[str]) -> None:
    with refused("response_chain_untrusted") as info:
        verify(signed_answer(GOOD, own_chain(hosts=hosts)), bundle)
    assert hosts[0] in info.value.message and "myvault.vault.azure.net" in info.value.message


def test_a_certificate_whose_names_cannot_be_read(bundle: str) -> None:
    names = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x05\x00")
    with refused("response_chain_untrusted"):
        verify(signed_answer(GOOD, own_chain(hosts=[], ca=False, extra=[(names, False)])), bundle)


def test_a_certificate_without_host_names(bundle: str) -> None:
    with refused("response_chain_untrusted"):
        verify(signed_answer(GOOD, own_chain(hosts=[], ca=False)), bundle)


@pytest.mark.parametrize("hosts", [["myvault.vault.azure.net"], ["a.example", "*.VAULT.azure.net"]])
def test_a_certificate_for_this_host(bundle: str, hosts: t.List[str]) -> None:
    assert verify(signed_answer(GOOD, own_chain(hosts=hosts)), bundle).kid == KID


# --- step 5 and 6: binding


def test_asked_without_version_answered_with_one(bundle: str) -> None:
    payload = fakes.payload(ec_key("released"), asked=f"{VAULT}/keys/app")
    assert verify(signed_answer(payload), bundle, LATEST).kid == KID


def test_names_are_compared_as_the_vault_does(bundle: str) -> None:
    payload = fakes.payload(ec_key("released"), kid=KID.replace("app", "App"))
    assert verify(signed_answer(payload), bundle).kid.endswith(f"/App/{VERSION}")


@pytest.mark.parametrize("key", [PINNED, LATEST])
@pytest.mark.parametrize(
    ("kid", "asked"),
    [
        (f"{VAULT}/keys/other/{VERSION}", None),
        (f"{VAULT}/keys/other/{VERSION}", f"{VAULT}/keys/app"),
        (KID, f"{VAULT}/keys/other"),
        (KID.replace("myvault", "another"), None),
        (KID.replace("myvault", "another"), f"{VAULT}/keys/app"),
        (f"{VAULT}/keys/app", f"{VAULT}/keys/app"),
        (f"{VAULT}/keys/app2/{VERSION}", f"{VAULT}/keys/app"),
        (f"{VAULT}/secrets/app/{VERSION}", f"{VAULT}/keys/app"),
        (KID, "x"),
    ],
)
def test_an_answer_for_another_key(bundle: str, key: keyvault.KeyId, kid: str, asked: t.Optional[str]) -> None:
    with refused("response_key_mismatch"):
        verify(signed_answer(fakes.payload(ec_key("released"), kid=kid, asked=asked)), bundle, key)


def test_an_answer_with_another_version_than_the_pinned_one(bundle: str) -> None:
    payload = fakes.payload(ec_key("released"), kid=f"{VAULT}/keys/app/{'f' * 32}", asked=KID)
    with refused("response_key_mismatch") as info:
        verify(signed_answer(payload), bundle)
    assert info.value.facts["wanted"] == KID and info.value.facts["found"].endswith("f" * 32)


@pytest.mark.parametrize("nonce", ["another", "", None, 5])
def test_an_answer_to_another_request(bundle: str, nonce: t.Any) -> None:
    with refused("response_nonce_mismatch"):
        verify(signed_answer(changed("request", "nonce", to=nonce)), bundle)


def test_an_answer_without_a_nonce(bundle: str) -> None:
    with refused("response_nonce_mismatch"):
        verify(signed_answer(changed("request", "nonce", drop=True)), bundle)


@pytest.mark.parametrize("enc", ["CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_384", None])
def test_another_algorithm_than_asked(bundle: str, enc: t.Any) -> None:
    with refused("wrap_algorithm_mismatch"):
        verify(signed_answer(changed("request", "enc", to=enc)), bundle)
    with refused("wrap_algorithm_mismatch") as info:
        verify(signed_answer(fakes.payload(ec_key("released"), inner={"enc": enc})), bundle)
    assert repr(enc) in info.value.message


@pytest.mark.parametrize("kid", ["HCLAkPub", "", None])
def test_a_key_wrapped_to_another(bundle: str, kid: t.Any) -> None:
    with refused("response_key_mismatch"):
        verify(signed_answer(fakes.payload(ec_key("released"), inner={"kid": kid})), bundle)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"request": {}, "response": {}},
        {"request": [], "response": []},
        changed("request", drop=True),
        changed("request", "kid", drop=True),
        changed("response", to=None),
        changed("response", "key", to=[]),
        changed("response", "key", "key", drop=True),
        changed("response", "key", "key", to="text"),
        changed("response", "key", "key", "kid", drop=True),
        changed("response", "key", "key", "key_hsm", drop=True),
        changed("response", "key", "key", "key_hsm", to="%"),
        changed("response", "key", "key", "key_hsm", to=5),
        changed("response", "key", "key", "key_hsm", to=fakes.b64u(b"text")),
        changed("response", "key", "key", "key_hsm", to=fakes.b64u(b"[]")),
        changed("response", "key", "key", "key_hsm", to=fakes.b64u(b'{"ciphertext": "AAAA"}')),
        changed("response", "key", "key", "key_hsm", to=fakes.b64u(b'{"ciphertext": "AAAA", "header": {}}')),
        changed("response", "key", "attributes", to="text"),
    ],
)
def test_an_answer_without_the_documented_members(bundle: str, document: t.Dict[str, t.Any]) -> None:
    with refused("response_malformed"):
        verify(signed_answer(document), bundle)


@pytest.mark.parametrize("key_hsm", [5, None, ["a"], {}, fakes.b64u(b"[" * 100000), fakes.b64u(b'{"a":' * 100000)])
def test_a_wrapped_key_that_is_no_document(bundle: str, key_hsm: t.Any) -> None:
    document = changed("response", "key", "key", "key_hsm", to=key_hsm)
    with refused("response_malformed"):
        verify(signed_answer(document), bundle)


@pytest.mark.parametrize("name", ["nbf", "exp"])
@pytest.mark.parametrize("value", ["2030-01-01", True, [1], -5, 10**30, 1e300])
def test_attributes_whose_dates_are_none(bundle: str, name: str, value: t.Any) -> None:
    document = changed("response", "key", "attributes", to={"enabled": True, name: value})
    with refused("response_malformed"):
        verify(signed_answer(document), bundle)


def test_attributes_without_dates(bundle: str) -> None:
    document = changed("response", "key", "attributes", to={"enabled": True, "nbf": None, "exp": 1.9e9})
    assert verify(signed_answer(document), bundle).attributes["exp"] == 1.9e9
