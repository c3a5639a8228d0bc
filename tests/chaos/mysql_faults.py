# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong during a switchover, done for real on the lab's hosts. Each fault can be mended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

from labkit import hosts, ssh

FAULTS = {}


def fault(name):
    """Register a fault: a function of (scene, side) that does it and returns a function that mends it."""

    def keep(function):
        FAULTS[name] = function
        return function

    return keep


def systemctl(scene, side, words):
    """Run systemctl for MySQL on a side's host, and hold on to nothing of its connection."""
    ssh.on(scene.lab, scene.host(side), "systemctl %s mysql" % words, timeout=300)


@fault("controller_killed")
def controller_killed(scene, _side):
    scene.signal(signal.SIGKILL)
    return lambda: None


@fault("controller_terminated")
def controller_terminated(scene, _side):
    scene.signal(signal.SIGTERM)
    return lambda: None


@fault("second_controller")
def second_controller(scene, _side):
    """Somebody else begins the same."""
    process = scene.spawn()
    return lambda: process.wait(300)


@fault("mysqld_killed")
def mysqld_killed(scene, side):
    systemctl(scene, side, "kill --signal=KILL")
    return lambda: systemctl(scene, side, "start")


@fault("mysqld_restarted")
def mysqld_restarted(scene, side):
    systemctl(scene, side, "restart")
    return lambda: None


@fault("mysqld_stopped")
def mysqld_stopped(scene, side):
    """It hangs: its connections stay, and nothing answers."""
    systemctl(scene, side, "kill --signal=STOP")
    return lambda: systemctl(scene, side, "kill --signal=CONT")


@fault("cable_cut")
def cable_cut(scene, side):
    host = scene.host(side)
    hosts.set_link(scene.lab, host, False)

    def mend():
        hosts.set_link(scene.lab, host, True)
        ssh.forget(scene.lab, host)

    return mend


@fault("power_off")
def power_off(scene, side):
    host = scene.host(side)
    hosts.kill(scene.lab, host)
    return lambda: hosts.start(scene.lab, host)


@fault("sessions_killed")
def sessions_killed(scene, side):
    """The administrator's connections are ended, those of the switchover among them."""
    text = "SELECT CONCAT('KILL ', id, ';') FROM performance_schema.processlist WHERE user = 'migration_admin'"
    line = 'mysql --batch --skip-column-names -e "%s" | mysql --force || true' % text
    ssh.on(scene.lab, scene.host(side), line)
    return lambda: None


def session(scene, side, text):
    """A session of somebody's on a server that does something and sleeps; returns what ends it."""
    argv = ssh.command(scene.lab, scene.host(side), 'mysql -e "%s; DO SLEEP(8)"' % text)
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return lambda: process.wait(60)


@fault("table_locked")
def table_locked(scene, side):
    return session(scene, side, "LOCK TABLES shop.products WRITE")


@fault("rows_held")
def rows_held(scene, side):
    """A transaction that holds rows and then rolls back."""
    return session(scene, side, "BEGIN; UPDATE shop.products SET price = price + 1 LIMIT 5")


@fault("replication_stopped")
def replication_stopped(scene, side):
    ssh.on(scene.lab, scene.host(side), "mysql -e 'STOP REPLICA' || true")
    return lambda: ssh.on(scene.lab, scene.host(side), "mysql -e 'START REPLICA' || true")


# Which of them can also be done to either side.
ON_A_SIDE = (
    "mysqld_killed", "mysqld_restarted", "mysqld_stopped", "cable_cut", "power_off", "sessions_killed",
    "table_locked", "rows_held", "replication_stopped",
)  # fmt: skip


class Planned:
    """A fault with its side, the moment when it strikes, and how long it lasts. Made from dice alone."""

    MOMENTS = ("started", "note", "window_opened", "committed", "window_closed")

    def __init__(self, dice):
        self.name = dice.choice(list(FAULTS))
        self.side = dice.choice(["source", "target"]) if self.name in ON_A_SIDE else None
        self.moment = dice.choice([None, *self.MOMENTS, "window_opened", "committed"])
        # After the moment; where there is none, after the begin.
        self.delay = dice.uniform(0, 2.5) if self.moment is None else dice.choice([0.0, dice.uniform(0, 0.15)])
        self.seconds = dice.uniform(0.2, 6)

    def __str__(self):
        what = self.name + (" of the %s" % self.side if self.side else "")
        return "%s, %.3f s after %s, for %.1f s" % (what, self.delay, self.moment or "the begin", self.seconds)


class Striker(threading.Thread):
    """Waits for a fault's moment, strikes, and mends when its time is over."""

    def __init__(self, planned, scene):
        super().__init__(daemon=True)
        self.planned, self.scene = planned, scene
        self.struck, self.problem = False, None

    def run(self):
        try:
            if not self.scene.wait_for(self.planned.moment):
                return
            time.sleep(self.planned.delay)
            mend = FAULTS[self.planned.name](self.scene, self.planned.side)
            self.struck = True
            time.sleep(self.planned.seconds)
            mend()
        except Exception as error:  # noqa: BLE001  whatever it is, the run reports it and goes on
            self.problem = "%s: %s" % (type(error).__name__, error)


def restore(scene):
    """Make sure that both hosts are on and wired and that their servers run, whatever a fault has left.

    :raises LabError: when that cannot be had
    """
    states = hosts.states(scene.lab)
    for side in ("source", "target"):
        host = scene.host(side)
        if states[host] != "running":
            hosts.start(scene.lab, host)
        hosts.set_link(scene.lab, host, True)
        systemctl(scene, side, "kill --signal=CONT")
        systemctl(scene, side, "start")


def kill_process(process, number):
    """Signal a process of ours that may be over."""
    if process.poll() is None:
        os.kill(process.pid, number)
