/* Several players as one: a common clock that every medium is held to, one of them heard at a time. */
(function (bench) {
  "use strict";

  const TICK_MS = 100;
  const SEEK_S = 0.2; // further from the clock than this: jump
  const DRIFT_S = 0.02; // further than this: play a little slower or faster
  const NUDGE = 0.05;
  const READY_MS = 4000; // a medium that is not ready by then starts late
  const HAVE_FUTURE_DATA = 3;
  const ADDRESS = /^media\/[\w.-]+$/;

  /** One output's media. `holder`: where its elements go. */
  class Player {
    constructor(k, media, holder, name, said) {
      Object.assign(this, { k, media, holder, name, said, elements: [] });
      this.length = media.media_seconds || 0;
    }

    get mounted() { return this.elements.length > 0; }

    /** Make the elements; they load when they are told to play. */
    mount() {
      if (this.mounted) return;
      for (const kind of ["video", "audio"]) {
        const address = this.media[kind];
        if (address && ADDRESS.test(address)) this.elements.push(this.#element(kind, address));
      }
      this.holder.replaceChildren(...this.elements);
    }

    #element(kind, address) {
      const poster = kind === "video" && ADDRESS.test(this.media.poster || "") ? this.media.poster : null;
      const [width, height] = this.media.size || [null, null];
      const label = `${kind === "video" ? "Video" : "Sound"} of ${this.name}`;
      const node = bench.el(kind, { preload: "none", controls: true, playsinline: kind === "video", poster, width, height, "aria-label": label });
      node.src = address;
      node.muted = true;
      if (kind === "video" && this.said) this.#caption(node);
      return node;
    }

    /** What was heard, as a caption over the whole: no further file is needed. */
    #caption(node) {
      const track = node.addTextTrack("captions", "as recognised", "");
      node.addEventListener("loadedmetadata", () => {
        if (!track.cues || !track.cues.length) track.addCue(new VTTCue(0, node.duration || 1, this.said));
      });
    }

    /** Give decoders and memory back. */
    release() {
      for (const node of this.elements) {
        node.pause();
        node.removeAttribute("src");
        node.load();
        node.remove();
      }
      this.elements = [];
    }

    hear(on) { for (const node of this.elements) node.muted = !on; }
  }

  const usable = (node) => !node.error && (Number.isNaN(node.duration) || node.duration > 0);

  /** Resolves when the element can play from where it stands, or cannot at all. */
  function ready(node) {
    if (node.readyState >= HAVE_FUTURE_DATA || node.error) return Promise.resolve();
    return new Promise((resolve) => {
      for (const event of ["canplay", "error"]) node.addEventListener(event, resolve, { once: true });
      setTimeout(resolve, READY_MS);
      node.preload = "auto";
      node.load();
    });
  }

  /** The common clock. `changed` is called after every change and each tick. */
  class Transport {
    constructor(changed) {
      this.players = [];
      this.speed = 1;
      this.loop = [null, null];
      this.heard = 0; // which player, by its number k; null: none
      this.playing = false;
      this.changed = changed;
      this.base = 0; // seconds at the moment `since`
      this.since = 0;
      this.timer = 0;
      this.starts = 0;
    }

    get length() { return Math.max(0, ...this.players.map((player) => player.length)); }
    get position() {
      return this.playing ? this.base + ((performance.now() - this.since) / 1000) * this.speed : this.base;
    }
    get nodes() { return this.players.flatMap((player) => player.elements); }

    add(player) { this.players.push(player); }

    #mark(position) {
      this.base = Math.min(Math.max(0, position), this.length);
      this.since = performance.now();
    }

    async play() {
      const mine = ++this.starts;
      if (this.base >= this.length - 0.05) this.base = this.loop[0] || 0;
      for (const player of this.players) player.mount();
      this.hear(this.heard);
      await Promise.all(this.nodes.map(ready));
      if (mine !== this.starts) return; // paused or moved on while it loaded
      for (const node of this.nodes) this.#place(node, this.base);
      this.#mark(this.base);
      this.playing = true;
      this.tick();
      clearInterval(this.timer);
      this.timer = setInterval(() => this.tick(), TICK_MS);
    }

    pause() {
      this.starts++;
      this.#mark(this.position);
      this.playing = false;
      clearInterval(this.timer);
      for (const node of this.nodes) node.pause();
      this.changed();
    }

    toggle() { return this.playing ? this.pause() : this.play(); }

    seek(position) {
      this.#mark(position);
      for (const node of this.nodes) this.#place(node, this.base);
      this.changed();
    }

    /** Pause and go by frames; a player may show the nearest frame only. */
    step(frames, fps) {
      if (this.playing) this.pause();
      for (const player of this.players) player.mount();
      for (const node of this.nodes) if (node.readyState === 0) node.preload = "auto";
      this.seek(Math.round(this.base * fps + frames) / fps);
    }

    setSpeed(speed) {
      this.#mark(this.position);
      this.speed = speed;
      for (const node of this.nodes) node.playbackRate = speed;
      this.changed();
    }

    /** Which player is heard; null: none. */
    hear(k) {
      this.heard = k;
      for (const player of this.players) player.hear(player.k === k);
      this.changed();
    }

    #place(node, position) {
      if (usable(node) && node.readyState > 0) node.currentTime = Math.min(position, node.duration || position);
    }

    /** Hold every medium to the clock. */
    tick() {
      const [from, to] = this.loop;
      if (to !== null && this.position >= to) this.seek(from || 0);
      const position = this.position;
      if (position >= this.length) {
        this.pause();
        return;
      }
      for (const node of this.nodes) this.#hold(node, position);
      this.changed();
    }

    #hold(node, position) {
      if (!usable(node) || position >= (node.duration || 0)) return;
      if (node.paused) node.play().catch((error) => this.#refused(error));
      const ahead = node.currentTime - position;
      if (Math.abs(ahead) > SEEK_S) this.#place(node, position);
      const nudge = ahead > DRIFT_S ? -NUDGE : ahead < -DRIFT_S ? NUDGE : 0;
      const rate = this.speed * (1 + nudge);
      if (node.playbackRate !== rate) node.playbackRate = rate;
    }

    /** A browser may forbid playing without a click; a pause that came first is no error. */
    #refused(error) {
      if (error.name === "AbortError") return;
      this.pause();
      bench.say(`The browser did not play: ${error.message}`);
    }

    close() {
      this.pause();
      for (const player of this.players) player.release();
      this.players = [];
    }
  }

  bench.players = { Player, Transport };
})(window.bench);
