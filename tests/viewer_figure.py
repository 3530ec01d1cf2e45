"""Take the picture of a viewer page that README shows: `python tests/viewer_figure.py PAGE SCAN PICTURE`."""

import io
import sys
from pathlib import Path

from browser import MISSING, Browser
from PIL import Image
from selenium.webdriver import ActionChains, Keys

SIZE = (1280, 800)
TURNS = [*[Keys.ARROW_RIGHT] * 3, *[Keys.ARROW_DOWN] * 2]


def main(page: Path, scan: str, picture: Path) -> None:
    if MISSING:
        sys.exit(f"{' and '.join(MISSING)} not installed; `python envs/system.py --browser` installs what is missing")
    browser = Browser()
    try:
        browser.open(page.resolve(), SIZE)
        names = browser.run("return [...document.getElementById('scan').options].map((option) => option.text)")
        assert isinstance(names, list)
        browser.set("scan", names.index(scan))
        browser.run("document.getElementById('canvas').focus()")
        ActionChains(browser.driver).send_keys(*TURNS).perform()
        browser.run("document.activeElement.blur()")
        browser.settle()
        with Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())) as image:
            # A palette, which a page of few colours and one map can do with.
            small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            picture.parent.mkdir(exist_ok=True)
            small.save(picture, "PNG", optimize=True)
    finally:
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
