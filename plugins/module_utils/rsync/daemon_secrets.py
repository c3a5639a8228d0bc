# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets file of an rsync daemon: one `user:secret` a line, other users' lines kept, secrets never shown."""

from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_keys import (
    BLANKS,
    ConfigError,
    control_characters,
)

# authenticate.c reads lines of 1023 bytes from the secrets file and 511 bytes from a client's password file.
MAX_SECRET_BYTES = 511
MAX_LINE_BYTES = 1000
ACCESS = ("rw", "ro", "deny")


def check_user(what, user):
    """Raise ConfigError unless user can stand in a secrets file and in `auth users`. what: the option's name."""
    if not user:
        raise ConfigError("%s has an empty user name. Name the user" % what)
    if control_characters(user):
        raise ConfigError("%s: user %r has a newline or another control character. Remove it" % (what, user))
    bad = [c for c in user if c in BLANKS + ":,"]
    if bad:
        raise ConfigError(
            "%s: user %r has a %r, which separates users and secrets. Use a plain word" % (what, user, bad[0])
        )
    if user[0] == "#":
        raise ConfigError("%s: user %r starts with '#', which rsync refuses" % (what, user))


def check_secret(user, secret):
    """Raise ConfigError, without showing it, unless secret can be stored and sent. secret: str."""
    if not isinstance(secret, str) or not secret:
        raise ConfigError(
            "secrets: the secret of user '%s' is empty. rsync would take an empty password; set one" % user
        )
    if control_characters(secret):
        raise ConfigError("secrets: the secret of user '%s' has a newline or another control character" % user)
    size = len(secret.encode("utf-8", "surrogateescape"))
    if size > MAX_SECRET_BYTES or size + len(user) > MAX_LINE_BYTES:
        raise ConfigError(
            "secrets: the secret of user '%s' has %d bytes; rsync reads at most %d" % (user, size, MAX_SECRET_BYTES)
        )


def split_auth_user(entry):
    """('user', 'rw'|'ro'|'deny'|None) of an entry of `auth users` such as 'backup:ro'. Raises ConfigError."""
    user, colon, access = entry.partition(":")
    check_user("auth_users", user)
    if colon and access.lower() not in ACCESS:
        raise ConfigError(
            "auth_users: %r; rsync would ignore ':%s'. Write user, user:rw, user:ro or user:deny" % (entry, access)
        )
    return user, access.lower() or None


def users(text):
    """User names that have a line, in order."""
    return [line.partition(":")[0] for line in _lines(text) if _is_entry(line)]


def _lines(text):
    return text.replace("\r\n", "\n").split("\n")


def _raw_lines(text):
    """The lines with their ends; str.splitlines() would also split at form feeds and the like."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _is_entry(line):
    return ":" in line and not line.startswith("#")


def _secret_of(text, user):
    for line in _lines(text):
        name, colon, secret = line.partition(":")
        if colon and name == user:
            return secret
    return None


def differing(text, wanted):
    """Users of wanted ({user: secret}) whose secret is not in text, sorted."""
    return sorted(user for user in wanted if _secret_of(text, user) != wanted[user])


def with_users(text, wanted):
    """text with the secrets of wanted ({user: secret}); lines of others, and comments, stay as they are."""
    changed = differing(text, wanted)
    if not changed:
        return text
    result = []
    written = set()
    for raw in _raw_lines(text):
        user = raw.partition(":")[0]
        if user not in changed or not _is_entry(raw):
            result.append(raw)
        elif user not in written:  # rsync takes the first line of a user; later ones are dead
            result.append("%s:%s%s" % (user, wanted[user], raw[len(raw.rstrip("\r\n")) :]))
            written.add(user)
    if result and not result[-1].endswith("\n"):
        result[-1] += "\n"
    result.extend("%s:%s\n" % (user, wanted[user]) for user in changed if user not in written)
    return "".join(result)


def without_users(text, names):
    """text without the lines of the users in names."""
    return "".join(raw for raw in _raw_lines(text) if not (_is_entry(raw) and raw.partition(":")[0] in names))


def masked(text, changed=()):
    """text for a diff: no secret in it; users in changed are marked."""
    shown = []
    for line in _lines(text):
        user, colon, _secret = line.partition(":")
        mark = " (changed)" if _is_entry(line) and user in changed else ""
        # A comment with a colon may be an entry that somebody commented out.
        shown.append("%s:********%s" % (user, mark) if colon else line)
    return "\n".join(shown)
