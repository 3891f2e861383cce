// Small helpers for elements, and the players of one trial.
"use strict";

// An element with properties, attributes (names with "-" or "for") and children; texts are never read as HTML.
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "for" || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

const studyPlayers = (() => {
  // Players side by side. ``names``: what people read above each; ``onHeard`` is called once all were played to the end;
  // ``onBroken`` when one cannot be played.
  function create(files, names, video, onHeard, onBroken) {
    const heard = new Set();
    const media = files.map((file, i) => {
      const player = element(video ? "video" : "audio", { src: file, controls: true, preload: "auto" });
      player.setAttribute("playsinline", "");
      player.setAttribute("aria-label", names[i]);
      player.addEventListener("play", () => media.forEach((other) => other !== player && other.pause()));
      player.addEventListener("ended", () => {
        heard.add(i);
        if (heard.size === files.length) onHeard();
      });
      player.addEventListener("error", () => onBroken(names[i]));
      return player;
    });
    const figures = media.map((player, i) => element("figure", {}, element("figcaption", { textContent: names[i] }), player));

    // The one that plays is paused; else the first that was not heard to its end goes on.
    function toggle() {
      const playing = media.find((player) => !player.paused);
      if (playing) playing.pause();
      else play(media.find((_player, i) => !heard.has(i)) || media[0]);
    }

    function play(player) {
      player.play().catch((error) => {
        if (error.name === "NotSupportedError") onBroken(player.getAttribute("aria-label"));
      });
    }

    // Files are let go, so that a long session does not fill the memory of a phone.
    function release() {
      media.forEach((player) => {
        player.pause();
        player.removeAttribute("src");
        player.load();
      });
    }

    return { box: element("div", { className: `players of-${files.length}` }, ...figures), toggle, release };
  }

  return { create };
})();
