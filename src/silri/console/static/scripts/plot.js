// Lines over steps, drawn on a canvas: shaded ranges, a band above a bound, dots, a cursor.

const LEFT = 38;
const RIGHT = 8;
const TOP = 6;
const BOTTOM = 16;
const LOWEST = 1e-3; // a logarithmic axis begins here

const NUMBER = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, useGrouping: false });

/** A number as people read it: three digits. */
export function pretty(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 10_000) return value.toExponential(1).replace("e+", "e");
  return NUMBER.format(Math.abs(value) < 5e-4 ? 0 : value);
}

/** The colours of the page, read from the style sheet. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ...{ ink: get("ink"), faint: get("faint"), line: get("line"), panel: get("panel") },
    ...{ policy: get("policy"), human: get("human"), shade: get("human-shade") },
    ...{ bound: get("bound"), over: get("over"), extra: get("extra"), good: get("good") },
  };
}

/** Ticks at round numbers. */
function ticksOf(low, high, count) {
  const ticks = roundTicks(low, high, count);
  return ticks.length > 1 ? ticks : roundTicks(low, high, 2 * count);
}

function roundTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= rough * 0.999);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n += 1) {
    ticks.push(n * step || 0); // never −0
  }
  return ticks;
}

function rangeOf(config) {
  if (config.range) return config.range;
  let [low, high] = [Infinity, -Infinity];
  for (const { values } of config.series) {
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return [0, 1];
  if (config.log) {
    low = Math.max(LOWEST, Math.min(low, 0.1));
    return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(Math.max(high, 1)))];
  }
  if (config.zero) [low, high] = [Math.min(0, low), Math.max(0, high)];
  if (high - low < 1e-6) return config.zero ? [low, low + 1] : [low - 0.5, high + 0.5];
  const margin = 0.06 * (high - low);
  return [config.zero && low === 0 ? 0 : low - margin, high + margin];
}

/** Fit the canvas to its box; returns [context, width, height] in CSS pixels. */
export function prepare(canvas) {
  const ratio = Math.min(3, devicePixelRatio || 1);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = '11px system-ui, "Segoe UI", Roboto, sans-serif';
  return [context, width, height];
}

/** Ranges of indices in which `flags` holds: [first, last + 1] each. */
export function runsOf(flags) {
  const runs = [];
  flags.forEach((flag, index) => {
    if (!flag) return;
    if (runs.length && runs.at(-1)[1] === index) runs.at(-1)[1] = index + 1;
    else runs.push([index, index + 1]);
  });
  return runs;
}

/**
 * Draw one plot.
 * @param config {x: numbers, span: [from, to], series: [{values, color, dash, dots, width}],
 *   shade: [[from, to], …] in units of x, over: {upper, lower, color}, range, log, zero,
 *   cursor: x or null, percent}
 */
export function drawPlot(canvas, config) {
  const [context, width, height] = prepare(canvas);
  if (width < 60 || height < 30) return;
  const colours = palette();
  const [low, high] = rangeOf(config);
  const [from, to] = config.span;
  const scale = config.log ? (v) => Math.log10(Math.max(v, low)) : (v) => v;
  const [bottom, top] = [scale(low), scale(high)];
  const px = (x) => LEFT + ((x - from) / Math.max(1e-9, to - from)) * (width - LEFT - RIGHT);
  const py = (y) => height - BOTTOM - ((scale(y) - bottom) / (top - bottom)) * (height - BOTTOM - TOP);
  const frame = { context, px, py, width, height, colours, low, high, from, to };

  context.fillStyle = colours.shade;
  for (const [a, b] of config.shade || []) {
    context.fillRect(px(a), TOP, Math.max(1, px(b) - px(a)), height - TOP - BOTTOM);
  }
  drawGrid(frame, config);
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, width - LEFT - RIGHT + 2, height - BOTTOM + 1);
  context.clip();
  if (config.over) drawOver(frame, config);
  for (const series of config.series) drawSeries(frame, config.x, series);
  context.restore();
  if (config.cursor !== null && config.cursor !== undefined) {
    context.strokeStyle = colours.ink;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(px(config.cursor), TOP);
    context.lineTo(px(config.cursor), height - BOTTOM);
    context.stroke();
  }
}

function drawGrid({ context, px, py, width, height, colours, low, high, from, to }, config) {
  context.strokeStyle = colours.line;
  context.fillStyle = colours.faint;
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const decades = [];
  if (config.log) {
    const every = Math.max(1, Math.ceil(Math.log10(high / low) / 3));
    for (let v = low; v <= high * 1.001; v *= 10 ** every) decades.push(v);
  }
  for (const tick of config.log ? decades : ticksOf(low, high, height > 110 ? 4 : 2)) {
    const y = Math.round(py(tick)) + 0.5;
    context.beginPath();
    context.moveTo(LEFT, y);
    context.lineTo(width - RIGHT, y);
    context.stroke();
    const text = config.percent ? `${Math.round(tick * 100)} %` : pretty(tick);
    context.fillText(text, LEFT - 5, Math.min(height - BOTTOM - 3, Math.max(TOP + 4, y)));
  }
  context.textBaseline = "alphabetic";
  const ticks = ticksOf(from, Math.max(to, from + 1), Math.max(2, Math.floor(width / 110)));
  for (const tick of ticks) {
    if (!Number.isInteger(tick)) continue;
    const x = px(tick);
    context.textAlign = x > width - 24 ? "right" : x < LEFT + 8 ? "left" : "center";
    context.fillText(tick.toLocaleString("en"), Math.min(x, width - 2), height - 3);
  }
}

function drawOver({ context, px, py }, { x, over }) {
  context.fillStyle = over.color;
  for (const [a, b] of runsOf(x.map((_, i) => over.upper[i] > over.lower[i]))) {
    const end = Math.min(b, x.length - 1);
    context.beginPath();
    for (let i = a; i <= end; i += 1) context.lineTo(px(x[i]), py(Math.max(over.upper[i], over.lower[i])));
    for (let i = end; i >= a; i -= 1) context.lineTo(px(x[i]), py(over.lower[i]));
    context.fill();
  }
}

function drawSeries({ context, px, py }, x, series) {
  context.strokeStyle = context.fillStyle = series.color;
  context.lineWidth = series.width || 1.75;
  context.lineJoin = "round";
  context.setLineDash(series.dash || []);
  context.beginPath();
  let down = false;
  series.values.forEach((value, index) => {
    const good = Number.isFinite(value);
    if (good && series.dots) {
      context.moveTo(px(x[index]) + 3.5, py(value));
      context.arc(px(x[index]), py(value), 3.5, 0, 7);
    } else if (good && down) {
      context.lineTo(px(x[index]), py(value));
    } else if (good) {
      context.moveTo(px(x[index]), py(value));
    }
    down = good;
  });
  if (series.dots) context.fill();
  else context.stroke();
  context.setLineDash([]);
  if (!series.dots && x.length === 1 && Number.isFinite(series.values[0])) {
    context.beginPath();
    context.arc(px(x[0]), py(series.values[0]), 2, 0, 7);
    context.fill();
  }
}

/** The x that is under a pointer, or null. */
export function xAt(canvas, event, [from, to]) {
  const box = canvas.getBoundingClientRect();
  const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
  return share < -0.02 || share > 1.02 ? null : from + Math.max(0, Math.min(1, share)) * (to - from);
}
