# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the trees of a migration are proven equal, from what the comparisons found."""

WRONG = ("lost", "different", "extra", "unreadable", "unproven")


def unclean_trees(compared, mended, extra_allowed=False):
    """Trees that are not proven equal.

    compared: results of tree_compare on whole trees. mended: in the same order, results on what was mended after that,
    or {"skipped": True}. extra_allowed: files that only the target has do not count, while live sync carries no
    deletions. Returns a list of {"tree", "problems"}; problems is by kind the number of entries, empty when nothing
    was compared at all.
    """
    unclean = []
    for number, (whole, rest) in enumerate(zip(compared, mended)):
        last = whole if whole.get("equal") or "counts" not in rest else rest
        counts = last.get("counts")
        kinds = [kind for kind in WRONG if not (extra_allowed and kind == "extra")]
        problems = {kind: counts[kind] for kind in kinds if counts.get(kind)} if counts else {}
        if problems or counts is None:
            name = whole.get("__storage_verify_tree", {}).get("name", str(number))
            unclean.append({"tree": name, "problems": problems})
    return unclean
