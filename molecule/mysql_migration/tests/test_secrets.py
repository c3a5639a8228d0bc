# SPDX-License-Identifier: GPL-3.0-or-later
"""No password of the migration is anywhere where it could be read: journal and pages, what Ansible prints at its most
talkative, lists of processes, logs of the hosts and of the servers. One of the passwords has quotes, backslashes, signs
of percent and letters that are not ASCII."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
from watch_secrets import secrets_of

testinfra_hosts = ["local://"]

EPHEMERAL = pathlib.Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
BAIT = "a-word-that-is-looked-for-too"


@pytest.fixture(name="secrets", scope="module")
def _secrets():
    return secrets_of(json.loads((EPHEMERAL / "inventory" / "mysql.yml").read_text(encoding="utf-8"))["all"]["vars"])


def found_in(text, secrets):
    """Numbers of the secrets that the text has, so that a failing test does not print them."""
    return [number for number, secret in enumerate(secrets) if secret in text]


def test_the_journal_and_the_pages_have_none(secrets):
    files = [path for path in (EPHEMERAL / "state").rglob("*") if path.is_file()]
    texts = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in files}
    assert "story.jsonl" in texts and [name for name in texts if name.endswith(".html")]
    assert {name: found_in(text, secrets) for name, text in texts.items() if found_in(text, secrets)} == {}


def test_what_ansible_prints_has_none(secrets):
    text = (EPHEMERAL / "ansible.log").read_text(encoding="utf-8")
    assert "module_args" in text and "mysql_replica" in text
    assert found_in(text, secrets) == []


def status():
    return json.loads((EPHEMERAL / "secrets.json").read_text(encoding="utf-8"))


def until(holds):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "the watcher does not see"
        time.sleep(0.1)


def seen_since(before):
    until(lambda: len(status()["bait"]) > before)


def test_no_list_of_processes_had_one(lab):
    looks = status()["looks"]
    until(lambda: status()["looks"] > looks)
    before = len(status()["bait"])
    if before < 18:     # it keeps twenty
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)", BAIT])
        seen_since(before)
        process.kill()
        process.wait()
        before = len(status()["bait"])
        lab.sql("mysql_old", "SELECT SLEEP(3) /* %s */" % BAIT)
        seen_since(before)
    assert status()["seen"] == [] and status()["looks"] > 200


@pytest.mark.parametrize("host", ["mysql_old", "mysql_new"])
def test_the_logs_of_the_hosts_and_servers_have_none(lab, secrets, host):
    def of(command, text=""):
        argv = [os.path.join(os.environ["MOLECULE_PROJECT_DIRECTORY"], "lab", "lab"), "ssh", "--name",
                "mol-" + os.environ["MOLECULE_SCENARIO_NAME"], host, "--", command]  # fmt: skip
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    general = of("grep -acE 'SET PERSIST|CHANGE REPLICATION SOURCE|CREATE USER' /var/log/mysql/general.log")
    assert int(general) > 3     # it was on all the time
    patterns = "\n".join(secrets) + "\n"
    places = "/var/log /var/lib/mysql/binlog.* /var/lib/mysql/*relay-bin.*"
    assert of("grep -rlaF -f - %s 2>/dev/null" % places, patterns) == ""
    journal = "cat > /dev/shm/p; journalctl --no-pager --quiet | grep -cF -f /dev/shm/p; rm /dev/shm/p"
    assert of(journal, patterns) == "0\n"
