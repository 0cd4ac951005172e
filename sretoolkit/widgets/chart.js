// The picture of one ChartView. uPlot stands above this in the same module.
// Times are milliseconds, UTC. In a table that comes from the kernel, NaN is a gap and Infinity "no sample here".

const HEIGHT = 260;
const LINE_COLOURS = 8;
const DASHES = [[], [6, 3], [2, 2]];
const DAY = 86400e3;
const HINT = "drag or + − zoom, arrows pan, 0 resets";

const floats = (view) => new Float64Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

function decoded(view, rows) {
  const all = floats(view);
  const count = all.length / rows;
  const table = [all.subarray(0, count)];
  for (let row = 1; row < rows; row++) {
    const values = new Array(count);
    for (let i = 0, at = row * count; i < count; i++, at++) {
      const value = all[at];
      values[i] = value === Infinity ? undefined : Number.isNaN(value) ? null : value;
    }
    table.push(values);
  }
  return table;
}

// The whole, with a finer part in its place; where they meet nothing is joined, since nobody knows what is between.
function spliced(whole, part, start, end) {
  if (!part[0].length) return whole;
  const times = whole[0];
  let left = 0;
  while (left < times.length && times[left] < start - 1) left++;
  let right = left;
  while (right < times.length && times[right] <= end + 1) right++;
  return whole.map((column, row) => {
    const before = left ? [row ? null : start - 0.5] : [];
    const after = right < times.length ? [row ? null : end + 0.5] : [];
    return [...column.slice(0, left), ...before, ...part[row], ...after, ...column.slice(right)];
  });
}

function scaleOf(biggest, scales) {
  const [, factor, suffix] = scales.find(([least]) => biggest >= least) || scales[scales.length - 1];
  return { factor, suffix };
}

function quantity(value, scales) {
  const { factor, suffix } = scaleOf(Math.abs(value), scales);
  return `${Number((value / factor).toPrecision(4))}${suffix}`;
}

// Three to seven round numbers around the values; from zero unless that would flatten them. As sretoolkit.chart.scale.
function ticksOf(low, high) {
  const flat = high - low <= 1e-12 * Math.max(Math.abs(low), Math.abs(high));
  if (low > 0 && (flat || low < 0.6 * high)) low = 0;
  if (high < 0 && (flat || high > 0.6 * low)) high = 0;
  if (high - low < 1e-300) high = low + 1;
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((size) => size * power).find((size) => size >= rough * 0.999) || 10 * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, number) => (first + number) * step);
}

const iso = (time) => new Date(time).toISOString();
const dayMonth = (time) =>
  new Date(time).toLocaleDateString("en-GB", { day: "2-digit", month: "short", timeZone: "UTC" });

function tickLabel(time, step) {
  if (time % DAY === 0 && step >= 3600e3) return step >= 180 * DAY ? `${dayMonth(time)} ${iso(time).slice(0, 4)}` : dayMonth(time);
  return iso(time).slice(11, step >= 60e3 ? 16 : step >= 1000 ? 19 : 23);
}

function period(start, end) {
  const cut = end - start < 120e3 ? 19 : 16;
  const [since, until] = [iso(start), iso(end)];
  const short = since.slice(0, 10) === until.slice(0, 10);
  const say = (text) => text.slice(0, cut).replace("T", " ");
  return `${say(since)} – ${short ? until.slice(11, cut) : say(until)} UTC`;
}

// The samples that have a gap on both sides: no line shows them.
function lonely(u, row) {
  const [first, last] = u.series[0].idxs || [0, u.data[0].length - 1];
  const found = [];
  let before = null;
  let candidate = -1;
  for (let i = Math.max(0, first); i <= last; i++) {
    const value = u.data[row][i];
    if (value === undefined) continue;
    if (value === null && candidate >= 0) found.push(candidate);
    candidate = value !== null && before === null ? i : -1;
    before = value;
  }
  if (candidate >= 0) found.push(candidate);
  return found.length ? found : null;
}

class Picture {
  constructor(model, el) {
    this.model = model;
    this.id = Math.random().toString(36).slice(2);
    this.number = 0;
    this.detail = null;
    this.build(el);
    this.take();
    [this.from, this.to] = this.head.span;
    this.listen();
  }

  build(el) {
    const make = (name, parent) => parent.appendChild(Object.assign(document.createElement("div"), { className: name }));
    this.root = make("srt-chart", el);
    this.root.tabIndex = 0;
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-roledescription", "chart");
    this.root.setAttribute("aria-keyshortcuts", "ArrowLeft ArrowRight + - 0 Escape");
    this.root.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the keys otherwise
    const header = make("srt-chart-header", this.root);
    this.title = make("srt-chart-title", header);
    this.period = make("srt-chart-period", header);
    this.plot = make("srt-chart-plot", this.root);
    const foot = make("srt-chart-foot", this.root);
    this.status = make("srt-chart-status", foot);
    this.status.setAttribute("aria-live", "polite");
    make("srt-chart-hint", foot).textContent = HINT;
  }

  take() {
    this.head = this.model.get("head");
    this.whole = decoded(this.model.get("data"), this.head.lines.length + 1);
    this.marks = floats(this.model.get("marks"));
    this.title.textContent = this.head.title;
    this.root.setAttribute("aria-label", this.head.summary);
    this.say(this.head.note);
  }

  listen() {
    this.stops = [];
    const changed = () => this.changed();
    const message = (content, buffers) => this.answered(content, buffers);
    this.model.on("change:data change:head change:marks", changed);
    this.model.on("msg:custom", message);
    this.stops.push(() => this.model.off("change:data change:head change:marks", changed));
    this.stops.push(() => this.model.off("msg:custom", message));
    const sized = new ResizeObserver(() => this.resize());
    sized.observe(this.root);
    this.stops.push(() => sized.disconnect());
    const themed = new MutationObserver(() => this.repaint());
    themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    this.stops.push(() => themed.disconnect());
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  close() {
    this.stops.forEach((stop) => stop());
    clearTimeout(this.timer);
    clearTimeout(this.patience);
    cancelAnimationFrame(this.refresh);
    if (this.u) this.u.destroy();
  }

  width() {
    return Math.max(220, this.root.clientWidth - 24);
  }

  resize() {
    if (!this.root.clientWidth) return; // not in the page yet, or hidden: it has neither width nor colours
    if (!this.u || this.stale) this.draw();
    else if (this.u.width !== this.width()) {
      this.u.setSize({ width: this.width(), height: HEIGHT });
      this.ask();
    }
  }

  // While a theme is exchanged, the page has no sizes for a moment.
  repaint(tries = 20) {
    this.stale = true;
    requestAnimationFrame(() => {
      if (this.root.clientWidth) this.resize();
      else if (tries && this.root.isConnected) setTimeout(() => this.repaint(tries - 1), 100);
    });
  }

  colour(name) {
    return getComputedStyle(this.root).getPropertyValue(`--srt-${name}`).trim();
  }

  draw() {
    if (this.u) this.u.destroy();
    this.stale = false;
    this.drawn = JSON.stringify([this.head.lines, this.head.scales]);
    this.u = new uPlot(this.options(), this.table(), this.plot);
    this.show();
  }

  options() {
    const [faint, rule] = [this.colour("faint"), this.colour("rule")];
    const paint = { stroke: faint, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
    const { scales } = this.head;
    return {
      width: this.width(),
      height: HEIGHT,
      ms: 1,
      tzDate: (time) => uPlot.tzDate(new Date(time), "Etc/UTC"),
      cursor: { y: false, drag: { x: true, y: false }, bind: { dblclick: () => () => this.reset() } },
      scales: { x: { time: true, range: (_, from, to) => (from == null ? [this.from, this.to] : [from, to]) }, y: { range: (_, low, high) => this.range(low, high) } },
      axes: [
        { ...paint, space: 80, size: 32, label: "UTC", labelSize: 16, labelGap: 0, font: "12px sans-serif", labelFont: "11px sans-serif",
          values: (_, splits, __, ___, step) => splits.map((time) => tickLabel(time, step)) },
        { ...paint, size: 76, font: "12px sans-serif", splits: () => this.ticks.map((tick) => tick * this.factor),
          values: (_, splits) => splits.map((value) => this.label(value)) },
      ],
      series: [
        { label: "UTC", value: (_, time) => (time == null ? "–" : iso(time).slice(0, 23).replace("T", " ")) },
        ...this.head.lines.map((label, number) => ({
          label, width: 1.5, stroke: this.colour(`line-${number % LINE_COLOURS}`),
          dash: DASHES[Math.floor(number / LINE_COLOURS) % DASHES.length],
          points: { show: () => false, filter: lonely, size: 5 },
          value: (_, value) => (value == null ? "–" : quantity(value, scales)),
        })),
      ],
      hooks: { setScale: [(u, key) => key === "x" && this.moved(u)], draw: [(u) => this.annotate(u)] },
    };
  }

  range(low, high) {
    const limits = this.head.limits.map(([value]) => value);
    const values = [low, high, ...limits].filter((value) => Number.isFinite(value));
    const [least, most] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 0];
    const { factor, suffix } = scaleOf(values.length ? Math.max(Math.abs(least), Math.abs(most)) : 1, this.head.scales);
    this.factor = factor;
    this.suffix = suffix;
    this.ticks = ticksOf(least / factor, most / factor);
    this.decimals = Math.max(0, -Math.floor(Math.log10(this.ticks[1] - this.ticks[0]) + 1e-9));
    return [this.ticks[0] * factor, this.ticks[this.ticks.length - 1] * factor];
  }

  label(value) {
    const number = value / this.factor;
    return (this.decimals < 7 ? number.toFixed(this.decimals) : String(Number(number.toPrecision(3)))) + this.suffix;
  }

  table() {
    return this.detail ? spliced(this.whole, this.detail.table, this.detail.start, this.detail.end) : this.whole;
  }

  show() {
    this.u.setData(this.table(), false);
    this.u.setScale("x", { min: this.from, max: this.to });
    this.root.dataset.resolution = this.resolution();
  }

  // Milliseconds a column of what is here for the window; 0 when nothing finer is to be had.
  resolution() {
    const { span, columns, complete } = this.head;
    const whole = complete ? 0 : (span[1] - span[0]) / columns;
    const { detail } = this;
    if (!detail || detail.stale || detail.start > this.from || detail.end < this.to) return whole;
    return detail.complete ? 0 : Math.min(whole, (detail.end - detail.start) / detail.columns);
  }

  moved(u) {
    if (u !== this.u) return;
    [this.from, this.to] = [u.scales.x.min, u.scales.x.max];
    this.period.textContent = period(this.from, this.to);
    this.root.dataset.from = this.from;
    this.root.dataset.to = this.to;
    this.root.dataset.resolution = this.resolution();
    this.ask();
  }

  ask() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const pixels = Math.max(50, this.u.bbox.width);
      const width = this.to - this.from;
      if (this.resolution() <= (1.3 * width) / pixels) return;
      const start = Math.max(this.head.span[0], this.from - width / 2);
      const end = Math.min(this.head.span[1], this.to + width / 2);
      if (!(start < end)) return;
      const columns = Math.ceil((pixels * (end - start)) / width);
      this.number += 1;
      this.model.send({ ask: "detail", view: this.id, number: this.number, start, end, columns });
      clearTimeout(this.patience);
      this.patience = setTimeout(() => this.say("waiting for finer data: the kernel is busy or the source is slow"), 1000);
    }, 120);
  }

  answered(content, buffers) {
    if (content.view !== this.id || content.number !== this.number) return;
    clearTimeout(this.patience);
    if (content.error) {
      this.say(`no finer data: ${content.error}`, true);
      return;
    }
    this.say(this.head.note);
    this.detail = { ...content, table: decoded(buffers[0], this.head.lines.length + 1) };
    this.show();
  }

  changed() {
    cancelAnimationFrame(this.refresh); // head, data and marks come together
    this.refresh = requestAnimationFrame(() => {
      const [start, end] = this.head.span;
      const all = this.from <= start && this.to >= end;
      this.take();
      if (all) [this.from, this.to] = this.head.span;
      if (!this.u) return;
      if (this.drawn !== JSON.stringify([this.head.lines, this.head.scales])) {
        this.detail = null;
        this.draw();
        return;
      }
      if (this.detail) this.detail.stale = true;
      if (all) this.detail = null;
      this.show();
    });
  }

  go(from, to) {
    const [start, end] = this.head.span;
    const width = Math.min(Math.max(to - from, 1), end - start);
    from = Math.min(Math.max(from + (to - from - width) / 2, start), end - width);
    this.u.setScale("x", { min: from, max: from + width });
  }

  reset() {
    this.go(...this.head.span);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const width = this.to - this.from;
    const [quarter, middle] = [width / 4, (this.from + this.to) / 2];
    const moves = {
      ArrowLeft: () => this.go(this.from - quarter, this.to - quarter),
      ArrowRight: () => this.go(this.from + quarter, this.to + quarter),
      "+": () => this.go(middle - quarter, middle + quarter),
      "=": () => this.go(middle - quarter, middle + quarter),
      "-": () => this.go(middle - width, middle + width),
      0: () => this.reset(),
      Escape: () => this.reset(),
    };
    if (!Object.hasOwn(moves, event.key)) return;
    moves[event.key]();
    event.preventDefault();
    event.stopPropagation();
  }

  say(text, wrong = false) {
    this.status.textContent = text;
    this.status.classList.toggle("srt-error", wrong);
  }

  annotate(u) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = `${12 * ratio}px sans-serif`;
    ctx.textBaseline = "alphabetic";
    ctx.lineWidth = ratio;
    const ground = this.colour("ground");
    const write = (text, x, y, colour, align) => {
      Object.assign(ctx, { textAlign: align, strokeStyle: ground, lineWidth: 3 * ratio });
      ctx.setLineDash([]);
      ctx.strokeText(text, x, y);
      Object.assign(ctx, { fillStyle: colour, lineWidth: ratio });
      ctx.fillText(text, x, y);
    };
    if (this.head.empty) write(this.head.empty, bbox.left + bbox.width / 2, bbox.top + bbox.height / 2, this.colour("faint"), "center");
    this.limits(u, write, ratio);
    this.happened(u, write, ratio);
    ctx.restore();
  }

  limits({ ctx, bbox, valToPos }, write, ratio) {
    const colour = this.colour("alarm");
    for (const [value, words] of this.head.limits) {
      const y = Math.round(valToPos(value, "y", true)) + 0.5;
      this.rule(ctx, [bbox.left, y, bbox.left + bbox.width, y], colour, [7 * ratio, 4 * ratio]);
      write(words, bbox.left + bbox.width - 4 * ratio, y - bbox.top > 16 * ratio ? y - 5 * ratio : y + 14 * ratio, colour, "right");
    }
  }

  // A rule each, at most one a pixel; a text where one of three rows has room for it.
  happened({ ctx, bbox, valToPos }, write, ratio) {
    const colour = this.colour("mark");
    const right = bbox.left + bbox.width;
    const ends = [bbox.left, bbox.left, bbox.left];
    let last = -1;
    for (let i = 0; i < this.marks.length; i++) {
      if (this.marks[i] < this.from || this.marks[i] > this.to) continue;
      const x = Math.round(valToPos(this.marks[i], "x", true)) + 0.5; // a sharp rule
      if (x !== last) this.rule(ctx, [x, bbox.top, x, bbox.top + bbox.height], colour, [2 * ratio, 3 * ratio]);
      last = x;
      const row = ends.findIndex((end) => end <= x);
      if (row < 0) continue;
      const text = this.head.marks[i].length > 36 ? `${this.head.marks[i].slice(0, 35)}…` : this.head.marks[i];
      const width = ctx.measureText(text).width + 8 * ratio;
      const flipped = x + width > right;
      ends[row] = x + width;
      write(text, flipped ? x - 4 * ratio : x + 4 * ratio, bbox.top + (12 + 15 * row) * ratio, colour, flipped ? "right" : "left");
    }
  }

  rule(ctx, [x0, y0, x1, y1], colour, dash) {
    ctx.strokeStyle = colour;
    ctx.setLineDash(dash);
    ctx.beginPath();
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
    ctx.stroke();
  }
}

export default {
  render({ model, el }) {
    const picture = new Picture(model, el);
    return () => picture.close();
  },
};
