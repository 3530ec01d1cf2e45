// The page: what its controls do, and when the scan is drawn: only after something has changed.

const find = (id) => document.getElementById(id);
const canvas = find("canvas");
const LARGEST = 6;
const LINKED = 2;
// Milliseconds that a frame shall take, and the least share of the points that is drawn for it.
const FRAME = 33;
const LEAST = 0.05;

const ranges = new Map(Object.entries(content.ranges));
// Thresholds that were set here, by score; they go with the reader from scan to scan.
const thresholds = new Map();
const state = { scan: null, score: null, threshold: 0, mode: 0, share: 1, pace: 0, moving: false, colours: sampleScale("viridis"), picked: -1 };
let scene = null;
let camera = null;
const views = new Views();

// Drawing -------------------------------------------------------------------------------------------------------------

let waiting = false;
let lastFrame = 0;
let restTimer = 0;

function draw() {
  if (waiting || !camera) return;
  waiting = true;
  requestAnimationFrame(drawNow);
}

// While it is turned, a scan that takes too long to draw is drawn with fewer of its points.
function move() {
  state.moving = true;
  clearTimeout(restTimer);
  restTimer = setTimeout(() => {
    state.moving = false;
    lastFrame = 0;
    draw();
  }, 150);
  draw();
}

function readColour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16) / 255);
}

// Pixels that a point takes: its share of the surface and more, for few scans are of even density, times what the slider says.
function pointSize() {
  const size = 2.4 * (state.scan.spacing / state.scan.step) * camera.scale * 2 ** Number(find("size").value);
  return Math.min(Math.max(size, 1.5), 60);
}

function drawNow(now) {
  waiting = false;
  if (state.moving && lastFrame) adapt(now - lastFrame);
  lastFrame = state.moving ? now : 0;
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  scene.resize(Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio)));
  const share = state.moving ? state.share : 1;
  const started = performance.now();
  const range = ranges.get(state.score.name).map((value) => stepsOf(state.score, value));
  if (!(range[1] > range[0])) range[1] = range[0] + 1;
  scene.draw({
    camera,
    ratio,
    share,
    size: pointSize() * Math.min(1 / Math.sqrt(share), 2),
    range,
    threshold: stepsOf(state.score, state.threshold),
    mode: state.mode,
    marked: find("marked").checked,
    muted: readColour("--muted"),
    background: readColour("--stage"),
    shading: find("shading").checked,
  });
  if (!state.pace) {
    // The first time a scan is drawn says how much of it can be drawn while it is turned.
    scene.wait();
    state.pace = FRAME;
    state.share = Math.min(1, Math.max(FRAME / (performance.now() - started), LEAST));
  }
  drawRing(width, height);
}

// Draw more or fewer of the points, by how long the last few frames took, in milliseconds.
function adapt(taken) {
  state.pace += 0.25 * (taken - state.pace);
  const change = Math.min(Math.max(FRAME / state.pace, 0.85), 1.05);
  state.share = Math.min(Math.max(state.share * change, LEAST), 1);
}

function drawRing(width, height) {
  const ring = find("ring");
  ring.hidden = state.picked < 0;
  if (ring.hidden) return;
  const { x, y, z } = state.scan;
  const [right, up] = camera.project(x[state.picked], y[state.picked], z[state.picked]);
  ring.hidden = Math.abs(right) > width / 2 || Math.abs(up) > height / 2;
  ring.style.left = `${width / 2 + right}px`;
  ring.style.top = `${height / 2 - up}px`;
}

// Scans and scores ----------------------------------------------------------------------------------------------------

async function chooseScan(index) {
  find("busy").hidden = false;
  const scan = await unpack(index);
  if (Number(find("scan").value) !== index) return;
  state.scan = scan;
  state.picked = -1;
  state.pace = 0;
  scene.take(scan);
  camera = new Camera(scan, canvas.clientWidth, canvas.clientHeight);
  find("busy").hidden = true;
  const kept = scan.scores.findIndex((score) => state.score && score.name === state.score.name);
  fillOptions(find("score"), scan.scores.map((score) => score.name), Math.max(kept, 0));
  find("score-choice").hidden = scan.scores.length < 2;
  find("mode-1").hidden = !scan.colours;
  find("mode-2").hidden = !scan.truth;
  find("modes").hidden = !scan.colours && !scan.truth;
  if ((state.mode === 1 && !scan.colours) || (state.mode === 2 && !scan.truth)) chooseMode(0);
  find("marked").checked = scan.threshold !== null || thresholds.size > 0;
  const facts = [...scan.facts];
  if (scan.kept) {
    const [shown, all] = [scan.count, scan.total].map((count) => countFormat.format(count));
    facts.unshift(["shown", `${shown} of ${all} points: of each neighbourhood the one with the highest ${scan.scores[0].name}`]);
  } else facts.unshift(["points", countFormat.format(scan.count)]);
  fillTable(find("facts"), facts);
  showPoint(-1);
  chooseScore();
  await views.take(scan, state.colours);
}

function fillOptions(select, names, chosen) {
  const options = names.map((name, index) => new Option(name, String(index), false, index === chosen));
  select.replaceChildren(...options);
}

function fillTable(table, rows) {
  const made = rows.map(([name, value]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    const cell = document.createElement("td");
    head.scope = "row";
    head.textContent = name;
    cell.textContent = value;
    row.append(head, cell);
    return row;
  });
  table.tBodies[0].replaceChildren(...made);
}

function chooseScore() {
  const score = state.scan.scores[Number(find("score").value)];
  state.score = score;
  scene.takeScore(score);
  state.threshold = thresholds.get(score.name) ?? givenThreshold();
  showRange();
  showThreshold();
}

// The threshold that a scan comes with, or else one that a point in a hundred is above.
function givenThreshold() {
  const { scan, score } = state;
  if (scan.threshold !== null && score === scan.scores[0]) return scan.threshold;
  const sorted = score.steps.filter((steps) => steps > 0).sort();
  const at = sorted[Math.floor(0.99 * (sorted.length - 1))];
  return score.low + (at - 1) * score.unit;
}

function chooseMode(mode) {
  state.mode = mode;
  document.querySelector(`input[name="mode"][value="${mode}"]`).checked = true;
  find("legend").hidden = mode !== 2;
  draw();
}

// Colours and threshold -----------------------------------------------------------------------------------------------

function showRange() {
  const [low, high] = ranges.get(state.score.name);
  find("low").value = format(low);
  find("high").value = format(high);
  drawHistogram();
  draw();
}

function setRange() {
  const [low, high] = [find("low"), find("high")].map((input) => input.valueAsNumber);
  const right = low < high;
  for (const input of [find("low"), find("high")]) input.setCustomValidity(right ? "" : "from must be less than to");
  if (!right) return;
  ranges.set(state.score.name, [low, high]);
  drawHistogram();
  draw();
}

// How many points have which score, on a scale of logarithms, in the colours that they are drawn in.
function drawHistogram() {
  const { score } = state;
  const chart = find("histogram");
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [chart.clientWidth, chart.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
  [chart.width, chart.height] = [width, height];
  const bars = 120;
  const counts = new Uint32Array(bars);
  for (const steps of score.steps) if (steps) counts[Math.min(bars - 1, Math.floor(((steps - 1) * bars) / 65534))]++;
  const most = Math.log1p(counts.reduce((a, b) => Math.max(a, b)));
  const context = chart.getContext("2d");
  const [low, high] = ranges.get(score.name);
  counts.forEach((count, bar) => {
    const value = score.low + ((bar + 0.5) / bars) * (score.high - score.low);
    const share = Math.min(Math.max((value - low) / (high - low), 0), 1);
    const at = 4 * Math.round(share * 255);
    context.fillStyle = `rgb(${state.colours[at]} ${state.colours[at + 1]} ${state.colours[at + 2]})`;
    const tall = Math.max((Math.log1p(count) / most) * (height - 8 * ratio), 0);
    const [left, right] = [Math.round((bar * width) / bars), Math.round(((bar + 1) * width) / bars)];
    context.fillRect(left, height - 6 * ratio - tall, right - left, tall);
    context.fillRect(left, height - 5 * ratio, right - left, 5 * ratio);
  });
  const at = ((state.threshold - score.low) / (score.high - score.low || 1)) * width;
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--text");
  context.fillRect(Math.min(Math.max(at - ratio, 0), width - 2 * ratio), 0, 2 * ratio, height);
}

let regionTimer = 0;

function showThreshold() {
  const { scan, score, threshold } = state;
  find("threshold").value = String(Math.round((1000 * (threshold - score.low)) / (score.high - score.low || 1)));
  find("threshold").setAttribute("aria-valuetext", format(threshold));
  const input = find("threshold-value");
  if (document.activeElement !== input) input.value = format(threshold, 5);
  // Points without a score have 0 steps and are never above.
  const steps = Math.max(stepsOf(score, threshold), 0);
  const above = countAbove(score, steps);
  find("above").textContent = countFormat.format(above);
  find("counted").textContent = countFormat.format(scan.count);
  find("share").textContent = format((100 * above) / scan.count, 3);
  find("counts").setAttribute("aria-busy", "true");
  clearTimeout(regionTimer);
  regionTimer = setTimeout(() => showRegions(steps), 100);
  drawHistogram();
  draw();
}

function showRegions(steps) {
  const { scan, score } = state;
  const regions = findRegions(scan, score, steps, (LINKED * scan.spacing) / scan.step);
  find("regions").textContent = countFormat.format(regions.length);
  find("regions-word").textContent = regions.length === 1 ? "region" : "regions";
  find("extent-head").textContent = scan.unit ? `Extent (${scan.unit})` : "Extent";
  const rows = regions.slice(0, LARGEST).map((region, place) => {
    const row = document.createElement("tr");
    const go = document.createElement("button");
    go.type = "button";
    go.textContent = String(place + 1);
    go.setAttribute("aria-label", `Go to region ${place + 1}`);
    go.addEventListener("click", () => goTo(region.highest));
    const extent = Math.hypot(...region.high.map((high, c) => high - region.low[c])) * scan.step;
    const texts = [
      countFormat.format(region.count),
      `${format((100 * region.count) / scan.count, 3)}\u202f%`,
      format(extent, 3),
      format(valueOf(score, region.highest)),
    ];
    const cells = [go, ...texts].map((part) => {
      const cell = document.createElement("td");
      cell.append(part);
      return cell;
    });
    row.append(...cells);
    return row;
  });
  find("region-table").hidden = !regions.length;
  find("region-table").tBodies[0].replaceChildren(...rows);
  const distance = `${format(LINKED * scan.spacing, 3)} ${scan.unit}`.trim();
  const rest = regions.length > LARGEST ? `The ${LARGEST} largest of ${countFormat.format(regions.length)}. ` : "";
  find("region-note").textContent = `${rest}Points at most ${distance} apart are one region; its extent is its box's diagonal.`;
  find("counts").setAttribute("aria-busy", "false");
}

function setThreshold(value) {
  if (!Number.isFinite(value)) return;
  thresholds.set(state.score.name, value);
  state.threshold = value;
  find("marked").checked = true;
  showThreshold();
}

// Points --------------------------------------------------------------------------------------------------------------

function showPoint(i) {
  const { scan } = state;
  state.picked = i;
  const rows = [];
  if (i >= 0) {
    const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(scan.step))));
    const place = [scan.x[i], scan.y[i], scan.z[i]].map((steps, c) => (scan.corner[c] + steps * scan.step).toFixed(digits));
    rows.push(["index", String(scan.kept ? scan.kept[i] : i)]);
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
