/* The clips of a section as arrays: values and states per system and metric, and the choice and order of rows.
 *
 * A row is a clip of a system, numbered `system * n + clip`; nothing here touches the page. */
(function (bench) {
  "use strict";

  const OK = 0, PENDING = 1, FAILED = 2, UNASKED = 3;
  const NAMES = ["ok", "pending", "failed", "not asked"];
  const WEIGHT = [1, 2, 3, 0]; // by code: which of two states tells of both
  const own = (object, key) => (object && Object.hasOwn(object, key) ? object[key] : undefined);

  /** All parts of a section's scores, joined. */
  async function table(section) {
    const parts = await Promise.all(section.scores.map((name) => bench.need(name)));
    return new Table(section, parts);
  }

  class Table {
    constructor(section, parts) {
      this.section = section;
      this.n = section.n_clips;
      this.columns = section.columns.map((column, index) => ({ ...column, index })).filter((column) => column.per_clip);
      this.ids = parts.flatMap((part) => part.clips.id);
      this.speaker = parts.flatMap((part) => part.clips.speaker);
      this.seconds = parts.flatMap((part) => part.clips.seconds);
      this.text = parts.flatMap((part) => part.clips.text);
      this.place = new Map(this.ids.map((id, i) => [id, i]));
      this.protocols = [...new Set(section.columns.map((column) => column.protocol))];
      this.systems = section.rows.map((_, k) => this.#system(parts, k));
      this.worst = this.systems.map((system) => this.#worst(system));
      this.heard = new Map(); // system -> lower-case hypotheses, once they were asked for
      this.ranks = new Map();
    }

    #system(parts, k) {
      const values = new Map();
      const states = new Map();
      const kinds = new Map();
      for (const column of this.columns) values.set(column.index, new Float64Array(this.n).fill(NaN));
      for (const protocol of this.protocols) states.set(protocol, new Uint8Array(this.n).fill(UNASKED));
      for (const part of parts) {
        const system = part.systems[k];
        const size = part.clips.id.length;
        for (const column of this.columns) {
          const found = own(system.values, column.key);
          if (!found) continue;
          const target = values.get(column.index);
          found.forEach((value, i) => { if (value !== null) target[part.from + i] = value; });
        }
        for (const protocol of this.protocols) this.#states(system, part.from, size, protocol, states.get(protocol));
        for (const [protocol, places] of Object.entries(system.kinds || {})) {
          if (!kinds.has(protocol)) kinds.set(protocol, new Map());
          for (const [place, kind] of Object.entries(places)) kinds.get(protocol).set(part.from + Number(place), kind);
        }
      }
      return { values, states, kinds };
    }

    #states(system, from, size, protocol, target) {
      const found = own(system.status, protocol);
      const measured = this.columns.some((column) => column.protocol === protocol && own(system.values, column.key));
      if (found) target.set(found, from);
      else if (measured) target.fill(OK, from, from + size);
    }

    value(k, i, column) { return this.systems[k].values.get(column)[i]; }

    /** `ok`, `failed`, `pending` or `not asked`: the worst of what was asked of a clip of a system. */
    state(k, i) { return NAMES[this.worst[k][i]]; }

    /** The states of all protocols of a system as one. */
    #worst({ states }) {
      const worst = new Uint8Array(this.n).fill(UNASKED);
      for (const codes of states.values()) {
        for (let i = 0; i < this.n; i++) if (WEIGHT[codes[i]] > WEIGHT[worst[i]]) worst[i] = codes[i];
      }
      return worst;
    }

    /** The kinds of failure of a clip of a system, each once. */
    kindsOf(k, i) {
      const found = new Set();
      for (const places of this.systems[k].kinds.values()) if (places.has(i)) found.add(places.get(i));
      return [...found].sort();
    }

    /** All kinds of failure that occur. */
    allKinds() {
      return [...new Set(this.systems.flatMap((one) => [...one.kinds.values()].flatMap((places) => [...places.values()])))].sort();
    }

    /** Share of the system's clips that are no better than this one (0 to 1); NaN without a value. */
    percentile(k, i, column) {
      const key = `${k}/${column}`;
      if (!this.ranks.has(key)) this.ranks.set(key, this.#sorted(k, column));
      const value = this.goodness(k, i, column);
      const sorted = this.ranks.get(key);
      if (Number.isNaN(value)) return NaN;
      let [low, high] = [0, sorted.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (sorted[middle] <= value) low = middle + 1;
        else high = middle;
      }
      return low / sorted.length;
    }

    /** The value turned so that more is better. */
    goodness(k, i, column) {
      const value = this.value(k, i, column);
      const { direction } = this.section.columns[column];
      return direction === "higher" ? value : direction === "lower" ? -value : -Math.abs(value);
    }

    #sorted(k, column) {
      const found = Float64Array.from({ length: this.n }, (_, i) => this.goodness(k, i, column));
      return found.filter((value) => !Number.isNaN(value)).sort();
    }

    /** How far the metrics disagree about a clip: highest less lowest percentile; NaN below two metrics. */
    disagreement(k, i) {
      const found = this.columns.filter((c) => c.headline && c.gated).map((c) => this.percentile(k, i, c.index)).filter((p) => !Number.isNaN(p));
      return found.length < 2 ? NaN : Math.max(...found) - Math.min(...found);
    }

    /** Load the hypotheses of all systems, for search. */
    async listen() {
      if (this.lower) return;
      const said = await Promise.all(this.section.rows.map((row) => Promise.all((row.texts || []).map((name) => bench.need(name)))));
      said.forEach((parts, k) => {
        const texts = new Array(this.n).fill("");
        for (const part of parts) {
          for (const list of Object.values(part.texts)) {
            list.forEach((text, i) => { if (text) texts[part.from + i] += `\n${text.toLowerCase()}`; });
          }
        }
        this.heard.set(k, texts);
      });
      this.lower = this.ids.map((id, i) => `${id}\n${this.text[i] || ""}`.toLowerCase());
    }
  }

  /** LOW..HIGH of the address; an end that is absent is infinite; null where there is no range. */
  function range(text) {
    if (!text || !text.includes("..")) return null;
    const [low, high] = text.split("..");
    return [low === "" ? -Infinity : Number(low), high === "" ? Infinity : Number(high)];
  }

  /** What the address asks for. */
  function wish(state, found) {
    const ranges = found.columns.map((column) => [column.index, range(state.get(`m${column.index}`))]).filter(([, r]) => r);
    const systems = state.get("sys");
    return {
      systems: systems ? systems.split(",").map(Number).filter((k) => k in found.systems) : [...found.systems.keys()],
      speaker: state.get("speaker") || "",
      status: state.get("status") || "",
      kind: state.get("kind") || "",
      words: (state.get("q") || "").toLowerCase(),
      seconds: range(state.get("sec")),
      ranges,
      sort: state.get("sort") || "",
      a: Number(state.get("a") || 0),
      b: Number(state.get("b") || Math.min(1, found.systems.length - 1)),
    };
  }

  const within = (value, [low, high]) => value >= low && value <= high; // false for NaN

  /** The rows that a wish leaves, in the order of system and clip. Hypotheses must be loaded where words are asked for. */
  function choose(found, asked) {
    const rows = [];
    const clips = [];
    for (let i = 0; i < found.n; i++) {
      if (asked.speaker && (found.speaker[i] || "") !== asked.speaker) continue;
      if (asked.seconds && !within(found.seconds[i], asked.seconds)) continue;
      clips.push(i);
    }
    for (const k of asked.systems) {
      const { values } = found.systems[k];
      const heard = found.heard.get(k);
      for (const i of clips) {
        if (asked.ranges.some(([column, limits]) => !within(values.get(column)[i], limits))) continue;
        if (asked.words && !found.lower[i].includes(asked.words) && !heard[i].includes(asked.words)) continue;
        const state = found.state(k, i);
        if (state === "not asked" || (asked.status && state !== asked.status)) continue;
        if (asked.kind && !found.kindsOf(k, i).includes(asked.kind)) continue;
        rows.push(k * found.n + i);
      }
    }
    return rows;
  }

  /** What a sort key of the address orders rows by: a function of (system, clip). */
  function sortKey(found, asked, key) {
    const { section } = found;
    if (key === "clip") return (k, i) => i;
    if (key === "system") return (k) => k;
    if (key === "seconds") return (k, i) => found.seconds[i];
    if (key === "status") return (k, i) => found.state(k, i);
    if (key === "disagreement") return (k, i) => found.disagreement(k, i);
    const difference = key.startsWith("d");
    const column = Number(difference ? key.slice(1) : key);
    if (!section.columns[column] || !section.columns[column].per_clip) return null;
    if (!difference) return (k, i) => found.value(k, i, column);
    return (k, i) => Math.abs(found.value(asked.a, i, column) - found.value(asked.b, i, column));
  }

  /** Rows chosen and in order. */
  async function select(found, state) {
    const asked = wish(state, found);
    if (asked.words) await found.listen();
    const rows = choose(found, asked);
    const value = asked.sort && sortKey(found, asked, asked.sort.replace(/^-/, ""));
    if (!value) return rows;
    const keys = rows.map((row) => value(Math.floor(row / found.n), row % found.n));
    return bench.order(rows.length, (place) => keys[place], asked.sort.startsWith("-")).map((place) => rows[place]);
  }

  /** The keys of the address that choose rows, to hand them on to another page. */
  const FILTERS = ["sys", "speaker", "status", "kind", "q", "sec", "sort", "a", "b"];
  function carried(state) {
    const kept = [...state].filter(([key]) => FILTERS.includes(key) || /^m\d+$/.test(key));
    return Object.fromEntries(kept);
  }

  bench.rows = { table, select, wish, range, carried };
})(window.bench);
