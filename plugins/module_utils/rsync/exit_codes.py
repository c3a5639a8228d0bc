# SPDX-License-Identifier: GPL-3.0-or-later
"""What the exit status of an rsync means, and what to do about it: a table, and one function that reads it."""

# What to do.
OK = "ok"                # nothing
RETRY = "retry"          # wait a while, then the same again: the other side or the way to it is ill
RETRY_ONCE = "retry_once"  # may be chance; a second time it is not
REQUEUE = "requeue"      # the others were transferred: try again, then report the paths
STOP = "stop"            # a person has to do something first


class Code:
    """One exit status: meaning (str), action (one of the words above), advice (str)."""

    def __init__(self, meaning, action, advice):
        self.meaning = meaning
        self.action = action
        self.advice = advice


# rsync(1), section EXIT VALUES; the actions from what each one was seen to mean for a copy that goes on for days.
CODES = {
    0: Code("success", OK, ""),
    1: Code("syntax or usage error", STOP, "Look whether rsync on both sides is 3.1 or newer."),
    2: Code("protocol incompatibility", STOP, "Bring rsync on both sides to 3.1 or newer."),
    3: Code("errors selecting files or directories", STOP,
            "Look whether source and destination exist and are readable."),
    4: Code("requested action not supported", STOP,
            "Look whether both rsyncs have ACLs and xattrs, and at the daemon's log: a failing pre-xfer exec ends so."),
    5: Code("error starting the client-server protocol", RETRY,
            "Look at user, secret, module name and allow list of the daemon (rsyncd_info tells which)."),
    6: Code("daemon unable to append to its log file", STOP, "Look at the daemon's log file and disk."),
    10: Code("error in socket I/O", RETRY,
             "Look whether the daemon runs and the port is open (rsyncd_info tells which)."),
    11: Code("error in file I/O", STOP,
             "Look for a full or read-only file system on the target, and for disk errors."),
    12: Code("error in the rsync protocol data stream", RETRY,
             # Also where the remote shell ends so fast that its own status is not there yet.
             "The connection broke or the other rsync ended: look at its log. "
             "Look whether ssh reaches the other side without a question, where ssh is in between."),
    13: Code("errors with program diagnostics", STOP, "Look at both rsyncs' logs."),
    14: Code("error in interprocess communication", RETRY_ONCE, "Look for memory or process limits."),
    15: Code("sibling process crashed", RETRY_ONCE, "Look at the kernel's log."),
    16: Code("sibling process terminated abnormally", RETRY_ONCE, "Look at the kernel's log."),
    19: Code("ended by SIGUSR1", RETRY_ONCE, "Look who ended it."),
    20: Code("ended by a signal", RETRY_ONCE, "Look who ended it."),
    21: Code("waitpid failed", RETRY_ONCE, "Look at the kernel's log."),
    22: Code("error allocating memory", RETRY_ONCE, "Use fewer workers or smaller partitions."),
    23: Code("some files could not be transferred", REQUEUE, "Look at the paths and reasons given."),
    24: Code("some source files vanished", OK, "Something still writes to the source: find it, then run again."),
    25: Code("the limit of deletions stopped it", STOP,
             "Look whether so many deletions are meant, then raise max_delete."),
    30: Code("timeout in data send or receive", RETRY, "Look at the network and at the load of both sides."),
    35: Code("timeout waiting for the daemon connection", RETRY,
             "Look whether the port is open (rsyncd_info tells)."),
    124: Code("the remote shell's command failed", STOP, "Look whether rsync is installed on the other side."),
    125: Code("the remote shell was killed", RETRY_ONCE, "Look at the other side's log."),
    126: Code("the remote command cannot be run", STOP, "Look at rsync's permissions on the other side."),
    127: Code("the remote command was not found", STOP, "Install rsync on the other side."),
    255: Code("the remote shell failed", RETRY, "Look whether ssh reaches the other side without a question."),
}

# What the status does not tell, the words do: (statuses, words on stderr, action, meaning, advice); first match wins.
WORDS = (
    # rsync 3.5.0 with -H, seen in tests/unit/rsync/test_vanished_links.py; all else was transferred by then.
    ((2,), "Invalid packet at end of run", RETRY, "all links of a hard-linked file vanished while it ran",
     "The next run does not meet them any more."),
    ((3, 11, 12, 23), "No space left on device", STOP, "the target's file system is full",
     "Make room (space or inodes) on the target, then run again: what is there is not copied again."),
    ((3, 11, 12, 23), "Disk quota exceeded", STOP, "the quota on the target is used up",
     "Raise the quota, then run again: what is there is not copied again."),
    ((3, 10, 11, 12, 23), "Read-only file system", STOP, "the target's file system is read-only",
     "Mount it writable, then run again."),
    ((1, 5, 10, 11, 12, 23), "module is read only", STOP, "the daemon's module is read only",
     "Set `read only = false` for the module (rsyncd_module), then run again."),
    ((5, 10, 12), "auth failed", STOP, "the daemon refuses user or secret",
     "Make the secret equal on both sides (mode 0600, owner root)."),
    ((5, 10, 12), "Unknown module", STOP, "the daemon has no module of this name",
     "Look at the name and at the daemon's config."),
    ((5, 10, 12), "max connections", RETRY, "the daemon has no free connection",
     "Set the module's `max connections` to at least the number of workers and two more."),
    ((5, 10, 12), "access denied", STOP, "the daemon's allow list does not have this host", "Add it to `hosts allow`."),
    ((5, 10, 12), "chdir failed", STOP, "the module's path is missing on the target",
     "Create or mount it, then run again."),
)


class Verdict:
    """What to make of one run. rc: int; action, meaning, advice: str; fine: whether it is a success."""

    def __init__(self, rc, action, meaning, advice):
        self.rc = rc
        self.action = action
        self.meaning = meaning
        self.advice = advice

    @property
    def fine(self):
        return self.action == OK

    def sentence(self):
        """'rsync ended with 11: <meaning>. <advice>' as str."""
        return ("rsync ended with %d: %s. %s" % (self.rc, self.meaning, self.advice)).strip()


def judge(rc, stderr="", frozen=False):
    """Judge one run of rsync.

    rc: exit status (negative: ended by that signal). stderr: str, what it said. frozen: nobody may write to the source,
    so a vanished file (24) is a failure. 23 is never a success. Returns Verdict.
    """
    if rc < 0:
        return Verdict(rc, RETRY_ONCE, "ended by signal %d" % -rc, "Look who ended it.")
    for statuses, words, action, meaning, advice in WORDS:
        if rc in statuses and words.lower() in stderr.lower():
            return Verdict(rc, action, meaning, advice)
    code = CODES.get(rc, Code("unknown exit status", STOP, "Look at rsync's messages."))
    if rc == 24 and frozen:
        return Verdict(rc, REQUEUE, code.meaning + " although the source is frozen", code.advice)
    return Verdict(rc, code.action, code.meaning, code.advice)
