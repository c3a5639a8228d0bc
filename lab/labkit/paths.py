# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps what."""

from pathlib import Path

LAB = Path(__file__).resolve().parents[1]
CHECKOUT = LAB.parent
GUEST = LAB / "guest"
BUILD = CHECKOUT / "build" / "lab"
# Names of hosts and networks are known to the whole machine, and so is what is remembered about it. All of it is
# gone after a reboot, like the containers' network. Short, because the name of a socket may have 107 bytes only.
RUNTIME = Path("/run/seamless-lab")
PREFIX = "seamless-"
LABEL = "seamless.lab"
# Several checkouts can have labs on one machine; each takes down its own only.
CHECKOUT_LABEL = "seamless.checkout=%s" % CHECKOUT
