# SPDX-License-Identifier: GPL-3.0-or-later
import string

import pytest
from ansible_collections.seamless.migration.plugins.module_utils.host.validate import (
    OptionError,
    refuse_control_characters,
)
from hypothesis import given
from hypothesis import strategies as st

plain = st.text(alphabet=string.ascii_letters + string.digits + " '\"\\äß日本;#%$")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_values_without_control_characters_pass_however_nested(value):
    assert refuse_control_characters({"option": value}) is None


@given(plain, st.sampled_from("\n\r\t\0\x0b\x0c\x1b\x7f\x85\u2028\u2029"), plain)
def test_any_control_character_at_any_place_is_refused(before, character, after):
    with pytest.raises(OptionError):
        refuse_control_characters({"option": before + character + after})


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a\nb", "comment"),
        (["a", "b\nc"], "comment[1]"),
        ({"user": "pass\nword"}, "comment['user']"),
        ({"us\ner": "word"}, "key of comment"),
        ([{"a": ["\n"]}], "comment[0]['a'][0]"),
        (b"a\n", "comment"),
    ],
)
def test_the_message_names_the_option_and_shows_the_value_on_one_line(value, name):
    with pytest.raises(OptionError) as caught:
        refuse_control_characters({"path": "/srv", "comment": value})
    message = str(caught.value)
    assert "option %s:" % name in message
    assert "\\n" in message
    assert "\n" not in message


def test_options_of_several_lines_can_be_allowed():
    refuse_control_characters({"motd": "a\nb"}, allow=("motd",))


def test_a_secret_is_not_told():
    with pytest.raises(OptionError) as caught:
        refuse_control_characters({"secrets": {"anna": "hunter2\n"}}, secret=("secrets",))
    assert "hunter2" not in str(caught.value)
    assert "option secrets" in str(caught.value)


def test_the_error_is_a_value_error():
    assert issubclass(OptionError, ValueError)
