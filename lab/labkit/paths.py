# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps what."""

import hashlib
from pathlib import Path

LAB = Path(__file__).resolve().parents[1]
CHECKOUT = LAB.parent
GUEST = LAB / "guest"
BUILD = CHECKOUT / "build" / "lab"
# Several checkouts can have labs of one name on a machine, and each takes down its own only: what the whole machine
# knows of a lab, as the names of its containers and networks, has this mark of the checkout in it.
MARK = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:6]
PREFIX = "seamless-%s-" % MARK
LABEL = "seamless.lab"
CHECKOUT_LABEL = "seamless.checkout=%s" % CHECKOUT
# Locks, and what is remembered about the machine; gone after a reboot, like the containers' network.
RUNTIME = Path("/run/seamless-lab")
# Sockets and mounts of the labs. Short, because the name of a socket may have 107 bytes only.
LABS = RUNTIME / MARK
