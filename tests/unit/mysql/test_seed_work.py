# SPDX-License-Identifier: GPL-3.0-or-later
"""A seed from its first look to its result, on servers that are none and clients that are scripts."""

import json
import os
import sys
import time

import fakes
import pytest
from ansible_collections.seamless.migration.plugins.module_utils.host.job import Job
from ansible_collections.seamless.migration.plugins.module_utils.mysql import seed_clone, seed_work
from ansible_collections.seamless.migration.plugins.module_utils.mysql.errors import MySQLMigrationError

HAS = fakes.UUID + ":1-100"
DUMP = """#!%s
import sys
if "--version" in sys.argv: print("mysqldump  Ver 9.7.4 for Linux"); sys.exit()
if "--help" in sys.argv: print("  --init-command=name"); sys.exit()
%s
"""
GOOD = r"""
if "--set-gtid-purged=ON" in sys.argv:
    print("SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;\nSET @@SESSION.SQL_LOG_BIN= 0;")
    print("SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '%s';")
print("-- Current Database: `shop`\nINSERT;\n-- Dump completed on 2026")
""" % HAS
NO_FLUSH = """
if "--set-gtid-purged=ON" in sys.argv:
    sys.stderr.write("Couldn't execute 'FLUSH TABLES WITH READ LOCK': Access denied (1227)"); sys.exit(2)
""" + GOOD
EVENT = {
    "event_schema": "shop", "event_name": "e", "definer": "root@localhost", "status": "ENABLED", "sql_mode": "ANSI",
    "time_zone": "SYSTEM", "character_set_client": "latin1", "collation_connection": "latin1_german1_ci",
}  # fmt: skip
OWN = dict(EVENT, sql_mode="STRICT", time_zone="+00:00", character_set_client="utf8mb4", collation_connection="x")
LOAD = "#!%s\nimport sys\nif '--version' in sys.argv: print('mysql  Ver 9.7.4'); sys.exit()\n%s\n"


class Pair:
    """Two servers and the options of the module for them."""

    def __init__(self, tmp_path, preset="9.7", **more):
        self.tmp_path = tmp_path
        self.source = fakes.FakeServer(preset, gtid_executed=HAS, datadir="/", **more)
        self.target = fakes.FakeServer(preset, server_uuid=fakes.OTHER, datadir="/", log_bin_trust_function_creators=0)
        self.holds = {"old": {"shop": 3}, "new": {}}
        for name, machine in (("old", self.source), ("new", self.target)):
            machine.on(r"SELECT SCHEMA_NAME AS name", lambda _found, name=name: [
                {"name": one, "charset": "x", "collation": "x"} for one in ["mysql", "sys", *self.holds[name]]])
            machine.on(r"SELECT s.SCHEMA_NAME", lambda _found, name=name: [
                {"name": one, "objects": number, "bytes": 1000} for one, number in self.holds[name].items()])
            machine.on(r"SELECT (DISTINCT|TABLE_SCHEMA AS|PROCESSLIST_HOST|User AS|CONCAT)", [])
            machine.on(r"SELECT EVENT_SCHEMA", [])
            machine.on(r"SELECT @@sql_mode", [OWN])
            machine.on(r"SET SESSION sql_mode", [])
            machine.on(r"SELECT CURRENT_USER", [{"x": "admin@%"}])
            machine.on(r"(CREATE|DROP|GRANT|ALTER|REPLACE) ", [])
            self.with_plugins_and_accounts(machine)
            machine.on(r"RESET BINARY LOGS", lambda _found: self.target.variables.update(gtid_executed=""))
            machine.on(r"SET GLOBAL gtid_purged = '(.*)'$", lambda found: self.target.variables.update(
                gtid_executed=found.group(1), gtid_purged=found.group(1)))
        self.programs(GOOD, "sys.stdin.read()")

    @staticmethod
    def with_plugins_and_accounts(machine):
        """The plugin clone and its accounts come and go as on a server."""
        machine.plugins, machine.clones = [], []
        machine.on(r"SELECT PLUGIN_STATUS", lambda _found: [{"x": "ACTIVE"} for _one in machine.plugins])
        machine.on(r"INSTALL PLUGIN", lambda _found: machine.plugins.append("clone"))
        machine.on(r"UNINSTALL PLUGIN", lambda _found: machine.plugins.clear())
        own = r"SELECT User AS user, Host AS host FROM mysql.user WHERE LEFT\(User, (\d+)\) = '(\w+)'$"
        machine.on(own, lambda found: [
            {"user": user, "host": "%"} for user in machine.clones if user[:int(found.group(1))] == found.group(2)])
        machine.on(r"CREATE USER '(\w+)'", lambda found: machine.clones.append(found.group(1)))
        machine.on(r"DROP USER IF EXISTS '(\w+)'", lambda found: machine.clones.remove(found.group(1)))

    def programs(self, dump, load):
        for name, text in (("mysqldump", DUMP % (sys.executable, dump)), ("mysql", LOAD % (sys.executable, load))):
            (self.tmp_path / name).write_text(text)
            (self.tmp_path / name).chmod(0o755)

    def work(self, method="dump", **options):
        def connect(**arguments):
            return (self.source if arguments["host"] == "old" else self.target).connect(**arguments)

        def login(host):
            return {"login_host": host, "login_port": 3306, "login_user": "admin", "login_password": "s3cret",
                    "login_unix_socket": None, "platform": "auto"}

        params = {"source": login("old"), "target": login("new"), "method": method, "schemas": [], "overwrite": [],
                  "dump_options": [], "donor_host": None, "donor_port": None, "bwlimit_kib_per_s": 0, "lock_wait": 10,
                  "mysqldump_path": str(self.tmp_path / "mysqldump"), "mysql_path": str(self.tmp_path / "mysql"),
                  "timeout": 60}
        return seed_work.Work(dict(params, **options), connect=connect)


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


def _refused(pair, message, method="dump", **options):
    with pytest.raises(MySQLMigrationError, match=message):
        pair.work(method, **options).run()
    changes = r"(SET (GLOBAL|PERSIST)|CREATE|DROP|RESET|CLONE|INSTALL)"
    assert not pair.target.said_like(changes) and not pair.source.said_like(changes)


# --- what must not begin ---


def test_a_target_with_data_is_refused_by_the_names_of_its_schemas(pair):
    pair.holds["new"] = {"shop": 3, "other": 1, "empty": 0}
    _refused(pair, "it holds the schemas other, shop")
    _refused(pair, "it holds the schemas other", overwrite=["shop"])


def test_a_target_that_replicates_is_refused(pair):
    pair.target.channel("", Source_Host="old")
    _refused(pair, "replication runs there", "clone")
    pair.target.channels[""].update(Replica_IO_Running="No")
    _refused(pair, "replication runs there", "dump")


def test_one_server_twice_is_refused(pair):
    pair.target.variables["server_uuid"] = fakes.UUID
    _refused(pair, "auto.cnf")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_without_gtids_is_refused(pair, side):
    getattr(pair, side).variables["gtid_mode"] = "ON_PERMISSIVE"
    _refused(pair, "mysql_gtid first")


def test_clone_needs_the_same_series_and_no_rds(pair, tmp_path):
    pair.target = fakes.FakeServer("8.4", server_uuid=fakes.OTHER, datadir="/")
    other = Pair(tmp_path)
    other.source.version_text = "8.4.3"
    _refused(other, "same series", "clone")
    _refused(Pair(tmp_path, "rds-8.4"), "RDS has no clone plugin", "clone")


def test_an_older_target_is_refused(pair):
    pair.target.version_text = "8.4.3"
    _refused(pair, "at least as new")


def test_a_target_whose_binary_log_is_read_is_refused(pair):
    pair.target.on("SELECT PROCESSLIST_HOST", [{"user": "repl", "host": "third"}])
    _refused(pair, "repl@third")


def test_a_target_without_room_is_refused(pair, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "db1")
    pair.holds["old"] = {"shop": 3}
    pair.source.on("SELECT s.SCHEMA_NAME", [{"name": "shop", "objects": 1, "bytes": 10 ** 18}])
    _refused(pair, "Make room")


def test_schemas_that_the_source_has_not_are_named(pair):
    _refused(pair, "no schema shopp", schemas=["shopp"])


def test_clone_of_some_schemas_is_refused(pair):
    pair.holds["old"] = {"shop": 3, "stock": 1}
    _refused(pair, "not some", "clone", schemas=["shop"])


def test_clone_from_a_closed_server_is_refused(pair):
    pair.source.variables.update(read_only=1, super_read_only=1)
    _refused(pair, "the source is fenced", "clone")


def test_definers_beyond_the_login_are_named_before_anything_is_loaded(pair):
    pair.source.on("SELECT DISTINCT definer", [{"definer": "root@localhost"}])
    pair.target.on("SELECT CONCAT.*SYSTEM_USER", [{"name": "root@localhost"}])
    _refused(pair, "root@localhost.*Grant SYSTEM_USER")


@pytest.mark.parametrize(
    "options, message",
    [({"timeout": 0}, "timeout"), ({"lock_wait": 0}, "lock_wait"), ({"dump_options": ["shop"]}, "dump_options")],
)
def test_options_that_are_none_are_refused(pair, options, message):
    with pytest.raises(MySQLMigrationError, match=message):
        pair.work(**options)


# --- what is there already ---


def test_a_target_that_follows_already_is_left_as_it_is(pair):
    pair.holds["new"] = {"shop": 3}
    pair.target.variables["gtid_executed"] = fakes.UUID + ":1-90"
    result = pair.work().run()
    assert (result["changed"], result["already"], result["gtid_executed"]) == (False, True, fakes.UUID + ":1-90")


@pytest.mark.parametrize("executed, purged, message", [
    (fakes.OTHER + ":1", "", "does not have"), (fakes.UUID + ":1-5", fakes.UUID + ":1-9", "purged 4 transactions"),
    ("", "", "empty"),
])
def test_a_snapshot_from_which_nothing_can_go_on_is_refused(pair, executed, purged, message):
    pair.holds["new"] = {"shop": 3}
    pair.target.variables["gtid_executed"] = executed
    pair.source.variables["gtid_purged"] = purged
    _refused(pair, message, "none")


def test_a_snapshot_that_was_restored_well_is_taken(pair):
    pair.holds["new"] = {"shop": 3}
    pair.target.variables["gtid_executed"] = fakes.UUID + ":1-50"
    assert pair.work("none").run()["gtid_executed"] == fakes.UUID + ":1-50"


# --- dump ---


def test_a_dump_ends_with_its_gtid_set_and_a_fence(pair):
    result = pair.work().run()
    assert result["changed"] and result["fenced"] and result["gtid_executed"] == HAS
    said = pair.target.said
    assert said.index("RESET BINARY LOGS AND GTIDS") < said.index("SET GLOBAL gtid_purged = '%s'" % HAS)
    assert pair.target.persisted["super_read_only"] == 1
    position = said.index("SET GLOBAL gtid_purged = '%s'" % HAS)
    assert position < said.index("DROP DATABASE IF EXISTS `seamless_migration_seed`")
    assert pair.target.variables["event_scheduler"] == "ON"


def test_events_sleep_before_the_scheduler_wakes(pair):
    pair.target.on("SELECT EVENT_SCHEMA", [dict(EVENT, event_name="e`v", definer="a@b@host")])
    result = pair.work().run()
    assert result["events_disabled"] == ["shop.e`v"]
    said = pair.target.said
    slept = said.index("ALTER DEFINER = `a@b`@`host` EVENT `shop`.`e``v` DISABLE ON REPLICA")
    assert said.index("SET GLOBAL event_scheduler = OFF") < slept < said.index("SET GLOBAL event_scheduler = ON")


def test_an_event_keeps_its_character_set_and_modes_when_it_is_put_to_sleep(pair):
    pair.target.on("SELECT EVENT_SCHEMA", [dict(EVENT, event_name="wöchentlich")])
    pair.work().run()
    said = pair.target.said
    wanted = "SET SESSION sql_mode = '%s', time_zone = '%s', character_set_client = '%s', collation_connection = '%s'"
    taken = said.index(wanted % ("ANSI", "SYSTEM", "latin1", "latin1_german1_ci"))
    assert said[taken + 1] == "ALTER DEFINER = `root`@`localhost` EVENT `shop`.`wöchentlich` DISABLE ON REPLICA"
    assert pair.target.sent_as_bytes == [said[taken + 1].encode("latin1")]
    assert said[taken + 2] == wanted % ("STRICT", "+00:00", "utf8mb4", "x")


def test_events_that_cannot_be_put_to_sleep_leave_the_scheduler_off(pair):
    pair.target.on("SELECT EVENT_SCHEMA", [EVENT])
    pair.target.on("ALTER DEFINER", fakes.error(1227, "SYSTEM_USER"))
    result = pair.work().run()
    assert pair.target.variables["event_scheduler"] == "OFF" and "shop.e" in result["notes"][-1]


@pytest.mark.parametrize("dump, load", [("sys.exit(2)", "sys.stdin.read()"), (GOOD, "sys.stdin.read(); sys.exit(1)")])
def test_a_load_that_fails_leaves_a_mark_and_no_gtids_and_a_fence(pair, dump, load):
    pair.target.variables["gtid_executed"] = fakes.OTHER + ":1-7"
    pair.programs(dump, load)
    with pytest.raises(MySQLMigrationError, match="begins anew"):
        pair.work().run()
    assert pair.target.variables["gtid_executed"] == "" and pair.target.variables["super_read_only"] == 1
    assert not pair.target.said_like("DROP DATABASE IF EXISTS `seamless")
    assert not pair.target.said_like(".*gtid_purged =")


def test_what_a_failed_load_left_is_cleared_away_by_name(pair):
    pair.holds["new"] = {"shop": 1, "seamless_migration_seed": 1}
    pair.target.on("SELECT names FROM", [{"names": json.dumps(["shop"])}])
    result = pair.work().run()
    assert result["dropped"] == ["shop"] and pair.target.said_like("DROP DATABASE IF EXISTS `shop`")
    pair.holds["new"]["theirs"] = 1
    pair.target.variables["gtid_executed"] = ""
    with pytest.raises(MySQLMigrationError, match="it holds the schemas theirs, left there by a seed that did not end"):
        pair.work().run()


def test_no_password_is_in_what_is_said(pair):
    work = pair.work("clone")
    _clone_rules(pair)
    work.run()
    assert all("s3cret" not in one and "IDENTIFIED BY '*" in one or "IDENTIFIED" not in one for one in work.queries())


def test_without_the_right_to_flush_a_dump_is_taken_when_nothing_was_committed(pair):
    loaded = pair.tmp_path / "loaded"
    pair.programs(NO_FLUSH, "open(%r, 'w').write(sys.stdin.read())" % str(loaded))
    assert pair.work().run()["gtid_executed"] == HAS
    # What is logged at the target would be executed by the source, over the way back: DROP TABLE too.
    assert loaded.read_text().startswith("SET @@SESSION.SQL_LOG_BIN= 0;\n-- Current Database")


def test_a_load_that_left_transactions_of_the_target_s_own_is_no_seed(pair):
    more = "%s,\n%s:1-7" % (HAS, fakes.OTHER)
    pair.target.on(r"SET GLOBAL gtid_purged", lambda _found: pair.target.variables.update(gtid_executed=more))
    with pytest.raises(MySQLMigrationError, match="the target has transactions of its own now .*%s" % fakes.OTHER):
        pair.work().run()
    assert pair.target.said.index("SET SESSION wait_timeout = 31536000") < pair.target.said.index(
        pair.target.said_like("SET GLOBAL gtid_purged")[0])


def test_without_the_right_to_flush_a_busy_source_is_refused_with_what_can_be_done(pair):
    pair.programs(NO_FLUSH, "sys.stdin.read()")
    count = iter(range(101, 10 ** 6))
    pair.source.on(r"SELECT @@GLOBAL.gtid_executed", lambda _found: [{"x": "%s:1-%d" % (fakes.UUID, next(count))}])
    with pytest.raises(MySQLMigrationError, match="method none"):
        pair.work().run()


def test_on_rds_the_position_goes_through_the_procedure(tmp_path):
    pair = Pair(tmp_path, "rds-8.4")
    pair.target.procedures += ("rds_set_external_source_gtid_purged",)
    pair.target.variables.update(event_scheduler="OFF", log_bin_trust_function_creators=1)
    pair.target.on("SET SESSION sql_log_bin", fakes.error(1227, "no"))
    pair.target.on("CALL `mysql`.`rds_set_external_source_gtid_purged`", lambda _found: pair.target.variables.update(
        gtid_executed=HAS))
    result = pair.work().run()
    assert pair.target.said_like("CALL .*gtid_purged`\\('%s', ?1, ?100\\)" % fakes.UUID)
    assert result["gtid_executed"] == HAS
    assert not pair.target.said_like("SET GLOBAL")


def test_on_rds_a_scheduler_that_is_on_is_refused(tmp_path):
    pair = Pair(tmp_path, "rds-8.4")
    with pytest.raises(MySQLMigrationError, match="parameter group"):
        pair.work().run()


# --- clone ---


def _clone_rules(pair, state="Completed", answer=None):
    target = pair.target
    answer = answer or fakes.error(2013, "Lost connection to MySQL server during query")

    def clone(_found):
        target.variables["gtid_executed"] = HAS
        return answer

    target.on("CLONE INSTANCE FROM", clone)
    target.on("SHOW GLOBAL STATUS LIKE 'Uptime'", [{"Value": "0"}])
    target.on("SELECT STATE AS state", [{"state": state, "code": 3862, "text": "it went wrong", "source": "old:3306"}])
    target.on("SELECT COALESCE", [{"bytes": 77, "total": 99, "stage": "FILE COPY"}])


def test_a_clone_ends_with_the_gtids_of_the_source_and_nothing_of_it_left(pair):
    _clone_rules(pair)
    result = pair.work("clone").run()
    assert result["gtid_executed"] == HAS and result["fenced"] and result["login"] == "target"
    assert pair.source.said_like("CREATE USER 'seamless_clone_") and pair.source.said_like("UNINSTALL PLUGIN clone")
    said = pair.target.said
    assert said.index("SET PERSIST_ONLY super_read_only = 1") < said.index("SET GLOBAL super_read_only = 0")
    assert pair.target.variables["offline_mode"] == 0 and pair.target.variables["super_read_only"] == 1


def test_nobody_else_is_connected_while_the_target_is_open(pair):
    opened = []
    pair.target.on("SET GLOBAL read_only = 0", lambda _found: opened.append(pair.target.variables["offline_mode"]))
    _clone_rules(pair)
    pair.work("clone").run()
    assert opened and all(opened)


def test_a_clone_that_the_server_refuses_is_told_and_closes_the_target_again(pair):
    _clone_rules(pair, answer=fakes.error(3862, "Clone Donor Error: 1045"))
    with pytest.raises(MySQLMigrationError, match="Clone Donor Error"):
        pair.work("clone").run()
    assert pair.target.variables["super_read_only"] == 1 and pair.source.said_like("UNINSTALL PLUGIN clone")


def test_a_clone_that_failed_over_the_restart_is_told(pair, monkeypatch):
    _clone_rules(pair, state="Failed")
    with pytest.raises(MySQLMigrationError, match="it went wrong"):
        pair.work("clone", timeout=1).run()


def test_a_server_that_is_still_shutting_down_after_a_clone_is_waited_for(pair):
    _clone_rules(pair)
    answers = iter([fakes.error(1053, "Server shutdown in progress")])
    pair.target.on("SHOW GLOBAL STATUS LIKE 'Uptime'", lambda _found: next(answers, [{"Value": "0"}]))
    assert pair.work("clone").run()["gtid_executed"] == HAS


def test_a_second_clone_beside_one_that_runs_is_refused(pair):
    pair.target.on("SELECT PLUGIN_STATUS", [{"x": "ACTIVE"}])
    _clone_rules(pair, state="In Progress")
    _refused(pair, "under way", "clone")


def _killed(pair, installs=True):
    """A seed by clone was killed when the data had gone over: the account and the plugin are on both servers."""
    account = "seamless_clone_%s%s0a1b2c3d" % ("ki"[installs], fakes.OTHER[:8])
    for machine in (pair.source, pair.target):
        machine.clones.append(account)
        machine.plugins.append("clone")
    pair.holds["new"] = {"shop": 3}
    pair.target.variables["gtid_executed"] = HAS
    return account


@pytest.mark.parametrize("method", ["clone", "dump"])
def test_a_clone_whose_seed_was_killed_is_only_taken_down_on_both_servers(pair, method):
    _killed(pair)
    assert pair.work(method).look()["changed"]
    result = pair.work(method).run()
    assert result["changed"] and result["fenced"] and not pair.target.said_like("CLONE")
    for machine in (pair.source, pair.target):
        assert machine.clones == machine.plugins == []
    assert not pair.work(method).run()["changed"]


def test_a_plugin_that_was_there_before_the_clone_stays(pair):
    _killed(pair, installs=False)
    pair.work("clone").run()
    assert pair.source.plugins == ["clone"] and pair.source.clones == []


def test_a_plugin_that_a_killed_seed_installed_goes_with_the_next_clone(pair):
    account = _killed(pair)
    pair.holds["new"], pair.target.clones, pair.target.variables["gtid_executed"] = {}, [], ""
    _clone_rules(pair)
    pair.work("clone").run()
    assert pair.source.plugins == pair.source.clones == [] and account not in str(pair.target.said_like("CLONE"))


def test_what_a_killed_clone_left_on_the_source_goes_also_when_the_target_follows_by_now(pair):
    _killed(pair)
    pair.target.clones, pair.target.plugins = [], []
    assert pair.work("none").run()["changed"]
    assert pair.source.plugins == pair.source.clones == []


def test_what_a_killed_clone_left_is_cleared_where_writes_are_taken(pair):
    _killed(pair)
    promised = pair.work("clone").clear(check_mode=True)
    assert promised["cleared"] == ["source", "target"] and pair.source.clones and pair.target.clones
    pair.target.variables["super_read_only"] = 1
    result = pair.work("clone").clear(check_mode=False)
    assert result["cleared"] == ["source"] and "is fenced" in result["notes"][0]
    assert pair.source.plugins == pair.source.clones == [] and pair.target.plugins
    assert not pair.work("clone").clear(check_mode=False)["changed"]


def test_accounts_of_clones_are_known_by_their_names_and_targets_without_a_pattern():
    machine = fakes.FakeServer()
    Pair.with_plugins_and_accounts(machine)
    mine, its, other = ("seamless_clone_%s0a1b2c3d" % end for end in ("k" + fakes.UUID[:8], "i" + fakes.OTHER[:8], "x"))
    machine.clones += ["seamless-clone-k", "app", mine, its, other]
    session = machine.server().session()
    assert [row["user"] for row in seed_clone.own_accounts(session)] == [mine, its, other]
    assert [row["user"] for row in seed_clone.own_accounts(session, fakes.OTHER)] == [its]
    assert not [said for said in machine.said if "LIKE" in said or "\\" in said]


def test_the_diff_has_the_schemas_of_the_target(pair):
    pair.holds["new"] = {"shop": 3, "empty": 0}
    diff = pair.work(overwrite=["shop"]).look()["diff"]
    assert diff == {"before": {"schemas": ["empty", "shop"]}, "after": {"schemas": ["empty", "shop"]}}
    pair.holds["new"] = {}
    assert pair.work().look()["diff"] == {"before": {"schemas": []}, "after": {"schemas": ["shop"]}}


def test_an_account_for_the_clone_to_another_target_is_left_alone(pair):
    pair.source.clones.append("seamless_clone_i%s0a1b2c3d" % fakes.UUID[:8])
    _clone_rules(pair)
    pair.work("clone").run()
    assert len(pair.source.clones) == 1


def test_where_no_account_can_be_made_the_login_of_the_source_is_the_donor(pair):
    pair.source.on("CREATE USER", fakes.error(1227, "CREATE USER"))
    _clone_rules(pair)
    pair.work("clone").run()
    assert pair.target.said_like("CLONE INSTANCE FROM 'admin'@'old':3306")


def test_an_account_is_made_only_for_the_time_of_the_clone(pair):
    with pair.work("clone").source.session() as session:
        donor = seed_clone.Donor(pair.work("clone").source, session, fakes.OTHER)
        assert pair.source.clones == [donor.user] and len(donor.user) <= 32
        donor.close(session)
    assert pair.source.clones == []


# --- the job ---


def _wait(job):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        value = job.read()
        if value["state"] != "running":
            return value
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def _job(tmp_path):
    job = Job(str(tmp_path / "jobs"), "new_3306", MySQLMigrationError)
    job.open()
    return job


def test_a_job_runs_on_by_itself_and_tells_its_result(tmp_path):
    job = _job(tmp_path)
    assert job.read() == {"state": "absent"} and job.take()
    job.detach(lambda: {"bytes": 5}, "me")
    assert _wait(job)["result"] == {"bytes": 5}
    assert os.stat(job.folder).st_mode & 0o777 == 0o700


def test_a_job_that_fails_tells_why(tmp_path):
    def fail():
        raise MySQLMigrationError("Failed to seed: it is full. Make room.", 1114, "full")

    job = _job(tmp_path)
    assert job.take()
    job.detach(fail, "me")
    value = _wait(job)
    assert (value["state"], value["code"]) == ("failed", 1114) and "Make room" in value["msg"]


def test_a_job_that_was_killed_is_interrupted_and_one_that_runs_is_held(tmp_path):
    job = _job(tmp_path)
    assert job.take()
    other = Job(str(tmp_path / "jobs"), "new_3306", MySQLMigrationError)
    job.tell({"bytes": 1})
    assert not other.take() and other.read()["state"] == "running"
    job.release()
    assert other.read()["state"] == "interrupted"


def test_names_of_jobs_stay_in_their_folder(tmp_path):
    for name in ("../x", ".x", "a/b", ""):
        with pytest.raises(MySQLMigrationError, match="job"):
            Job(str(tmp_path), name, MySQLMigrationError)
