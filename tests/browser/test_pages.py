# SPDX-License-Identifier: GPL-3.0-or-later
"""Report and plan in a real browser: they open without an error, show the journal's numbers, and fit the window.

Screenshots of them stand in build/screens/ afterwards.
"""

import html.parser
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import report_stories as stories
from ansible_collections.seamless.migration.plugins.plugin_utils import pages
from ansible_collections.seamless.migration.plugins.plugin_utils.plan_model import mysql_plan, storage_plan
from ansible_collections.seamless.migration.plugins.plugin_utils.report_model import Model

BUILD = pathlib.Path(os.environ.get("BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
SCREENS = BUILD / "screens"
REPORTS = ("moved", "rolled_back", "failed", "killed_in_the_window", "hostile", "mysql")
DARK = ("--blink-settings=preferredColorScheme=0",)
TIMEOUT = 180

# Written into a copy of the page: what only the layout knows goes into the title.
PROBE = """<script>
addEventListener("load", () => {
  const root = document.documentElement, outside = [];
  for (const bar of document.querySelectorAll(".track i")) {
    const track = bar.parentElement.getBoundingClientRect(), own = bar.getBoundingClientRect();
    if (own.left < track.left - 1 || own.left > track.right + 1 || own.width < 1) outside.push(bar.outerHTML);
  }
  document.title = JSON.stringify({
    overflow: root.scrollWidth - root.clientWidth,
    background: getComputedStyle(document.body).backgroundColor,
    words: document.querySelectorAll(".word").length,
    outside: outside.length,
    heading: document.querySelector("h1").getBoundingClientRect().height,
  });
});
</script></head>"""


class Browser:
    """Chromium without a window."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = folder

    def run(self, path, *options, width=1280, height=1600):
        """Open a page. Returns standard output and what went to its console, each as text."""
        argv = [
            self.program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-first-run",
            "--enable-logging=stderr",
            "--user-data-dir=%s" % (self.folder / "profile"),
            "--window-size=%d,%d" % (width, height),
            *options,
            "file://%s" % path,
        ]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT, check=True)
        console = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if ":CONSOLE" in line]
        return done.stdout.decode("utf-8"), "\n".join(console)


class Shown(html.parser.HTMLParser):
    """Title, and the elements that carry numbers, of a page as the browser has it."""

    def __init__(self, text):
        super().__init__()
        self.keys, self.milliseconds, self.scripts, self.title = {}, [], 0, ""
        self._within = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self._within = tag
        self.scripts += tag == "script"
        if "data-key" in found:
            self.keys[found["data-key"]] = found["data-value"]
        if "data-ms" in found:
            self.milliseconds.append(float(found["data-ms"]))

    def handle_data(self, data):
        if self._within == "title":
            self.title += data.strip()

    def handle_endtag(self, tag):
        self._within = None


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "There is no chromium: run tests/setup/packages"
    return Browser(program, tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    SCREENS.mkdir(parents=True, exist_ok=True)
    return tmp_path_factory.mktemp("pages")


def report_of(name):
    events = getattr(stories, name)().events
    return events, pages.report(Model(events), "files2026", "/ops/migration/files2026.jsonl")


def plan_page():
    looks = {"old": stories.look(), "new": {"failed": True, "msg": "no Python"}, "app1": {"unreachable": True}}
    known = Model(stories.moved().events)
    mysql = {"source": {"login_host": "db-old"}, "target": {"login_host": "db-new"}}
    plans = [storage_plan(stories.inputs(), looks, known), mysql_plan({"mysql": mysql, "force_gates": []}, {}, known)]
    return pages.plan(plans, "files2026", "/ops/migration/files2026.jsonl", "inventory.yml")[0]


def written(folder, name, text):
    path = folder / (name + ".html")
    path.write_text(text, encoding="utf-8")
    return path


def probed(folder, name, text):
    """A copy of a page that measures itself."""
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    return written(folder, name + "-probed", open_page.replace("</head>", PROBE, 1))


def measured(browser, path, *options, **size):
    dom, console = browser.run(path, "--dump-dom", *options, **size)
    assert console == ""
    return pages.json.loads(Shown(dom).title)


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_opens_without_an_error_and_shows_the_numbers_of_the_journal(browser, folder, name):
    events, page = report_of(name)
    dom, console = browser.run(written(folder, name, page), "--dump-dom")
    assert console == ""
    shown = Shown(dom)
    assert shown.title == "files2026: report" and shown.scripts == 0
    assert shown.keys["faults"] == str(sum(event["event"] == "fault" for event in events))
    copied = [event["data"]["bytes"] for event in events if event["step"] in ("copied", "seed")]
    assert shown.keys["copied_bytes"] == str(sum(copied))
    steps = [
        step["ms"]
        for event in events
        if event["event"] == "measured" and event["step"] in ("freeze", "switched")
        for step in event["data"]["steps"]
    ]
    assert sorted(ms for ms in shown.milliseconds if ms != 3500.0) == sorted(steps)


def test_the_plan_opens_without_an_error(browser, folder):
    dom, console = browser.run(written(folder, "plan", plan_page()), "--dump-dom")
    assert console == ""
    shown = Shown(dom)
    assert shown.title == "files2026: plan" and shown.scripts == 0
    assert shown.keys["bytes"] == "12000000"


@pytest.mark.parametrize("width", [1280, 500])
@pytest.mark.parametrize("name", ["moved", "hostile", "plan"])
def test_a_page_fits_the_window(browser, folder, name, width):
    page = plan_page() if name == "plan" else report_of(name)[1]
    found = measured(browser, probed(folder, name, page), width=width)
    assert found["overflow"] <= 0
    assert found["outside"] == 0 and found["heading"] > 20
    assert found["words"] > 0


def test_a_dark_screen_gets_a_dark_page(browser, folder):
    path = probed(folder, "moved", report_of("moved")[1])
    light = measured(browser, path)["background"]
    dark = measured(browser, path, *DARK)["background"]
    assert light == "rgb(247, 246, 243)" and dark == "rgb(20, 23, 27)"


def test_a_report_prints(browser, folder):
    path = folder / "report.pdf"
    browser.run(written(folder, "moved", report_of("moved")[1]), "--print-to-pdf=%s" % path, "--no-pdf-header-footer")
    content = path.read_bytes()
    assert content.startswith(b"%PDF") and 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 12


@pytest.mark.parametrize(
    "screen, story",
    [
        ("report", ("rolled_back", (), 4200)),
        ("report-dark", ("moved", DARK, 3400)),
        ("report-failed", ("failed", (), 3200)),
        ("report-mysql", ("mysql", (), 2800)),
        ("plan", ("plan", (), 3600)),
    ],
)
def test_a_screenshot_is_kept(browser, folder, screen, story):
    name, options, height = story
    page = plan_page() if name == "plan" else report_of(name)[1]
    path = SCREENS / (screen + ".png")
    path.unlink(missing_ok=True)
    browser.run(written(folder, screen, page), "--screenshot=%s" % path, *options, height=height)
    assert path.stat().st_size > 50_000
