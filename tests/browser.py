"""A headless Chromium that opens viewer pages, and what its log says."""

import io
import json
import shutil
import time
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)
SOFTWARE_GL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SIZE = (1200, 800)


class Browser:
    """Opens one page after the other; pixels of the page are those of its pictures."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for option in (*OPTIONS, *SOFTWARE_GL):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(60)

    def close(self) -> None:
        self.driver.quit()

    def open(self, path: Path, size: tuple[int, int] = SIZE, scheme: str = "light", before: str = "") -> None:
        """Load a page in a window of this size and wait until it is drawn; `before` runs before any script of its."""
        command = self.driver.execute_cdp_cmd
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        command("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command("Emulation.setEmulatedMedia", {"features": features})
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        script = command("Page.addScriptToEvaluateOnNewDocument", {"source": before})["identifier"] if before else None
        self.driver.get(path.as_uri())
        if script:
            command("Page.removeScriptToEvaluateOnNewDocument", {"identifier": script})
        self.settle()

    def run(self, script: str, *arguments: object) -> object:
        return self.driver.execute_script(script, *arguments)

    def settle(self) -> None:
        """Wait until numbers are counted and the scan is drawn with all its points."""
        ready = "return document.getElementById('counts').getAttribute('aria-busy') === 'false'"
        refused = "return !document.getElementById('notice').hidden"
        deadline = time.monotonic() + 30
        while not (self.run(ready) or self.run(refused)):
            assert time.monotonic() < deadline, "the page is not ready"
            time.sleep(0.02)
        # Turning is over after 150 ms without; two frames later what is shown has been drawn.
        wait = "setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(arguments[0])), 200)"
        self.driver.execute_async_script(wait)

    def find(self, name: str) -> WebElement:
        return self.driver.find_element(By.ID, name)

    def text(self, name: str) -> str:
        return str(self.run("return document.getElementById(arguments[0]).textContent", name)).strip()

    def number(self, name: str) -> float:
        return float(self.text(name).replace(",", ""))

    def table(self, name: str) -> list[list[str]]:
        """Texts of a table's body as they are in the page."""
        script = (
            "return [...document.getElementById(arguments[0]).tBodies[0].rows]"
            ".map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
        found = self.run(script, name)
        assert isinstance(found, list)
        return found

    def set(self, name: str, value: object, event: str = "change") -> None:
        """Give a control a value as a reader does."""
        script = (
            "const control = document.getElementById(arguments[0]);"
            "if (control.type === 'checkbox') control.checked = arguments[1]; else control.value = arguments[1];"
            "control.dispatchEvent(new Event(arguments[2], {bubbles: true}))"
        )
        self.run(script, name, value if isinstance(value, bool) else str(value), event)
        self.settle()

    def look(self, name: str = "canvas") -> np.ndarray:
        """What is seen where an element is, int [h, w, 3]; of the scan alone, without buttons and marks over it."""
        script = (
            "for (const over of ['stage-buttons', 'ring']) document.getElementById(over).style.opacity = arguments[1];"
            "document.getElementById('canvas').style.outline = arguments[1] ? '' : 'none';"
            "const box = document.getElementById(arguments[0]).getBoundingClientRect();"
            "return [box.left, box.top, box.right, box.bottom].map(Math.round)"
        )
        box = self.run(script, name, 0)
        with Image.open(io.BytesIO(self.driver.get_screenshot_as_png())) as image:
            found = np.asarray(image.convert("RGB").crop(box)).astype(int)  # type: ignore[arg-type]
        self.run(script, name, 1)
        return found

    def check_quiet(self, path: Path) -> None:
        """Nothing was written to the console (an error, a breach of the policy), and nothing asked for but the page."""
        assert self.driver.get_log("browser") == []
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert {url for url in asked if not url.startswith("data:")} <= {path.as_uri()}
