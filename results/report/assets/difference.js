/* What a recogniser heard, word by word against the transcript: shape and colour mark what differs. */
(function (bench) {
  "use strict";

  const { el } = bench;
  const NAMES = { s: "substituted", d: "deleted", i: "inserted" };

  /** One step of the alignment: `[op, reference, heard]`. Hidden words say for screen readers what marks say to the eye. */
  function step([op, reference, heard]) {
    if (op === "=") return `${reference} `;
    const parts = [el("span", { class: "spoken" }, `[${NAMES[op]}: `)];
    if (op !== "i") parts.push(el("del", {}, reference));
    if (op === "s") parts.push(el("span", { class: "spoken" }, " heard as "));
    if (op !== "d") parts.push(el("ins", {}, heard));
    parts.push(el("span", { class: "spoken" }, "]"));
    return [el("span", { class: `word ${NAMES[op]}`, title: NAMES[op] }, parts), " "];
  }

  /** The alignment as text with marks. `words`: steps in order. */
  function marked(words) {
    return el("p", { class: "transcript", dir: "auto" }, words.map(step).flat());
  }

  const KEY = () => el("p", { class: "muted word-key" }, "Words: ",
    el("span", { class: "word substituted" }, el("del", {}, "said"), el("ins", {}, "heard")), " substituted, ",
    el("span", { class: "word deleted" }, el("del", {}, "said")), " not heard, ",
    el("span", { class: "word inserted" }, el("ins", {}, "heard")), " inserted.");

  bench.difference = { marked, key: KEY };
})(window.bench);
