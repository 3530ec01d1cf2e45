// The range of the colours, the threshold, and what lies above it.

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
