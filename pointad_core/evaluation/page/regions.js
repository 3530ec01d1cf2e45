// Connected regions of the points above a threshold.

// Points that lie at most `reach` apart, in steps, are linked; a region is what links hold together. Each point is
// looked for among those before it in the 27 cells around it of a grid with cells of `reach`, kept as chains by hash.
// Returns the regions, largest first: count, low and high corner in steps, and the point scored highest.
function findRegions(scan, score, threshold, reach) {
  const { x, y, z } = scan;
  const { steps } = score;
  const members = [];
  for (let i = 0; i < scan.count; i++) if (steps[i] > threshold) members.push(i);
  const mask = (1 << Math.max(8, Math.ceil(Math.log2(members.length + 1)) + 1)) - 1;
  const heads = new Int32Array(mask + 1).fill(-1);
  const next = new Int32Array(members.length);
  const parents = Int32Array.from(members.keys());
  const root = (k) => {
    while (parents[k] !== k) {
      parents[k] = parents[parents[k]];
      k = parents[k];
    }
    return k;
  };
  const hash = (a, b, c) => (Math.imul(a, 73856093) ^ Math.imul(b, 19349663) ^ Math.imul(c, 83492791)) & mask;
  const square = reach * reach;
  for (let k = 0; k < members.length; k++) {
    const i = members[k];
    const [a, b, c] = [Math.floor(x[i] / reach), Math.floor(y[i] / reach), Math.floor(z[i] / reach)];
    for (let da = -1; da <= 1; da++) {
      for (let db = -1; db <= 1; db++) {
        for (let dc = -1; dc <= 1; dc++) {
          for (let other = heads[hash(a + da, b + db, c + dc)]; other >= 0; other = next[other]) {
            const j = members[other];
            const [dx, dy, dz] = [x[i] - x[j], y[i] - y[j], z[i] - z[j]];
            if (dx * dx + dy * dy + dz * dz <= square) parents[root(other)] = root(k);
          }
        }
      }
    }
    const cell = hash(a, b, c);
    next[k] = heads[cell];
    heads[cell] = k;
  }
  const regions = new Map();
  for (let k = 0; k < members.length; k++) {
    const i = members[k];
    const at = [x[i], y[i], z[i]];
    const region = regions.get(root(k));
    if (!region) {
      regions.set(root(k), { count: 1, low: [...at], high: [...at], highest: i });
      continue;
    }
    region.count++;
    for (let c = 0; c < 3; c++) {
      region.low[c] = Math.min(region.low[c], at[c]);
      region.high[c] = Math.max(region.high[c], at[c]);
    }
    if (steps[i] > steps[region.highest]) region.highest = i;
  }
  return [...regions.values()].sort((a, b) => b.count - a.count || a.highest - b.highest);
}

function countAbove(score, threshold) {
  let count = 0;
  for (const steps of score.steps) if (steps > threshold) count++;
  return count;
}
