# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of lab/lab."""

import argparse
import os
import sys
import time
from pathlib import Path

from . import data, hosts, machine, mysql, mysql_data, nfs, ssh
from .run import LabError
from .state import Lab, all_names

STANDARD_HOSTS = "files_old,files_new,app1,app2"


def _up(arguments):
    started = time.monotonic()
    profiles = dict(pair.partition("=")[::2] for pair in arguments.rds.split(",") if pair)
    lab = hosts.up(arguments.name, arguments.hosts.split(","), arguments.gtid_off.split(","), profiles)
    machine.say("%s is up after %.1f s: %s" % (lab.name, time.monotonic() - started, lab.inventory))


def _down(arguments):
    if machine.has_podman():  # else no lab ever was on this machine
        hosts.down(arguments.name)


def _list(arguments):
    del arguments
    for name in all_names():
        lab = Lab(name)
        for host, state in hosts.states(lab).items():
            print("%-20s %-12s %-15s %s" % (name, host, lab.hosts[host], state))


def _inventory(arguments):
    lab = Lab(arguments.name)
    if not lab.inventory.exists():
        raise LabError("There is no lab %s. Start it: lab up --name %s" % (lab.name, lab.name))
    sys.stdout.write(lab.inventory.read_text(encoding="utf-8"))


def _ssh(arguments):
    ssh.replace(ssh.command(Lab(arguments.name), arguments.host, *arguments.command))


def _seed(arguments):
    started = time.monotonic()
    made = data.seed(Lab(arguments.name), arguments.files)
    machine.say("%d files made and listed in %.1f s" % (made, time.monotonic() - started))


def _mount(arguments):
    lab = Lab(arguments.name)
    started = time.monotonic()
    nfs.mount(lab, data.TOOLS)
    machine.say("%s mounted by %s in %.1f s" % (nfs.TOP, ", ".join(nfs.clients(lab)), time.monotonic() - started))


def _writers(arguments):
    lab = Lab(arguments.name)
    if arguments.what == "start":
        names = data.start_writers(lab, arguments.per_host, arguments.rate, arguments.keep, arguments.seed)
        machine.say("writing: %s" % ", ".join(names))
    elif arguments.what != "status":
        data.signal_writers(lab, arguments.what)
    for entry in data.status(lab):
        print("%(name)-24s %(host)-8s %(state)-8s %(operations)d operations" % entry)


def _verdict(arguments):
    return _judge(data, arguments)


def _judge(kit, arguments):
    result = kit.verdict(Lab(arguments.name), arguments.host)
    if arguments.json:
        Path(arguments.json).parent.mkdir(parents=True, exist_ok=True)
        Path(arguments.json).write_text(data.as_json(result), encoding="ascii")
    print(kit.report(result))
    return 0 if result["ok"] else 3


def _mysql_seed(arguments):
    lab = Lab(arguments.name)
    started = time.monotonic()
    made = mysql_data.seed(lab, arguments.host or mysql_data.writable(lab), arguments.rows, arguments.width)
    machine.say("%d rows in %.1f s" % (made, time.monotonic() - started))


def _mysql_writers(arguments):
    lab = Lab(arguments.name)
    if arguments.what == "start":
        mysql_data.make_tables(lab, mysql_data.writable(lab))
        names = mysql_data.start_writers(
            lab,
            arguments.connections,
            rate=arguments.rate,
            keep=arguments.keep,
            seed_text=arguments.seed,
            routed=arguments.route,
        )
        if arguments.watch:
            mysql_data.start_watcher(lab)
        machine.say("writing: %s" % ", ".join(names))
    elif arguments.what != "status":
        mysql_data.signal_writers(lab, arguments.what)
    for entry in mysql_data.status(lab):
        print("%(name)-24s %(state)-8s %(server)-16s %(commits)d commits" % entry)


def _mysql_verdict(arguments):
    return _judge(mysql_data, arguments)


def _mysql_route(arguments):
    mysql_data.set_route(Lab(arguments.name), arguments.host)


def _parameter(arguments):
    mysql.set_parameter(Lab(arguments.name), arguments.host, arguments.parameter, arguments.value)


def _clean(arguments):
    del arguments
    if machine.has_podman():
        hosts.clean()


def _parser():
    parser = argparse.ArgumentParser(prog="lab", description="Start, break and take down the hosts of the lab.")
    commands = parser.add_subparsers(dest="verb", required=True)

    def command(verb, action, text, host=False, name=True):
        entry = commands.add_parser(verb, help=text, description=text)
        entry.set_defaults(action=action)
        if name:
            standard = os.environ.get("LAB_NAME", "demo")
            entry.add_argument("--name", default=standard, help="which lab (default: %(default)s, or LAB_NAME)")
        if host:
            entry.add_argument("host")
        return entry

    start = command("up", _up, "start a lab")
    start.add_argument("--hosts", default=STANDARD_HOSTS, help="default: %(default)s")
    start.add_argument("--gtid-off", default="", help="MySQL hosts that are made without GTIDs, by comma")
    start.add_argument("--rds", default="", help="profiles like mysql_rds_new=8.4+read_only, by comma; see README.md")
    command("down", _down, "remove a lab with everything that belongs to it")
    command("list", _list, "list the labs of this checkout and their hosts", name=False)
    command("inventory", _inventory, "print the Ansible inventory of a lab")
    command("ssh", _ssh, "open a shell or run a command on a host", host=True).add_argument("command", nargs="*")
    command("clean", _clean, "remove all labs of this checkout, the images, and what they changed", name=False)
    command("seed", _seed, "fill the old server's tree").add_argument("--files", type=int, default=20_000)
    command("mount", _mount, "export the tree of nfs_old, and mount it on the clients with kernels of their own")
    writers = command("writers", _writers, "start, stop, pause, resume or look at the writers on the application hosts")
    writers.add_argument("what", choices=["start", "stop", "pause", "resume", "status"])
    writers.add_argument("--per-host", type=int, default=2)
    writers.add_argument("--rate", type=float, default=25, help="operations a second of each writer")
    writers.add_argument("--keep", type=int, default=400, help="about how many files of a writer stay")
    writers.add_argument("--seed", default="1")
    judge = command("verdict", _verdict, "say what a storage host has lost; exit code 3 when anything is not as it was")
    judge.add_argument("--host", default="files_new")
    judge.add_argument("--json", help="write everything to this file, too")
    _add_mysql(command)
    breakers = (
        ("kill", hosts.kill, "power a host off, hard"),
        ("start", hosts.start, "power a host on"),
        ("cut", lambda lab, host: hosts.set_link(lab, host, False), "pull a host's network cable"),
        ("mend", lambda lab, host: hosts.set_link(lab, host, True), "plug a host's network cable in"),
    )
    for verb, action, text in breakers:
        command(verb, lambda arguments, act=action: act(Lab(arguments.name), arguments.host), text, host=True)
    return parser


def _add_mysql(command):
    """The commands for the MySQL hosts."""
    seed = command("mysql-seed", _mysql_seed, "fill the table that the writers leave alone")
    seed.add_argument("--rows", type=int, default=50_000)
    seed.add_argument("--width", type=int, default=200, help="bytes of text in a row")
    seed.add_argument("--host", help="default: the server that takes writes")
    writers = command("mysql-writers", _mysql_writers, "start, stop, pause, resume or look at the database's writers")
    writers.add_argument("what", choices=["start", "stop", "pause", "resume", "status"])
    writers.add_argument("--connections", type=int, default=4)
    writers.add_argument("--rate", type=float, default=50, help="transactions a second of each; 0: as fast as it goes")
    writers.add_argument("--keep", type=int, default=2000, help="about how many orders of a writer stay")
    writers.add_argument("--seed", default="1")
    writers.add_argument("--route", action="store_true", help="use the server of mysql-route, instead of trying both")
    writers.add_argument("--watch", action="store_true", help="start the watcher for two writable servers, too")
    command("mysql-route", _mysql_route, "send the writers that were started with --route to a host", host=True)
    judge = command("mysql-verdict", _mysql_verdict, "say what a MySQL host has lost; exit code 3 when it has")
    judge.add_argument("--host", default="mysql_new")
    judge.add_argument("--json", help="write everything to this file, too")
    parameter = command("rds-parameter", _parameter, "change a parameter of a MySQL host of the RDS kind", host=True)
    parameter.add_argument("parameter")
    parameter.add_argument("value")


def main(argv):
    """Run one command; returns the exit code: 0, 1 for a failure, 3 for a verdict that found something."""
    arguments = _parser().parse_args(argv)
    try:
        machine.require_root()
        return arguments.action(arguments) or 0
    except LabError as error:
        print("lab: %s" % error, file=sys.stderr)
        return 1
