/* Distributions: the histograms stand in the page; on demand their running shares, to zoom into. */
(function (bench) {
  "use strict";

  const { el } = bench;
  const STEPS = 240; // points of a curve

  /** Share of `sorted` that is at most `x`. */
  function share(sorted, x) {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] <= x) low = middle + 1;
      else high = middle;
    }
    return low / sorted.length;
  }

  /** Curves of all systems with values: [xs, shares of the first, …] and the systems' numbers. */
  function curves(found, column) {
    const sorted = found.systems.map(({ values }) => values.get(column.index).filter((v) => !Number.isNaN(v)).sort());
    const systems = sorted.map((values, k) => (values.length ? k : -1)).filter((k) => k >= 0);
    const low = Math.min(...systems.map((k) => sorted[k][0]));
    const high = Math.max(...systems.map((k) => sorted[k][sorted[k].length - 1]));
    const xs = Array.from({ length: STEPS + 1 }, (_, i) => low + ((high - low) * i) / STEPS);
    return { systems, data: [xs.map((x) => x * column.scale), ...systems.map((k) => xs.map((x) => share(sorted[k], x)))] };
  }

  async function draw(place, section, column) {
    const found = await bench.rows.table(section);
    const { systems, data } = curves(found, column);
    place.hidden = false;
    const line = { stroke: bench.colour("text"), grid: { stroke: bench.colour("line") }, ticks: { stroke: bench.colour("line") } };
    const frame = el("div", { role: "img", "aria-label": `Share of clips at or below each ${column.label}, by system. The table beside it has the quantiles.` });
    place.replaceChildren(frame, el("p", { class: "muted" }, "Drag to zoom, double click for the whole."));
    new uPlot({
      width: Math.max(260, Math.min(place.clientWidth, 800)), height: 320, scales: { x: { time: false }, y: { range: [0, 1] } },
      axes: [{ ...line, label: column.heading }, { ...line, label: "share of clips", size: 60 }],
      series: [{ label: column.label }, ...systems.map((k) => ({
        label: section.rows[k].label, stroke: bench.colour(`series-${k % 10}`), width: 2, points: { show: false },
        dash: k >= 5 ? [6, 4] : undefined, value: (_, v) => (v === null ? bench.DASH : v.toFixed(2)),
      }))],
    }, data, frame);
  }

  bench.page("distributions", () => {
    const sections = new Map(bench.index().sections.map((section) => [section.id, section]));
    for (const block of document.querySelectorAll("section.dist")) {
      const section = sections.get(block.dataset.section);
      const column = section && { ...section.columns[Number(block.dataset.column)], index: Number(block.dataset.column) };
      const place = block.querySelector(".plot");
      if (!column || !place) continue;
      const press = bench.button("Zoomable curves", () => {
        press.disabled = true;
        draw(place, section, column).catch(bench.fail);
      }, { "aria-label": `Zoomable curves of ${column.label}` });
      place.before(press);
    }
  });
})(window.bench);
