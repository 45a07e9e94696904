"""The page in a real browser: headless Chromium runs its script, and dumps what becomes of it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs a browser, one of {', '.join(BROWSERS)}")

USE = """
const told = {};
const sorted = (table) => {
  const head = [...table.tHead.rows[0].cells].find((th) => th.textContent.startsWith("effective rank"));
  const rows = () => [head.getAttribute("aria-sort"),
    ...[...table.tBodies[0].rows].map((row) => row.cells[0].textContent)];
  const seen = [rows()];
  for (let press = 0; press < 2; press++) { head.querySelector("button").click(); seen.push(rows()); }
  return seen;
};
told.scores = sorted(document.querySelector("#scores table"));
told.ranking = sorted(document.querySelector("#ranking table"));
told.announced = document.getElementById("announcement").textContent;
const pressed = document.querySelector("#spectra .legend button");
pressed.click();
told.pressed = pressed.getAttribute("aria-pressed");
told.chosen = document.body.className;
told.standing = [...new Set([...document.querySelectorAll(".stands-out")].map((one) => one.dataset.series))];
const before = getComputedStyle(document.body).backgroundColor;
document.getElementById("theme").click();
told.themes = [before, getComputedStyle(document.body).backgroundColor];
told.width = [document.documentElement.scrollWidth, innerWidth];
document.body.style.maxWidth = "390px";
const edge = document.body.getBoundingClientRect().right;
told.cut = [...document.querySelectorAll("figcaption, .bar-value")].map((one) => one.getBoundingClientRect())
  .filter((box) => box.width > 0 && box.right > edge).length;
dispatchEvent(new Event("beforeprint"));
told.folded = document.querySelectorAll("details:not([open])").length;
dispatchEvent(new Event("afterprint"));
told.foldedAgain = document.querySelectorAll("details:not([open])").length;
document.body.dataset.told = JSON.stringify(told);
"""


def browse(content, folder, *options):
    """Opens a page; returns the document as its script leaves it, and the lines of the console."""
    path = folder / "page.html"
    path.write_text(content, encoding="utf-8")
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr"]
    run = subprocess.run(
        [*command, "--virtual-time-budget=2000", *options, "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout, [line for line in run.stderr.splitlines() if ":CONSOLE" in line]


@pytest.fixture(scope="module")
def used(page, tmp_path_factory):
    """What a copy of the page tells after it was used, on a screen as narrow as headless Chromium goes."""
    # The policy of the page refuses scripts that are not its own.
    copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    copy = copy.replace("</body>", f"<script>{USE}</script></body>")
    document, console = browse(copy, tmp_path_factory.mktemp("used"), "--window-size=500,900")
    assert not console
    return json.loads(html.unescape(re.search(r'data-told="([^"]*)"', document).group(1)))


def test_the_page_opens_without_a_word_in_the_console(page, tmp_path):
    document, console = browse(page, tmp_path)
    assert not console
    assert "<title>A &lt;report&gt; &amp; more</title>" in document
    assert re.search(r'<button type="button" id="theme">(Dark|Light) theme</button>', document)


def test_the_policy_refuses_scripts_that_are_not_the_page_s_own(page, tmp_path):
    document, console = browse(page.replace("<h1>", "<script>document.title = 'attacked';</script><h1>"), tmp_path)
    assert "<title>attacked</title>" not in document
    assert any("Content Security Policy" in line for line in console)


def effective_rank(rows):
    """Roy & Vetterli 2007, written out."""
    sigma = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    share = sigma / sigma.sum()
    return np.exp(-(share * np.log(share)).sum())


def test_a_heading_sorts_its_table(used, models):
    ascending = sorted(models, key=lambda name: effective_rank(models[name]))
    assert used["scores"] == [["none", *models], ["descending", *ascending[::-1]], ["ascending", *ascending]]


def test_what_has_no_value_stays_below_whichever_way(used):
    _, (_, *down), (_, *up) = used["ranking"]
    assert down[-1].startswith("narrow")
    assert up[-1].startswith("narrow")
    assert down[:-1] == up[:-1][::-1]


def test_sorting_is_announced(used):
    assert used["announced"] == "sorted by effective rank, ascending"


def test_a_model_stands_out_on_request(used):
    assert (used["pressed"], used["chosen"], used["standing"]) == ("true", "chosen", ["0"])


def test_the_theme_changes(used):
    assert set(used["themes"]) == {"rgb(252, 252, 250)", "rgb(18, 22, 28)"}


def test_nothing_is_wider_than_a_narrow_screen(used):
    width, inner = used["width"]
    assert width <= inner


def test_no_caption_and_no_number_of_a_bar_is_cut_off_on_a_telephone(used):
    assert used["cut"] == 0


def test_print_shows_what_is_folded(used):
    assert used["folded"] == 0 < used["foldedAgain"]


def test_nothing_is_wider_than_paper(page, tmp_path):
    # A browser shrinks all that it prints until the widest thing fits; A4 leaves 680 pixels between its margins.
    copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    copy = copy.replace("narrow", "a_network_of_" + 12 * "many_").replace("@media print", "@media all")
    asks = (
        'dispatchEvent(new Event("beforeprint"));'
        "document.body.dataset.told = JSON.stringify([document.documentElement.scrollWidth,"
        'getComputedStyle(document.querySelector("thead button")).display,'
        'getComputedStyle(document.getElementById("theme")).display, '
        'document.querySelectorAll("#runs .runs-made section").length]);'
    )
    document, console = browse(
        copy.replace("</body>", f"<script>{asks}</script></body>"), tmp_path, "--window-size=680,900"
    )
    assert not console
    width, head, theme, runs = json.loads(html.unescape(re.search(r'data-told="([^"]*)"', document).group(1)))
    assert width <= 680
    # Chromium repeats the head of a table on its next page, but not the text of buttons.
    assert (head, theme) == ("contents", "none")
    assert runs > 3
