/* The controls of the common clock: play, position, speed, frames, a loop between two marks, who is heard. */
(function (bench) {
  "use strict";

  const { el } = bench;
  const SPEEDS = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2];
  const clock = (seconds) => `${seconds.toFixed(2)} s`;

  /** A bar for `transport` (made with `refresh` of the result as its `changed`). `fps`: of the frame steps. */
  function bar(fps, names) {
    const play = bench.button("▶ Play all", () => transport.toggle(), { class: "play" });
    const position = el("input", { type: "range", min: 0, step: 0.01, value: 0, "aria-label": "Position", oninput: () => transport.seek(Number(position.value)) });
    const time = el("output", { class: "time" }, clock(0));
    const loop = el("output", { class: "muted" });
    const speed = bench.choice("Speed", SPEEDS.map((s) => [String(s), `${s}×`]), "1", (value) => transport.setSpeed(Number(value)));
    const heard = bench.choice("Heard", [["", "nobody"], ...names.map(([k, name]) => [String(k), name])], "", (value) => transport.hear(value === "" ? null : Number(value)));
    const select = heard.querySelector("select");

    function refresh() {
      play.textContent = transport.playing ? "❚❚ Pause all" : "▶ Play all";
      position.max = transport.length;
      position.value = transport.position;
      position.setAttribute("aria-valuetext", clock(transport.position));
      time.textContent = `${clock(transport.position)} of ${clock(transport.length)}`;
      select.value = transport.heard === null ? "" : String(transport.heard);
    }

    function mark(end) {
      transport.loop[end] = transport.position;
      const [from, to] = transport.loop;
      if (from !== null && to !== null && to <= from) transport.loop[1 - end] = null;
      describe();
    }

    function describe() {
      const [from, to] = transport.loop;
      loop.textContent = to === null && from === null ? "" : `loop ${from === null ? "0.00 s" : clock(from)} – ${to === null ? "end" : clock(to)}`;
      if (from !== null && to === null) transport.loop[1] = null;
    }

    function unmark() {
      transport.loop = [null, null];
      describe();
    }

    const transport = new bench.players.Transport(refresh);
    const node = el("div", { class: "transport", role: "group", "aria-label": "All players" }, play, position, time,
      bench.button("‹ Frame", () => transport.step(-1, fps), { "aria-label": "One frame back" }),
      bench.button("Frame ›", () => transport.step(1, fps), { "aria-label": "One frame on" }), speed, heard,
      el("span", { class: "loop" }, bench.button("A", () => mark(0), { "aria-label": "Loop from here" }),
        bench.button("B", () => mark(1), { "aria-label": "Loop up to here" }),
        bench.button("No loop", unmark, { class: "quiet" }), loop),
      el("p", { class: "muted" }, "Players are held together to about one frame (0.04 s at 25 fps): judge lip sync by its metrics, not by eye here."));
    return { node, transport, refresh };
  }

  bench.transport = { bar };
})(window.bench);
