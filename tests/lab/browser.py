"""The lab in a child process and Debian's Chromium in front of it, for the tests and the scripts beside them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)
PATIENCE = 60  # seconds until what should come counts as missing; two busy cores take their time


def chromium():
    """Return the paths of the browser and its driver, None for what is not there."""
    return shutil.which("chromium"), shutil.which("chromedriver")


class Server:
    """`python -m lpnet lab` until `end`; `url` is what it says it is."""

    def __init__(self, *arguments, cwd=None):
        command = [sys.executable, "-m", "lpnet", "lab", "--no-browser", *arguments]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env={**os.environ, "PYTHONWARNINGS": "default"},
        )
        self.said = []
        while not self.said or "http" not in self.said[-1] or "warning" in self.said[-1]:
            line = self.process.stdout.readline()
            assert line, "".join(self.said)
            self.said.append(line)
        self.url = self.said[-1].split()[2]

    def end(self):
        """Press Ctrl-C; return the exit code and what was said since the start."""
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.said += self.process.communicate(timeout=PATIENCE)[0].splitlines(keepends=True)
        return self.process.poll(), "".join(self.said)


class Browser:
    """Chromium, and what the tests do with it. `window` is one of its tabs; `find` waits."""

    def __init__(self, width=1200, height=1400):
        from selenium import webdriver

        browser, driver = chromium()
        self.profile = tempfile.mkdtemp()
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*FLAGS, f"--user-data-dir={self.profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(driver))

    def quit(self):
        """Close the browser."""
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def size(self, width, height, dark=False):
        """Set the size of the page and the theme that the system is said to have."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
        )

    def shoot(self, path, width, dark=False):
        """Write a picture of the whole page."""
        self.size(width, 900, dark)
        time.sleep(0.5)
        height = self.js("return Math.max(600, document.querySelector('.q-layout').scrollHeight)")
        self.size(width, min(height, 4000), dark)
        time.sleep(0.7)
        self.driver.save_screenshot(str(path))

    def js(self, script, *arguments):
        """Return what a script returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, truth, what="it"):
        """Wait until `truth()` is true, and return it."""
        end = time.monotonic() + PATIENCE
        problem = None
        while time.monotonic() < end:
            try:
                if value := truth():
                    return value
                problem = value
            except Exception as error:
                problem = error
            time.sleep(0.03)
        raise AssertionError(f"{what} did not come: {problem!r}")

    def find(self, css, text=None):
        """Return the element that comes, the one that contains a text."""

        def look():
            found = self.driver.find_elements("css selector", css)
            return next((e for e in found if text is None or text in e.text), None)

        return self.wait(look, f"{css} {text or ''}")

    def open(self, url):
        """Go to an address, and wait until the page is alive."""
        self.driver.get(url)
        self.alive()

    def alive(self):
        """Wait until the page is connected."""
        self.find(".q-tab")
        self.wait(lambda: self.js("return !!(window.socket && window.socket.connected)"), "the connection")

    def type(self, label, text):
        """Put a text into the field of that label."""
        from selenium.webdriver.common.keys import Keys

        field = self.field(label)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.DELETE, text)

    def field(self, label):
        """Return the input that has a label."""
        return self.find(f'input[aria-label="{label}"]')

    def choose(self, label, option):
        """Choose from the list of that label."""
        self.field(label).click()
        item = self.find(".q-menu .q-item", option)
        self.wait(lambda: not self.js("return document.getAnimations().length"), "a list that stands still")
        item.click()
        self.wait(lambda: not self.driver.find_elements("css selector", ".q-menu .q-item"), "the end of the list")

    def press(self, name):
        """Press the button of a name."""

        def look():
            found = self.driver.find_elements("css selector", "button")
            return next((e for e in found if name in e.text or name == e.get_attribute("aria-label")), None)

        self.wait(look, name).click()

    def series(self, words):
        """Return the series of the chart of those words, as ECharts has them."""
        return json.loads(
            self.js(
                "const e = document.querySelector(`.chart[aria-label*='${arguments[0]}']`);"
                "const c = getElement(parseInt(e.id.slice(1))).chart;"
                "return JSON.stringify(c.getOption().series.map(s => ({name: s.name, data: s.data})))",
                words,
            )
        )

    def text(self, css):
        """Return the whole text of an element, hidden or not."""
        return self.js("return document.querySelector(arguments[0])?.textContent", css)

    def shows(self, css, text):
        """Wait until an element has a text."""
        self.wait(lambda: self.text(css) == text, f"{text!r} in {css}")

    def table(self, caption):
        """Return the rows of the table with that caption."""
        return self.js(
            "const t = [...document.querySelectorAll('table')].find(t => t.caption?.textContent === arguments[0]);"
            "return [...(t?.tBodies[0].rows ?? [])].map(r => [...r.cells].map(c => c.textContent));",
            caption,
        )

    def keys(self, *keys):
        """Press keys, wherever the focus is."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def focus(self):
        """Return the name of what has the focus."""
        return self.js("const e = document.activeElement; return e.getAttribute('aria-label') ?? e.innerText;")

    def copy(self):
        """Open the program, press its button, and return what is on the clipboard."""
        self.driver.execute_cdp_cmd(
            "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        )
        self.js("navigator.clipboard.writeText('')")
        self.find(".program .q-item").click()
        self.press("Copy")
        return self.wait(lambda: self.js("return navigator.clipboard.readText()"), "the program")

    def errors(self):
        """Return what the page complained of since the last time."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]


def repository():
    """Return the folder of the repository."""
    return Path(__file__).resolve().parent.parent.parent
