# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole job with a managed HSM in the vault's place: role managed_hsm, then the site playbook with skr_hsm_uri."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from labkit import Lab, environment

from skrsim.lab.plan import LOCATION, RESOURCE_GROUP

CRYPTO_USER = "21dbd100-6940-42c2-9190-5d6cb909625b"


def test_site_with_a_managed_hsm(local_lab: Lab, tmp_path: Path) -> None:
    name = "hsm-skr-site"
    role = {
        "managed_hsm_name": name,
        "managed_hsm_resource_group": RESOURCE_GROUP,
        "managed_hsm_location": LOCATION,
        "managed_hsm_security_domain_file": str(tmp_path / "domain.json"),
        "managed_hsm_security_domain_certificates": local_lab.quorum(),
    }
    play = {
        "hosts": "cvm", "gather_facts": False, "name": "HSM", "roles": ["confidential.azure_skr.managed_hsm"],
        "vars": role, "module_defaults": {"group/confidential.azure_skr.azure": local_lab.azure()},
    }  # fmt: skip
    book = tmp_path / "hsm.yml"
    book.write_text(json.dumps([play]))
    for changes in ("changed=2", "changed=0"):
        done = subprocess.run(
            ["ansible-playbook", "-i", str(local_lab.inventory), str(book)],
            capture_output=True, text=True, env=environment(), cwd=local_lab.directory, check=False,
        )  # fmt: skip
        assert done.returncode == 0 and changes in done.stdout, done.stdout
    local_lab.call("hsm_role", name=name, role=CRYPTO_USER)
    variables = {"skr_hsm_uri": f"https://{name}.managedhsm.azure.net", "skr_grant_scope": "key"}
    one = ("--limit", "cvm-01,cvm-02")
    first = local_lab.playbook("site", *one, variables=variables)
    assert first.returncode == 0, first.stdout
    mark = local_lab.mark
    again = local_lab.playbook("site", *one, variables=variables)
    assert again.returncode == 0 and local_lab.writes(mark) == [], again.stdout
    released = local_lab.audit(mark, operation="key_release", status=200)
    assert {record["host"] for record in released} == {f"{name}.managedhsm.azure.net"} and len(released) == 2
