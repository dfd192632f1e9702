// A consultation on the tablet: typed, kept here at once, assessed by the box, recorded there once.
"use strict";
const form = document.getElementById("consultation");
const page = form.dataset;
const answer = document.getElementById("answer");
const STEPS = [...document.querySelectorAll(".step")].map((section) => section.id);
let draft = null;

const hex = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0")).join("");
// date: from the box, when it is first sent. trail: what was answered below an assessment, the newest last.
const fresh = (patient) => ({ id: `c-${hex(8)}`, began: Date.now(), date: null, owner: drafts.owner, state: "draft", fields: {}, signs: [], findings: {}, tests: {}, answers: {}, unanswered: [], trail: [], pictures: [], person: patient || `p-${hex(8)}`, known: Boolean(patient) });

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
    inRange(field);
  }
  bands();
  woman();
  listPictures();
  listSensed();
}

// Kept on the tablet as long as it holds something that the box has not recorded.
const BLANK = new Set(["band", "language", "age_unit"]);
const empty = () => !draft.signs.length && !draft.pictures.length && !draft.trail.length && Object.keys(draft.fields).every((name) => BLANK.has(name));
const content = () => JSON.stringify([caseOf(draft), draft.person, draft.fields["person.name"], draft.unanswered]);
let saving = Promise.resolve();
function save() {
  if (!draft) return saving;
  read();
  saving = saving.then(() => (empty() || draft.recorded === content() ? drafts.remove(draft.id) : drafts.put(draft))).catch(unkept);
  return saving;
}

function unkept(problem) {
  const failed = document.getElementById("unkept");
  failed.hidden = false;
  failed.querySelector("code").textContent = String(problem).slice(0, 120);
}

// --- asking the box

let asked = 0;
async function assess(keep = false) {
  const turn = ++asked;
  if (!badField(keep)) return;
  await save();
  const progress = document.getElementById("progress"), failed = document.getElementById("failed");
  progress.textContent = page.sending;
  failed.hidden = true;
  busy(true);
  try {
    await sending.dated(draft);
    const said = content();
    const sent = await box.post("/consultation/assess", () => sending.packed(draft, keep === true));
    const html = await sent.text();
    if (turn !== asked) return;
    progress.textContent = "";
    show(html);
    const state = answer.querySelector(".assessment").dataset.kept;
    if (!state) return;
    draft.state = "draft";
    draft.recorded = said;
    await save();
  } catch (problem) {
    if (turn !== asked) return;
    progress.textContent = "";
    answer.replaceChildren();
    await away(problem, failed, keep);
  } finally {
    if (turn === asked) busy(false);
  }
}

// keep: whether the nurse asked for a record; "quiet" where only a sign was ticked.
async function away(problem, failed, keep) {
  failed.hidden = false;
  const line = failed.querySelector("p");
  failed.querySelector("a").hidden = Boolean(problem.status);
  if (problem.status) {
    line.textContent = `${page.waits} ${page.refused} ${problem.message}`;
    if (location.hash !== "#result") return;
    failed.focus();
    return;
  }
  line.textContent = `${page.waits} ${page.offline}`;
  draft.state = keep === "quiet" ? draft.state : "waiting";
  delete draft.refused;
  await save();
  connected(false);
}

function busy(yes) {
  for (const button of document.querySelectorAll("[data-assess], [data-keep]")) button.disabled = yes;
}

// A number that no patient can have is asked back here, and never sent.
function badField(keep) {
  if (keep === "quiet") return true;
  const bad = form.querySelector('[aria-invalid="true"]');
  if (!bad) return true;
  location.hash = bad.closest(".step").id;
  setTimeout(() => bad.focus());
  return false;
}

// --- steps, signs, ranges, pictures

function step(focus = true) {
  const wanted = location.hash.slice(1), name = STEPS.includes(wanted) ? wanted : "emergency";
  form.dataset.step = name;
  for (const section of document.querySelectorAll(".step")) section.classList.toggle("current", section.id === name);
  for (const link of document.querySelectorAll(".steps a")) {
    if (link.dataset.step === name) {
      link.setAttribute("aria-current", "step");
      link.scrollIntoView({ block: "nearest", inline: "center" });
    } else link.removeAttribute("aria-current");
  }
  answer.hidden = name !== "result";
  const title = document.querySelector(`#${name} h2`);
  if (title && focus) title.focus({ preventScroll: true });
  if (focus) scrollTo(0, 0);
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

// What is asked of women only, and of pregnant ones.
function woman() {
  const fields = form.elements, sex = fields["patient.sex"], pregnant = fields["patient.pregnant"], weeks = fields.gestational_age_weeks;
  if (fields.band.value === "pregnant" && !sex.value) [sex.value, pregnant.value] = ["female", "true"];
  if (sex.value === "male") pregnant.value = "";
  pregnant.closest("label").hidden = sex.value === "male";
  if (pregnant.value !== "true") weeks.value = "";
  weeks.closest("label").hidden = pregnant.value !== "true";
}

// The age from the date of birth, by the box's calendar.
function born() {
  const fields = form.elements, today = box.day(Date.now()), at = Date.parse(fields["person.born"].value);
  const days = today && at ? Math.round((Date.parse(today) - at) / 86_400_000) : NaN;
  if (!(days >= 0 && days < 45_700) || (fields.age.value && !fields.age.dataset.reckoned)) return;
  const [unit, value] = days < 62 ? ["age_days", days] : days < 5 * 365.25 ? ["age_months", Math.floor(days / 30.4375)] : ["age_years", Math.floor(days / 365.25)];
  [fields.age_unit.value, fields.age.value, fields.age.dataset.reckoned] = [unit, value, "yes"];
}

function inRange(field) {
  const help = field.closest("label")?.querySelector(".help");
  if (!help || field.type !== "number") return;
  const value = Number(field.value), wrong = field.validity.badInput || (field.value !== "" && (value < Number(field.min) || value > Number(field.max)));
  help.hidden = !wrong;
  help.textContent = wrong ? page.outOfRange.replace("{}", field.min).replace("{}", field.max).replace("{}", field.dataset.unit || "").trim() : "";
  field.setAttribute("aria-invalid", wrong);
}

// What a plugin's sensor reads goes into its field, where the nurse sees it and may change it.
async function readSensor(button) {
  const place = document.getElementById("sensors").dataset, failed = document.getElementById("not-sensed"), words = button.textContent;
  failed.hidden = true;
  button.disabled = true;
  button.textContent = place.reading;
  try {
    const sent = await box.post(`/consultation/sensor/${encodeURIComponent(button.dataset.sensor)}`, new FormData());
    const { field, sensor, unit, value, simulated } = await sent.json();
    form.elements[field].value = value;
    inRange(form.elements[field]);
    draft.sensed = { ...draft.sensed, [field]: { sensor, unit, value, simulated } };
    await save();
  } catch (problem) {
    failed.hidden = false;
    failed.textContent = `${place.none} ${problem.status ? problem.message : spoken.offline}`;
  } finally {
    button.disabled = false;
    button.textContent = words;
    listSensed();
  }
}

// Beside what was read, as long as it was not changed: from which sensor.
function listSensed() {
  const list = document.getElementById("sensed");
  if (!list) return;
  const place = document.getElementById("sensors").dataset;
  const there = Object.entries(draft.sensed || {}).filter(([name, { value }]) => form.elements[name]?.value === String(value));
  list.replaceChildren(...there.map(([name, { sensor, unit, value, simulated }]) => {
    const row = document.createElement("li"), title = form.elements[name].closest("label").firstChild.textContent.trim();
    row.textContent = `${title}: ${[value, unit, sensor].reduce((text, part) => text.replace("{}", () => part), place.read)}${simulated ? ` (${place.simulated})` : ""}`;
    return row;
  }));
}

function listPictures() {
  const list = document.getElementById("picture-list");
  list.replaceChildren(...draft.pictures.map((each) => {
    const row = document.createElement("li"), remove = document.createElement("button"), image = document.createElement("img");
    remove.type = "button";
    remove.textContent = `${list.dataset.remove}: ${each.name}`;
    remove.addEventListener("click", () => { draft.pictures = draft.pictures.filter((other) => other !== each); listPictures(); save(); });
    if (/^image\//.test(each.blob.type)) Object.assign(image, { src: URL.createObjectURL(each.blob), alt: each.name, className: "thumb" });
    row.append(...(image.src ? [image, remove] : [remove]));
    return row;
  }));
}

// A picture that another machine sent to the box. The box gives it to this consultation, by name.
async function fromMachine(id, kind) {
  const asked = new FormData();
  asked.set("case", draft.id);
  try {
    const sent = await box.post(`/pictures/${encodeURIComponent(id)}/take`, asked);
    draft.pictures.push({ name: `${kind}-${hex(3)}.png`, kind, blob: await sent.blob() });
    listPictures();
    await save();
  } catch (problem) {
    document.getElementById("arrived").textContent = problem.status ? problem.message : spoken.offline;
  }
}

async function listArrived() {
  const place = document.getElementById("arrived"), sent = await box.get("/pictures/rows", true);
  const read = new DOMParser().parseFromString(sent ? await sent.text() : "", "text/html");
  place.replaceChildren(...read.body.childNodes);
  if (!place.children.length) place.textContent = place.dataset.none;
}

async function knownPatient(id) {
  const there = await box.get(`/patients/${encodeURIComponent(id)}/card`);
  if (!there) return;
  const card = await there.json();
  for (const [name, value] of Object.entries(card.fields)) if (form.elements[name] && value !== null) form.elements[name].value = value;
  woman();
  await save();
}

async function lookUp() {
  const place = document.getElementById("known"), name = form.elements["person.name"].value.trim();
  if (draft.known || name.length < 3 || !box.user || !box.online) { place.hidden = true; return; }
  const found = await box.find(name).catch(() => null);
  if (!found) return;
  const read = new DOMParser().parseFromString(await found.text(), "text/html");
  place.replaceChildren(...read.body.childNodes);
  place.hidden = !place.querySelector("[data-patient]");
}

// --- listening

let typing = 0, looking = 0;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("keydown", (event) => {
  // Enter in a field goes on to the next step, as the button does
  if (event.key !== "Enter" || !event.target.matches("input:not([type=file], [type=checkbox], [type=radio])")) return;
  event.preventDefault();
  event.target.closest(".step").querySelector("a.button.primary, button.primary").click();
});
form.addEventListener("input", (event) => {
  const { name } = event.target;
  inRange(event.target);
  listSensed();
  if (name === "age") delete event.target.dataset.reckoned;
  clearTimeout(typing);
  typing = setTimeout(save, 150);
  if (name !== "person.name") return;
  clearTimeout(looking);
  looking = setTimeout(lookUp, 350);
});
form.addEventListener("change", async (event) => {
  const field = event.target;
  if (field.type === "file" && field.files.length) {
    const file = field.files[0], end = (file.name.match(/\.[a-z0-9]{1,5}$/i) || [""])[0].toLowerCase();
    // another name each time: a picture taken again is another picture to the box too
    draft.pictures.push({ name: `${field.dataset.kind}-${hex(3)}${end}`, kind: field.dataset.kind, blob: file });
    field.value = "";
    listPictures();
  }
  if (field.name === "sign" || field.name === "band") bands();
  if (["band", "patient.sex", "patient.pregnant"].includes(field.name)) woman();
  if (field.name === "person.born") born();
  await save();
  if (field.name === "sign" && field.checked) assess("quiet");
});
for (const button of document.querySelectorAll("[data-assess]")) {
  button.addEventListener("click", () => {
    if (!badField()) return;
    location.hash = "result";
    assess();
  });
}
for (const button of document.querySelectorAll("[data-sensor]")) button.addEventListener("click", () => readSensor(button));
document.getElementById("wait").addEventListener("click", async () => {
  await save();
  const sent = new FormData();
  sent.set("id", draft.id);
  await box.post("/consultation/arrive", sent).then(() => location.assign("/queue"), (problem) => away(problem, document.getElementById("failed"), "quiet").then(() => { location.hash = "result"; }));
});
document.getElementById("from-machines").addEventListener("click", listArrived);
document.getElementById("arrived").addEventListener("click", (event) => {
  const taken = event.target.closest("[data-arrived]");
  if (!taken) return;
  event.preventDefault();
  event.stopPropagation();
  const card = taken.closest(".card"), chosen = card.querySelector("select[name=kind]");
  card.remove();
  fromMachine(taken.dataset.arrived, chosen ? chosen.value : taken.dataset.kind);
});
document.getElementById("known").addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-patient]");
  if (!chosen) return;
  draft.person = chosen.dataset.patient;
  draft.known = true;
  document.getElementById("known").hidden = true;
  knownPatient(draft.person);
});
addEventListener("hashchange", () => step());
addEventListener("pagehide", save);
document.addEventListener("visibilitychange", () => { if (document.hidden) save(); });
leaving.push(save);
document.addEventListener("owner-known", () => {
  if (!draft || draft.owner === drafts.owner) return;
  draft.owner = drafts.owner; // she signed in over it, and goes on with it
  save();
});
document.addEventListener("box-back", () => {
  if (!draft) return;
  if (draft.state === "waiting") assess(true);
  else if (draft.signs.length) assess("quiet");
});

async function begin() {
  await drafts.begin();
  const wanted = new URLSearchParams(location.search), patient = wanted.get("patient");
  let unfinished = wanted.get("draft") && (await drafts.get(wanted.get("draft")));
  if (unfinished && unfinished.shut && box.user) {
    await drafts.belong(box.user);
    unfinished = await drafts.get(wanted.get("draft"));
  }
  if (unfinished && unfinished.shut) {
    document.getElementById("shut").hidden = false;
    unfinished = null;
  }
  draft = unfinished || fresh(patient);
  delete draft.refused;
  form.reset();
  write();
  history.replaceState(null, "", `?draft=${draft.id}${location.hash}`);
  step(false);
  if (patient && !unfinished) await knownPatient(patient);
  if (wanted.get("arrived") && !unfinished) await fromMachine(wanted.get("arrived"), wanted.get("kind") || "chest-xray");
  if (draft.state === "waiting" && box.state) assess(true);
  dictation();
  form.dataset.ready = "yes";
}
begin().catch(unkept);

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
