// What the page shows: the scan, its score and how it is drawn, which happens only after something has changed.

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
  let scan = null;
  try {
    scan = await unpack(index);
  } catch (error) {
    refuse(`The scan cannot be unpacked here: this browser is too old, or the file is damaged (${error.message}).`);
    return;
  }
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
  if (scan.count < scan.total) {
    const [shown, all] = [scan.count, scan.total].map((count) => countFormat.format(count));
    facts.unshift(["points shown", `${shown} of ${all} points: of each neighbourhood the one with the highest ${scan.scores[0].name}`]);
  } else facts.unshift(["points shown", countFormat.format(scan.count)]);
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
