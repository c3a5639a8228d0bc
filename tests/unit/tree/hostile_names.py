# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files that something on the way could take for something else."""

HOSTILE = [
    b"plain",
    b"with blank",
    b"new\nline",
    b"tab\there",
    b"back\\slash",
    b"back\\#012escape",
    b"quote'\"`$(x)",
    b"[bracket]*?",
    b"\xff\xfe not utf-8",
    "ünïcödé".encode(),
    b"-dash",
    b"#hash",
    b"%percent%41",
    b"trailing ",
    b" leading",
]
