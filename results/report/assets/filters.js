/* The form that chooses clips: every field is a key of the address, so that a view can be kept and sent on. */
(function (bench) {
  "use strict";

  const { el, hash } = bench;
  const TYPING_MS = 40; // pause after a key stroke before rows are chosen anew

  /** The form. `changed` is called after the address has changed. */
  function form(found, changed) {
    const state = hash.read();
    const set = (changes) => {
      hash.write({ ...changes, page: null }, true);
      changed();
    };
    return el("form", { class: "filters", "aria-label": "Choose clips", onsubmit: (event) => event.preventDefault() },
      search(state, changed),
      sections(found, set),
      systems(found, state, set),
      speakers(found, state, set),
      status(found, state, set),
      span("Seconds", state.get("sec"), (value) => set({ sec: value }), "0.1"),
      ranges(found, state, set),
      bench.button("Clear", () => { clear(found); changed(true); }, { class: "quiet" }));
  }

  function search(state, changed) {
    let timer = 0;
    const box = el("input", {
      type: "search", id: "search", value: state.get("q"), placeholder: "id, reference, heard text",
      oninput: () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          hash.write({ q: box.value, page: null }, false); // a step back for each letter would be of no use
          changed();
        }, TYPING_MS);
      },
    });
    return el("div", { class: "field" }, el("label", { for: "search" }, "Search"), box);
  }

  function sections(found, set) {
    const all = bench.index().sections;
    if (all.length < 2) return null;
    const options = all.map((section) => [section.id, section.title]);
    return bench.choice("Table", options, found.section.id, (id) => set({ ...cleared(found), s: id }));
  }

  function systems(found, state, set) {
    const chosen = new Set(bench.rows.wish(state, found).systems);
    const boxes = found.section.rows.map((row, k) => {
      const box = el("input", { type: "checkbox", value: k, checked: chosen.has(k), onchange: () => pick() });
      return el("label", { class: "tick" }, box, el("span", { class: `swatch series-${k % 10}`, "aria-hidden": "true" }), el("bdi", {}, row.label));
    });
    const inputs = boxes.map((label) => label.querySelector("input"));
    const summary = el("summary", {});
    function pick() {
      const ticked = inputs.filter((input) => input.checked).map((input) => input.value);
      describe();
      set({ sys: ticked.length === inputs.length ? null : ticked.join(",") || "none" });
    }
    function tickAll(on) {
      for (const input of inputs) input.checked = on;
      pick();
    }
    function describe() {
      summary.textContent = `Systems: ${inputs.filter((input) => input.checked).length} of ${inputs.length}`;
    }
    describe();
    return el("details", { class: "field ticks" }, summary,
      el("div", { class: "popup" }, boxes,
        el("div", {}, bench.button("All", () => tickAll(true)), " ", bench.button("None", () => tickAll(false)))));
  }

  function speakers(found, state, set) {
    const names = [...new Set(found.speaker.filter((name) => name !== null))].sort();
    if (names.length < 2) return null;
    const options = [["", "all"], ...names.map((name) => [name, name])];
    return bench.choice("Speaker", options, state.get("speaker") || "", (value) => set({ speaker: value }));
  }

  /** States and kinds of failure in one list: both say how a clip went. */
  function status(found, state, set) {
    const kinds = found.allKinds();
    const now = state.get("kind") ? `kind ${state.get("kind")}` : state.get("status") || "";
    const options = [["", "all"], ["ok", "ok"], ["failed", "failed"], ["pending", "to do"], ...kinds.map((kind) => [`kind ${kind}`, `failed: ${kind}`])];
    return bench.choice("Status", options, now, (value) => {
      const kind = value.startsWith("kind ");
      set({ status: kind ? null : value, kind: kind ? value.slice(5) : null });
    });
  }

  /** Two number fields; the text of a range, or null. */
  function span(label, text, set, step) {
    const [low, high] = bench.rows.range(text) || [-Infinity, Infinity];
    const ends = [low, high].map((end, place) => el("input", {
      type: "number", step, value: Number.isFinite(end) ? end : null, onchange: () => given(),
      "aria-label": `${label}, ${place ? "at most" : "at least"}`,
    }));
    function given() {
      const [a, b] = ends.map((input) => input.value);
      set(a === "" && b === "" ? null : `${a}..${b}`);
    }
    return el("fieldset", { class: "field span" }, el("legend", {}, label), ends[0], " – ", ends[1]);
  }

  /** One range per metric. Fields are in the unit of the tables; the address has stored numbers. */
  function ranges(found, state, set) {
    const shown = found.columns.filter((column) => state.get(`m${column.index}`));
    const fields = found.columns.map((column) => {
      const key = `m${column.index}`;
      const { scale } = column;
      return span(column.heading, scaled(state.get(key), scale), (value) => set({ [key]: scaled(value, 1 / scale) }), "any");
    });
    const open = shown.length > 0;
    return el("details", { class: "field ranges", open },
      el("summary", {}, open ? `Metric ranges: ${shown.length}` : "Metric ranges"), el("div", { class: "popup" }, fields));
  }

  function scaled(text, factor) {
    const limits = bench.rows.range(text);
    if (!limits) return null;
    const written = limits.map((end) => (Number.isFinite(end) ? String(Number((end * factor).toPrecision(12))) : ""));
    return written.join("..");
  }

  function cleared(found) {
    const keys = ["q", "sys", "speaker", "status", "kind", "sec", "sort", "page", ...found.columns.map((column) => `m${column.index}`)];
    return Object.fromEntries(keys.map((key) => [key, null]));
  }

  function clear(found) {
    hash.write(cleared(found), true);
  }

  bench.filters = { form };
})(window.bench);
