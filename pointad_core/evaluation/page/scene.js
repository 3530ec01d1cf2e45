// The points on the canvas: one pass draws them with their depth, a second one puts them on the page's background and
// darkens what lies behind its neighbours, so that a shape is seen without normals or lights.

const POINTS_VERTEX = `#version 300 es
in vec3 position;
in float score;
in vec4 own;
uniform mat3 turn;
uniform vec3 centre;
uniform vec3 scale;
uniform float size;
uniform vec2 range;
uniform float threshold;
uniform int mode;
uniform bool marked;
uniform vec3 muted;
uniform sampler2D colours;
out vec3 colour;

void main() {
  vec3 seen = turn * (position - centre) * scale;
  gl_Position = vec4(seen.xy, -seen.z, 1.0);
  gl_PointSize = size;
  bool scored = score > 0.0;
  bool above = scored && score > threshold;
  float share = clamp((score - range.x) / (range.y - range.x), 0.0, 1.0);
  vec3 heat = scored ? texture(colours, vec2((share * 255.0 + 0.5) / 256.0, 0.5)).rgb : muted;
  if (mode == 0) {
    colour = marked && !above ? mix(muted, heat, 0.3) : heat;
  } else if (mode == 1) {
    colour = marked && above ? heat : own.rgb;
  } else {
    bool defect = own.a > 0.5;
    vec3 missed = vec3(0.85, 0.16, 0.16);
    vec3 found = vec3(0.13, 0.65, 0.33);
    vec3 alarm = vec3(0.95, 0.66, 0.10);
    colour = defect ? (marked && above ? found : missed) : (marked && above ? alarm : muted);
  }
}`;

const POINTS_FRAGMENT = `#version 300 es
precision mediump float;
in vec3 colour;
out vec4 drawn;
void main() {
  // A disc; the corners of the square are left out.
  vec2 aside = gl_PointCoord - 0.5;
  if (dot(aside, aside) > 0.25) discard;
  drawn = vec4(colour, 1.0);
}`;

const PAGE_VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}`;

// Depth is linear with an orthographic camera. strength 0 leaves the colours as they are.
const PAGE_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D image;
uniform highp sampler2D depth;
uniform vec3 background;
uniform float strength;
out vec4 drawn;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  float own = texelFetch(depth, at, 0).r;
  if (own >= 1.0) {
    drawn = vec4(background, 1.0);
    return;
  }
  float behind = 0.0;
  if (strength > 0.0) {
    ivec2 last = textureSize(depth, 0) - 1;
    for (int k = 0; k < 4; k++) {
      ivec2 aside = k == 0 ? ivec2(2, 0) : k == 1 ? ivec2(-2, 0) : k == 2 ? ivec2(0, 2) : ivec2(0, -2);
      behind += clamp(own - texelFetch(depth, clamp(at + aside, ivec2(0), last), 0).r, 0.0, 0.05);
    }
  }
  drawn = vec4(texelFetch(image, at, 0).rgb * max(exp(-strength * behind), 0.35), 1.0);
}`;

class Scene {
  // Throws an Error where there is no WebGL 2.
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, depth: false });
    if (!gl) throw new Error("no WebGL 2");
    this.gl = gl;
    this.points = this.link(POINTS_VERTEX, POINTS_FRAGMENT, ["position", "score", "own"]);
    this.page = this.link(PAGE_VERTEX, PAGE_FRAGMENT, []);
    this.buffers = Object.fromEntries(["position", "score", "own"].map((name) => [name, gl.createBuffer()]));
    this.nothing = gl.createVertexArray();
    this.array = gl.createVertexArray();
    gl.bindVertexArray(this.array);
    // Positions have a fourth number, for a width of 8 bytes.
    this.attribute("position", 4, gl.UNSIGNED_SHORT, false);
    this.attribute("score", 1, gl.UNSIGNED_SHORT, false);
    this.attribute("own", 4, gl.UNSIGNED_BYTE, true);
    this.colours = this.texture();
    this.image = this.texture();
    this.depth = this.texture();
    this.frame = gl.createFramebuffer();
    this.size = [0, 0];
  }

  link(vertex, fragment, attributes) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, vertex],
      [gl.FRAGMENT_SHADER, fragment],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    attributes.forEach((name, place) => gl.bindAttribLocation(program, place, name));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "no shader");
    const uniforms = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const { name } = gl.getActiveUniform(program, i);
      uniforms[name] = gl.getUniformLocation(program, name);
    }
    return { program, uniforms };
  }

  attribute(name, width, kind, normalised) {
    const { gl } = this;
    const place = ["position", "score", "own"].indexOf(name);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, kind, normalised, 0, 0);
  }

  texture() {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const key of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, key, gl.NEAREST);
    for (const key of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, key, gl.CLAMP_TO_EDGE);
    return texture;
  }

  fill(name, array) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, array, gl.STATIC_DRAW);
  }

  // Take a scan in; it replaces the one before, so that one is in the graphics memory at a time.
  take(scan) {
    const n = scan.count;
    // An order whose every beginning is spread over the whole scan: what is drawn while the scan is turned.
    let stride = Math.max(1, Math.round(n * 0.618));
    const divisor = (a, b) => (b ? divisor(b, a % b) : a);
    while (divisor(stride, n) > 1) stride++;
    this.order = new Uint32Array(n);
    const positions = new Uint16Array(4 * n);
    const own = new Uint8Array(4 * n);
    for (let k = 0, i = 0; k < n; k++, i = (i + stride) % n) {
      this.order[k] = i;
      positions.set([scan.x[i], scan.y[i], scan.z[i]], 4 * k);
      for (let c = 0; c < 3; c++) own[4 * k + c] = scan.colours ? scan.colours[3 * i + c] : 0;
      own[4 * k + 3] = scan.truth && scan.truth[i] ? 255 : 0;
    }
    this.fill("position", positions);
    this.fill("own", own);
  }

  takeScore(score) {
    this.fill(
      "score",
      Uint16Array.from(this.order, (i) => score.steps[i]),
    );
  }

  takeColours(colours) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, colours);
  }

  // Until all is drawn; what the browser does next would not say.
  wait() {
    this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4));
  }

  resize(width, height) {
    if (this.size[0] === width && this.size[1] === height) return;
    const { gl, canvas } = this;
    this.size = [canvas.width, canvas.height] = [width, height];
    gl.bindTexture(gl.TEXTURE_2D, this.image);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    gl.bindTexture(gl.TEXTURE_2D, this.depth);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.DEPTH_COMPONENT24, width, height, 0, gl.DEPTH_COMPONENT, gl.UNSIGNED_INT, null);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.image, 0);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.TEXTURE_2D, this.depth, 0);
  }

  // look: camera, ratio (device pixels to a pixel of the page), size (pixels), share (of the points), range and
  // threshold (steps of the score), mode (0 score, 1 own colour, 2 ground truth), marked, muted, background, shading.
  draw(look) {
    const { gl } = this;
    const [width, height] = this.size;
    const { camera } = look;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, width, height);
    gl.enable(gl.DEPTH_TEST);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.points.program);
    const to = this.points.uniforms;
    // WebGL takes columns where the camera has rows.
    gl.uniformMatrix3fv(to.turn, true, camera.turn);
    gl.uniform3fv(to.centre, camera.centre);
    const across = 2 * camera.scale * look.ratio;
    gl.uniform3f(to.scale, across / width, across / height, 1 / camera.reach);
    gl.uniform1f(to.size, look.size * look.ratio);
    gl.uniform2fv(to.range, look.range);
    gl.uniform1f(to.threshold, look.threshold);
    gl.uniform1i(to.mode, look.mode);
    gl.uniform1i(to.marked, look.marked ? 1 : 0);
    gl.uniform3fv(to.muted, look.muted);
    gl.uniform1i(to.colours, 0);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.colours);
    gl.bindVertexArray(this.array);
    gl.drawArrays(gl.POINTS, 0, Math.max(1, Math.round(this.order.length * look.share)));

    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(this.page.program);
    const on = this.page.uniforms;
    gl.uniform3fv(on.background, look.background);
    // A slope of 45 degrees is shaded alike whatever the zoom.
    gl.uniform1f(on.strength, look.shading ? 0.09 * camera.scale * look.ratio * 2 * camera.reach : 0);
    gl.uniform1i(on.image, 0);
    gl.uniform1i(on.depth, 1);
    gl.bindTexture(gl.TEXTURE_2D, this.image);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.depth);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
