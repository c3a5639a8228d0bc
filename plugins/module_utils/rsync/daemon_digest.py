# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer to the challenge of an rsync daemon (authenticate.c, compat.c of rsync 3.5.0)."""

import base64
import hashlib
import struct

PREFERRED = ("sha512", "sha256", "sha1", "md5", "md4")  # strongest first, the names that rsync uses


def _rotate(value, bits):
    value &= 0xFFFFFFFF
    return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF


_COLUMNS = (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
_MIRRORED = (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)
_MD4_ROUNDS = (  # RFC 1320: function, constant, order of the words, rotations
    (lambda x, y, z: x & y | ~x & z, 0, tuple(range(16)), (3, 7, 11, 19)),
    (lambda x, y, z: x & y | x & z | y & z, 0x5A827999, _COLUMNS, (3, 5, 9, 13)),
    (lambda x, y, z: x ^ y ^ z, 0x6ED9EBA1, _MIRRORED, (3, 9, 11, 15)),
)


def md4(data):
    """MD4 of data (RFC 1320). Own code: OpenSSL 3 has it in its legacy provider only, and old daemons know no other."""
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    padded = data + b"\x80" + b"\0" * ((55 - len(data)) % 64) + struct.pack("<Q", len(data) * 8)
    for offset in range(0, len(padded), 64):
        block = struct.unpack("<16I", padded[offset : offset + 64])
        a, b, c, d = state
        for function, constant, order, rotations in _MD4_ROUNDS:
            for step, index in enumerate(order):
                a = _rotate(a + function(b, c, d) + block[index] + constant, rotations[step % 4])
                a, b, c, d = d, a, b, c
        state = [(old + new) & 0xFFFFFFFF for old, new in zip(state, (a, b, c, d))]
    return struct.pack("<4I", *state)


def usable():
    """The digests of PREFERRED that this Python can compute (a FIPS system may refuse md5 and sha1)."""
    found = []
    for name in PREFERRED[:-1]:
        try:
            hashlib.new(name)
        except ValueError:
            continue
        found.append(name)
    return tuple(found) + ("md4",)


def choose(protocol, offered):
    """The digest that both sides use.

    protocol: the lower of both sides' protocol numbers. offered: list of names in the daemon's greeting, empty for
    a daemon older than 3.2.7. Returns a name, 'md4-old' (with a zero seed before it) for protocols below 30, or
    None when there is no common one.
    """
    if offered:
        return next((name for name in usable() if name in offered), None)
    if protocol < 30:
        return "md4-old"
    return "md5" if "md5" in usable() else None


def response(digest, secret, challenge):
    """Answer to a challenge: base64, without padding, of the digest of secret and challenge. All str; returns str."""
    data = secret.encode("utf-8", "surrogateescape") + challenge.encode("utf-8", "surrogateescape")
    if digest == "md4-old":
        raw = md4(b"\0\0\0\0" + data)
    elif digest == "md4":
        raw = md4(data)
    else:
        raw = hashlib.new(digest, data).digest()
    return base64.b64encode(raw).decode("ascii").rstrip("=")
