// What the page was given: `content`, and a scan's arrays, unpacked when it is chosen.

const content = JSON.parse(document.getElementById("content").textContent);

// Arrays of scan number `index` as packing.py stored them: x, y, z and scores as Uint16Array, colours, truth, numbers.
async function unpack(index) {
  const layout = content.scans[index];
  const text = atob(document.getElementById(`scan-${index}`).textContent);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = await new Response(stream).arrayBuffer();
  const n = layout.count;
  let place = 0;
  const take = (Kind, length) => {
    const array = new Kind(bytes.slice(place, place + length * Kind.BYTES_PER_ELEMENT));
    place += array.byteLength;
    return array;
  };
  const takeSums = (Kind) => {
    const array = take(Kind, n);
    for (let i = 1; i < n; i++) array[i] += array[i - 1];
    return array;
  };
  const scan = { ...layout, x: takeSums(Uint16Array), y: takeSums(Uint16Array), z: takeSums(Uint16Array) };
  scan.scores = layout.scores.map((score) => {
    // 1 is the lowest, 65535 the highest, 0 none.
    const unit = (score.high - score.low) / 65534;
    return { ...score, steps: takeSums(Uint16Array), unit };
  });
  scan.colours = layout.colours ? take(Uint8Array, 3 * n) : null;
  scan.truth = layout.truth ? take(Uint8Array, n) : null;
  scan.numbers = layout.numbered ? takeSums(Uint32Array) : null;
  return scan;
}

function valueOf(score, i) {
  return score.steps[i] ? score.low + (score.steps[i] - 1) * score.unit : NaN;
}

// A value of a score in its steps, not rounded; steps above it are points above the value.
function stepsOf(score, value) {
  return score.unit ? 1 + (value - score.low) / score.unit : value < score.low ? 0 : 1;
}

function format(value, digits = 4) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(digits))) : "none";
}

const countFormat = new Intl.NumberFormat("en-GB");

// Colour scales of even steps to the eye: 17 of matplotlib's colours each, and what lies between.
const SCALES = {
  inferno:
    "000003 0a0723 200c4a 3c0965 570f6d 70196e 892269 a32b61 bb3754 d14643 e45a31 f1721d f98e08 fbac10 f8cb34 f1e968 fcfea4",
  viridis:
    "440154 47186a 472c7b 424085 3a528b 32628d 2c728e 26818e 20908c 1e9f88 28ae7f 3ebc73 5ec961 83d34b addc30 d7e219 fde724",
};

// 256 colours of a scale, [256 * 4] bytes.
function sampleScale(name) {
  const anchors = SCALES[name].split(" ").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const colours = new Uint8Array(256 * 4).fill(255);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (anchors.length - 1);
    const low = Math.min(Math.floor(at), anchors.length - 2);
    for (let c = 0; c < 3; c++) {
      colours[4 * i + c] = Math.round(anchors[low][c] + (at - low) * (anchors[low + 1][c] - anchors[low][c]));
    }
  }
  return colours;
}
