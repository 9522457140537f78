"""Tries the page of `blip2 serve` as people use it, in headless Chromium.

    .ci/browser.py BLIP2 AXE [--screenshots FOLDER]

BLIP2 is the program, AXE the file axe.min.js. Each step says what it found; the first fault ends it.
"""

import argparse
import atexit
import pathlib
import subprocess
import tempfile
import time

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLOR = "what color is the shape?"


class Server:
    """`blip2 serve` on a port of its own."""

    def __init__(self, program, *arguments, port=0):
        command = [program, "serve", "--port", str(port), "--log", "warn", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        # Where a step fails, nothing is left behind.
        atexit.register(self.process.kill)
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.url
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0, "the server did not stop as it should"


def browser(dark=False, width=1100, height=900):
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.add_argument(f"--window-size={width},{height}")
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    return driver


class Page:
    """The page, as a person sees it."""

    def __init__(self, driver, url, axe):
        self.driver, self.url, self.axe = driver, url, axe
        driver.get(url)
        self.until("the model is known", lambda: "Model" in self.text("header"))

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.one(selector).text

    def until(self, what, is_so, seconds=20):
        WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: is_so(), what)

    def example(self, name):
        self.one(f"[data-example={name}]").click()
        self.until(f"{name} is shown", lambda: name in (self.one("#shown").get_attribute("alt") or ""))

    def entries(self):
        return [entry.text.split("\n") for entry in self.all("#log > li")]

    def ask(self, question):
        count = len(self.all("#log > li"))
        field = self.one("#question")
        field.clear()
        field.send_keys(question, Keys.ENTER)
        self.until(
            f"{question} is answered",
            lambda: len(self.all("#log > li")) > count and self.all("#log > li:first-child .sure"),
        )
        return self.entries()[0]

    def choose(self, *paths):
        self.one("#file").send_keys("\n".join(str(path) for path in paths))

    def error(self):
        self.until("an error is shown", lambda: self.one("#error").is_displayed())
        return self.text("#error")

    def check_accessibility(self, where):
        self.driver.execute_script(self.axe)
        found = self.driver.execute_async_script(
            "axe.run(document, {resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
        )
        faults = [
            f"{fault['impact']}: {fault['help']}: {fault['nodes'][0]['html']}" for fault in found["violations"]
        ]
        assert not faults, f"{where}: " + "; ".join(faults)
        print(f"   no fault of accessibility {where}")

    def check_console(self, expected=()):
        entries = [entry["message"] for entry in self.driver.get_log("browser")]
        unexpected = [line for line in entries if not any(part in line for part in expected)]
        assert not unexpected, f"the console says {unexpected}"

    def check_requests(self):
        """Nobody but the server was asked."""
        for entry in self.driver.get_log("performance"):
            if '"Network.requestWillBeSent"' not in entry["message"]:
                continue
            url = entry["message"].split('"url":"', 1)[1].split('"', 1)[0]
            assert url.startswith((self.url, "blob:", "data:", "chrome")), f"the page asks {url}"


def talks(page, axe_places):
    page.example("red-triangle")
    asked, said, sure, _ = page.ask(COLOR)
    assert (asked, said) == (COLOR, "red") and sure.endswith("% sure"), (asked, said, sure)
    assert page.ask("what shape is in the image?")[1] == "triangle"
    assert [entry[0] for entry in page.entries()] == ["what shape is in the image?", COLOR], page.entries()
    print("   asks and streams; what was asked before stays")
    page.one("#caption").click()
    page.until("the caption is there", lambda: len(page.all("#log .sure")) == 3)
    page.one("#rank-part summary").click()
    page.one("#candidates").send_keys("blue\nred\nteal")
    page.one("#question").clear()
    page.one("#question").send_keys(COLOR)
    page.one("#rank-form button").click()
    page.until("the ranking is there", lambda: page.all("#log .bars li"))
    bars = [bar.text.split("\n")[0] for bar in page.all("#log .bars li")]
    assert bars[0].startswith("red") and len(bars) == 3, bars
    widths = [float(bar.value_of_css_property("width")[:-2]) for bar in page.all("#log .bar > span")]
    assert widths == sorted(widths, reverse=True) and widths[0] > widths[1], widths
    print("   describes and ranks")
    page.check_accessibility(axe_places)
    page.example("blue-circle")
    assert page.entries() == [], "another picture begins anew"
    assert page.ask(COLOR)[1] == "blue"


def explains(page):
    page.example("red-triangle")
    page.ask("what shape is in the image?")
    page.ask(COLOR)
    word = page.one("#log > li:first-child .word")
    assert word.text == "red" and word.get_attribute("aria-pressed") == "false"
    word.click()
    page.until("the map is there", lambda: page.one("#map").is_displayed())
    assert not page.one("#shown").is_displayed()
    assert word.get_attribute("aria-pressed") == "true"
    told = page.text("#told")
    assert told.startswith("Where it looked for “red”: most in the ") and "row" in told, told
    assert page.one("#map").get_attribute("aria-label") == told
    low, high = page.text("#low"), page.text("#high")
    assert float(low) < float(high), (low, high)
    # The lightest place is on the triangle, whose pixels are not those of the ground.
    on_shape = page.driver.execute_async_script(
        """
        const [done] = arguments;
        const map = document.getElementById("map");
        const { width, height } = map;
        const pixels = map.getContext("2d").getImageData(0, 0, width, height).data;
        const light = (n) => pixels[n] + pixels[n + 1] + pixels[n + 2];
        let most = 0;
        for (let n = 0; n < pixels.length; n += 4) if (light(n) > light(most)) most = n;
        const at = [(most / 4) % width, Math.floor(most / 4 / width)];
        const shown = new OffscreenCanvas(width, height).getContext("2d");
        shown.drawImage(document.getElementById("shown"), 0, 0, width, height);
        const near = shown.getImageData(Math.max(at[0] - 24, 0), Math.max(at[1] - 24, 0), 48, 48).data;
        let red = 0;
        for (let n = 0; n < near.length; n += 4) if (near[n] > near[n + 1] + 60) red += 1;
        done(red > 100);
        """
    )
    assert on_shape, "the map is lightest where nothing is"
    page.check_accessibility("with a map")
    whole = page.one("#log > li:first-child .whole")
    whole.click()
    page.until("the whole is pressed", lambda: whole.get_attribute("aria-pressed") == "true")
    assert word.get_attribute("aria-pressed") == "false"
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until("the picture is back", lambda: page.one("#shown").is_displayed())
    assert not page.one("#map").is_displayed()
    page.one("#log > li:last-child .word").click()
    page.until("an earlier answer's map is there", lambda: "“triangle”" in page.text("#told"))
    page.one("#plain").click()
    page.until("the picture is back", lambda: page.one("#shown").is_displayed())
    page.one("#caption").click()
    page.until("the caption is there", lambda: page.all("#log > li:first-child .whole"))
    page.one("#log > li:first-child .whole").click()
    page.until("the caption's map is there", lambda: page.one("#map").is_displayed())
    page.example("blue-circle")
    assert not page.one("#map").is_displayed(), "another picture has no map"
    print("   shows where the model looked, for a word and for the whole")


def refuses(page, folder):
    text = folder / "notes.txt"
    text.write_text("no picture")
    page.choose(text)
    assert "notes.txt is no picture" in page.error()
    broken = folder / "broken.png"
    broken.write_bytes(b"no picture either")
    page.choose(broken)
    page.until("the file is taken", lambda: "broken.png" in page.one("#shown").get_attribute("alt"))
    page.one("#question").clear()
    page.one("#question").send_keys(COLOR, Keys.ENTER)
    assert "not a picture" in page.error()
    print("   says what is wrong with a text and with a broken picture")
    page.check_console(expected=("400 (Bad Request)", "broken", "blob:"))


def survives(page, program, server):
    page.example("red-triangle")
    assert page.ask(COLOR)[1] == "red"
    server.stop()
    page.one("#question").clear()
    page.one("#question").send_keys(COLOR, Keys.ENTER)
    assert "does not answer" in page.error()
    again = Server(program, port=server.port)
    assert page.ask(COLOR)[1] == "red"
    assert not page.one("#error").is_displayed()
    print("   survives a restart of the server")
    page.check_console(expected=("ERR_CONNECTION_REFUSED",))
    return again


def by_keyboard(driver, url, axe):
    page = Page(driver, url, axe)
    focused = lambda: driver.switch_to.active_element
    for _ in range(20):
        focused().send_keys(Keys.TAB)
        if focused().get_attribute("data-example") == "red-triangle":
            break
    focused().send_keys(Keys.ENTER)
    page.until("the picture is shown", lambda: page.one("#shown").is_displayed())
    for _ in range(20):
        focused().send_keys(Keys.TAB)
        if focused().get_attribute("id") == "question":
            break
    focused().send_keys(COLOR, Keys.ENTER)
    page.until("it is answered", lambda: page.all("#log .sure"))
    assert page.entries()[0][1] == "red"
    for _ in range(20):
        focused().send_keys(Keys.TAB)
        if "word" in focused().get_attribute("class"):
            break
    focused().send_keys(Keys.ENTER)
    page.until("the map is there", lambda: page.one("#map").is_displayed())
    focused().send_keys(Keys.ESCAPE)
    page.until("the picture is back", lambda: page.one("#shown").is_displayed())
    print("   can be used by the keyboard alone")
    return page


def keyed(program, axe, folder):
    keys = folder / "keys.txt"
    keys.write_text("a-key\n")
    server = Server(program, "--keys", str(keys))
    driver = browser()
    driver.get(server.url)
    field = driver.find_element(By.ID, "key")
    WebDriverWait(driver, 10).until(lambda _: field.is_displayed())
    field.send_keys("a-key", Keys.ENTER)
    WebDriverWait(driver, 10).until(lambda _: driver.find_element(By.ID, "model").text)
    assert not field.is_displayed()
    page = Page(driver, server.url, axe)
    page.example("red-triangle")
    assert page.ask(COLOR)[1] == "red"
    print("   asks for a key, and takes it")
    driver.quit()
    server.stop()


def searches(program, axe):
    server = Server(program, "--model", str(ROOT / "fixtures/blip2_itr"))
    driver = browser()
    page = Page(driver, server.url, axe)
    images = ROOT / "examples/images"
    page.choose(images / "red-triangle.png", images / "blue-circle.png")
    page.until("both are there", lambda: len(page.all("#gallery li")) == 2)
    assert not page.one("#talk").is_displayed()
    page.one("#text").send_keys("a circle", Keys.ENTER)
    page.until("both are compared", lambda: len(page.all("#found > li")) == 2)
    page.all("#found .whole")[1].click()
    page.until("the map is there", lambda: page.one("#found li:last-child #map").is_displayed())
    page.check_accessibility("with a retrieval model")
    page.one("#text").send_keys(Keys.ENTER)
    page.until("the map is gone", lambda: not page.one("#map").is_displayed())
    page.check_console()
    print("   searches with a retrieval model")
    driver.quit()
    server.stop()


def chooses(program, axe):
    adapters = [f"--adapter={name}={ROOT / 'fixtures/peft' / name}" for name in ("opt_list", "opt_dora")]
    server = Server(program, "--model", str(ROOT / "fixtures/blip2_opt"), *adapters)
    driver = browser()
    page = Page(driver, server.url, axe)
    names = [option.text for option in page.all("#models option")]
    assert names == ["blip2_opt", "blip2_opt:opt_list", "blip2_opt:opt_dora"], names
    page.example("red-triangle")
    for name in reversed(names):
        Select(page.one("#models")).select_by_visible_text(name)
        page.ask(COLOR)
        sure = page.text("#log > li:first-child .sure")
        assert sure.endswith(f"% sure, {name}"), sure
    # What another model said earlier is explained by that one.
    page.driver.execute_script(
        "const ask = fetch; asked = []; fetch = (url, o) => (asked.push([url, o.body.get('model')]), ask(url, o));"
    )
    page.one("#log > li:last-child .whole").click()
    page.until("its map is there", lambda: page.one("#map").is_displayed())
    asked = page.driver.execute_script("return asked")
    assert asked == [["explain", names[2]]], asked
    page.check_accessibility("with adapters to choose from")
    page.check_console()
    print("   lets an adapter be chosen")
    driver.quit()
    server.stop()


def on_a_phone(url, axe, screenshots):
    driver = browser(dark=True, width=500, height=900)
    metrics = {"width": 375, "height": 812, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    page = Page(driver, url, axe)
    page.example("teal-rectangle")
    assert page.ask(COLOR)[1] == "teal"
    page.one(".word").click()
    page.until("the map is there", lambda: page.one("#map").is_displayed())
    wide = driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"the page is {wide} pixels too wide"
    page.check_accessibility("on a phone, in the dark")
    if screenshots:
        driver.save_screenshot(str(screenshots / "page-phone.png"))
    driver.quit()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("blip2")
    arguments.add_argument("axe", type=pathlib.Path)
    arguments.add_argument("--screenshots", type=pathlib.Path)
    given = arguments.parse_args()
    axe = given.axe.read_text()
    begun = time.time()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        server = Server(given.blip2)
        driver = browser()
        page = by_keyboard(driver, server.url, axe)
        page.check_accessibility("at first")
        page = Page(driver, server.url, axe)
        talks(page, "after questions")
        explains(page)
        page.check_console()
        if given.screenshots:
            given.screenshots.mkdir(parents=True, exist_ok=True)
            screenshot(page, given.screenshots / "page.png")
        refuses(page, folder)
        server = survives(page, given.blip2, server)
        page.check_requests()
        driver.quit()
        on_a_phone(server.url, axe, given.screenshots)
        server.stop()
        keyed(given.blip2, axe, folder)
        searches(given.blip2, axe)
        chooses(given.blip2, axe)
    print(f"the page works ({time.time() - begun:.0f} s)")


def screenshot(page, path):
    page.example("red-triangle")
    for question in ("is there a circle in the image?", "what shape is in the image?", COLOR):
        page.ask(question)
    page.one("#rank-form button").click()
    page.until("the ranking is there", lambda: page.all("#log .bars li"))
    page.one("#log > li:nth-child(2) .word").click()
    page.until("the map is there", lambda: page.one("#map").is_displayed())
    page.driver.execute_script("document.activeElement.blur()")
    page.driver.save_screenshot(str(path))


if __name__ == "__main__":
    main()
