# SPDX-License-Identifier: GPL-3.0-or-later
import hashlib

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.rsync import daemon_digest, daemon_secrets
from ansible_collections.seamless.migration.plugins.module_utils.rsync.daemon_keys import ConfigError
from hypothesis import given
from hypothesis import strategies as st

TEXT = "# ours and theirs\nbackup:old:er\r\nmigration:one\nmigration:dead\n"


def test_other_users_lines_and_comments_are_kept():
    changed = daemon_secrets.with_users(TEXT, {"migration": "two", "new": "three"})
    assert changed == "# ours and theirs\nbackup:old:er\r\nmigration:two\nnew:three\n"


def test_a_secret_that_is_there_changes_nothing():
    assert daemon_secrets.with_users(TEXT, {"migration": "one", "backup": "old:er"}) == TEXT


def test_users_are_removed_and_others_stay():
    assert daemon_secrets.without_users(TEXT, ["migration"]) == "# ours and theirs\nbackup:old:er\r\n"


def test_a_diff_shows_who_changed_and_no_secret():
    shown = daemon_secrets.masked(TEXT + "#left:hidden\n", ["migration"])
    assert "migration:******** (changed)" in shown and "backup:********\n" in shown
    assert not any(word in shown for word in ("one", "old", "dead", "hidden"))


@pytest.mark.parametrize("user", ["", "a:b", "a,b", "a b", "#a", "a\nb"])
def test_a_user_that_rsync_cannot_read_is_refused(user):
    with pytest.raises(ConfigError, match="secrets"):
        daemon_secrets.check_user("secrets", user)


@pytest.mark.parametrize("secret", ["", None, "hush\nroot:hush", "hush\0", "hush" * 200, 12345])
def test_a_bad_secret_is_refused_without_showing_it(secret):
    with pytest.raises(ConfigError) as caught:
        daemon_secrets.check_secret("migration", secret)
    assert "hush" not in str(caught.value) and "12345" not in str(caught.value)


def test_forms_of_auth_users():
    assert daemon_secrets.split_auth_user("a:RO") == ("a", "ro")
    assert daemon_secrets.split_auth_user("@staff") == ("@staff", None)
    with pytest.raises(ConfigError, match="user:rw"):
        daemon_secrets.split_auth_user("a:write")


_user = st.text("abcdefgh", min_size=1, max_size=4)
_secret = st.text(
    st.characters(min_codepoint=32, blacklist_characters="\x7f", blacklist_categories=["Cs"]), min_size=1, max_size=20
)


@given(st.dictionaries(_user, _secret), st.dictionaries(_user, _secret, min_size=1))
def test_what_is_written_reads_back(before, wanted):
    text = "".join("%s:%s\n" % pair for pair in before.items())
    changed = daemon_secrets.with_users(text, wanted)
    assert daemon_secrets.differing(changed, {**before, **wanted}) == []
    assert sorted(daemon_secrets.users(changed)) == sorted({**before, **wanted})
    assert daemon_secrets.with_users(changed, wanted) == changed


@pytest.mark.parametrize(
    ("data", "digest"),
    [  # RFC 1320, A.5
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4_gives_the_digests_of_its_rfc(data, digest):
    assert daemon_digest.md4(data).hex() == digest


def test_a_python_without_md5_still_answers(monkeypatch):
    real = hashlib.new

    def fips(name, *args):
        if name in ("md5", "sha1"):
            raise ValueError("disabled for fips")
        return real(name, *args)

    monkeypatch.setattr(hashlib, "new", fips)
    assert daemon_digest.usable() == ("sha512", "sha256", "md4")
    assert daemon_digest.choose(31, []) is None
    assert daemon_digest.choose(31, ["md5", "sha256"]) == "sha256"


def test_an_old_daemon_gets_the_digest_of_its_time():
    assert daemon_digest.choose(31, []) == "md5"
    assert daemon_digest.choose(29, []) == "md4-old"
    assert daemon_digest.choose(31, ["md4", "blake9"]) == "md4"
    assert daemon_digest.choose(31, ["blake9"]) is None
