/* Two systems against each other: differences as Python tested them, A against B clip by clip, the greatest of each side. */
(function (bench) {
  "use strict";

  const { el, hash } = bench;
  const MOST = 20; // clips listed for each side

  let found = null;

  const bdi = (text) => el("bdi", {}, text);
  const valid = (k) => Number.isInteger(k) && k >= 0 && k < found.section.rows.length;

  /** The two systems of the address, or the first two that are no controls. */
  function pair() {
    const state = hash.read();
    const [a, b] = ["a", "b"].map((key) => (state.has(key) ? Number(state.get(key)) : NaN));
    if (valid(a) && valid(b)) return [a, b];
    const order = bench.order(found.section.rows.length, (k) => Number(found.section.rows[k].control), false);
    return [valid(a) ? a : order[0], valid(b) ? b : order[1]];
  }

  const flip = (row) => ({
    ...row, a: row.b, b: row.a, difference: row.difference === null ? null : -row.difference,
    low: row.high === null ? null : -row.high, high: row.low === null ? null : -row.low,
    effect: row.effect === null || row.effect === undefined ? row.effect : -row.effect, wins: row.losses, losses: row.wins,
    better: { a: "b", b: "a" }[row.better] || "",
  });

  const chance = (p) => (p === null || p === undefined ? bench.DASH : p < 0.001 ? "< 0.001" : p.toFixed(3));

  function verdict({ better, p_holm: p }) {
    if (better) return better === "a" ? "▲ A is better" : "▼ B is better";
    return p === null || p === undefined ? "not tested" : "≈ not told apart";
  }

  function tested(data, a, b) {
    const { section } = found;
    const names = [section.rows[a].label, section.rows[b].label];
    const given = data && data.pairs.find((one) => one.a === Math.min(a, b) && one.b === Math.max(a, b));
    if (!given || !given.columns.length) {
      return [el("p", { class: "absent" }, "These two have no clips with values in common, or were not compared."), given ? notes(given) : null];
    }
    const rows = a < b ? given.columns : given.columns.map(flip);
    const head = ["Metric", "n", "A", "B", "A − B", "95 % interval", "p (Holm)", "effect", "A wins / ties / B wins", "verdict"];
    const lines = rows.map((row) => {
      const column = section.columns[row.column];
      const format = (value) => bench.format(value, column);
      const interval = row.low === null || row.low === undefined ? bench.DASH : `[${format(row.low)}, ${format(row.high)}]`;
      const cells = [row.n, format(row.a), format(row.b), format(row.difference), interval, chance(row.p_holm),
        row.effect === null || row.effect === undefined ? bench.DASH : row.effect.toFixed(2), row.wins === null || row.wins === undefined ? bench.DASH : `${row.wins} / ${row.ties} / ${row.losses}`];
      return el("tr", {}, el("th", { scope: "row", title: column.definition }, column.heading), cells.map((text) => el("td", { class: "number" }, String(text))), el("td", {}, verdict(row)));
    });
    return [el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Differences" }, el("table", {},
      el("caption", {}, "A is ", bdi(names[0]), ", B is ", bdi(names[1]), ". Means are over the clips that both have."),
      el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, lines))), notes(given)];
  }

  const notes = ({ notes: lines }) => (lines && lines.length ? el("ul", { class: "notes" }, lines.map((text) => el("li", {}, text))) : null);

  function clipLink(i) {
    return el("a", { href: bench.address("clip.html", { s: found.section.id, id: found.ids[i] }) }, bdi(found.ids[i]));
  }

  /** The clips where `k` is furthest ahead of the other one. */
  function ahead(k, other, column) {
    const gain = Array.from({ length: found.n }, (_, i) => found.goodness(k, i, column.index) - found.goodness(other, i, column.index));
    const places = bench.order(found.n, (i) => gain[i], true).filter((i) => gain[i] > 0).slice(0, MOST);
    const lines = places.map((i) => el("li", {}, clipLink(i),
      ` ${bench.format(found.value(k, i, column.index), column)} against ${bench.format(found.value(other, i, column.index), column)}`));
    return el("section", {}, el("h3", {}, "Most in favour of ", bdi(found.section.rows[k].label)),
      lines.length ? el("ol", {}, lines) : el("p", { class: "muted" }, "no clip"));
  }

  function points(a, b, column) {
    const { scale } = column;
    return found.ids.flatMap((id, i) => {
      const [x, y] = [found.value(a, i, column.index), found.value(b, i, column.index)];
      if (Number.isNaN(x) || Number.isNaN(y)) return [];
      const text = `${id}: A ${bench.format(x, column)}, B ${bench.format(y, column)}`;
      return [{ k: a, x: x * scale, y: y * scale, text, href: bench.address("clip.html", { s: found.section.id, id }) }];
    });
  }

  function clipwise(place, a, b) {
    const shown = found.columns.filter((column) => column.headline);
    if (!shown.length) return;
    const column = found.columns.find((one) => String(one.index) === hash.read().get("x")) || shown[0];
    const canvas = el("div", {});
    const [nameA, nameB] = [found.section.rows[a].label, found.section.rows[b].label];
    const metric = bench.choice("Metric", found.columns.map((one) => [String(one.index), one.heading]), String(column.index), (value) => {
      hash.write({ x: value }, true);
      clipwise(place, a, b);
    });
    place.replaceChildren(el("h2", {}, "Clip by clip"), el("div", { class: "toolbar" }, metric), canvas,
      el("div", { class: "sides" }, ahead(a, b, column), ahead(b, a, column)));
    bench.scatter.plot(canvas, { points: points(a, b, column), labels: [`A: ${nameA}, ${column.heading}`, `B: ${nameB}`], equal: true });
  }

  async function show() {
    const section = bench.section();
    if (!found || found.section.id !== section.id) found = await bench.rows.table(section);
    const place = document.getElementById("app");
    if (section.rows.length < 2) {
      place.replaceChildren(el("p", { class: "absent" }, "This table has one system: there is nothing to compare it with."));
      return;
    }
    const data = section.compare ? await bench.need(section.compare) : null;
    const [a, b] = pair();
    const names = section.rows.map((row, k) => [String(k), row.label]);
    const set = (changes) => { hash.write(changes, true); show().catch(bench.fail); };
    const sections = bench.index().sections.map((one) => [one.id, one.title]);
    const form = el("form", { class: "filters", "aria-label": "Choose two systems", onsubmit: (event) => event.preventDefault() },
      sections.length > 1 ? bench.choice("Table", sections, section.id, (id) => set({ s: id, a: null, b: null, x: null })) : null,
      bench.choice("A", names, String(a), (value) => set({ a: value, b })), bench.choice("B", names, String(b), (value) => set({ a, b: value })),
      bench.button("⇄ Swap", () => set({ a: b, b: a })));
    const graph = el("div", {});
    place.replaceChildren(form, ...tested(data, a, b).filter(Boolean), graph);
    clipwise(graph, a, b);
    bench.say(`${section.rows[a].label} against ${section.rows[b].label}.`);
  }

  bench.page("compare", async () => {
    window.addEventListener("popstate", () => show().catch(bench.fail));
    await show();
  });
})(window.bench);
