# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of lab/lab."""

import argparse
import os
import sys
import time

from . import hosts, machine, ssh
from .run import LabError
from .state import Lab, all_names

STANDARD_HOSTS = "files_old,files_new,app1,app2"


def _up(arguments):
    started = time.monotonic()
    lab = hosts.up(arguments.name, arguments.hosts.split(","))
    machine.say("%s is up after %.1f s: %s" % (lab.name, time.monotonic() - started, lab.inventory))


def _down(arguments):
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


def _clean(arguments):
    del arguments
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

    command("up", _up, "start a lab").add_argument("--hosts", default=STANDARD_HOSTS, help="default: %(default)s")
    command("down", _down, "remove a lab with everything that belongs to it")
    command("list", _list, "list the labs of this checkout and their hosts", name=False)
    command("inventory", _inventory, "print the Ansible inventory of a lab")
    command("ssh", _ssh, "open a shell or run a command on a host", host=True).add_argument("command", nargs="*")
    command("clean", _clean, "remove all labs, the images, and what they changed on the machine", name=False)
    breakers = (
        ("kill", hosts.kill, "power a host off, hard"),
        ("start", hosts.start, "power a host on"),
        ("cut", lambda lab, host: hosts.set_link(lab, host, False), "pull a host's network cable"),
        ("mend", lambda lab, host: hosts.set_link(lab, host, True), "plug a host's network cable in"),
    )
    for verb, action, text in breakers:
        command(verb, lambda arguments, act=action: act(Lab(arguments.name), arguments.host), text, host=True)
    return parser


def main(argv):
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        machine.require_root()
        arguments.action(arguments)
    except LabError as error:
        print("lab: %s" % error, file=sys.stderr)
        return 1
    return 0
