// The pages of a study: welcome, trials, thanks. ``study(data)`` is called by data/study.js.
"use strict";

function study(data) {
  const main = document.getElementById("main");
  const status = document.getElementById("status");
  const state = { code: "", sheet: [], trials: [], keyboard: null, keeps: true };

  const say = (text) => { status.textContent = text; };
  const answers = () => studyAnswers.content(data.study, state.code, state.trials);

  function show(heading, ...children) {
    const head = element("h2", { textContent: heading, tabIndex: -1 });
    main.replaceChildren(head, ...children);
    window.scrollTo(0, 0);
    head.focus();
  }

  // Welcome

  function welcome(problem = "") {
    state.keyboard = null;
    const code = element("input", {
      id: "code", value: codeInAddress(), autocomplete: "off", spellcheck: false, maxLength: 12, "aria-describedby": "problem",
    });
    const begin = () => start(code.value.trim().toUpperCase());
    code.addEventListener("keydown", (event) => { if (event.key === "Enter") begin(); });
    const file = element("input", { type: "file", id: "resume", accept: ".json,application/json" });
    file.addEventListener("change", () => resumeFrom(file.files[0]));
    show(
      "Welcome",
      ...data.instructions.map((text) => element("p", { textContent: text })),
      element("p", { className: "field" }, element("label", { for: "code", textContent: "Your code" }), code),
      element("p", { id: "problem", role: "alert", className: "problem", textContent: problem }),
      element("button", { type: "button", id: "start", textContent: "Begin", onclick: begin }),
      element("details", {},
        element("summary", { textContent: "Go on with a saved file" }),
        element("p", { className: "field" }, element("label", { for: "resume", textContent: "File of answers" }), file)),
    );
  }

  function codeInAddress() {
    return (new URLSearchParams(window.location.hash.slice(1)).get("code") || "").slice(0, 12);
  }

  function start(code) {
    if (!Object.hasOwn(data.sheets, code)) {
      welcome(code ? `The code ${code} is not one of this study: please check it.` : "Please type the code that you were given.");
      return;
    }
    begin(code, studyAnswers.kept(data.study, code));
  }

  function begin(code, found) {
    state.code = code;
    state.sheet = data.sheets[code].map((trial) => trial.map((place) => data.stimuli[place]));
    const goesOn = studyAnswers.continues(found, data.study, code, state.sheet);
    state.trials = goesOn ? found.trials : [];
    state.keeps = studyAnswers.canKeep();
    next(goesOn && found.trials.length ? "You go on where you stopped." : "");
  }

  async function resumeFrom(file) {
    try {
      const found = JSON.parse(await file.text());
      const sheet = (data.sheets[found.participant] || []).map((trial) => trial.map((place) => data.stimuli[place]));
      if (sheet.length && studyAnswers.continues(found, data.study, found.participant, sheet)) {
        begin(found.participant, found);
        return;
      }
    } catch (_unreadable) {
      // said below: the file is not one of ours
    }
    welcome("That file holds no answers of this study.");
  }

  // Trials

  function next(told = "") {
    if (state.trials.length >= state.sheet.length) thanks();
    else trial(state.trials.length, told);
  }

  function trial(number, told) {
    const stimuli = state.sheet[number];
    const names = stimuli.length === 1 ? ["Clip"] : ["First", "Second"];
    const began = performance.now();
    let broken = false;
    const questions = data.questions.map((question) => questionBox(question, number, ready));
    const go = element("button", { type: "button", id: "next", textContent: "Next", disabled: true, onclick: done });
    const hint = element("p", { id: "hint", textContent: "Play to the end, then answer." });
    const skip = element("button", { type: "button", id: "skip", hidden: true, textContent: "It does not play: go on", onclick: done });
    const players = studyPlayers.create(
      stimuli.map((name) => `media/${name}${data.suffix}`), names, data.video,
      () => { questions.forEach((q) => q.enable()); hint.textContent = "Please answer."; },
      (name) => { broken = true; skip.hidden = false; say(`${name} does not play.`); });

    function ready() { go.disabled = !questions.every((q) => q.value() !== null); }

    function done() {
      if (go.disabled && !broken) return;
      const ratings = {};
      if (!go.disabled) questions.forEach((q) => { ratings[q.id] = q.value(); });
      players.release();
      const seconds = Math.round((performance.now() - began) / 100) / 10;
      state.trials.push({ stimuli, ratings, seconds, ...(go.disabled ? { unplayable: true } : {}) });
      state.keeps = studyAnswers.keep(answers()) && state.keeps;
      next();
    }

    state.keyboard = (key) => {
      if (key === " ") players.toggle();
      else if (key === "Enter") done();
      else if (/^[0-9]$/.test(key)) answerByDigit(questions, Number(key));
      else return false;
      return true;
    };
    const progress = element("progress", { max: state.sheet.length, value: number, "aria-label": "Progress" });
    show(`${number + 1} of ${state.sheet.length}`, progress, players.box, hint, ...questions.map((q) => q.box),
      element("p", { className: "buttons" }, go, skip), ...saving());
    if (told) say(told);
  }

  // A digit answers the first question without an answer; where all have one, it changes the one that has the focus.
  function answerByDigit(questions, digit) {
    const open = questions.filter((q) => q.value() === null);
    const focused = (q) => q.box.contains(document.activeElement);
    const question = open.find(focused) || open[0] || questions.find(focused) || questions[0];
    question.choose(digit);
  }

  function questionBox(question, number, changed) {
    const inputs = question.choices.map((choice) => element("input", {
      type: "radio", name: `${question.id}-${number}`, value: String(choice.value), onchange: changed,
    }));
    const labels = question.choices.map((choice, i) => element("label", {}, inputs[i],
      element("span", { className: "number", textContent: choice.text }),
      element("span", { className: "name", textContent: choice.label })));
    const scale = element("div", { className: question.choices.length > 3 ? "scale steps" : "scale" }, ...labels);
    const box = element("fieldset", { disabled: true, id: `question-${question.id}` },
      element("legend", { textContent: question.text }), scale);
    const value = () => {
      const chosen = inputs.find((input) => input.checked);
      return chosen ? Number(chosen.value) : null;
    };
    function choose(digit) {
      const input = inputs.find((candidate) => Number(candidate.value) === digit);
      if (box.disabled || !input) return;
      input.checked = true;
      input.focus();
      changed();
    }
    return { id: question.id, box, value, choose, enable: () => { box.disabled = false; } };
  }

  // What people see when the browser keeps nothing: a way to stop and to go on later all the same.
  function saving() {
    if (state.keeps) return [];
    return [element("p", { className: "saving" },
      "This browser keeps nothing: finish in one go, or save your answers so far and go on with that file. ",
      element("button", { type: "button", id: "save", textContent: "Save so far", onclick: download }))];
  }

  // Thanks

  function thanks() {
    state.keyboard = null;
    const text = element("textarea", { id: "text", readOnly: true, rows: 6, value: JSON.stringify(answers()) });
    show(
      "Thank you",
      element("p", { textContent: "All is answered. Please download your answers and send the file to whoever gave you the code." }),
      element("p", { className: "buttons" },
        element("button", { type: "button", id: "download", textContent: "Download answers", onclick: download }),
        element("button", { type: "button", id: "copy", textContent: "Copy as text", onclick: () => copy(text) })),
      element("p", { className: "field" }, element("label", { for: "text", textContent: "The same as text" }), text),
    );
  }

  function download() {
    const blob = new Blob([JSON.stringify(answers(), null, 1)], { type: "application/json" });
    const link = element("a", { href: URL.createObjectURL(blob), download: `answers-${data.study}-${state.code}.json` });
    document.body.append(link);
    link.click();
    link.remove();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say("The file of answers is saved.");
  }

  async function copy(text) {
    text.select();
    try {
      await navigator.clipboard.writeText(text.value);
      say("Copied.");
    } catch (_refused) {
      say(document.execCommand("copy") ? "Copied." : "Select the text and copy it by hand.");
    }
  }

  // Keys

  document.addEventListener("keydown", (event) => {
    const on = document.getElementById("keys").checked && state.keyboard;
    if (!on || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    // a button acts on Space and Enter itself, a player on Space
    if (event.target.closest("button, summary, textarea, a, input:not([type=radio]), video, audio") && !/^[0-9]$/.test(event.key)) return;
    if (state.keyboard(event.key)) event.preventDefault();
  });

  document.title = data.title;
  document.getElementById("title").textContent = data.title;
  document.getElementById("keys-help").textContent =
    data.kind === "mos" ? "Space plays and pauses, 1 to 5 answer, arrows move by half a step, Enter goes on."
      : "Space plays and pauses, 1 and 2 choose, 0 is neither, Enter goes on.";
  window.addEventListener("hashchange", () => { if (!state.code) welcome(); });
  welcome();
}
