# SPDX-License-Identifier: GPL-3.0-or-later
"""Envelopes of application secrets: a known one, agreement with a reader and a writer of our own, and every alteration refused."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from unit.guest.release_fakes import b64u, compact, ec_key, private_pem, refused, rsa_key

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import envelope, envelope_file

KEY, OTHER = rsa_key("released"), rsa_key("other")
SECRET = b"correct horse battery staple\n\0\xff"
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
MEMBERS = ["protected", "encrypted_key", "iv", "ciphertext", "tag"]


def public_pem(key: t.Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()  # type: ignore[no-any-return]


def sha256(key: t.Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_key().public_bytes(serialization.Encoding.DER, form)).hexdigest()


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def written(
    key: t.Any = KEY,
    secret: bytes = SECRET,
    header: t.Optional[t.Dict[str, t.Any]] = None,
    protected: t.Optional[str] = None,
    sizes: t.Tuple[int, int] = (32, 12),
    oaep: t.Any = OAEP,
    associated: t.Optional[bytes] = None,
) -> t.Dict[str, str]:
    """An envelope as RFC 7516 and docs/envelope.md have it, without the code under test."""
    full = {
        "alg": "RSA-OAEP-256", "enc": "A256GCM", "typ": "azure-skr-secret+jwe;v=1", "kid": sha256(key), **(header or {}),
    }  # fmt: skip
    protected = protected or b64u(compact({name: value for name, value in full.items() if value is not None}))
    content_key, iv = os.urandom(sizes[0]), os.urandom(sizes[1])
    sealed = AESGCM(content_key).encrypt(iv, secret, protected.encode() if associated is None else associated)
    parts = (key.public_key().encrypt(content_key, oaep), iv, sealed[:-16], sealed[-16:])
    return dict(zip(MEMBERS, [protected, *map(b64u, parts)]))


def opened(document: t.Any, key: t.Any = KEY) -> bytes:
    return bytes(envelope.unwrap(envelope.parse(document), key))


# --- both ways


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_what_is_wrapped_opens(size: int) -> None:
    key = rsa.generate_private_key(65537, size)
    for secret in (b"\0", SECRET, os.urandom(70_000)):
        assert opened(envelope.wrap(public_pem(key), secret), key) == secret


def test_what_another_writer_makes_opens() -> None:
    assert opened(written()) == SECRET == opened(json.dumps(written(), indent=2)) == opened(compact(written()))
    assert opened(written(header={"name": "database"})) == SECRET


def test_another_reader_opens_what_we_make() -> None:
    document = json.loads(envelope.wrap(public_pem(KEY), SECRET, "database"))
    assert list(document) == MEMBERS
    content_key = KEY.decrypt(raw(document["encrypted_key"]), OAEP)
    sealed = raw(document["ciphertext"]) + raw(document["tag"])
    assert len(content_key) == 32 and len(raw(document["iv"])) == 12 and len(raw(document["tag"])) == 16
    assert AESGCM(content_key).decrypt(raw(document["iv"]), sealed, document["protected"].encode()) == SECRET
    assert raw(document["protected"]) == (
        b'{"alg":"RSA-OAEP-256","enc":"A256GCM","typ":"azure-skr-secret+jwe;v=1","kid":"%s","name":"database"}'
        % sha256(KEY).encode()
    )


def test_the_form_is_one_line_without_blanks_and_never_the_same() -> None:
    one, two = (envelope.wrap(public_pem(KEY), SECRET) for _try in range(2))
    assert " " not in one and "\n" not in one and "=" not in one
    first, second = json.loads(one), json.loads(two)
    assert first["protected"] == second["protected"]
    assert all(first[member] != second[member] for member in MEMBERS[1:])


# --- alterations


@functools.cache
def known() -> t.Dict[str, str]:
    return written(header={"name": "database"})


@pytest.mark.parametrize("member", MEMBERS[1:])
def test_any_altered_byte_is_noticed(member: str) -> None:
    content = raw(known()[member])
    for place in range(0, len(content), 17):
        altered = bytearray(content)
        altered[place] ^= 1
        with refused("secret_envelope_invalid"):
            opened({**known(), member: b64u(bytes(altered))})


def test_the_header_cannot_be_exchanged() -> None:
    """The same key, another name: each part is right and they do not belong together."""
    other = written(header={"name": "another"})
    with refused("secret_envelope_invalid") as info:
        opened({**known(), "protected": other["protected"]})
    assert "does not open" in info.value.message
    for member in MEMBERS[1:]:
        with refused("secret_envelope_invalid"):
            opened({**known(), member: other[member]})


def test_the_same_header_in_other_words_is_another() -> None:
    text = b64u(json.dumps(json.loads(raw(known()["protected"])), indent=1).encode())
    with refused("secret_envelope_invalid"):
        opened({**known(), "protected": text})


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ({"alg": "RSA-OAEP"}, "alg"), ({"alg": "RSA1_5"}, "alg"), ({"alg": "dir"}, "alg"), ({"alg": None}, "alg"),
        ({"enc": "A128GCM"}, "enc"), ({"enc": "A256CBC-HS512"}, "enc"), ({"typ": "JWE"}, "typ"), ({"typ": None}, "typ"),
        ({"typ": "azure-skr-secret+jwe;v=2"}, "typ"), ({"zip": "DEF"}, "zip"), ({"crit": ["exp"]}, "crit"), ({"jku": "https://elsewhere"}, "jku"),
        ({"kid": None}, "kid"), ({"kid": "released"}, "kid"), ({"kid": "A" * 64}, "kid"), ({"kid": 5}, "kid"), ({"kid": ["a"]}, "kid"),
        ({"name": ""}, "name"), ({"name": "a\nb"}, "name"), ({"name": "x" * 201}, "name"), ({"name": 5}, "name"), ({"name": "\u00e4"}, "name"),
    ],
)  # fmt: skip
def test_headers_of_another_form(header: t.Dict[str, t.Any], word: str) -> None:
    with refused("secret_envelope_invalid") as info:
        envelope.parse(written(header=header))
    assert word in info.value.message


def test_a_null_name_is_no_name() -> None:
    protected = b64u(
        b'{"alg":"RSA-OAEP-256","enc":"A256GCM","typ":"azure-skr-secret+jwe;v=1","kid":"%s","name":null}'
        % sha256(KEY).encode()
    )
    with refused("secret_envelope_invalid"):
        envelope.parse(written(protected=protected))


def test_members_that_come_twice() -> None:
    text = json.dumps(known())
    with refused("secret_envelope_invalid"):
        envelope.parse(text[:-1] + f', "iv": "{known()["iv"]}"' + "}")
    header = raw(known()["protected"])
    with refused("secret_envelope_invalid"):
        envelope.parse(written(protected=b64u(header[:-1] + b',"alg":"RSA-OAEP-256"}')))


@pytest.mark.parametrize(
    "change",
    [
        *[{member: None} for member in MEMBERS],
        *[{member: value} for member in MEMBERS for value in ("", 5, ["AA"], "AA==", "A", "A+/B", "AA AA", "AB")],
        {"header": {}}, {"recipients": []}, {"aad": "AA"}, {"unprotected": {}}, {"iv": b64u(bytes(16))}, {"tag": b64u(bytes(12))},
        {"protected": b64u(b"[]")}, {"protected": b64u(b"{")}, {"protected": b64u(b"\xff")}, {"protected": b64u(b"[" * 100_000)},
    ],
)  # fmt: skip
def test_objects_of_another_form(change: t.Dict[str, t.Any]) -> None:
    document = {name: value for name, value in {**known(), **change}.items() if value is not None}
    with refused("secret_envelope_invalid"):
        opened(document)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "text", '"text"', "{" * 100_000, b"\xff\xfe", "x" * (2 << 20) + "x"]
)
def test_texts_that_are_no_envelope(text: t.Union[str, bytes]) -> None:
    with refused("secret_envelope_invalid") as info:
        envelope.parse(text, "secrets[3]")
    assert info.value.message.startswith("secrets[3] ")


def test_an_aes_key_of_another_size_or_another_padding() -> None:
    for changes in (
        {"sizes": (16, 12)},
        {"sizes": (24, 12)},
        {"oaep": padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)},
        {"oaep": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"label")},
        {"oaep": padding.PKCS1v15()},
        {"associated": b""},
    ):
        with refused("secret_envelope_invalid") as info:
            opened(written(**changes))  # type: ignore[arg-type]
        assert info.value.message == "the envelope is refused: it does not open."


def test_another_key_is_named_with_both_fingerprints() -> None:
    with refused("secret_envelope_key") as info:
        opened(known(), OTHER)
    assert info.value.facts == {"wanted": sha256(KEY), "found": sha256(OTHER)} and "key_version" in info.value.next_step


def test_a_header_that_claims_another_key() -> None:
    with refused("secret_envelope_invalid"):
        opened(written(OTHER, header={"kid": sha256(KEY)}))


# --- wrapping


@pytest.mark.parametrize("secret", [b"", bytes((1 << 20) + 1)])
def test_secrets_of_impossible_length(secret: bytes) -> None:
    with refused("invalid_input") as info:
        envelope.wrap(public_pem(KEY), secret)
    assert info.value.facts == {"option": "secret", "bytes": len(secret)}


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201, "\u00e4"])
def test_names_that_cannot_be(name: str) -> None:
    with refused("invalid_input") as info:
        envelope.wrap(public_pem(KEY), SECRET, name)
    assert info.value.facts == {"option": "name"}


def test_keys_that_cannot_wrap() -> None:
    with refused("key_cannot_wrap"):
        envelope.wrap(public_pem(ec_key("released")), SECRET)
    with refused("invalid_input") as info:
        envelope.wrap(public_pem(rsa.generate_private_key(65537, 1024)), SECRET)
    assert "1024" in info.value.message


@pytest.mark.parametrize("content", ["", "text", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_public_key(content: str) -> None:
    with refused("invalid_input") as info:
        envelope.wrap(content, SECRET)
    assert info.value.facts == {"option": "public_key"}


def test_a_private_key_given_for_the_public_one_is_not_shown() -> None:
    with refused("invalid_input") as info:
        envelope.wrap(private_pem(KEY), SECRET)
    shown = json.dumps(info.value.as_result())
    assert all(line not in shown for line in private_pem(KEY).decode().splitlines())


def test_no_failure_quotes_the_secret() -> None:
    for call in (
        lambda: envelope.wrap("x", b"sentinel"),
        lambda: envelope.wrap(public_pem(KEY), b"sentinel" * 200_000),
    ):
        with pytest.raises(Exception) as info:
            call()
        assert "sentinel" not in str(info.value)


# --- files


def wanted(folder: Path, **changes: t.Any) -> envelope_file.Wanted:
    options = {
        "public_key": public_pem(KEY),
        "secret": "correct horse",
        "name": "database",
        "dest": str(folder / "e"),
        **changes,
    }
    return envelope_file.Wanted(**options)


def test_a_file_is_made_once(tmp_path: Path) -> None:
    foretold = envelope_file.wrap(wanted(tmp_path), check_mode=True)
    assert foretold["changed"] and "envelope" not in foretold and not list(tmp_path.iterdir())
    made = envelope_file.wrap(wanted(tmp_path))
    path = tmp_path / "e"
    assert made["changed"] and path.read_text() == made["envelope"] + "\n" and path.stat().st_mode & 0o777 == 0o644
    assert opened(path.read_text()) == b"correct horse" and made["diff"] == foretold["diff"]
    assert made["public_key_sha256"] == sha256(KEY) and made["dest"] == str(path)
    before = path.stat()
    again = envelope_file.wrap(wanted(tmp_path, secret="another"))
    assert not again["changed"] and again["envelope"] == made["envelope"] and path.stat() == before
    forced = envelope_file.wrap(wanted(tmp_path, secret="another", force=True))
    assert forced["changed"] and opened(path.read_text()) == b"another"


@pytest.mark.parametrize("changes", [{"public_key": public_pem(OTHER)}, {"name": "other"}, {"name": None}])
def test_for_another_key_or_name_it_is_made_anew(tmp_path: Path, changes: t.Dict[str, t.Any]) -> None:
    envelope_file.wrap(wanted(tmp_path))
    made = envelope_file.wrap(wanted(tmp_path, **changes))
    assert made["changed"] and made["diff"]["before"] != made["diff"]["after"]


def test_a_file_that_is_no_envelope_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "e").write_bytes(b"\xff rubbish")
    made = envelope_file.wrap(wanted(tmp_path))
    assert made["changed"] and made["diff"]["before"] == {"exists": True, "public_key_sha256": None, "name": None}


def test_a_secret_from_a_file_counts_every_byte(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    made = envelope_file.wrap(wanted(tmp_path, secret=None, secret_file=str(tmp_path / "secret"), dest=None))
    assert opened(made["envelope"]) == SECRET and "dest" not in made


def test_a_result_that_masking_would_damage_is_not_given(tmp_path: Path) -> None:
    """Ansible replaces each occurrence of a secret in a result, also by chance in the middle of base64."""
    with refused("invalid_input") as info:
        envelope_file.wrap(wanted(tmp_path, secret="e", dest=None))
    assert "secret_file" in info.value.message
    made = envelope_file.wrap(wanted(tmp_path, secret="e"))
    assert "envelope" not in made and opened((tmp_path / "e").read_text()) == b"e"
    assert "envelope" not in envelope_file.wrap(wanted(tmp_path, secret="e"))
    for _try in range(30):
        told = envelope_file.wrap(wanted(tmp_path, secret="abc", dest=None))["envelope"]
        assert "abc" not in told and opened(told) == b"abc"


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"mode": "u=rw"}, "mode"),
        ({"mode": "7777"}, "mode"),
        ({"dest": "/proc"}, "dest"),
        ({"secret": None, "secret_file": "/no/such/file"}, "secret_file"),
        ({"public_key": "text"}, "public_key"),
    ],
)
def test_options_that_cannot_work(tmp_path: Path, changes: t.Dict[str, t.Any], option: str) -> None:
    with refused("invalid_input") as info:
        envelope_file.wrap(wanted(tmp_path, **changes))
    assert info.value.facts["option"] == option


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with refused("delivery_failed"):
        envelope_file.wrap(wanted(tmp_path / "missing"))
    assert not list(tmp_path.iterdir())
