/* The list of failures below the counts: by table, system, metric and kind, with the folded message and its clip. */
(function (bench) {
  "use strict";

  const { el, hash } = bench;
  const PAGE = 50;
  const GENERATION = "output"; // in the address: the system itself failed

  const unique = (values) => [...new Set(values)].sort();
  const protocolOf = (failure) => failure.protocol || GENERATION;

  async function show() {
    const section = bench.section();
    const place = document.getElementById("app");
    if (!section || !section.failures) {
      place.replaceChildren(el("p", {}, "No failure in this table."));
      return;
    }
    const [data, found] = await Promise.all([bench.need(section.failures), bench.rows.table(section)]);
    draw(place, found, data);
  }

  function draw(place, found, data) {
    const { section } = found;
    const state = hash.read();
    const left = data.failures.filter((failure) =>
      (!state.get("sys") || state.get("sys").split(",").includes(String(failure.row))) &&
      (!state.get("kind") || state.get("kind") === failure.kind) &&
      (!state.get("protocol") || state.get("protocol") === protocolOf(failure)));
    const page = Math.max(1, Number(state.get("page")) || 1);
    const pages = Math.max(1, Math.ceil(left.length / PAGE));
    const set = (changes) => { hash.write({ page: null, ...changes }, true); show().catch(bench.fail); };
    const lines = left.slice((page - 1) * PAGE, page * PAGE).map((failure) => line(found, failure));
    place.replaceChildren(el("h2", {}, "List"), form(section, data, state, set),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Failures" }, el("table", {},
        el("caption", {}, `${left.length} failures${data.more ? `; ${data.more} further ones are in the store alone` : ""}`),
        el("thead", {}, el("tr", {}, ["Clip", "System", "Metric", "Kind", "Message"].map((text) => el("th", { scope: "col" }, text)))),
        el("tbody", {}, lines))),
      el("nav", { class: "pager", "aria-label": "Pages of the list" },
        bench.button("← Previous", () => set({ page: page - 1 }), { disabled: page <= 1 }), ` ${page} of ${pages} `,
        bench.button("Next →", () => set({ page: page + 1 }), { disabled: page >= pages })));
    bench.say(`${left.length} failures.`);
  }

  function form(section, data, state, set) {
    const all = (values) => [["", "all"], ...values.map((value) => [value, value])];
    const sections = bench.index().sections.map((one) => [one.id, one.title]);
    const systems = [["", "all"], ...section.rows.map((row, k) => [String(k), row.label])];
    return el("form", { class: "filters", "aria-label": "Choose failures", onsubmit: (event) => event.preventDefault() },
      sections.length > 1 ? bench.choice("Table", sections, section.id, (id) => set({ s: id, sys: null, kind: null, protocol: null })) : null,
      bench.choice("System", systems, state.get("sys") || "", (value) => set({ sys: value })),
      bench.choice("Metric", all(unique(data.failures.map(protocolOf))), state.get("protocol") || "", (value) => set({ protocol: value })),
      bench.choice("Kind", all(unique(data.failures.map((failure) => failure.kind))), state.get("kind") || "", (value) => set({ kind: value })));
  }

  function line(found, failure) {
    const id = found.ids[failure.clip];
    const [first] = (failure.detail || "").split("\n");
    const more = failure.detail && (failure.detail !== first || first.length > 80);
    const message = more ? el("details", {}, el("summary", {}, first.slice(0, 80) || "message"), el("pre", {}, failure.detail)) : first || bench.DASH;
    return el("tr", {}, el("th", { scope: "row" }, el("a", { href: bench.address("clip.html", { s: found.section.id, id }) }, el("bdi", {}, id))),
      el("td", {}, el("bdi", {}, found.section.rows[failure.row].label)), el("td", {}, failure.protocol || "the output itself"),
      el("td", {}, `✗ ${failure.kind}`), el("td", {}, message));
  }

  bench.page("failures", async () => {
    window.addEventListener("popstate", () => show().catch(bench.fail));
    await show();
  });
})(window.bench);
