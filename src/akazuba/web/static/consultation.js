// A consultation on the tablet: typed, kept here at once, assessed by the box, recorded there once.
"use strict";
const form = document.getElementById("consultation");
const page = form.dataset;
const answer = document.getElementById("answer");
const STEPS = [...document.querySelectorAll(".step")].map((section) => section.id);
let draft = null;
let shut = null; // id and owner of a form that is not for whoever is here

const hex = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0")).join("");
// date: from the box, when it is first sent. trail: what was answered below an assessment, the newest last.
const fresh = (patient) => ({ id: `c-${hex(8)}`, began: Date.now(), date: null, owner: drafts.opens(drafts.owner) ? drafts.owner : "", state: "draft", fields: {}, signs: [], findings: {}, tests: {}, answers: {}, unanswered: [], trail: [], pictures: [], person: patient || `p-${hex(8)}`, known: Boolean(patient), picked: null });

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
  listPicked();
}

// Kept on the tablet as long as it holds something that the box has not recorded.
const BLANK = new Set(["band", "language", "age_unit"]);
const empty = () => !draft.signs.length && !draft.pictures.length && !draft.trail.length && Object.keys(draft.fields).every((name) => BLANK.has(name));
const content = (of = draft) => JSON.stringify([caseOf(of), of.person, ...["name", "born", "place"].map((name) => of.fields[`person.${name}`]), of.unanswered]);
let saving = Promise.resolve();
function save() {
  if (draft) outdate();
  return store();
}
function store() {
  if (!draft) return saving;
  const mine = read(), done = empty() || mine.recorded === content();
  saving = saving.then(() => (done ? drafts.remove(mine.id) : drafts.put(mine))).catch(unkept);
  return saving;
}

// An answer, and the form to sign it, stand as long as the form holds what they are of.
let shownFor = null, outdated = false;
function outdate() {
  read();
  if (!answer.firstChild || content() === shownFor) return;
  answer.replaceChildren();
  outdated = true;
}

function unkept(problem) {
  const failed = document.getElementById("unkept");
  failed.hidden = false;
  failed.querySelector("code").textContent = String(problem).slice(0, 120);
}

// --- asking the box

let asked = 0;
async function assess(keep = false) {
  if (!badField(keep)) return; // an answer that is on its way comes all the same
  const turn = ++asked, mine = draft;
  outdated = false;
  await store();
  if (draft !== mine) return;
  const progress = document.getElementById("progress"), failed = document.getElementById("failed");
  progress.textContent = page.sending;
  failed.hidden = true;
  busy(true);
  try {
    await sending.dated(mine);
    let said = null;
    const sent = await box.post("/consultation/assess", () => {
      said = content(mine);
      return sending.packed(mine, keep === true);
    });
    const html = await sent.text();
    if (turn !== asked) return;
    progress.textContent = "";
    shownFor = said;
    busy(false);
    show(html);
    if (answer.querySelector(".assessment").dataset.kept) {
      draft.state = "draft";
      draft.recorded = said;
      await store();
      if (turn !== asked) return;
    }
    outdate(); // where the form went on meanwhile
    if (outdated && location.hash === "#result") assess();
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
  answer.inert = yes; // what stands there is of what was said before
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
  if (name === "result" && draft) {
    outdate();
    if (outdated) assess();
  }
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
  const mine = draft, place = document.getElementById("sensors").dataset, failed = document.getElementById("not-sensed"), words = button.textContent;
  failed.hidden = true;
  button.disabled = true;
  button.textContent = place.reading;
  try {
    const sent = await box.post(`/consultation/sensor/${encodeURIComponent(button.dataset.sensor)}`, new FormData());
    const { field, sensor, unit, value, simulated, at } = await sent.json();
    if (draft !== mine) return;
    form.elements[field].value = value;
    inRange(form.elements[field]);
    draft.sensed = { ...draft.sensed, [field]: { sensor, unit, value, simulated, at } };
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

// Beside what was read, until it is typed over: from which sensor, and when.
function listSensed() {
  const list = document.getElementById("sensed");
  if (!list || !draft) return;
  const place = document.getElementById("sensors").dataset;
  list.replaceChildren(...marked(read()).map(([name, { sensor, unit, value, simulated, at }]) => {
    const row = document.createElement("li"), title = form.elements[name].closest("label").firstChild.textContent.trim();
    row.textContent = `${title}: ${[value, unit, sensor, at.slice(11, 16)].reduce((text, part) => text.replace("{}", () => part), place.read)}${simulated ? ` (${place.simulated})` : ""}`;
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
  const mine = draft, asked = new FormData();
  asked.set("case", draft.id);
  try {
    const sent = await box.post(`/pictures/${encodeURIComponent(id)}/take`, asked);
    const blob = await sent.blob();
    if (draft !== mine) return;
    draft.pictures.push({ name: `${kind}-${hex(3)}.png`, kind, blob });
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

// --- who it is

// What the box knows of a patient goes into the form; she is picked once that is here, and not before.
async function knownPatient(id) {
  const mine = draft, there = await box.get(`/patients/${encodeURIComponent(id)}/card`, true);
  if (!there) return;
  const { fields, allergies } = await there.json();
  if (draft !== mine) return;
  const known = Object.keys(fields).filter((name) => form.elements[name] && fields[name] !== null);
  for (const name of known) form.elements[name].value = fields[name];
  Object.assign(draft, { person: id, known: true, allergies, picked: Object.fromEntries(known.map((name) => [name, form.elements[name].value])) });
  document.getElementById("known").hidden = true;
  woman();
  listPicked();
  await save();
}

// As the box compares particulars: another name, or another birth or sex than the known one, is another patient.
const plainly = (name) => name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().trim().replace(/\s+/g, " ");
function another(name) {
  const said = form.elements[name].value, known = draft.picked[name];
  if (name === "person.name") return plainly(said) !== plainly(known);
  return Boolean(known && said) && said !== known;
}

// Not the patient who was picked: what came from her record goes, except where it was changed or is being changed.
function unpick(edited = "") {
  const was = { id: draft.person, name: draft.picked?.["person.name"] || draft.person, recorded: draft.recorded };
  for (const [name, value] of Object.entries(draft.picked || {})) {
    const field = form.elements[name];
    if (name === edited || field.value !== value) continue;
    if (field.tagName === "SELECT") field.selectedIndex = 0;
    else field.value = "";
    inRange(field);
  }
  Object.assign(draft, { person: `p-${hex(8)}`, known: false, picked: null, allergies: null });
  if (was.recorded) nextCase();
  woman();
  save();
  listPicked(was);
}

// What is recorded of one patient stays hers; what follows is another consultation.
function nextCase() {
  const old = draft.id;
  saving = saving.then(() => drafts.remove(old)).catch(unkept);
  Object.assign(draft, { id: `c-${hex(8)}`, recorded: null });
  for (const each of draft.pictures) each.kept = null;
  named();
}

function listPicked(was = null) {
  const place = document.getElementById("picked"), words = place.dataset, link = place.querySelector("a"), line = place.querySelector("p");
  place.hidden = !draft.known && !was;
  place.querySelector("button").hidden = !draft.known;
  link.hidden = !was?.recorded;
  if (draft.known) {
    const { "person.name": name = draft.person, "person.born": born, "patient.sex": sex } = draft.picked || {};
    const told = sex && [...form.elements["patient.sex"].options].find((each) => each.value === sex)?.textContent;
    const { named, asked } = draft.allergies || {}, dated = named && named.map((each) => `${each.name} (${each.day})`).join(", ");
    const whom = words.picked.replace("{}", () => [name, born, told].filter(Boolean).join(", "));
    line.textContent = named ? `${whom}. ${words.allergies}: ${dated || `${words.none} (${asked})`}` : whom;
  } else if (was) {
    line.textContent = [words.not, ...(was.recorded ? [words.stays] : [])].map((text) => text.replace("{}", () => was.name)).join(" ");
    link.href = `/patients/${encodeURIComponent(was.id)}`;
  }
}

async function lookUp() {
  const place = document.getElementById("known"), name = form.elements["person.name"].value.trim();
  if (!draft || draft.known || name.length < 3 || !box.user || !box.online) { place.hidden = true; return; }
  const found = await box.find(name).catch(() => null);
  if (!found || !draft || draft.known) return;
  const read = new DOMParser().parseFromString(await found.text(), "text/html");
  place.replaceChildren(...read.body.childNodes);
  place.hidden = !place.querySelector("[data-patient]");
}

// --- whose form it is

// Nothing of a form stays on the screen when it is not for whoever is here.
function closeForm({ id, owner }) {
  asked += 1;
  [shut, draft] = [{ id, owner }, null];
  clearTimeout(typing);
  clearTimeout(looking);
  form.reset();
  for (const field of form.elements) inRange(field);
  bands();
  busy(false);
  answer.replaceChildren();
  for (const place of ["progress", "picture-list", "sensed", "known", "arrived"]) document.getElementById(place)?.replaceChildren();
  for (const place of ["failed", "known", "picked", "not-sensed", "parts"]) document.getElementById(place)?.toggleAttribute("hidden", true);
  document.querySelector("#picked p").textContent = "";
  belongs(owner);
}

async function belongs(owner) {
  const told = document.getElementById("shut"), line = told.querySelector("p"), names = document.createElement("div");
  const say = (name) => { line.textContent = told.dataset.text.replace("{}", () => name); };
  told.hidden = false;
  say(owner);
  await people(names);
  const hers = names.querySelector(`input[value="${CSS.escape(owner)}"]`);
  if (hers && shut?.owner === owner) say(hers.closest("label").textContent.trim());
}

// The draft of an id, or a new one; null where it is not for whoever is here.
async function openForm(id, patient = null) {
  const kept = id ? await drafts.get(id) : null;
  if (kept && (kept.shut || !drafts.opens(kept.owner))) {
    closeForm(kept);
    return null;
  }
  [shut, draft, outdated] = [null, kept || fresh(patient), false];
  delete draft.refused;
  form.reset();
  write();
  document.getElementById("shut").hidden = true;
  document.getElementById("parts").hidden = false;
  named();
  return kept;
}

const named = () => history.replaceState(null, "", `?draft=${draft.id}${location.hash}`);
async function reopen() {
  const { id, owner } = shut;
  if (!drafts.opens(owner)) return;
  shut = null;
  await openForm(id);
  step(false);
}

// Nobody's form becomes hers who signs in over it; another's is closed.
document.addEventListener("owner-known", () => {
  if (shut) { reopen(); return; }
  if (!draft) return;
  read();
  if (draft.owner && draft.owner !== drafts.owner && !empty()) { closeForm(draft); return; }
  draft.owner = drafts.owner;
  save();
});
document.addEventListener("user-known", async () => {
  if (shut) { reopen(); return; }
  if (!draft || !draft.owner) return;
  const mine = read();
  if (empty()) { if (!drafts.opens(mine.owner)) mine.owner = ""; return; }
  if (!box.user || box.user === mine.owner) return;
  await save();
  if (draft === mine) closeForm(mine);
});
document.querySelector("[data-open]").addEventListener("click", () => signIn());

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
  if (!draft) return;
  inRange(event.target);
  if (draft.sensed) delete draft.sensed[name];
  listSensed();
  if (draft.picked && ["person.name", "person.born", "patient.sex"].includes(name) && another(name)) unpick(name);
  outdate();
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
  knownPatient(chosen.dataset.patient);
});
document.querySelector("#picked button").addEventListener("click", () => {
  unpick();
  form.elements["person.name"].focus();
});
addEventListener("hashchange", () => step());
addEventListener("pagehide", save);
document.addEventListener("visibilitychange", () => { if (document.hidden) save(); });
leaving.push(save);
document.addEventListener("box-back", () => {
  if (!draft) return;
  if (draft.state === "waiting") assess(true);
  else if (draft.signs.length) assess("quiet");
});

async function begin() {
  await drafts.begin();
  const wanted = new URLSearchParams(location.search), patient = wanted.get("patient"), id = wanted.get("draft");
  if (id && drafts.owner !== (box.user || "")) {
    await box.first; // only the box knows who is here
    if (box.user) await drafts.belong(box.user);
  }
  const unfinished = await openForm(id, patient);
  step(false);
  if (draft && !unfinished) {
    if (patient) await knownPatient(patient);
    if (wanted.get("arrived")) await fromMachine(wanted.get("arrived"), wanted.get("kind") || "chest-xray");
  }
  if (draft && draft.state === "waiting" && box.state) assess(true);
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
    hearing.onresult = (event) => { if (!draft) return; form.elements.note.value += ` ${event.results[event.results.length - 1][0].transcript}`; save(); };
    hearing.onend = () => { hearing = null; button.textContent = words; };
    button.textContent = button.dataset.stop;
    hearing.start();
  });
}
