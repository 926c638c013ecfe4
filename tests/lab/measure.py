"""How fast the lab is, and whether it grows: python -m tests.lab.measure [--turns 5] [--minutes 10]. Needs Chromium.

First paint, in a browser that has nothing of the page in its cache; updates a second while the digits train; what that
training takes, against `lp.fit` alone in the program that the page gives, in turn, and how much of a core others took
meanwhile: a ratio counts if they took little. With `--minutes`, the memory of the server and of the page while the
digits train again and again.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .browser import Browser, Server

DIGITS = (
    "?tab=training&data=digits&network=small_cnn&weight=bfp8&activation=bfp8&batch=64&lr=0.05&average_from={}&epochs={}"
)
COUNT = """window.seen = 0; window.ended = null;
new MutationObserver(() => { window.seen += 1; }).observe(document.querySelector('.status'),
    {characterData: true, childList: true, subtree: true});
new MutationObserver(() => { window.ended ??= performance.now(); }).observe(document.querySelector('.fingerprint'),
    {characterData: true, childList: true, subtree: true});
const play = [...document.querySelectorAll('button')].find(b => b.innerText.includes('Play'));
play.addEventListener('click', () => { window.since = performance.now(); window.seen = 0; }, {once: true});"""
QUIET = 0.1  # of a core, that others may take


class Others:
    """How much of a core processes take that are not ours, since it was made."""

    def __init__(self):
        self.start, self.busy, self.ours = time.monotonic(), busy(), ours()

    def share(self):
        """Return the share: 1 is one core."""
        ticks = busy() - self.busy - (ours() - self.ours)
        return max(ticks, 0) / 100 / (time.monotonic() - self.start)


def busy():
    """Return the ticks, hundredths of a second, that all cores have worked."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return user + nice + system + irq + softirq


def ours():
    """Return the ticks of this process and its descendants, those that ended included."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(") ")[2].split()
        except OSError:  # it ended just now
            continue
        parents[path.parent.name], ticks[path.parent.name] = fields[1], sum(map(int, fields[11:15]))
    mine = {str(Path("/proc/self").resolve().name)}
    while more := {child for child, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(ticks[process] for process in mine)


def first_paint(url):
    """Return the milliseconds to the first paint, and to a page that answers."""
    browser = Browser()
    start = time.monotonic()
    browser.open(url)
    alive = 1000 * (time.monotonic() - start)
    paint = browser.js("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
    browser.quit()
    return paint, alive


def train_on_page(url, epochs, browser):
    """Train the digits; return the seconds, updates a second, and the program."""
    browser.open(url + DIGITS.format(epochs // 2, epochs))
    play = browser.find("button", "Play")
    browser.js(COUNT)
    play.click()
    while not browser.text(".fingerprint"):  # of the weights at the end
        time.sleep(0.5)
    seconds = browser.js("return (window.ended - window.since) / 1000")
    return seconds, browser.js("return window.seen") / seconds, browser.text(".program .code")


TIMED = """import time
start = time.monotonic()
run = parts(**settings)
log = lp.fit(**run, progress=False)
print("seconds", time.monotonic() - start)
for row in log:"""


def train_alone(program):
    """Run the program; return the seconds that it took to make the network and train it, as the page does."""
    timed = program.replace("run = parts(**settings)\nfor row in lp.fit(**run, progress=False):", TIMED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(timed)
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    return float(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("seconds")))


def compare(url, epochs, turns):
    """Print what the training takes on the page and alone, in turn, and the median of the ratios that count."""
    browser, ratios = Browser(), []
    for _ in range(turns):
        others = Others()
        page, rate, program = train_on_page(url, epochs, browser)
        alone = train_alone(program)
        taken = others.share()
        ratios += [page / alone] if taken < QUIET else []
        print(
            f"{epochs} epochs: {page:.1f} s on the page, {alone:.1f} s alone, ratio {page / alone:.2f}, "
            f"{rate:.1f} updates a second, others took {taken:.0%} of a core",
            flush=True,
        )
    print(f"{len(ratios)} turns count, median ratio {statistics.median(ratios) if ratios else float('nan'):.2f}")
    browser.quit()


def memory(server, minutes):
    """Print the memory of the server and of the page, each minute of training after training."""
    browser = Browser()
    browser.open(server.url + DIGITS.format(10, 20))
    browser.press("Play")
    for minute in range(minutes + 1):
        print(f"minute {minute}: server {resident(server):.0f} MB, page {heap(browser):.1f} MB", flush=True)
        until = time.monotonic() + 60 * (minute < minutes)
        while time.monotonic() < until:
            if browser.text(".fingerprint"):
                browser.press("Play")
            time.sleep(0.5)
    browser.quit()


def resident(server):
    """Return the MB of the server that are in memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s*(\d+)", status)[1]) / 1024


def heap(browser):
    """Return the MB of the page's objects, after garbage was collected."""
    browser.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    return browser.driver.execute_cdp_cmd("Runtime.getHeapUsage", {})["usedSize"] / 2**20


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20, help="of each training")
    parser.add_argument("--turns", type=int, default=3, help="trainings of each kind")
    parser.add_argument("--minutes", type=int, default=0, help="of training, in which memory is looked at")
    arguments = parser.parse_args()
    server = Server()
    try:
        if arguments.turns:
            paints = [first_paint(server.url) for _ in range(arguments.turns)]
            print("first paint, ms:", [round(p) for p, _ in paints], " alive, ms:", [round(a) for _, a in paints])
            compare(server.url, arguments.epochs, arguments.turns)
        if arguments.minutes:
            memory(server, arguments.minutes)
    finally:
        server.end()


if __name__ == "__main__":
    main()
