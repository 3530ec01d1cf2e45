// The camera: an orthographic one that turns about a centre. Lengths are steps of the scan's box.

class Camera {
  constructor(scan, width, height) {
    this.scan = scan;
    const largest = [scan.x, scan.y, scan.z].map((axis) => axis.reduce((high, value) => Math.max(high, value), 0));
    this.middle = largest.map((high) => high / 2);
    this.reset(width, height);
  }

  // Back to the start, with the whole scan on the canvas.
  reset(width, height) {
    this.moved = false;
    // Rows of the rotation that brings the scan before the camera: x right, y up, z near.
    this.turn = this.scan.front ? [...this.scan.front] : [1, 0, 0, 0, 1, 0, 0, 0, 1];
    this.centre = [...this.middle];
    // The box as the camera sees it fills the canvas but for a margin.
    const half = [0, 1].map((row) => [0, 1, 2].reduce((sum, c) => sum + Math.abs(this.turn[3 * row + c]) * this.middle[c], 0));
    this.scale = 0.46 * Math.min(width / Math.max(half[0], 1), height / Math.max(half[1], 1));
  }

  // How far the farthest corner of the box lies from the centre: what depth has to hold.
  get reach() {
    return 1 + Math.hypot(...this.middle.map((half, c) => half + Math.abs(this.centre[c] - half)));
  }

  // Turn about the axes of the screen, in radians: about the vertical, the horizontal and the line of sight.
  rotate(yaw, pitch, roll = 0) {
    this.moved = true;
    const axes = [
      [yaw, 0, 2],
      [pitch, 2, 1],
      [roll, 0, 1],
    ];
    for (const [angle, p, q] of axes) {
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let c = 0; c < 3; c++) {
        const [a, b] = [this.turn[3 * p + c], this.turn[3 * q + c]];
        this.turn[3 * p + c] = cos * a + sin * b;
        this.turn[3 * q + c] = cos * b - sin * a;
      }
    }
    this.straighten();
  }

  // Rounding errors of thousands of turns would bend the axes.
  straighten() {
    const [first, second] = [this.turn.slice(0, 3), this.turn.slice(3, 6)];
    const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    const unit = (a) => a.map((value) => value / Math.hypot(...a));
    const right = unit(first);
    const up = unit(second.map((value, c) => value - dot(second, right) * right[c]));
    const near = [right[1] * up[2] - right[2] * up[1], right[2] * up[0] - right[0] * up[2], right[0] * up[1] - right[1] * up[0]];
    this.turn = [...right, ...up, ...near];
  }

  // Move what is seen by pixels, right and up.
  pan(right, up) {
    this.moved = true;
    for (let c = 0; c < 3; c++) this.centre[c] -= (this.turn[c] * right + this.turn[3 + c] * up) / this.scale;
  }

  // Zoom about a place of the canvas, in pixels right and up of its middle.
  zoom(factor, right = 0, up = 0) {
    this.pan(-right, -up);
    const fit = 1 / Math.max(...this.middle, 1);
    this.scale = Math.min(Math.max(this.scale * factor, 20 * fit), 1e6 * fit);
    this.pan(right, up);
  }

  look(point) {
    this.moved = true;
    this.centre = [...point];
  }

  // Where a point is on the canvas, in pixels right and up of its middle, and how near.
  project(px, py, pz) {
    const [dx, dy, dz] = [px - this.centre[0], py - this.centre[1], pz - this.centre[2]];
    const t = this.turn;
    return [
      (t[0] * dx + t[1] * dy + t[2] * dz) * this.scale,
      (t[3] * dx + t[4] * dy + t[5] * dz) * this.scale,
      t[6] * dx + t[7] * dy + t[8] * dz,
    ];
  }

  // The point under a place of the canvas: the nearest of those whose square of side `size` covers it, or else the one
  // that is closest to it within 6 pixels; -1 where there is none.
  pick(right, up, size) {
    const { x, y, z, count } = this.scan;
    let [covering, nearest, closest, least] = [-1, -Infinity, -1, 36];
    for (let i = 0; i < count; i++) {
      const [a, b, near] = this.project(x[i], y[i], z[i]);
      const [da, db] = [Math.abs(a - right), Math.abs(b - up)];
      if (da <= size / 2 && db <= size / 2) {
        if (near > nearest) [covering, nearest] = [i, near];
      } else if (da * da + db * db < least) [closest, least] = [i, da * da + db * db];
    }
    return covering >= 0 ? covering : closest;
  }
}
