# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of one export: which words exportfs takes, and what they come to.

The words and their meaning are those of parseopts() in nfs-utils (support/nfs/exports.c, 1.2 to 2.9).
"""

import re

# word: (flag, value)
FLAGS = {
    "ro": ("ro", True),
    "rw": ("ro", False),
    "insecure": ("insecure", True),
    "secure": ("insecure", False),
    "async": ("async", True),
    "sync": ("async", False),
    "root_squash": ("root_squash", True),
    "no_root_squash": ("root_squash", False),
    "all_squash": ("all_squash", True),
    "no_all_squash": ("all_squash", False),
    "nohide": ("nohide", True),
    "hide": ("nohide", False),
    "crossmnt": ("crossmnt", True),
    "nocrossmnt": ("crossmnt", False),
    "wdelay": ("wdelay", True),
    "no_wdelay": ("wdelay", False),
    "subtree_check": ("subtree_check", True),
    "no_subtree_check": ("subtree_check", False),
    "secure_locks": ("insecure_locks", False),
    "auth_nlm": ("insecure_locks", False),
    "insecure_locks": ("insecure_locks", True),
    "no_auth_nlm": ("insecure_locks", True),
    "acl": ("no_acl", False),
    "no_acl": ("no_acl", True),
    "pnfs": ("pnfs", True),
    "no_pnfs": ("pnfs", False),
    "nordirplus": ("nordirplus", True),
    "security_label": ("security_label", True),
    "sign_fh": ("sign_fh", True),
}
# These may differ between the security flavours of one export.
BY_FLAVOUR = ("ro", "insecure", "root_squash", "all_squash")
FLAVOURS = {
    "sys": "sys",
    "unix": "sys",
    "none": "none",
    "null": "none",
    "krb5": "krb5",
    "krb5i": "krb5i",
    "krb5p": "krb5p",
    "lkey": "lkey",
    "lkeyi": "lkeyi",
    "lkeyp": "lkeyp",
    "spkm": "spkm",
    "spkmi": "spkmi",
    "spkmp": "spkmp",
}
_NUMBER = re.compile(r"-?[0-9]+\Z")
_RANGES = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\Z")
_FSID = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)\Z")
_XPRTSEC = re.compile(r"(none|tls|mtls)(:(none|tls|mtls))*\Z")


def _fsid(value):
    """fsid as nfs-utils compares it: an int, or the 32 digits of a UUID; None when it is neither."""
    if value == "root":
        return 0
    if _FSID.match(value):
        if value.lower().startswith("0x"):
            return int(value, 16)
        octal = value.startswith("0") and len(value) > 1  # strtoul with base 0
        return int(value, 8) if octal and not set(value) & set("89") else None if octal else int(value)
    digits = re.sub(r"[^0-9a-fA-F]", "", value)
    return digits.lower() if len(digits) == 32 else None


def _is_fsid(value):
    return _fsid(value) is not None


def _is_flavours(value):
    return all(name in FLAVOURS for name in value.split(":"))


# name of an option with a value: whether the value is right
VALUES = {
    "anonuid": lambda value: bool(_NUMBER.match(value)),
    "anongid": lambda value: bool(_NUMBER.match(value)),
    "squash_uids": lambda value: bool(_RANGES.match(value)),
    "squash_gids": lambda value: bool(_RANGES.match(value)),
    "fsid": _is_fsid,
    "sec": _is_flavours,
    "mountpoint": lambda value: True,
    "mp": lambda value: True,
    "refer": bool,
    "replicas": bool,
    "xprtsec": lambda value: bool(_XPRTSEC.match(value)),
    "reexport": lambda value: value in ("none", "auto-fsidnum", "predefined-fsidnum"),
}


def split(text):
    """What stands in the bracket -> list of words; the commas of a list of squashed ids stay in their word."""
    words = []
    for piece in text.split(","):
        word = piece.lstrip(" \t")
        if words and words[-1].startswith("squash_") and word[:1].isdigit():
            words[-1] += "," + word
        elif word:
            words.append(word)
    return words


def wrong(words):
    """What exportfs would refuse in a list of options: a sentence, or None."""
    for word in words:
        name, equals, value = word.partition("=")
        if word in FLAGS or word in ("mountpoint", "mp"):
            continue
        if not equals or name not in VALUES:
            return "'%s' is no option of an export" % word
        if not VALUES[name](value):
            return "'%s' has no valid value" % word
    return None


class Meaning:
    """What a list of options says, as far as it says it.

    flags: {flag: bool}. flavours: list of (security flavour, {flag: bool}) in their order. values: {option: value}.
    """

    def __init__(self, words):
        self.flags = {}
        self.flavours = []
        self.values = {}
        active = []
        for word in words:
            name, _unused, value = word.partition("=")
            if word in FLAGS:
                flag, state = FLAGS[word]
                self.flags[flag] = state
                for _flavour, flags in active:
                    flags[flag] = state
            elif name == "sec":
                active = [self._flavour(FLAVOURS[flavour]) for flavour in value.split(":")]
            else:
                self._value("mountpoint" if name == "mp" else name, value)
        if not self.flavours:
            self._flavour("sys")
        for _flavour, flags in self.flavours:
            for flag in [flag for flag in flags if flag not in BY_FLAVOUR]:
                del flags[flag]

    def _flavour(self, name):
        for entry in self.flavours:
            if entry[0] == name:
                return entry
        entry = (name, dict(self.flags))
        self.flavours.append(entry)
        return entry

    def _value(self, name, value):
        if name in ("anonuid", "anongid"):
            self.values[name] = int(value)
        elif name == "fsid":
            self.values[name] = _fsid(value)
        else:
            self.values[name] = value

    def holds_in(self, other):
        """Whether everything that this list says is so in the other Meaning, which may say more."""
        common = {flag: state for flag, state in self.flags.items() if flag not in BY_FLAVOUR}
        return (
            all(other.flags.get(flag) == state for flag, state in common.items())
            and all(other.values.get(name) == value for name, value in self.values.items())
            and [name for name, _unused in self.flavours] == [name for name, _unused in other.flavours]
            and all(
                theirs.get(flag) == state
                for (_mine, flags), (_theirs, theirs) in zip(self.flavours, other.flavours)
                for flag, state in flags.items()
            )
        )

    def same(self, other):
        """Whether both say the same."""
        return self.holds_in(other) and other.holds_in(self)
