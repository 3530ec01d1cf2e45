// The views of a scan with their maps over them.

const OPACITY = 0.6;

function loadImage(address) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("a view cannot be read"));
    image.src = address;
  });
}

// A view as it is shown: its image and its map's grey values [w * h], where there is one.
async function readView(view) {
  const image = await loadImage(view.image);
  if (!view.map) return { ...view, image, grey: null };
  const map = await loadImage(view.map);
  const context = new OffscreenCanvas(map.width, map.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(map, 0, 0);
  const pixels = context.getImageData(0, 0, map.width, map.height);
  return { ...view, image, width: map.width, height: map.height, grey: pixels.data.filter((_, i) => i % 4 === 0) };
}

function drawView(canvas, view, colours, overlay) {
  const context = canvas.getContext("2d");
  canvas.width = view.image.width;
  canvas.height = view.image.height;
  context.drawImage(view.image, 0, 0);
  if (!overlay || !view.grey) return;
  const pixels = new ImageData(view.width, view.height);
  view.grey.forEach((grey, i) => {
    const at = 4 * Math.round(((grey - 1) / 254) * 255);
    if (grey) pixels.data.set([colours[at], colours[at + 1], colours[at + 2], 255 * OPACITY], 4 * i);
  });
  const map = new OffscreenCanvas(view.width, view.height);
  map.getContext("2d").putImageData(pixels, 0, 0);
  context.drawImage(map, 0, 0, canvas.width, canvas.height);
}

class Views {
  constructor() {
    this.shown = [];
    this.section = document.getElementById("views-section");
    this.overlay = document.getElementById("overlay");
    this.large = document.getElementById("large");
    this.overlay.addEventListener("change", () => this.draw());
    this.large.addEventListener("click", (event) => event.target === this.large && this.large.close());
  }

  async take(scan, colours) {
    this.scan = scan;
    this.colours = colours;
    const views = await Promise.all(scan.views.map(readView));
    // Another scan may have been chosen meanwhile.
    if (this.scan !== scan) return;
    this.section.hidden = !views.length;
    this.overlay.parentElement.hidden = !views.some((view) => view.grey);
    const [low, high] = scan.view_range;
    const range = `colours from ${format(low, 3)} to ${format(high, 3)}`;
    document.getElementById("view-range").textContent = views.some((view) => view.grey) ? range : "";
    this.shown = views.map((view) => {
      const button = document.createElement("button");
      const canvas = document.createElement("canvas");
      const name = document.createElement("span");
      button.type = "button";
      name.textContent = view.name;
      button.append(canvas, name);
      button.addEventListener("click", () => this.enlarge(view));
      return { view, button, canvas };
    });
    document.getElementById("views").replaceChildren(...this.shown.map(({ button }) => button));
    this.draw();
  }

  takeColours(colours) {
    this.colours = colours;
    this.draw();
  }

  draw() {
    for (const { view, canvas } of this.shown) drawView(canvas, view, this.colours, this.overlay.checked);
  }

  enlarge(view) {
    document.getElementById("large-name").textContent = view.name;
    drawView(document.getElementById("large-image"), view, this.colours, this.overlay.checked);
    this.large.showModal();
  }
}
