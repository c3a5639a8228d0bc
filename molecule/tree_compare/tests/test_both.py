# SPDX-License-Identifier: GPL-3.0-or-later
"""The compare leaves nothing behind and mends nothing by itself."""

testinfra_hosts = ["ansible://storage_source", "ansible://storage_target"]


def test_no_manifest_and_no_intermediate_file_is_left(host):
    assert host.check_output("find /srv/files -maxdepth 1 -name '.seamless-manifest*'") == ""
    assert host.check_output("find /var/lib/seamless-migration/tree -mindepth 1") == ""


def test_the_folder_of_intermediate_files_is_for_root_only(host):
    assert host.file("/var/lib/seamless-migration/tree").mode == 0o700


def test_what_was_broken_is_still_broken(host):
    name = host.ansible.get_variables()["inventory_hostname"]
    extra = host.check_output("find /srv/files/one -name 'extra*' -printf x")
    assert extra == ("x" if name == "files_new" else "")
