# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's configuration: the module's options, strictly; only root's file; no secret."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import config, deliver, release, request
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

MODULE = "ansible_collections.confidential.azure_skr.plugins.modules.key_release"
WANTED: dict[str, Any] = {
    "vault_uri": "https://kv.vault.azure.net",
    "key_name": "app",
    "attestation_url": "https://sharedweu.weu.attest.azure.net",
    "dest": "/run/app/app.pem",
}


def written(folder: Path, document: Any, mode: int = 0o644) -> str:
    path = folder / "app.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(mode)
    return str(path)


def refusal(document: Any, folder: Path, **how: Any) -> SkrFailure:
    with pytest.raises(SkrFailure) as caught:
        config.load(None, written(folder, document, **how))
    assert caught.value.reason == "invalid_input" and caught.value.facts["option"]
    return caught.value


def test_options_and_defaults(tmp_path: Path) -> None:
    found = config.load(None, written(tmp_path, {**WANTED, "enc": "CKM_RSA_AES_KEY_WRAP", "wait_for_grant": 5}))
    assert found.name == "app" and found.options["wrap_algorithm"] == "CKM_RSA_AES_KEY_WRAP"
    assert found.options["wait_for_grant"] == 5.0 and found.options["state_dir"] == "/run/azure-skr/status"
    wanted = request.wanted(found.options)
    assert isinstance(wanted, release.Wanted) and wanted.target == deliver.Target("/run/app/app.pem")
    assert wanted.key_name == "app" and wanted.preflight == "required"


def test_name_stands_for_a_file_of_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "FOLDER", str(tmp_path))
    written(tmp_path, WANTED)
    assert config.load("app").path == str(tmp_path / "app.json")
    for name in ("", "../app", "-x", ".hidden", "a/b", "x" * 65):
        with pytest.raises(SkrFailure, match="NAME is"):
            config.load(name)


def test_options_are_those_of_the_module() -> None:
    """Whatever module key_release takes the configuration takes, with the same type, choices and default."""
    module, spec = importlib.import_module(MODULE), request.argument_spec()
    spec.pop("on_change")  # the agent's own: Ansible has handlers
    with mock.patch.object(module, "AnsibleModule", side_effect=SystemExit) as made, pytest.raises(SystemExit):
        module.main()
    assert made.call_args.kwargs["argument_spec"] == spec


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, ["colour is no option", "wanted one of"]),
        ({"vault_url": "x"}, ["vault_url is no option", "did you mean vault_uri?"]),
        ({"key_name": None}, ["key_name is missing"]),
        ({"key_name": 7}, ["key_name is 7", "wanted text"]),
        ({"dest": "run/app.pem"}, ["dest is 'run/app.pem'", "absolute path"]),
        ({"memory_backed": "yes"}, ["memory_backed is 'yes'", "true or false"]),
        ({"memory_backed": 1}, ["memory_backed is 1"]),
        ({"expiry_warning_days": True}, ["expiry_warning_days is True", "whole number"]),
        ({"expiry_warning_days": 1.5}, ["expiry_warning_days is 1.5"]),
        ({"wait_for_grant": "60"}, ["wait_for_grant is '60'", "a number"]),
        ({"preflight": "maybe"}, ["preflight is 'maybe'", "required, advise, off"]),
        ({"release_policy": "{}"}, ["release_policy is '{}'", "an object"]),
        ({"known_client_ids": "a"}, ["known_client_ids is 'a'", "a list"]),
        ({"known_client_ids": [1]}, ["known_client_ids is 1", "text"]),
        ({"hsm_uri": "https://h.managedhsm.azure.net"}, ["hsm_uri is", "nothing beside vault_uri"]),
        ({"vault_uri": None}, ["vault_uri is missing", "or hsm_uri"]),
        ({"identity_client_id": "a", "identity_object_id": "b"}, ["identity_object_id", "nothing beside"]),
        ({"wrap_algorithm": "CKM_RSA_AES_KEY_WRAP", "enc": "CKM_RSA_AES_KEY_WRAP"}, ["enc", "only once"]),
    ],
)
def test_bad_option_names_what_was_found_and_what_is_wanted(
    tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    message = refusal({**WANTED, **change}, tmp_path).message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[]", "a list"),
        ("null", "null"),
        ("3", "a number"),
        ('{"a": 1, "a": 2}', "a is there twice"),
        ('{"key_name": }', "line 1"),
        ("[" * 100000, "JSON"),
    ],
)
def test_bad_document(tmp_path: Path, text: str, word: str) -> None:
    assert word in refusal(text, tmp_path).message


def test_file_that_others_may_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "0664" in refusal(WANTED, tmp_path, mode=0o664).message
    assert "0646" in refusal(WANTED, tmp_path, mode=0o646).message
    stat = os.fstat

    def owned(descriptor: int) -> os.stat_result:
        found = list(stat(descriptor))
        found[4] = 12345
        return os.stat_result(found)

    monkeypatch.setattr(config.os, "fstat", owned)
    assert "user id 12345" in refusal(WANTED, tmp_path).message


def test_no_file_and_no_regular_file(tmp_path: Path) -> None:
    with pytest.raises(SkrFailure, match="No such file"):
        config.load(None, str(tmp_path / "none.json"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(SkrFailure, match="readable file"):
        config.load(None, str(tmp_path / "folder.json"))


@pytest.mark.parametrize("proxy", ["http://user:geheim@proxy:3128", 5])
def test_secret_of_a_proxy_is_refused_and_not_shown(tmp_path: Path, proxy: Any) -> None:
    failure = refusal({**WANTED, "https_proxy": proxy}, tmp_path)
    assert "geheim" not in failure.message and "https_proxy" in failure.message
    kept = config.load(None, written(tmp_path, {**WANTED, "https_proxy": "http://proxy:3128"}))
    assert kept.options["https_proxy"] == "http://proxy:3128"
