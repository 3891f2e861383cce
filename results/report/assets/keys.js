/* Keys of one letter, the list of them, and the switch that turns them off. */
(function (bench) {
  "use strict";

  const { el } = bench;
  const STORE = "bench-report-keys";
  const known = []; // {keys, text, run}
  let dialog = null;

  /** A choice that outlives the page where the browser allows it; without storage it lasts as long as the page. */
  let enabled = true;
  function remembered() {
    try {
      enabled = localStorage.getItem(STORE) !== "off";
    } catch (error) {
      enabled = error instanceof DOMException; // storage is blocked: keys stay on
    }
  }

  function enable(on) {
    enabled = on;
    try {
      localStorage.setItem(STORE, on ? "on" : "off");
    } catch (error) {
      bench.say(`Keys are ${on ? "on" : "off"} on this page only: ${error.name}.`);
    }
  }

  /** `keys`: names as in KeyboardEvent.key. `run` gets the key; what it returns false for is left to the browser. */
  function key(keys, text, run) {
    known.push({ keys, text, run });
  }

  const typing = (target) => target.closest("input, select, textarea, [contenteditable]") !== null;
  // Space and Enter on these mean the thing itself.
  const pressing = (target) => target.closest("button, a, summary, video, audio, [role=application]") !== null;

  function pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (typing(event.target) || (dialog && dialog.open)) return;
    if (event.key === " " && pressing(event.target)) return;
    if (event.key === "?") {
      event.preventDefault();
      help();
      return;
    }
    const found = enabled && known.find((one) => one.keys.includes(event.key));
    if (found && found.run(event.key) !== false) event.preventDefault();
  }

  const shown = (name) => (name === " " ? "Space" : name);

  function help() {
    if (dialog) dialog.remove();
    const box = el("input", { type: "checkbox", id: "keys-on", onchange: () => enable(box.checked) });
    box.checked = enabled;
    const rows = known.map(({ keys, text }) =>
      el("tr", {}, el("th", { scope: "row" }, keys.map((name) => el("kbd", {}, shown(name)))), el("td", {}, text)));
    dialog = el("dialog", { class: "keys", "aria-labelledby": "keys-title" },
      el("h2", { id: "keys-title" }, "Keys"),
      el("table", {}, el("tbody", {}, rows,
        el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, "?")), el("td", {}, "this list")),
        el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, "Esc")), el("td", {}, "close it")))),
      el("p", {}, el("label", { for: "keys-on" }, box, " use single-letter keys")),
      el("form", { method: "dialog" }, el("button", {}, "Close")));
    document.body.append(dialog);
    dialog.showModal();
  }

  document.addEventListener("keydown", pressed);
  document.addEventListener("DOMContentLoaded", () => {
    remembered();
    const foot = document.querySelector("footer");
    if (foot) foot.prepend(bench.button("Keys (?)", help, { class: "quiet" }));
  });
  bench.key = key;
})(window.bench);
