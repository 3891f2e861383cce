/* The clips page: all clips of all systems as pages of a table, as one long table, or as a scatter of two metrics. */
(function (bench) {
  "use strict";

  const { el, hash, rows } = bench;
  const PAGE = 50; // rows of a page
  const SPARE = 8; // rows drawn above and below what is seen
  const TALLEST = 8e6; // px; browsers draw nothing right beyond some 16 million
  const VIEWS = [["pages", "Pages"], ["scroll", "One long table"], ["scatter", "Scatter"]];

  let found = null; // the section's table of clips
  let chosen = []; // rows in order
  let turn = 0; // which of several searches is the newest

  const clipOf = (row) => row % found.n;
  const systemOf = (row) => Math.floor(row / found.n);
  const shownColumns = () => found.columns.filter((column) => column.headline);

  /** The columns of the table: sort key, heading, text or node of a row. */
  function layout() {
    const metrics = shownColumns().map((column) => ({
      key: String(column.index), text: column.heading, title: column.definition, down: column.direction === "higher", number: true,
      cell: (k, i) => bench.format(found.value(k, i, column.index), column),
    }));
    return [
      { key: "clip", text: "Clip", cell: (k, i) => link(i) },
      { key: "system", text: "System", cell: (k) => el("bdi", {}, found.section.rows[k].label) },
      { key: "seconds", text: "Seconds", number: true, cell: (k, i) => found.seconds[i].toFixed(1) },
      ...metrics,
      { key: "status", text: "Status", cell: (k, i) => status(k, i) },
    ];
  }

  function link(i) {
    const id = found.ids[i];
    return el("a", { href: bench.address("clip.html", { ...rows.carried(hash.read()), s: found.section.id, id }) }, el("bdi", {}, id));
  }

  function status(k, i) {
    const state = found.state(k, i);
    return state === "failed" ? `✗ ${found.kindsOf(k, i).join(", ")}` : state === "pending" ? "… to do" : state;
  }

  /* sorting */

  function sorted() {
    const text = hash.read().get("sort") || "";
    return text ? { key: text.replace(/^-/, ""), down: text.startsWith("-") } : null;
  }

  function sortBy(column) {
    const sort = bench.turned(sorted(), column.key, Boolean(column.down));
    hash.write({ sort: sort && `${sort.down ? "-" : ""}${sort.key}`, page: null }, true);
    refresh(sort ? `Sorted by ${column.text}, ${sort.down ? "descending" : "ascending"}. ` : "In order of system and clip. ");
    const again = [...document.querySelectorAll("button.sort")].find((button) => button.dataset.key === column.key);
    if (again) again.focus();
  }

  function heading(column, tag, attributes) {
    const sort = sorted();
    const aria = sort && sort.key === column.key ? (sort.down ? "descending" : "ascending") : null;
    const press = bench.button(column.text, () => sortBy(column), { class: "sort", title: column.title, "data-key": column.key });
    return el(tag, { ...attributes, "aria-sort": aria, class: column.number ? "number" : null }, press);
  }

  /** Orders that have no column of their own. */
  function moreOrders() {
    const { rows: systems } = found.section;
    const now = hash.read().get("sort") || "";
    const metrics = shownColumns().map((column) => [`-d${column.index}`, `|A − B| of ${column.label}`]);
    const known = [["-disagreement", "disagreement of the metrics"], ...(systems.length > 1 ? metrics : [])];
    const set = (key) => (value) => { hash.write({ [key]: value, page: null }, true); refresh(); };
    const order = bench.choice("Order by", [["", "the columns"], ...known], known.some(([key]) => key === now) ? now : "", set("sort"));
    if (!now.replace("-", "").match(/^d\d/)) return [order];
    const names = systems.map((row, k) => [String(k), row.label]);
    const asked = rows.wish(hash.read(), found);
    return [order, bench.choice("A", names, String(asked.a), set("a")), bench.choice("B", names, String(asked.b), set("b"))];
  }

  /* views */

  function drawPages(place, columns) {
    const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
    const page = Math.min(pages, Math.max(1, Number(hash.read().get("page")) || 1));
    const body = chosen.slice((page - 1) * PAGE, page * PAGE).map((row) => {
      const [k, i] = [systemOf(row), clipOf(row)];
      return el("tr", { class: found.state(k, i) }, columns.map((column, place) =>
        el(place ? "td" : "th", { scope: place ? null : "row", class: column.number ? "number" : null }, column.cell(k, i))));
    });
    const go = (to) => { hash.write({ page: to > 1 ? to : null }, true); refresh(`Page ${to} of ${pages}. `); };
    place.replaceChildren(
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Clips" },
        el("table", { class: "clips" },
          el("caption", {}, `Clips of ${found.section.title}, page ${page} of ${pages}`),
          el("thead", {}, el("tr", {}, columns.map((column) => heading(column, "th", { scope: "col" })))),
          el("tbody", {}, body))),
      el("nav", { class: "pager", "aria-label": "Pages of the table" },
        bench.button("← Previous", () => go(page - 1), { disabled: page <= 1 }), ` ${page} of ${pages} `,
        bench.button("Next →", () => go(page + 1), { disabled: page >= pages })));
  }

  /** One long table of which only the rows in sight exist. */
  function drawScroll(place, columns) {
    const width = columns.map((column, i) => (i === 0 ? "minmax(14rem, 2fr)" : column.number ? "minmax(6rem, 1fr)" : "minmax(9rem, 1fr)")).join(" ");
    const head = el("div", { role: "rowgroup", class: "vhead" },
      el("div", { role: "row", class: "vrow", "aria-rowindex": "1" }, columns.map((column) => heading(column, "div", { role: "columnheader" }))));
    const body = el("div", { role: "rowgroup", class: "vbody" });
    const grid = el("div", { role: "table", class: "vtable", "aria-label": `Clips of ${found.section.title}`, "aria-rowcount": chosen.length + 1 }, head, body);
    const port = el("div", { class: "vport", tabindex: "0", role: "region", "aria-label": "Clips, long table" }, grid);
    grid.style.setProperty("--columns", width);
    place.replaceChildren(port);
    const probe = body.appendChild(virtualRow(columns, chosen[0], 0));
    const height = (chosen.length && probe.offsetHeight) || 32;
    const total = Math.min(chosen.length * height, TALLEST);
    body.style.height = `${total}px`;
    const draw = () => fillPort(port, body, columns, height, total);
    port.addEventListener("scroll", draw, { passive: true });
    draw();
  }

  function fillPort(port, body, columns, height, total) {
    const seen = Math.ceil(port.clientHeight / height);
    const most = Math.max(1, total - port.clientHeight);
    const exact = total === chosen.length * height;
    const top = exact ? port.scrollTop / height : (port.scrollTop / most) * (chosen.length - seen);
    const first = Math.max(0, Math.floor(top) - SPARE);
    const last = Math.min(chosen.length, Math.floor(top) + seen + SPARE);
    const drawn = [];
    for (let place = first; place < last; place++) {
      const line = virtualRow(columns, chosen[place], place);
      const at = exact ? place * height : port.scrollTop + (place - top) * height;
      line.style.transform = `translateY(${at}px)`;
      drawn.push(line);
    }
    body.replaceChildren(...drawn);
  }

  function virtualRow(columns, row, place) {
    if (row === undefined) return el("div", { role: "row" }, el("span", { role: "cell" }, "no clip"));
    const [k, i] = [systemOf(row), clipOf(row)];
    return el("div", { role: "row", class: `vrow ${found.state(k, i)}`, "aria-rowindex": place + 2 }, columns.map((column, c) =>
      el("div", { role: c ? "cell" : "rowheader", class: column.number ? "number" : null }, column.cell(k, i))));
  }

  function draw() {
    const place = document.getElementById("view");
    const view = hash.read().get("view") || "pages";
    for (const press of document.querySelectorAll(".views button")) press.setAttribute("aria-pressed", String(press.dataset.view === view));
    document.getElementById("orders").replaceChildren(...(view === "scatter" ? [] : moreOrders()));
    if (view === "scatter") bench.scatter.draw(place, found, chosen);
    else (view === "scroll" ? drawScroll : drawPages)(place, layout());
  }

  /** Choose rows anew and draw them. */
  async function refresh(before) {
    const mine = ++turn;
    const next = await rows.select(found, hash.read());
    if (mine !== turn) return; // a later wish overtook this one
    chosen = next;
    draw();
    const clips = new Set(chosen.map(clipOf)).size;
    bench.say(`${before || ""}${chosen.length.toLocaleString("en")} rows of ${clips.toLocaleString("en")} clips.`);
  }

  function drawForm() {
    const place = document.getElementById("choose");
    place.replaceChildren(bench.filters.form(found, (whole) => (whole ? restart() : sectionChanged() ? restart() : refresh())));
  }

  const sectionChanged = () => bench.section().id !== found.section.id;

  /** After a step back or forth, or another section: form and rows from the address. */
  async function restart() {
    if (!found || sectionChanged()) found = await rows.table(bench.section());
    drawForm();
    await refresh();
  }

  bench.page("clips", async () => {
    const show = (view) => { hash.write({ view: view === "pages" ? null : view }, true); draw(); };
    const views = VIEWS.map(([view, text]) => bench.button(text, () => show(view), { "data-view": view, "aria-pressed": "false" }));
    document.getElementById("app").replaceChildren(
      el("div", { id: "choose" }),
      el("div", { class: "toolbar" }, el("div", { class: "views", role: "group", "aria-label": "View" }, views), el("div", { id: "orders" })),
      el("div", { id: "view" }));
    bench.key(["/"], "search", () => document.getElementById("search").focus());
    window.addEventListener("popstate", restart);
    await restart();
  });
})(window.bench);
