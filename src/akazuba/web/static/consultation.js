// A consultation on the tablet: typed, kept here at once, assessed by the box, recorded there once.
"use strict";
const form = document.getElementById("consultation");
const page = form ? form.dataset : {};
const answer = document.getElementById("answer");
let draft = null;

const hex = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0")).join("");
const day = () => new Date().toISOString().slice(0, 10);
const fresh = (patient) => ({ id: `c-${day().replaceAll("-", "")}-${hex(5)}`, date: day(), state: "draft", fields: {}, signs: [], findings: {}, tests: {}, unanswered: [], pictures: [], person: patient || `p-${hex(8)}`, known: Boolean(patient) });

// --- the draft and the form

function read() {
  draft.fields = {};
  for (const field of form.elements) {
    if (!field.name || field.type === "checkbox" || field.type === "file" || (field.type === "radio" && !field.checked)) continue;
    if (field.value !== "") draft.fields[field.name] = field.value;
  }
  draft.signs = [...form.querySelectorAll('input[name="sign"]:checked')].map((sign) => sign.value);
  return draft;
}

function write() {
  for (const field of form.elements) {
    if (!field.name || field.type === "file") continue;
    if (field.type === "checkbox") field.checked = draft.signs.includes(field.value);
    else if (field.type === "radio") field.checked = field.value === (draft.fields[field.name] || "adult");
    else if (draft.fields[field.name] !== undefined) field.value = draft.fields[field.name];
  }
  bands();
  listPictures();
}

let saving = Promise.resolve();
function save() {
  if (!form || !draft) return Promise.resolve();
  read();
  saving = saving.then(() => drafts.put(draft));
  return saving;
}

// --- the case as the box takes it

const listed = (text) => (!text || !text.trim() ? null : /^(none|no|0|aucun|aucune|hakuna|nta|无|没有)\.?$/i.test(text.trim()) ? [] : text.split(/[,;\n]/).map((part) => part.trim()).filter(Boolean));

function caseOf({ id, date, fields, signs, findings, tests, pictures }) {
  const made = { id, date, patient: {}, vitals: {}, findings: [], tests: [], images: [] };
  if (fields.note) made.note = fields.note;
  made.language = fields.language || document.documentElement.lang;
  for (const [name, value] of Object.entries(fields)) {
    const [room, key] = name.split(".");
    if ((room === "patient" || room === "vitals") && key) made[room][key] = value === "true" ? true : value === "false" ? false : key === "sex" || key === "consciousness" ? value : Number(value);
  }
  if (fields.age) made.patient[fields.age_unit || "age_years"] = Number(fields.age);
  if (fields.band === "pregnant" && signs.length && made.patient.pregnant === undefined) made.patient.pregnant = true;
  if (fields.gestational_age_weeks) made.gestational_age_weeks = Number(fields.gestational_age_weeks);
  for (const sign of signs) made.findings.push({ id: sign, present: true });
  for (const [finding, present] of Object.entries(findings)) if (!signs.includes(finding)) made.findings.push({ id: finding, present });
  for (const [test, result] of Object.entries(tests)) made.tests.push({ id: test, result });
  for (const each of pictures) made.images.push({ path: each.name, kind: each.kind });
  const allergies = listed(fields.allergies), medicines = listed(fields.medications), conditions = listed(fields.conditions);
  if (allergies) made.allergies = allergies;
  if (medicines) made.medications = medicines.map((name) => ({ name }));
  if (conditions) made.conditions = conditions;
  return made;
}

function packed(given, keep) {
  const sent = new FormData();
  sent.set("csrf", box.csrf);
  sent.set("case", JSON.stringify(caseOf(given)));
  sent.set("person", JSON.stringify({ id: given.person, name: given.fields["person.name"] || "", born: given.fields["person.born"] || "", sex: given.fields["patient.sex"] || "", place: given.fields["person.place"] || "" }));
  sent.set("unanswered", JSON.stringify(given.unanswered));
  sent.set("keep", keep ? "yes" : "no");
  for (const each of given.pictures) sent.append("picture", each.blob, each.name);
  return sent;
}

// --- asking the box

let asked = 0;
async function assess(keep = false) {
  const turn = ++asked;
  await save();
  const progress = document.getElementById("progress"), failed = document.getElementById("failed");
  progress.textContent = page.sending;
  failed.hidden = true;
  try {
    const sent = await box.post("/consultation/assess", packed(draft, keep));
    const html = await sent.text();
    if (turn !== asked) return;
    progress.textContent = "";
    show(html);
    const said = answer.querySelector(".assessment");
    if (said.dataset.kept && said.dataset.kept !== "none") await drafts.remove(draft.id);
  } catch (problem) {
    if (turn !== asked) return;
    progress.textContent = "";
    failed.hidden = false;
    answer.replaceChildren();
    if (problem.status) {
      failed.textContent = `${page.waits} ${page.refused} ${problem.message}`;
      return;
    }
    failed.textContent = `${page.waits} ${page.offline}`;
    draft.state = "waiting";
    await save();
    connected(false);
  }
}

function show(html) {
  const read = new DOMParser().parseFromString(html, "text/html");
  answer.replaceChildren(...read.body.childNodes);
  for (const figure of answer.querySelectorAll("[data-picture]")) {
    const known = draft && draft.pictures.find((each) => each.name === figure.dataset.picture);
    if (known) figure.querySelector("img").src = URL.createObjectURL(known.blob);
  }
  const title = answer.querySelector("#urgency");
  if (title) title.focus({ preventScroll: false });
  askForWords();
}

async function askForWords() {
  const place = document.querySelector("[data-words]");
  if (!place || place.closest('[data-level="red"]')) return;
  try {
    const sent = await box.post(place.dataset.words, new FormData(), false);
    const read = new DOMParser().parseFromString(await sent.text(), "text/html");
    place.replaceChildren(...read.body.childNodes);
  } catch { /* the words by rules stay */ }
}

// --- what waits to be sent

async function flush() {
  for (const waiting of await drafts.all()) {
    if (waiting.state !== "waiting" || (draft && waiting.id === draft.id)) continue;
    try {
      await box.post("/consultation/assess", packed(waiting, true), false);
      await drafts.remove(waiting.id);
    } catch (problem) {
      if (!problem.status) return;
    }
  }
}

// --- steps, signs, ranges, pictures

function step() {
  const wanted = location.hash.slice(1);
  const name = document.querySelector(`.step[id="${CSS.escape(wanted)}"]`) ? wanted : "emergency";
  for (const section of document.querySelectorAll(".step")) section.classList.toggle("current", section.id === name);
  for (const link of document.querySelectorAll(".steps a")) link.dataset.step === name ? link.setAttribute("aria-current", "step") : link.removeAttribute("aria-current");
  answer.hidden = name !== "result";
  const title = document.querySelector(`#${name} h2`);
  if (title) title.focus();
}

function bands() {
  const band = form.elements.band.value;
  let red = false;
  for (const label of form.querySelectorAll(".sign")) {
    const there = label.dataset.bands.split(" ").includes(band), tick = label.querySelector("input");
    label.hidden = !there && !tick.checked;
    red ||= tick.checked;
  }
  document.getElementById("red").hidden = !red;
}

function inRange(field) {
  const help = field.closest("label")?.querySelector(".help");
  if (!help || field.type !== "number") return;
  const value = Number(field.value);
  const wrong = field.value !== "" && (value < Number(field.min) || value > Number(field.max));
  help.hidden = !wrong;
  help.textContent = wrong ? page.outOfRange.replace("{}", field.min).replace("{}", field.max).replace("{}", field.dataset.unit || "") : "";
  field.setAttribute("aria-invalid", wrong);
}

function listPictures() {
  const list = document.getElementById("picture-list");
  list.replaceChildren(...draft.pictures.map((each) => {
    const row = document.createElement("li"), remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = `${list.dataset.remove}: ${each.name}`;
    remove.addEventListener("click", () => { draft.pictures = draft.pictures.filter((other) => other !== each); listPictures(); save(); });
    row.append(remove);
    return row;
  }));
}

async function knownPatient(id) {
  const there = await fetch(`/patients/${encodeURIComponent(id)}/card`, { headers: { Accept: "application/json", "X-Fragment": "1" }, credentials: "same-origin" });
  if (!there.ok) return;
  const card = await there.json();
  for (const [name, value] of Object.entries(card.fields)) if (form.elements[name] && value !== null) form.elements[name].value = value;
  await save();
}

async function lookUp() {
  const place = document.getElementById("known"), name = form.elements["person.name"].value.trim();
  if (draft.known || name.length < 3 || !box.state || !box.state.user) { place.hidden = true; return; }
  const found = await fetch(`/patients/find?name=${encodeURIComponent(name)}`, { headers: { Accept: "text/html", "X-Fragment": "1" }, credentials: "same-origin" }).catch(() => null);
  if (!found || !found.ok) return;
  const read = new DOMParser().parseFromString(await found.text(), "text/html");
  place.replaceChildren(...read.body.childNodes);
  place.hidden = !place.querySelector("[data-patient]");
}

// --- listening

if (form) {
  let typing = 0;
  form.addEventListener("submit", (event) => { event.preventDefault(); assess(); });
  form.addEventListener("input", (event) => {
    inRange(event.target);
    if (event.target.name === "band") bands();
    clearTimeout(typing);
    typing = setTimeout(save, 300);
    if (event.target.name === "person.name") setTimeout(lookUp, 350);
  });
  form.addEventListener("change", async (event) => {
    const field = event.target;
    if (field.type === "file" && field.files.length) {
      const file = field.files[0], end = (file.name.match(/\.[a-z0-9]{1,5}$/i) || [""])[0].toLowerCase();
      draft.pictures.push({ name: `${field.dataset.kind}-${draft.pictures.length + 1}${end}`, kind: field.dataset.kind, blob: file });
      field.value = "";
      listPictures();
    }
    if (field.name === "sign" || field.name === "band") bands();
    await save();
    if (field.name === "sign" && field.checked) assess();
  });
  for (const button of document.querySelectorAll("[data-assess]")) button.addEventListener("click", () => { location.hash = "result"; assess(); });
  document.getElementById("known").addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-patient]");
    if (!chosen) return;
    draft.person = chosen.dataset.patient;
    draft.known = true;
    document.getElementById("known").hidden = true;
    knownPatient(draft.person);
  });
  addEventListener("hashchange", step);
  addEventListener("pagehide", save);
  document.addEventListener("before-leaving", save);
  document.addEventListener("box-back", async () => { await flush(); if (draft.state === "waiting") { draft.state = "draft"; assess(true); } });
  begin();
} else {
  askForWords();
}

if (answer || !form) (answer || document).addEventListener("click", async (event) => {
  const said = event.target.closest("[data-answer], [data-confirm], [data-keep]");
  if (!said || !draft) return;
  if (said.dataset.answer) {
    const id = said.closest("[data-question]").dataset.question;
    if (said.dataset.answer === "unknown") draft.unanswered.push(id);
    else if (id.startsWith("test:")) draft.tests[id.slice(5)] = said.dataset.answer === "yes" ? "positive" : "negative";
    else draft.findings[id] = said.dataset.answer === "yes";
  } else if (said.dataset.confirm) {
    draft.findings[said.dataset.confirm] = said.dataset.present === "yes";
  }
  assess("keep" in said.dataset);
});

document.addEventListener("change", (event) => {
  const decide = event.target.closest("[data-decide]");
  if (!decide || event.target.name !== "choice") return;
  decide.querySelector(".changes").hidden = event.target.value !== "change";
  decide.querySelector(".reason").hidden = event.target.value === "accept";
});
document.addEventListener("submit", async (event) => {
  const sent = event.target;
  if (!sent.matches("[data-decide], [data-glass]")) return;
  event.preventDefault();
  const error = sent.querySelector(".error");
  error.hidden = true;
  try {
    await box.post(sent.matches("[data-glass]") ? "/glass" : sent.getAttribute("action"), new FormData(sent));
    if (sent.matches("[data-decide]")) location.href = sent.getAttribute("action").replace("/decide", "");
    else sent.closest("details").open = false;
  } catch (problem) {
    error.hidden = false;
    error.textContent = problem.message;
  }
});

async function begin() {
  const wanted = new URLSearchParams(location.search), patient = wanted.get("patient");
  const unfinished = wanted.get("draft") && (await drafts.get(wanted.get("draft")));
  draft = unfinished || fresh(patient);
  if (unfinished) write();
  else { form.reset(); bands(); listPictures(); }
  if (!unfinished) history.replaceState(null, "", `?draft=${draft.id}${location.hash}`);
  step();
  if (patient && !unfinished) await knownPatient(patient);
  dictation();
  flush();
}

// Only where the browser itself understands speech on the tablet: no voice leaves the post.
async function dictation() {
  const Recognition = window.SpeechRecognition || window.webkitSpeechRecognition, button = document.getElementById("dictate");
  if (!Recognition || !("processLocally" in Recognition.prototype) || !Recognition.available) return;
  const lang = form.elements.language.value;
  const there = await Recognition.available({ langs: [lang], processLocally: true }).catch(() => "unavailable");
  if (there !== "available") return;
  button.hidden = false;
  let hearing = null;
  const words = button.textContent;
  button.addEventListener("click", () => {
    if (hearing) { hearing.stop(); return; }
    hearing = Object.assign(new Recognition(), { lang: form.elements.language.value, processLocally: true, continuous: true });
    hearing.onresult = (event) => { form.elements.note.value += ` ${event.results[event.results.length - 1][0].transcript}`; save(); };
    hearing.onend = () => { hearing = null; button.textContent = words; };
    button.textContent = button.dataset.stop;
    hearing.start();
  });
}
