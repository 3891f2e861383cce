/* One clip, all systems side by side: players, pictures of the sound, transcripts, scores, curves. */
(function (bench) {
  "use strict";

  const { el, hash, rows } = bench;
  const REFERENCE = -1; // the reference's number among players
  const PICTURE = /^media\/[\w.-]+$/;

  let found = null;
  let transport = null;
  let path = null; // clips in the order of the filter, and the address that made it

  const bdi = (text) => el("bdi", {}, text);

  /** What was heard, from the steps of the alignment. */
  const said = (words) => words.map(([op, reference, heard]) => (op === "=" ? reference : op === "d" ? "" : heard)).filter(Boolean).join(" ");
  const firstWords = (output) => Object.values((output && output.words) || {})[0] || null;

  function picture(address, alt, kind) {
    return address && PICTURE.test(address) ? el("img", { src: address, alt, class: kind, loading: "lazy" }) : null;
  }

  /* a card: one output */

  function card(k, name, media, extra) {
    const holder = el("div", { class: "screen" });
    const pictures = media ? [picture(media.wave, `Waveform of ${name}`, "wave"), picture(media.mel, `Mel spectrogram of ${name}`, "mel")] : [];
    const playable = media && (media.video || media.audio);
    const { no_media: noMedia, no_reference: noReference } = found.section;
    const why = (media && media.absent) || (k === REFERENCE ? noReference : media && noMedia);
    const absent = !playable && why ? el("p", { class: "absent" }, why) : null;
    const solo = playable ? bench.button("Solo", () => transport.hear(k), { class: "solo", "aria-pressed": "false", "data-k": k, "aria-label": `Solo: hear ${name} alone` }) : null;
    const swatch = k === REFERENCE ? null : el("span", { class: `swatch series-${k % 10}`, "aria-hidden": "true" });
    const node = el("article", { class: "card", "data-k": k }, el("h3", {}, swatch, bdi(name), " ", solo), holder, absent, pictures, extra);
    if (playable) transport.add(new bench.players.Player(k, media, holder, name, said(firstWords(media) || [])));
    return node;
  }

  function failure({ kind, detail, attempts }) {
    const tries = attempts > 1 ? ` after ${attempts} attempts` : "";
    return el("details", { class: "failure" }, el("summary", {}, `✗ ${kind}${tries}`), el("pre", {}, detail || "no message"));
  }

  function systemCard(row, k, i, output) {
    if (!output) return card(k, row.label, null, el("p", { class: "absent" }, "This clip was not asked of it, or there is no result yet."));
    const words = Object.entries(output.words || {}).map(([protocol, steps]) =>
      [el("h4", {}, protocol), bench.difference.marked(steps)]);
    if (!output.failure && !output.video && !output.audio && !words.length && found.state(k, i) === "pending") {
      return card(k, row.label, output, el("p", { class: "absent" }, "No result yet."));
    }
    const extra = [output.failure ? failure(output.failure) : null, ...words.flat()];
    return card(k, row.label, output, extra);
  }

  /** Elements exist while their card is near the window; what plays stays. */
  function watch(cards) {
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const player = transport.players.find((one) => String(one.k) === entry.target.dataset.k);
        if (!player) continue;
        if (entry.isIntersecting) {
          player.mount();
          player.hear(player.k === transport.heard);
        } else if (!transport.playing) player.release();
      }
    }, { rootMargin: "400px" });
    for (const node of cards.children) observer.observe(node);
    return observer;
  }

  /* scores */

  function scoreCell(k, i, column, detail) {
    const value = found.value(k, i, column.index);
    const states = found.systems[k].states.get(column.protocol);
    const failed = states[i] === 2;
    if (failed) {
      const kinds = found.systems[k].kinds.get(column.protocol);
      const why = detail && detail.scores && Object.hasOwn(detail.scores, column.protocol) ? detail.scores[column.protocol].detail : "";
      return el("td", { class: "number failed", title: why }, `✗ ${(kinds && kinds.get(i)) || "failed"}`);
    }
    if (Number.isNaN(value)) return el("td", { class: "number" }, states[i] === 1 ? "…" : bench.DASH);
    const better = Math.round(found.percentile(k, i, column.index) * 100);
    return el("td", { class: "number" }, bench.format(value, column), " ",
      el("span", { class: "percentile", title: `at least as good as ${better} % of this system's clips` }, `P${better}`));
  }

  function scores(i, outputs) {
    const { section, columns } = found;
    const shown = columns.filter((column) => section.rows.some((_, k) => found.systems[k].states.get(column.protocol)[i] !== 3));
    if (!shown.length) return el("p", {}, "No metric has a value per clip here.");
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores" }, el("table", { class: "scores" },
      el("caption", {}, "Scores of this clip. P: its percentile among the same system's clips, 100 the best."),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "System"), shown.map((column) =>
        el("th", { scope: "col", title: column.definition, class: "number" }, column.heading)))),
      el("tbody", {}, section.rows.map((row, k) => el("tr", {}, el("th", { scope: "row" }, bdi(row.label)),
        shown.map((column) => scoreCell(k, i, column, outputs[k])))))));
  }

  /* curves */

  function curve(name, drawn) {
    const data = uPlot.join(drawn.map(({ curve: { seconds, values } }) => [seconds, values]));
    const unit = drawn[0].curve.unit ? ` (${drawn[0].curve.unit})` : "";
    const frame = el("div", { role: "img", "aria-label": `${name}${unit} over time, by system` });
    const line = { stroke: bench.colour("text"), grid: { stroke: bench.colour("line") }, ticks: { stroke: bench.colour("line") } };
    const series = drawn.map(({ k, label }) => ({
      label, stroke: bench.colour(k === REFERENCE ? "text" : `series-${k % 10}`), width: 1.5, dash: k >= 5 ? [6, 4] : undefined,
      spanGaps: true, points: { show: false }, value: (_, v) => (v === null || v === undefined ? bench.DASH : v.toFixed(2)),
    }));
    const draw = (width) => new uPlot({
      width: Math.max(260, Math.min(width, 960)), height: 260, scales: { x: { time: false } },
      axes: [{ ...line, label: "seconds" }, { ...line, label: `${name}${unit}`, size: 60 }],
      series: [{ label: "seconds", value: (_, v) => (v === null ? bench.DASH : v.toFixed(2)) }, ...series],
    }, data, frame);
    return { frame, draw };
  }

  /** One chart for each curve that an output has; the reference's is drawn too. */
  function curves(place, reference, outputs) {
    const all = [{ k: REFERENCE, label: "reference", output: reference }, ...outputs.map((output, k) => ({ k, label: found.section.rows[k].label, output }))];
    const known = all.filter(({ output }) => output && output.curves);
    const names = new Set(known.flatMap(({ output }) => Object.keys(output.curves)));
    if (names.size) place.append(el("h2", {}, "Over time"));
    for (const name of names) {
      const drawn = known.filter(({ output }) => Object.hasOwn(output.curves, name)).map(({ k, label, output }) => ({ k, label, curve: output.curves[name] }));
      const { frame, draw } = curve(name, drawn);
      place.append(frame);
      draw(place.clientWidth);
    }
    if (names.size) place.append(el("p", { class: "muted" }, "Drag to zoom, double click for the whole."));
  }

  /* the page */

  /** Clips in the order of the filter that the reader came with. */
  async function route(state) {
    const key = new URLSearchParams(rows.carried(state)).toString();
    if (!path || path.key !== key) {
      const chosen = key ? await rows.select(found, state) : found.ids.keys();
      path = { key, clips: [...new Set([...chosen].map((row) => row % found.n))] };
    }
    return path.clips;
  }

  function step(way) {
    const clips = path ? path.clips : [];
    const at = clips.indexOf(current());
    const next = clips[at < 0 ? 0 : at + way];
    if (next === undefined) {
      bench.say(way > 0 ? "This is the last clip." : "This is the first clip.");
      return;
    }
    hash.write({ id: found.ids[next], clip: null }, true);
    show().catch(bench.fail);
  }

  function current() {
    const state = hash.read();
    return state.has("id") ? found.place.get(state.get("id")) : state.has("clip") ? Number(state.get("clip")) : 0;
  }

  function head(i, clips) {
    const { section } = found;
    const at = clips.indexOf(i);
    const facts = [found.speaker[i] && `speaker ${found.speaker[i]}`, `${found.seconds[i].toFixed(2)} s`, at >= 0 ? `clip ${at + 1} of ${clips.length}` : "outside the filter"];
    const back = bench.address("clips.html", { ...rows.carried(hash.read()), s: section.id });
    return el("div", { class: "clip-head" }, el("h2", {}, bdi(found.ids[i])),
      el("p", { class: "muted" }, bdi(facts.filter(Boolean).join(" · ")), " · ", section.title),
      el("p", { class: "toolbar" }, bench.button("← Previous", () => step(-1), { disabled: at === 0 }), bench.button("Next →", () => step(1), { disabled: at === clips.length - 1 }),
        el("a", { href: back }, "All clips of this choice")));
  }

  async function detailOf(i) {
    const { per, count } = found.section.detail;
    if (!count) return { reference: null, systems: [] };
    const shard = await bench.need(`detail-${found.section.id}-${Math.floor(i / per)}`);
    return shard.clips[i - shard.from];
  }

  let observer = null;
  function clear() {
    if (observer) observer.disconnect();
    if (transport) transport.close();
    transport = null;
  }

  async function show() {
    const section = bench.section();
    if (!found || found.section.id !== section.id) [found, path] = [await rows.table(section), null];
    const i = current();
    const place = document.getElementById("app");
    clear();
    if (i === undefined || !(i >= 0 && i < found.n)) {
      bench.say("There is no such clip in this table.");
      place.replaceChildren(el("p", { class: "problem" }, "There is no such clip in this table: ", bdi(hash.read().get("id") || hash.read().get("clip") || "")),
        el("p", {}, el("a", { href: bench.address("clips.html", { s: section.id }) }, "All clips")));
      return;
    }
    const [clips, detail] = await Promise.all([route(hash.read()), detailOf(i)]);
    draw(place, i, clips, detail);
    bench.say(`Clip ${found.ids[i]}.`);
  }

  function draw(place, i, clips, detail) {
    const { section } = found;
    const outputs = section.rows.map((_, k) => (detail.systems || [])[k] || null);
    const fps = (detail.reference && detail.reference.fps) || (outputs.find((one) => one && one.fps) || { fps: 25 }).fps;
    const heard = section.rows.map((row, k) => [k, row.label]).filter(([k]) => outputs[k] && (outputs[k].video || outputs[k].audio));
    const controls = bench.transport.bar(fps, [[REFERENCE, "reference"], ...heard]);
    transport = controls.transport;
    const refresh = transport.changed;
    const text = found.text[i] ? el("p", { class: "transcript", dir: "auto" }, found.text[i]) : el("p", { class: "absent" }, "no transcript");
    const cards = el("div", { class: "cards" }, card(REFERENCE, "reference", detail.reference, [el("h4", {}, "transcript"), text]),
      section.rows.map((row, k) => systemCard(row, k, i, outputs[k])));
    transport.changed = () => { refresh(); press(cards); };
    transport.heard = heard.length ? heard[0][0] : REFERENCE;
    refresh();
    const graphs = el("div", {});
    place.replaceChildren(head(i, clips), transport.players.length ? controls.node : el("p", { class: "absent" }, "This report has no media for this clip; scores and transcripts are below."),
      cards, outputs.some(firstWords) ? bench.difference.key() : "", scores(i, outputs), graphs);
    observer = watch(cards);
    curves(graphs, detail.reference, outputs);
    press(cards);
  }

  function press(cards) {
    for (const solo of cards.querySelectorAll(".solo")) solo.setAttribute("aria-pressed", String(solo.dataset.k === String(transport.heard)));
  }

  function keys() {
    let before = null; // who was heard before silence
    bench.key(["j"], "next clip", () => step(1));
    bench.key(["k"], "previous clip", () => step(-1));
    bench.key([" "], "play or pause all", () => transport && transport.toggle());
    bench.key([","], "one frame back", () => transport && transport.step(-1, 25));
    bench.key(["."], "one frame on", () => transport && transport.step(1, 25));
    bench.key(["m"], "silence, and back", () => {
      if (!transport) return;
      if (transport.heard !== null) before = transport.heard;
      transport.hear(transport.heard === null ? before : null);
    });
    bench.key(["1", "2", "3", "4", "5", "6", "7", "8", "9"], "hear that system alone", (name) => {
      const player = transport && transport.players.filter((one) => one.k !== REFERENCE)[Number(name) - 1];
      if (player) transport.hear(player.k);
    });
    bench.key(["/"], "search all clips", () => { location.href = bench.address("clips.html", { s: found.section.id }); });
  }

  bench.page("clip", async () => {
    keys();
    window.addEventListener("popstate", () => show().catch(bench.fail));
    window.addEventListener("pagehide", clear);
    window.addEventListener("pageshow", (event) => event.persisted && show().catch(bench.fail));
    await show();
  });
})(window.bench);
