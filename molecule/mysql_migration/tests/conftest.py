# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab, its servers, and what the journal says."""

import json
import os
import subprocess
import sys

import pymysql
import pymysql.cursors
import pytest
import yaml

ROOT = os.environ["MOLECULE_PROJECT_DIRECTORY"]
NAME = "mol-" + os.environ["MOLECULE_SCENARIO_NAME"]
FOLDER = os.path.join(ROOT, "build", "lab", NAME)
sys.path.insert(0, os.path.join(ROOT, "molecule", "mysql_migration", "files"))


class Lab:
    """The command of the lab, and SQL on its servers."""

    def __init__(self):
        with open(os.path.join(FOLDER, "mysql.yml"), encoding="utf-8") as stream:
            self.inputs = yaml.safe_load(stream)

    def __call__(self, *words, ok=(0,)):
        argv = [os.path.join(ROOT, "lab", "lab"), words[0], "--name", NAME, *words[1:]]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=300)
        assert done.returncode in ok, done.stdout + done.stderr
        return done.stdout

    def sql(self, host, statement):
        """The rows of a statement, as the administrator of the migration."""
        login = self.inputs["lab_mysql"][host]
        link = pymysql.connect(
            host=login["login_host"], user=login["login_user"], password=login["login_password"],
            ssl={"ca": login["ca_cert"]}, autocommit=True, cursorclass=pymysql.cursors.DictCursor,
        )  # fmt: skip
        with link, link.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def value(self, host, statement):
        return next(iter(self.sql(host, statement)[0].values()))

    def open_servers(self):
        """Names of the servers that take writes."""
        hosts = [name for name in self.inputs["lab_mysql"] if "replica" not in name]
        return [name for name in hosts if not self.value(name, "SELECT @@GLOBAL.read_only")]

    def verdict(self, host, folder):
        """What the writers say about the rows of a host."""
        path = folder / "verdict.json"
        self("mysql-writers", "pause")
        try:
            self("mysql-verdict", "--host", host, "--json", str(path), ok=(0, 3))
        finally:
            self("mysql-writers", "resume")
        return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session", name="lab")
def _lab():
    return Lab()


@pytest.fixture(name="events")
def _events():
    path = os.path.join(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "state", "story.jsonl")
    with open(path, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]
