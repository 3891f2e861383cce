/* What all pages share: loading of data scripts, building of elements, the state in the address, messages.
 *
 * Data are scripts that call bench.load(NAME, OBJECT): a page from the file system may read no file otherwise.
 * Whatever comes from data reaches the page as text nodes and attributes alone. */
(function () {
  "use strict";

  const SCHEMA = 1;
  const DASH = "–";
  const loaded = new Map(); // name -> object
  const waiting = new Map(); // name -> {promise, resolve, reject}
  const pages = new Map(); // data-page -> function that starts it

  function load(name, data) {
    if (data.schema !== SCHEMA) {
      const error = new Error(`data/${name}.js has schema ${data.schema}; this page reads ${SCHEMA}. Make the report anew.`);
      const wait = waiting.get(name);
      if (wait) wait.reject(error);
      else document.addEventListener("DOMContentLoaded", () => fail(error));
      return;
    }
    loaded.set(name, data);
    const wait = waiting.get(name);
    if (wait) wait.resolve(data);
  }

  /** The object of data/NAME.js, loaded once. Rejects with a message for people. */
  function need(name) {
    if (loaded.has(name)) return Promise.resolve(loaded.get(name));
    if (waiting.has(name)) return waiting.get(name).promise;
    const wait = {};
    wait.promise = new Promise((resolve, reject) => Object.assign(wait, { resolve, reject }));
    waiting.set(name, wait);
    const script = document.createElement("script");
    script.src = `data/${encodeURIComponent(name)}.js`;
    script.onerror = () => wait.reject(new Error(`data/${name}.js is missing from this folder. Make the report anew.`));
    document.head.append(script);
    return wait.promise;
  }

  /** The index: sections with their columns and rows. */
  function index() {
    const block = document.getElementById("data-index");
    if (block && !loaded.has("index")) load("index", JSON.parse(block.textContent));
    return loaded.get("index");
  }

  /** An element: attributes (`on…` are listeners, `class` and others as written, false and null left out), children. */
  function el(tag, attributes, ...children) {
    const node = tag.startsWith("svg:")
      ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }

  /** An address inside the report: page and parameters after the hash; only the values that are set. */
  function address(page, parameters) {
    const found = new URLSearchParams();
    for (const [key, value] of Object.entries(parameters)) {
      if (value !== null && value !== undefined && value !== "") found.set(key, value);
    }
    return `${page}#${found}`;
  }

  const hash = {
    read: () => new URLSearchParams(location.hash.slice(1)),
    /** Change keys (null removes). `push` makes a step for the back button. */
    write(changes, push) {
      const now = new URLSearchParams([...hash.read()].filter(([, value]) => value)); // an anchor is no parameter
      for (const [key, value] of Object.entries(changes)) {
        if (value === null || value === undefined || value === "") now.delete(key);
        else now.set(key, String(value));
      }
      const next = `#${now}`;
      if (next === location.hash || (next === "#" && !location.hash)) return;
      if (push) history.pushState(null, "", next);
      else history.replaceState(null, "", next);
    },
  };

  /** Say something to everybody, screen readers included. */
  function say(text) {
    const line = document.getElementById("status");
    if (line && line.textContent !== text) line.textContent = text;
  }

  function fail(error) {
    const main = document.getElementById("main") || document.body;
    main.prepend(el("p", { class: "problem", role: "alert" }, error.message));
  }

  /** A number of a column as tables show it. */
  function format(number, column) {
    if (number === null || number === undefined || Number.isNaN(number)) return DASH;
    const text = (number * column.scale).toFixed(column.digits);
    return Number(text) === 0 ? text.replace("-", "") : text;
  }

  /** A table's sort direction after a click on a column: first, then the other one, then none. */
  function turned(now, key, first) {
    if (!now || now.key !== key) return { key, down: first };
    return now.down === first ? { key, down: !first } : null;
  }

  /** Places 0…n-1 in the order of `values` (numbers or text); NaN and null last either way; equal ones keep their order. */
  function order(n, value, down) {
    const places = Array.from({ length: n }, (_, i) => i);
    const sign = down ? -1 : 1;
    const absent = (v) => v === null || v === undefined || Number.isNaN(v);
    return places.sort((i, j) => {
      const [a, b] = [value(i), value(j)];
      if (absent(a) || absent(b)) return absent(a) - absent(b) || i - j;
      return (a < b ? -sign : a > b ? sign : 0) || i - j;
    });
  }

  let choices = 0; // so far, for their ids

  /** A select with a label. `options`: [value, text] pairs. */
  function choice(label, options, value, onchange) {
    const id = `choice-${++choices}`;
    const select = el("select", { id, onchange: () => onchange(select.value) });
    for (const [key, text] of options) select.append(el("option", { value: key, selected: key === value }, text));
    return el("div", { class: "field" }, el("label", { for: id }, label), select);
  }

  function button(text, onclick, attributes) {
    return el("button", { type: "button", onclick, ...attributes }, text);
  }

  /** A colour of the style sheet, for canvases. */
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const section = () => {
    const { sections } = index();
    return sections.find((one) => one.id === hash.read().get("s")) || sections[0];
  };

  function start() {
    const page = pages.get(document.body.dataset.page);
    if (!page) return;
    for (const note of document.querySelectorAll(".needs-script")) note.remove();
    Promise.resolve().then(page).catch(fail);
  }

  window.bench = {
    load, need, index, el, address, hash, say, fail, format, turned, order, choice, button, colour, section, DASH,
    page: (name, begin) => pages.set(name, begin),
  };
  document.addEventListener("DOMContentLoaded", start);
})();
