# SPDX-License-Identifier: GPL-3.0-or-later
"""Every storage playbook can be tried on hosts that nothing was done to: it says what it would do, and no more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://storage_source"]
ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
HERE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("storage*.yml"))
HOSTS = ("files_old", "files_new", "app1")
# What exists, and since when; what is loaded, and how it does; who listens. Not what the machine itself keeps changing.
LOOK = (
    "find /etc /srv /usr/local /var/lib /root -xdev ! -path '/root/.ansible*' ! -path '/var/lib/systemd/*' "
    "! -path /root -printf '%p %m %U %T@ %s\\n' | sort; "
    "systemctl list-units --all --plain --no-legend --type=service,socket,timer | awk '{print $1, $3}' "
    "| grep -v -e '^session-' -e '^user' -e apt-daily -e tmpfiles | sort; "
    "findmnt --real -no TARGET,OPTIONS; ss -Hltn | awk '{print $4}' | sort; crontab -lu files 2>&1; true"
)


def looks(host):
    return {
        name: host.get_host("ansible://%s?ansible_inventory=%s" % (name, host.backend.ansible_inventory)).check_output(
            LOOK
        )
        for name in HOSTS
    }


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_try_tells_and_changes_nothing(host, playbook):
    before = looks(host)
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"), "--check", "--diff",
            "-i", str(HERE / "inventory"), str(ROOT / "playbooks" / ("%s.yml" % playbook)),
        ],
        check=False, capture_output=True, text=True, cwd=ROOT, env=dict(os.environ, ANSIBLE_NOCOLOR="1"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert looks(host) == before
    assert not (HERE / "state").exists() or not list((HERE / "state").iterdir())
    assert "only-for-this-story" not in done.stdout + done.stderr
