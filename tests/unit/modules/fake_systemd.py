# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemctl that keeps units below a folder, as far as batch_job asks it."""

from ansible_collections.seamless.migration.plugins.module_utils.host.command import CommandError, Result


class FakeSystemd:
    def __init__(self, root):
        self.root = root
        self.calls = []
        self.active = set()
        self.enabled = set()
        self.main_pid = {}
        self.crontabs = {}

    def unit(self, name, content, folder="lib/systemd/system"):
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    @staticmethod
    def which(name):
        return {"systemctl": "systemctl", "crontab": "crontab"}.get(name)

    def _fragment(self, name):
        for folder in ("etc/systemd/system", "lib/systemd/system"):
            if (self.root / folder / name).exists():
                return "/%s/%s" % (folder, name)
        return ""

    def _paused(self, name):
        return (self.root / "etc/systemd/system" / (name + ".d") / "zz-seamless-paused.conf").exists()

    def run(self, argv, stdin=b"", ok=(0,), **_unused):
        if argv[0] == "crontab":
            self.crontabs[argv[2]] = stdin
            return Result(argv, 0, "", "")
        if argv[1] == "show":
            return Result(argv, 0, self._show(argv[-1]), "")
        self.calls.append(argv[1:])
        name = argv[-1]
        if argv[1] == "start" and not self._paused(name):
            self.active.add(name)
        elif argv[1] == "stop" or "--now" in argv:
            self.active.discard(name)
            self.enabled.discard(name if "--now" in argv else None)
        elif argv[1] == "enable":
            if not self._fragment(name):
                raise CommandError("no unit %s" % name)
            self.enabled.add(name)
        return Result(argv, 0, "", "")

    def _show(self, name):
        fragment = self._fragment(name)
        drop_ins = sorted((self.root / "etc/systemd/system" / (name + ".d")).glob("*.conf"))
        return "\n".join(
            [
                "Id=" + name,
                "LoadState=" + ("loaded" if fragment else "not-found"),
                "ActiveState=" + ("active" if name in self.active else "inactive"),
                "UnitFileState=" + ("enabled" if name in self.enabled else "disabled"),
                "FragmentPath=" + fragment,
                "DropInPaths=" + " ".join("/" + str(path.relative_to(self.root)) for path in drop_ins),
                "Unit=" + name.replace(".timer", ".service"),
                "MainPID=%d" % self.main_pid.get(name, 0),
                "ControlPID=0",
                "ExecStart={ path=/bin/x ; argv[]=/usr/local/bin/thumbs --all ; ignore_errors=no }",
            ]
        )
