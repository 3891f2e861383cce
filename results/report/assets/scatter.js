/* A scatter whose points are clips: by mouse, touch and keys; and the clips page's view of any two metrics. */
(function (bench) {
  "use strict";

  const { el, hash } = bench;
  const NEAR = 14; // px within which a click means a point
  const SIZE = 3.5; // px, half the width of a mark
  const SERIES = 10; // colours of the style sheet

  /** Outline of a mark around (x, y): systems differ by shape as well as by colour. */
  const SHAPES = [
    (path, x, y, r) => { path.moveTo(x + r, y); path.arc(x, y, r, 0, 2 * Math.PI); },
    (path, x, y, r) => path.rect(x - r, y - r, 2 * r, 2 * r),
    (path, x, y, r) => { path.moveTo(x, y - r); path.lineTo(x + r, y + r); path.lineTo(x - r, y + r); path.closePath(); },
    (path, x, y, r) => { path.moveTo(x, y - r); path.lineTo(x + r, y); path.lineTo(x, y + r); path.lineTo(x - r, y); path.closePath(); },
    (path, x, y, r) => { path.rect(x - r, y - r / 3, 2 * r, (2 * r) / 3); path.rect(x - r / 3, y - r, (2 * r) / 3, 2 * r); },
  ];
  const shape = (k) => SHAPES[k % SHAPES.length];

  /** Draw the points of one system. */
  function marks(k) {
    return (plot, place) => {
      const [xs, ys] = plot.data[place];
      const ratio = window.devicePixelRatio;
      const path = new Path2D();
      for (let i = 0; i < xs.length; i++) {
        const [x, y] = [plot.valToPos(xs[i], "x", true), plot.valToPos(ys[i], "y", true)];
        shape(k)(path, x, y, SIZE * ratio);
      }
      const { left, top, width, height } = plot.bbox;
      plot.ctx.save();
      plot.ctx.beginPath();
      plot.ctx.rect(left, top, width, height);
      plot.ctx.clip();
      plot.ctx.globalAlpha = 0.7;
      plot.ctx.fillStyle = bench.colour(`series-${k % SERIES}`);
      plot.ctx.fill(path);
      plot.ctx.restore();
      return null;
    };
  }

  const axis = (label) => ({
    label, stroke: bench.colour("text"), grid: { stroke: bench.colour("line"), width: 1 }, ticks: { stroke: bench.colour("line") },
  });

  /** A line from corner to corner of equal values. */
  function diagonal(plot) {
    const { min, max } = plot.scales.x;
    const ends = [Math.max(min, plot.scales.y.min), Math.min(max, plot.scales.y.max)];
    plot.ctx.save();
    plot.ctx.strokeStyle = bench.colour("muted");
    plot.ctx.setLineDash([6, 4]);
    plot.ctx.beginPath();
    plot.ctx.moveTo(plot.valToPos(ends[0], "x", true), plot.valToPos(ends[0], "y", true));
    plot.ctx.lineTo(plot.valToPos(ends[1], "x", true), plot.valToPos(ends[1], "y", true));
    plot.ctx.stroke();
    plot.ctx.restore();
  }

  /** Least and greatest of the scale: the data's, with a margin. */
  function padded(plot, low, high) {
    if (low === null) return [0, 1];
    const margin = (high - low) * 0.04 || Math.abs(high) * 0.1 || 1;
    return [low - margin, high + margin];
  }

  /** Draw into `place`. `points`: {k, x, y, text, href}, in shown units; `labels`: of both axes; `equal`: both axes are one metric. */
  function plot(place, { points, labels, equal }) {
    if (!points.length) {
      place.replaceChildren(el("p", { class: "absent" }, "No clip has both values."));
      return;
    }
    const systems = [...new Set(points.map((point) => point.k))].sort((a, b) => a - b);
    const data = [null, ...systems.map((k) => {
      const own = points.filter((point) => point.k === k);
      return [own.map((point) => point.x), own.map((point) => point.y)];
    })];
    const frame = el("div", {
      class: "scatter", tabindex: "0", role: "application", "aria-roledescription": "scatter",
      "aria-label": `${labels[1]} against ${labels[0]}, ${points.length} points. Arrow keys step from point to point, Enter opens the clip.`,
    });
    place.replaceChildren(frame);
    const width = Math.max(260, Math.min(place.clientWidth, 960));
    const chart = new uPlot({
      mode: 2, width, height: Math.round(Math.min(560, Math.max(300, width * 0.6))), legend: { show: false },
      cursor: { drag: { x: true, y: true }, points: { show: false } },
      scales: { x: { time: false, range: padded }, y: { range: padded } },
      axes: [axis(labels[0]), { ...axis(labels[1]), size: 60 }],
      series: [{}, ...systems.map((k) => ({ facets: [{ scale: "x", auto: true }, { scale: "y", auto: true }], paths: marks(k) }))],
      hooks: equal ? { drawAxes: [diagonal] } : {},
    }, data, frame);
    reach(frame, chart, points);
  }

  /** Point, click and keys. */
  function reach(frame, chart, points) {
    const ring = chart.over.appendChild(el("div", { class: "ring", hidden: true }));
    const tip = frame.appendChild(el("p", { class: "tip", "aria-hidden": "true" }, "Point at a mark, or use the arrow keys."));
    const orders = { x: bench.order(points.length, (i) => points[i].x), y: bench.order(points.length, (i) => points[i].y) };
    let now = -1;
    function show(i, aloud) {
      now = i;
      ring.hidden = i < 0;
      if (i < 0) return;
      ring.style.transform = `translate(${chart.valToPos(points[i].x, "x")}px, ${chart.valToPos(points[i].y, "y")}px)`;
      tip.textContent = points[i].text;
      if (aloud) bench.say(points[i].text);
    }
    chart.over.addEventListener("mousemove", (event) => show(nearest(chart, points, event), false));
    chart.over.addEventListener("click", (event) => {
      const i = nearest(chart, points, event);
      if (i >= 0) location.href = points[i].href;
    });
    frame.addEventListener("keydown", (event) => {
      const way = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowUp: ["y", 1], ArrowDown: ["y", -1] }[event.key];
      if (event.key === "Enter" && now >= 0) location.href = points[now].href;
      if (!way || !points.length) return;
      event.preventDefault();
      const order = orders[way[0]];
      const at = now < 0 ? -1 : order.indexOf(now);
      show(order[(at + way[1] + order.length) % order.length], true);
    });
  }

  function nearest(chart, points, event) {
    const box = chart.over.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    let [best, closest] = [-1, NEAR * NEAR];
    points.forEach((point, i) => {
      const [dx, dy] = [chart.valToPos(point.x, "x") - left, chart.valToPos(point.y, "y") - top];
      const far = dx * dx + dy * dy;
      if (far < closest) [best, closest] = [i, far];
    });
    return best;
  }

  /** Which mark is which system. */
  function legend(section, systems) {
    return el("ul", { class: "legend", "aria-label": "Marks" }, systems.map((k) => {
      const picture = el("svg:svg", { viewBox: "-6 -6 12 12", class: `mark series-${k % SERIES}`, "aria-hidden": "true" });
      picture.append(el("svg:path", { d: OUTLINES[k % SHAPES.length] }));
      return el("li", {}, picture, el("bdi", {}, section.rows[k].label));
    }));
  }
  const OUTLINES = [
    "M5 0A5 5 0 1 1 -5 0A5 5 0 1 1 5 0", "M-5 -5H5V5H-5Z", "M0 -5L5 5H-5Z", "M0 -5L5 0L0 5L-5 0Z", "M-5 -2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z",
  ];

  /** The clips page's view: two metrics over the chosen rows. */
  function draw(place, found, chosen) {
    const { section } = found;
    const names = found.columns.map((column) => [String(column.index), column.heading]);
    const shown = found.columns.filter((column) => column.headline);
    const state = hash.read();
    const known = (key) => found.columns.find((column) => String(column.index) === state.get(key));
    const [x, y] = [known("x") || shown[0], known("y") || shown[1] || shown[0]];
    if (!x) {
      place.replaceChildren(el("p", {}, "No metric here has a value per clip."));
      return;
    }
    const points = [];
    for (const row of chosen) {
      const [k, i] = [Math.floor(row / found.n), row % found.n];
      const [a, b] = [found.value(k, i, x.index), found.value(k, i, y.index)];
      if (!Number.isNaN(a) && !Number.isNaN(b)) points.push(point(found, k, i, [x, y], [a, b]));
    }
    const set = (key) => (value) => { hash.write({ [key]: value }, true); draw(place, found, chosen); };
    const choices = el("div", { class: "toolbar" }, bench.choice("Across", names, String(x.index), set("x")),
      bench.choice("Up", names, String(y.index), set("y")), bench.button("Reset zoom", () => draw(place, found, chosen), { class: "quiet" }));
    const canvas = el("div", {});
    const missing = chosen.length - points.length;
    place.replaceChildren(choices, legend(section, [...new Set(points.map((one) => one.k))].sort((a, b) => a - b)), canvas,
      el("p", { class: "muted" }, `${points.length} points${missing ? `; ${missing} rows lack one of the two values` : ""}. Drag to zoom.`));
    plot(canvas, { points, labels: [x.heading, y.heading] });
  }

  function point(found, k, i, columns, values) {
    const shown = columns.map((column, at) => `${column.label} ${bench.format(values[at], column)}`).join(", ");
    const parameters = { ...bench.rows.carried(hash.read()), s: found.section.id, id: found.ids[i] };
    return {
      k, x: values[0] * columns[0].scale, y: values[1] * columns[1].scale,
      text: `${found.ids[i]} · ${found.section.rows[k].label}: ${shown}`, href: bench.address("clip.html", parameters),
    };
  }

  bench.scatter = { plot, draw, legend };
})(window.bench);
