# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack the thaw program: the modules of this collection that undo a freeze, as one file that Python runs."""

import importlib
import io
import zipfile

from ansible_collections.seamless.migration.plugins.module_utils.storage.freeze_state import FreezeError

BASE = "ansible_collections.seamless.migration.plugins.module_utils."
PARTS = (
    "host.command",
    "host.files",
    "storage.freeze_state",
    "storage.freeze_mounts",
    "storage.freeze_services",
    "storage.freeze_watch",
    "storage.freeze_undo",
)
PACKAGES = ("", "host", "storage")
ENTRY = (
    """import sys
from %sstorage.freeze_undo import main
sys.exit(main())
"""
    % BASE
)
BORN = (1980, 1, 1, 0, 0, 0)  # the same content is the same file


def source_of(name):
    """Text of a module of ours, wherever it was loaded from (a folder, or the zip that Ansible sends)."""
    module = importlib.import_module(name)
    loader = getattr(module, "__loader__", None)
    text = loader.get_source(name) if loader is not None and hasattr(loader, "get_source") else None
    if text is None:
        raise FreezeError("The source of %s cannot be read, so that the thaw program cannot be packed" % name)
    return text


def pack(python):
    """The program as bytes. python: interpreter for its first line."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name, text):
            archive.writestr(zipfile.ZipInfo(name, BORN), text)

        packages = BASE.rstrip(".").split(".")
        for depth in range(1, len(packages) + 1):
            add("/".join(packages[:depth]) + "/__init__.py", "")
        for package in PACKAGES[1:]:
            add("/".join(packages + [package]) + "/__init__.py", "")
        for part in PARTS:
            add("/".join(packages) + "/" + part.replace(".", "/") + ".py", source_of(BASE + part))
        add("__main__.py", ENTRY)
    return b"#!" + python.encode() + b"\n" + stream.getvalue()
