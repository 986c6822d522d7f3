# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest modules as processes of their own, where libraries, the TPM or an option are missing."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from unit.guest.release_fakes import rsa_key

from ansible_collections.confidential.azure_skr.plugins.doc_fragments import delivery as delivery_fragment
from ansible_collections.confidential.azure_skr.plugins.doc_fragments import release as release_fragment
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import arguments, envelope, unwrap
from ansible_collections.confidential.azure_skr.plugins.modules import secret_unwrap

MODULES = "ansible_collections.confidential.azure_skr.plugins.modules"
COLLECTIONS = Path(__file__).resolve().parents[3] / ".collections"
OPTIONS: t.Dict[str, t.Dict[str, t.Any]] = {
    "attestation_info": {"attestation_url": "https://sharedweu.weu.attest.azure.net"},
    "hardware_report_info": {},
    "key_release": {
        "attestation_url": "https://sharedweu.weu.attest.azure.net",
        "vault_uri": "https://myvault.vault.azure.net",
        "key_name": "app",
        "dest": "/dev/shm/no-such-folder/app.pem",
        "memory_backed": False,
    },
    "release_probe": {
        "attestation_url": "https://sharedweu.weu.attest.azure.net",
        "vault_uri": "https://myvault.vault.azure.net",
        "key_name": "app",
    },
    "secret_unwrap": {
        "attestation_url": "https://sharedweu.weu.attest.azure.net",
        "vault_uri": "https://myvault.vault.azure.net",
        "key_name": "app",
        "secrets": [
            {
                "envelope": envelope.wrap(unwrap.public_facts(rsa_key("released"))["public_key_pem"], b"secret"),
                "dest": "/dev/shm/no-such-folder/secret",
                "memory_backed": False,
            }
        ],
    },
}
# Runs a module in an interpreter that lacks one package.
WITHOUT = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
if sys.argv[3]:
    sys.modules[sys.argv[3]] = None
name = sys.argv[2]
del sys.argv[1:]
runpy.run_module(name, run_name="__main__")
"""


def run(module: str, lacking: str = "", **options: t.Any) -> t.Dict[str, t.Any]:
    arguments = {"ANSIBLE_MODULE_ARGS": {**OPTIONS[module], **options}}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(COLLECTIONS), f"{MODULES}.{module}", lacking],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return t.cast(t.Dict[str, t.Any], json.loads(done.stdout))


@pytest.mark.parametrize("module", sorted(OPTIONS))
@pytest.mark.parametrize("package", ["cryptography", "requests"])
def test_a_missing_library_is_named_with_its_interpreter(module: str, package: str) -> None:
    result = run(module, package)
    assert result["failed"] is True and result["reason"] == "library_missing"
    assert result["facts"] == {"package": package, "interpreter": sys.executable}
    assert package in result["msg"] and sys.executable in result["msg"]


@pytest.mark.parametrize("module", sorted(OPTIONS))
def test_a_machine_without_a_tpm(module: str, tmp_path: Path) -> None:
    result = run(module, tpm_device=str(tmp_path / "tpmrm0"), tpm_timeout=0.1)
    assert result["failed"] is True and result["reason"] == "tpm_missing"
    assert {"cause", "next_step", "facts"} <= set(result)


@pytest.mark.parametrize("module", ["attestation_info", "key_release"])
def test_an_option_that_cannot_work(module: str) -> None:
    result = run(module, attestation_url="http://elsewhere.example")
    assert result["reason"] == "invalid_input" and "attestation_url" in result["msg"]


def test_identities_exclude_each_other() -> None:
    result = run("key_release", identity_client_id="a", identity_object_id="b")
    assert result["failed"] is True and "mutually exclusive" in result["msg"]


def test_the_algorithms_offered_are_those_that_can_be_unwrapped() -> None:
    options = yaml.safe_load(release_fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    assert options["wrap_algorithm"]["choices"] == list(unwrap.OAEP_HASH)
    assert options["wrap_algorithm"]["aliases"] == ["enc"]


def test_the_options_of_a_secret_are_those_of_a_delivery() -> None:
    """Suboptions cannot come from a fragment, so they are written twice."""
    written = yaml.safe_load(secret_unwrap.DOCUMENTATION)["options"]["secrets"]["suboptions"]
    fragment = yaml.safe_load(delivery_fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    assert set(written) == {"envelope", "envelope_file", "name", *fragment}
    for name, option in fragment.items():
        for member in ("type", "elements", "choices", "default"):
            assert written[name].get(member) == option.get(member), name
            assert arguments.delivery_argument_spec()[name].get(member) == option.get(member), name


@pytest.mark.parametrize("fragment", ["delivery", "release"])
def test_fragments_and_argument_specs_agree(fragment: str) -> None:
    modules = {"delivery": delivery_fragment, "release": release_fragment}
    options = yaml.safe_load(modules[fragment].ModuleDocFragment.DOCUMENTATION)["options"]
    spec = getattr(arguments, f"{fragment}_argument_spec")()
    assert set(options) == set(spec)
    for name, option in options.items():
        for member in ("type", "elements", "choices", "default", "required", "aliases"):
            assert spec[name].get(member) == option.get(member), (name, member)
