// Which point is read, what pointer and keys do, and the start.

// Points --------------------------------------------------------------------------------------------------------------

function showPoint(i) {
  const { scan } = state;
  state.picked = i;
  const rows = [];
  if (i >= 0) {
    const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(scan.step))));
    const place = [scan.x[i], scan.y[i], scan.z[i]].map((steps, c) => (scan.corner[c] + steps * scan.step).toFixed(digits));
    rows.push(["index", String(scan.numbers ? scan.numbers[i] : i)]);
    rows.push([scan.unit ? `place (${scan.unit})` : "place", place.join(", ")]);
    for (const score of scan.scores) rows.push([score.name, format(valueOf(score, i))]);
    if (scan.colours) rows.push(["colour", [0, 1, 2].map((c) => scan.colours[3 * i + c]).join(", ")]);
    if (scan.truth) rows.push(["ground truth", scan.truth[i] ? "defect" : "no defect"]);
  } else rows.push(["index", "point at the scan"]);
  fillTable(find("point"), rows);
  draw();
}

function goTo(i) {
  const { x, y, z } = state.scan;
  camera.look([x[i], y[i], z[i]]);
  showPoint(i);
}

function goToHighest() {
  const { steps } = state.score;
  let highest = 0;
  for (let i = 1; i < steps.length; i++) if (steps[i] > steps[highest]) highest = i;
  goTo(highest);
}

// Pointer and keys ----------------------------------------------------------------------------------------------------

// Pixels right and up of the canvas's middle.
function placeOf(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left - box.width / 2, box.top + box.height / 2 - event.clientY];
}

const pointers = new Map();

function onPointerDown(event) {
  if (!camera) return;
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, placeOf(event));
}

function onPointerMove(event) {
  if (!camera) return;
  const place = placeOf(event);
  const before = pointers.get(event.pointerId);
  if (!before) {
    hover(place);
    return;
  }
  const [dx, dy] = [place[0] - before[0], place[1] - before[1]];
  if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const spread = (at) => Math.max(Math.hypot(at[0] - other[0], at[1] - other[1]), 1);
    camera.pan(dx / 2, dy / 2);
    camera.zoom(spread(place) / spread(before), (place[0] + other[0]) / 2, (place[1] + other[1]) / 2);
  } else if (event.shiftKey || event.buttons & 6) camera.pan(dx, dy);
  else camera.rotate(dx * 0.008, -dy * 0.008);
  pointers.set(event.pointerId, place);
  move();
}

function onPointerUp(event) {
  pointers.delete(event.pointerId);
}

let hovered = null;

function hover(place) {
  if (!hovered) {
    requestAnimationFrame(() => {
      const i = camera.pick(...hovered, pointSize());
      hovered = null;
      if (i >= 0 && i !== state.picked) showPoint(i);
    });
  }
  hovered = place;
}

const TURN = Math.PI / 24;

const KEYS = {
  ArrowLeft: (shift) => (shift ? camera.pan(-30, 0) : camera.rotate(-TURN, 0)),
  ArrowRight: (shift) => (shift ? camera.pan(30, 0) : camera.rotate(TURN, 0)),
  ArrowUp: (shift) => (shift ? camera.pan(0, 30) : camera.rotate(0, -TURN)),
  ArrowDown: (shift) => (shift ? camera.pan(0, -30) : camera.rotate(0, TURN)),
  q: () => camera.rotate(0, 0, -TURN),
  e: () => camera.rotate(0, 0, TURN),
  "+": () => camera.zoom(1.2),
  "=": () => camera.zoom(1.2),
  "-": () => camera.zoom(1 / 1.2),
  0: () => reset(),
  Home: () => reset(),
  Enter: () => goToHighest(),
  PageUp: () => stepScan(-1),
  PageDown: () => stepScan(1),
};

function onKey(event) {
  const act = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (!act || !camera || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act(event.shiftKey);
  move();
}

function reset() {
  camera.reset(canvas.clientWidth, canvas.clientHeight);
  draw();
}

function stepScan(by) {
  const select = find("scan");
  const last = content.scans.length - 1;
  const chosen = Math.min(Math.max(Number(select.value) + by, 0), last);
  if (chosen === Number(select.value)) return;
  select.value = String(chosen);
  chooseScan(chosen);
}

function listen() {
  canvas.addEventListener("pointerdown", onPointerDown);
  canvas.addEventListener("pointermove", onPointerMove);
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, onPointerUp);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", (event) => {
    const i = camera ? camera.pick(...placeOf(event), pointSize()) : -1;
    if (i >= 0) goTo(i);
  });
  const onWheel = (event) => {
    event.preventDefault();
    if (!camera) return;
    const lines = event.deltaMode === 1 ? 30 : 1;
    camera.zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * lines)) * 0.0015), ...placeOf(event));
    move();
  };
  canvas.addEventListener("wheel", onWheel, { passive: false });
  canvas.addEventListener("keydown", onKey);
  canvas.addEventListener("webglcontextlost", () => refuse("The browser took the graphics away; load the page again."));
  new ResizeObserver(() => {
    // A scan that nobody has turned yet goes on filling the canvas.
    if (camera && !camera.moved) camera.reset(canvas.clientWidth, canvas.clientHeight);
    draw();
  }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawHistogram();
    draw();
  });
  const on = (id, event, act) => find(id).addEventListener(event, act);
  on("scan", "change", () => chooseScan(Number(find("scan").value)));
  on("previous", "click", () => stepScan(-1));
  on("next", "click", () => stepScan(1));
  on("score", "change", chooseScore);
  on("modes", "change", (event) => chooseMode(Number(event.target.value)));
  on("threshold", "input", () => {
    const { score } = state;
    setThreshold(score.low + (find("threshold").valueAsNumber / 1000) * (score.high - score.low));
  });
  on("threshold-value", "change", () => setThreshold(find("threshold-value").valueAsNumber));
  on("marked", "change", draw);
  on("low", "change", setRange);
  on("high", "change", setRange);
  on("fit", "click", () => {
    ranges.set(state.score.name, content.ranges[state.score.name]);
    showRange();
  });
  on("colours", "change", () => {
    state.colours = sampleScale(find("colours").value);
    scene.takeColours(state.colours);
    views.takeColours(state.colours);
    showRange();
  });
  on("highest", "click", goToHighest);
  on("size", "input", draw);
  on("shading", "change", draw);
  on("zoom-in", "click", () => {
    camera.zoom(1.3);
    draw();
  });
  on("zoom-out", "click", () => {
    camera.zoom(1 / 1.3);
    draw();
  });
  on("reset", "click", reset);
}

function refuse(reason) {
  camera = null;
  find("busy").hidden = true;
  find("notice").textContent = reason;
  find("notice").hidden = false;
}

function start() {
  find("title").textContent = document.title = content.title;
  fillOptions(find("scan"), content.scans.map((scan) => scan.name), 0);
  find("scan-choice").hidden = content.scans.length < 2;
  try {
    scene = new Scene(canvas);
  } catch (error) {
    refuse(`The scan cannot be drawn here: this browser offers no WebGL 2 (${error.message}).`);
    return;
  }
  scene.takeColours(state.colours);
  listen();
  chooseScan(0);
}

start();
