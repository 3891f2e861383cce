/* Leaderboard: the tables stand in the page already; this sorts their rows and filters tables and rows. */
(function (bench) {
  "use strict";

  const { el, hash } = bench;
  const ALL = "";
  const sorts = new Map(); // section id -> {key, down}

  const condition = (group) =>
    ["pairing", "audio", "reference"].filter((name) => group[name]).map((name) => `${name} ${group[name]}`).join(", ") || "none";

  const FACETS = [
    ["dataset", "Data set", (section) => `${section.group.dataset}/${section.group.split}`],
    ["task", "Task", (section) => section.group.task],
    ["condition", "Condition", (section) => condition(section.group)],
  ];

  const unique = (values) => [...new Set(values)].sort();

  /** What a cell is sorted by: a number where there is one, text without case otherwise. */
  function sortValue(row, key) {
    const cell = key === "label" ? row.querySelector("th") : row.querySelector(`[data-sort="${key}"], [data-column="${key}"]`);
    if (!cell) return null;
    if ("value" in cell.dataset) return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    const text = cell.textContent.trim();
    return /^\d+/.test(text) && key !== "label" ? Number.parseFloat(text) : text.toLowerCase();
  }

  /** Sort the rows of one board by `sort`, or put them back as they were made. */
  function arrange(board, sort) {
    const body = board.querySelector("tbody");
    const rows = [...body.rows].sort((a, b) => a.dataset.row - b.dataset.row);
    const places = sort ? bench.order(rows.length, (i) => sortValue(rows[i], sort.key), sort.down) : rows.keys();
    body.append(...[...places].map((i) => rows[i]));
    for (const head of board.querySelectorAll("thead th")) {
      const key = head.dataset.sort || head.dataset.column;
      const chosen = sort && sort.key === key;
      if (chosen) head.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  const nameOf = (head) => head.querySelector(".heading").textContent.trim();

  function clicked(board, head, section) {
    const key = head.dataset.sort || head.dataset.column;
    const column = section.columns[Number(head.dataset.column)];
    const first = head.dataset.column !== undefined && column.direction === "higher"; // best first
    const sort = bench.turned(sorts.get(section.id), key, first);
    if (sort) sorts.set(section.id, sort);
    else sorts.delete(section.id);
    const state = [...sorts].map(([id, one]) => `${id}.${one.down ? "-" : ""}${one.key}`).join(",");
    hash.write({ sort: state }, true);
    arrange(board, sort);
    bench.say(sort ? `Sorted by ${nameOf(head)}, ${sort.down ? "descending" : "ascending"}.` : "In the order of the report.");
  }

  /** Put a button around each heading, which keeps the heading's tooltip. */
  function addButtons(board, section) {
    for (const head of board.querySelectorAll("thead th[data-sort], thead th[data-column]")) {
      const heading = head.querySelector(".heading");
      const press = bench.button("", () => clicked(board, head, section), { class: "sort", title: heading.title || null });
      heading.removeAttribute("title");
      heading.replaceWith(press);
      press.append(heading);
    }
  }

  function applyFilter(boards, state) {
    let rows = 0;
    let tables = 0;
    for (const { board, section } of boards) {
      const shown = FACETS.every(([name, , value]) => !state.get(name) || state.get(name) === value(section));
      board.hidden = !shown;
      tables += shown;
      for (const row of board.querySelector("tbody").rows) {
        row.hidden = Boolean(state.get("tier")) && row.dataset.tier !== state.get("tier");
        rows += shown && !row.hidden;
      }
    }
    return `${rows} rows in ${tables} ${tables === 1 ? "table" : "tables"}.`;
  }

  function drawFilters(boards) {
    const place = document.getElementById("filters");
    const state = hash.read();
    const sections = boards.map((one) => one.section);
    const tiers = unique(sections.flatMap((section) => section.rows.map((row) => row.tier)));
    const facets = [...FACETS.map(([name, label, value]) => [name, label, unique(sections.map(value))]), ["tier", "Tier", tiers]];
    const fields = facets.map(([name, label, values]) =>
      bench.choice(label, [[ALL, "all"], ...values.map((value) => [value, value])], state.get(name) || ALL, (value) => {
        hash.write({ [name]: value }, true);
        bench.say(applyFilter(boards, hash.read()));
      }));
    place.replaceChildren(el("form", { class: "filters", "aria-label": "Filter the tables", onsubmit: (e) => e.preventDefault() }, fields));
    place.hidden = false;
  }

  function restore(boards) {
    const state = hash.read();
    sorts.clear();
    for (const part of (state.get("sort") || "").split(",")) {
      const dot = part.indexOf(".");
      if (dot < 0) continue;
      const key = part.slice(dot + 1);
      sorts.set(part.slice(0, dot), { key: key.replace(/^-/, ""), down: key.startsWith("-") });
    }
    drawFilters(boards);
    applyFilter(boards, state);
    for (const { board, section } of boards) arrange(board, sorts.get(section.id) || null);
  }

  bench.page("index", () => {
    const known = new Map(bench.index().sections.map((section) => [section.id, section]));
    const boards = [...document.querySelectorAll("section.board")]
      .map((board) => ({ board, section: known.get(board.dataset.section) }))
      .filter((one) => one.section && one.board.querySelector("tbody"));
    for (const { board, section } of boards) addButtons(board, section);
    restore(boards);
    window.addEventListener("popstate", () => restore(boards));
  });
})(window.bench);
