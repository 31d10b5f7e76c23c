/** The "video" behind the danmaku: dusk over a lake, drawn, so that the page needs nothing from elsewhere. */

const WIDTH = 640;
const HEIGHT = 360;
const HORIZON = 232;
const FRAME_MS = 1000 / 24;
const STARS = Array.from({ length: 90 }, (_, star) => ({
  // Two steps by irrational parts of the picture scatter evenly without a visible pattern.
  x: (star * WIDTH * 0.754877666) % WIDTH,
  y: ((star * 170 * 0.569840291) % 170) + 4,
  size: 0.5 + ((star * 13) % 10) / 9,
  phase: star * 1.7,
}));
const RANGES = [
  { base: 206, height: 46, color: "#4b3a6e", speed: 1.1, seed: 1.3 },
  { base: 220, height: 34, color: "#33294f", speed: 2.3, seed: 4.1 },
  { base: 234, height: 22, color: "#1d1a36", speed: 4.2, seed: 7.7 },
];

/**
 * Play the picture on a canvas: 24 frames a second, one still picture when `still` matches.
 * @param {HTMLCanvasElement} canvas @param {MediaQueryList} still
 */
export function playVideo(canvas, still) {
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  let drawnAt = -Infinity;
  const frame = (/** @type {number} */ now) => {
    if (now - drawnAt >= FRAME_MS) {
      drawnAt = now;
      draw(context, now / 1000);
    }
    if (!still.matches) requestAnimationFrame(frame);
  };
  still.addEventListener("change", () => requestAnimationFrame(frame));
  requestAnimationFrame(frame);
}

/** @param {CanvasRenderingContext2D} context @param {number} time seconds */
function draw(context, time) {
  drawSky(context, time);
  drawSun(context, time);
  for (const range of RANGES) drawRange(context, range, time);
  drawLake(context, time);
}

/** @param {CanvasRenderingContext2D} context @param {number} time */
function drawSky(context, time) {
  const sway = 6 * Math.sin(time / 11);
  const sky = context.createLinearGradient(0, 0, 0, HORIZON);
  sky.addColorStop(0, `hsl(${238 + sway} 52% 13%)`);
  sky.addColorStop(0.45, `hsl(${268 + sway} 44% 29%)`);
  sky.addColorStop(0.78, `hsl(${330 + sway} 58% 51%)`);
  sky.addColorStop(1, `hsl(${24 + sway} 88% 64%)`);
  context.fillStyle = sky;
  context.fillRect(0, 0, WIDTH, HORIZON);
  context.fillStyle = "#ffffff";
  for (const { x, y, size, phase } of STARS) {
    context.globalAlpha = Math.max(0, 0.75 - y / 190) * (0.55 + 0.45 * Math.sin(time * 1.4 + phase));
    context.fillRect((x + time * 0.8) % WIDTH, y, size, size);
  }
  context.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} context @param {number} time */
function drawSun(context, time) {
  const [x, y] = [WIDTH * 0.64, HORIZON - 62 + 3 * Math.sin(time / 7)];
  const glow = context.createRadialGradient(x, y, 10, x, y, 170);
  glow.addColorStop(0, "rgb(255 236 196 / 90%)");
  glow.addColorStop(0.14, "rgb(255 205 140 / 60%)");
  glow.addColorStop(1, "rgb(255 140 120 / 0%)");
  context.fillStyle = glow;
  context.fillRect(0, 0, WIDTH, HORIZON);
  context.fillStyle = "#fff3d6";
  context.beginPath();
  context.arc(x, y, 25, 0, 2 * Math.PI);
  context.fill();
}

/** @param {CanvasRenderingContext2D} context @param {typeof RANGES[0]} range @param {number} time */
function drawRange(context, { base, height, color, speed, seed }, time) {
  context.fillStyle = color;
  context.beginPath();
  context.moveTo(0, HORIZON + 2);
  for (let x = 0; x <= WIDTH; x += 4) {
    const at = (x + time * speed) / 61 + seed;
    const ridge = 0.5 + 0.27 * Math.sin(at) + 0.15 * Math.sin(at * 2.3 + 1) + 0.08 * Math.sin(at * 6.1);
    context.lineTo(x, base - height * ridge);
  }
  context.lineTo(WIDTH, HORIZON + 2);
  context.fill();
}

/** @param {CanvasRenderingContext2D} context @param {number} time */
function drawLake(context, time) {
  const water = context.createLinearGradient(0, HORIZON, 0, HEIGHT);
  water.addColorStop(0, "#c8697a");
  water.addColorStop(0.3, "#5d3f78");
  water.addColorStop(1, "#14142e");
  context.fillStyle = water;
  context.fillRect(0, HORIZON, WIDTH, HEIGHT - HORIZON);
  context.fillStyle = "#ffdcae";
  for (let row = 0; row < 34; row += 1) {
    const depth = row / 34;
    const y = HORIZON + 2 + depth * depth * (HEIGHT - HORIZON);
    const width = (10 + 62 * depth) * (0.55 + 0.45 * Math.sin(time * 1.9 + row * 1.3));
    const x = WIDTH * 0.64 + 14 * depth * Math.sin(time * 1.2 + row * 2.1);
    context.globalAlpha = 0.62 * (1 - depth);
    context.fillRect(x - width / 2, y, width, 1 + 2 * depth);
  }
  context.globalAlpha = 1;
}
