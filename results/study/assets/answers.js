// The answers of one participant: what they are, how they are kept, and the file that leaves this computer.
"use strict";

const studyAnswers = (() => {
  const SCHEMA = 1;

  // CRC-32 (IEEE) of a text of ASCII characters, as 8 hexadecimal digits: shows a file that was cut or altered by mistake.
  function crc32(text) {
    let crc = 0xffffffff;
    for (let i = 0; i < text.length; i += 1) {
      crc ^= text.charCodeAt(i);
      for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
  }

  function line(trial) {
    const ratings = Object.keys(trial.ratings).sort().map((name) => `${name}=${trial.ratings[name]}`);
    return `${trial.stimuli.join("+")}:${trial.unplayable ? "unplayable" : ratings.join(",")}`;
  }

  // The whole file as an object; ``trials`` in the order of the sheet.
  function content(study, participant, trials) {
    const text = [study, participant, ...trials.map(line)].join("\n");
    return { schema: SCHEMA, study, participant, saved: new Date().toISOString(), trials, checksum: crc32(text) };
  }

  // Whether ``found`` (of a file or of the browser) are answers of this participant that can be gone on with.
  function continues(found, study, participant, sheet) {
    return Boolean(found) && found.schema === SCHEMA && found.study === study && found.participant === participant &&
      Array.isArray(found.trials) && found.trials.length <= sheet.length &&
      found.trials.every((trial, i) => Array.isArray(trial.stimuli) && trial.stimuli.join() === sheet[i].join()) &&
      found.checksum === content(study, participant, found.trials).checksum;
  }

  // A browser may refuse storage (private windows, settings, file:// pages): every use may fail.
  function storage() {
    try {
      const probe = "bench-study-probe";
      window.localStorage.setItem(probe, "1");
      window.localStorage.removeItem(probe);
      return window.localStorage;
    } catch (_refused) {
      return null;
    }
  }

  const name = (study, participant) => `bench-study/${study}/${participant}`;

  // Returns whether the browser keeps it.
  function keep(file) {
    const store = storage();
    if (!store) return false;
    try {
      store.setItem(name(file.study, file.participant), JSON.stringify(file));
      return true;
    } catch (_full) {
      return false;
    }
  }

  function kept(study, participant) {
    const store = storage();
    if (!store) return null;
    try {
      return JSON.parse(store.getItem(name(study, participant)));
    } catch (_broken) {
      return null;
    }
  }

  return { content, continues, keep, kept, canKeep: () => storage() !== null };
})();
