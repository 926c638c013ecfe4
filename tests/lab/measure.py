"""How fast the lab is: python -m tests.lab.measure [--epochs 6]. Needs Chromium, and cores with nothing else to do.

First paint, in a browser that has nothing of the page in its cache; updates a second while the digits train; what that
training takes, against `lp.fit` alone in the program that the page gives, each in turn.
"""

import argparse
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
COUNT = """window.seen = 0; window.since = performance.now();
new MutationObserver(() => { window.seen += 1; }).observe(document.querySelector('.status'),
    {characterData: true, childList: true, subtree: true});"""


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
    start = time.monotonic()
    play.click()
    while not browser.js("return document.querySelector('.fingerprint').textContent"):
        time.sleep(0.3)
    seconds = time.monotonic() - start
    rate = browser.js("return 1000 * window.seen / (performance.now() - window.since)")
    return seconds, rate, browser.js("return document.querySelector('.program .code').textContent")


def train_alone(program):
    """Run the program; return the seconds of its `lp.fit`."""
    timed = program.replace(
        "for row in lp.fit(**run, progress=False):",
        "import time\nstart = time.monotonic()\n"
        "log = lp.fit(**run, progress=False)\nprint('seconds', time.monotonic() - start)\n"
        "for row in log:",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(timed)
        done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    return float(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("seconds")))


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20, help="of each training")
    parser.add_argument("--turns", type=int, default=3, help="trainings of each kind")
    arguments = parser.parse_args()
    server = Server()
    try:
        paints = [first_paint(server.url) for _ in range(arguments.turns)]
        print("first paint, ms:", [round(p) for p, _ in paints], " alive, ms:", [round(a) for _, a in paints])
        browser, ratios = Browser(), []
        for _ in range(arguments.turns):
            page, rate, program = train_on_page(server.url, arguments.epochs, browser)
            alone = train_alone(program)
            ratios.append(page / alone)
            print(
                f"{arguments.epochs} epochs: {page:.1f} s on the page, {alone:.1f} s alone, "
                f"ratio {page / alone:.2f}, {rate:.1f} updates a second",
                flush=True,
            )
        print(f"median ratio {statistics.median(ratios):.2f}")
        browser.quit()
    finally:
        server.end()


if __name__ == "__main__":
    main()
