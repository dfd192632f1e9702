// What is done with an assessment: questions answered and taken back, what a model suggests confirmed, the
// decision signed. Beside a form (`draft`) or on a record's own page, where nothing is answered any more.
"use strict";
const live = () => (typeof draft === "undefined" ? null : draft);

function show(html) {
  const read = new DOMParser().parseFromString(html, "text/html");
  answer.replaceChildren(...read.body.childNodes);
  for (const figure of answer.querySelectorAll("[data-picture]")) {
    const known = draft.pictures.find((each) => each.name === figure.dataset.picture);
    if (known) figure.querySelector("img").src = URL.createObjectURL(known.blob);
  }
  for (const place of answer.querySelectorAll("[data-person]")) place.textContent = personOf(place.dataset.none);
  trail();
  const title = answer.querySelector("#urgency");
  if (title && location.hash === "#result") title.focus({ preventScroll: true });
  askForWords();
}

// Who it is, as the form names her.
function personOf(none) {
  const { "person.name": name = "", "person.born": born } = draft.fields;
  return `${name.trim() || none}${born ? `, ${born}` : ""}`;
}

async function askForWords() {
  const place = document.querySelector("[data-words]");
  if (!place || place.closest('[data-level="red"]')) return;
  try {
    const sent = await box.post(place.dataset.words, new FormData(), false);
    const read = new DOMParser().parseFromString(await sent.text(), "text/html");
    if (!live()) for (const each of read.querySelectorAll(".suggested")) each.remove();
    place.replaceChildren(...read.body.childNodes);
  } catch { /* the words by rules stay */ }
}

// --- answers, each of which can be taken back

function trail() {
  const place = answer.querySelector("#trail"), list = place && place.querySelector("ul");
  if (!place) return;
  place.hidden = !draft.trail.length;
  list.replaceChildren(...draft.trail.map((each, number) => {
    const line = document.createElement("li"), undo = document.createElement("button");
    undo.type = "button";
    undo.dataset.undo = number;
    undo.textContent = place.dataset.undo;
    undo.setAttribute("aria-label", `${place.dataset.undo}: ${each.words}`);
    line.append(`${each.words}: `, Object.assign(document.createElement("strong"), { textContent: each.said }), " ", undo);
    return line;
  }).reverse());
}

function answered(kind, id, value, words, said) {
  const before = draft.trail.findIndex((each) => each.kind === kind && each.id === id);
  if (before >= 0) draft.trail.splice(before, 1);
  if (kind === "unanswered") draft.unanswered.push(id);
  else if (kind === "field") fill(id, value);
  else draft[kind][id] = value;
  draft.trail.push({ kind, id, words, said });
}

function undo(number) {
  const [{ kind, id }] = draft.trail.splice(number, 1);
  if (kind === "unanswered") draft.unanswered = draft.unanswered.filter((each) => each !== id);
  else if (kind === "field") fill(id, "");
  else delete draft[kind][id];
}

function fill(name, value) {
  const whole = { "patient.age_years": "age", "patient.age_months": "age", "patient.age_days": "age" }[name];
  if (whole) form.elements.age_unit.value = name.slice("patient.".length);
  const field = form.elements[whole || name];
  field.value = String(value);
  if (draft.sensed) delete draft.sensed[name];
  inRange(field);
  woman();
}

function asksMore(said) {
  const question = said.closest("[data-question]"), id = question.dataset.question, words = question.dataset.name, yes = said.dataset.answer === "yes";
  if (said.dataset.answer === "unknown") answered("unanswered", id, null, words, said.textContent);
  else if (id.startsWith("test:")) answered("tests", id.slice(5), yes ? "positive" : "negative", words, said.textContent);
  else answered("findings", id, yes, words, said.textContent);
}

// A question of a guideline: its field shows where the answer belongs. False while the number is no number of it.
function asksForGuideline(said) {
  const place = said.closest("[data-place]"), [kind, id] = place.dataset.place.split(" "), { item, name: words } = place.dataset;
  let value = said.dataset.value, told = said.textContent.trim();
  if (value === undefined) {
    const field = place.querySelector("input, select");
    if (field.type === "number") inRange(field);
    if (field.value === "" || field.getAttribute("aria-invalid") === "true") { field.focus(); return false; }
    value = field.type === "number" ? Number(field.value) : field.value;
    told = field.selectedOptions ? field.selectedOptions[0].textContent : `${field.value} ${field.dataset.unit || ""}`;
  } else if (value === "true" || value === "false") value = value === "true";
  if (kind === "finding") answered("findings", id, value, words, told);
  else if (kind === "field") answered("field", id, value, words, told);
  else answered("answers", item, value, words, told);
  return true;
}

document.addEventListener("click", (event) => {
  const said = event.target.closest("#answer button");
  if (!said || !live()) return;
  const { dataset } = said;
  if (dataset.answer) asksMore(said);
  else if (dataset.confirm) answered("findings", dataset.confirm, dataset.present === "yes", dataset.name, said.textContent);
  else if (dataset.undo !== undefined) undo(Number(dataset.undo));
  else if ("give" in dataset) { if (!asksForGuideline(said)) return; }
  else if (!("keep" in dataset)) return;
  assess("keep" in dataset);
});

// --- the decision

document.addEventListener("change", (event) => {
  const decide = event.target.closest("[data-decide]");
  if (!decide || event.target.name !== "choice") return;
  const change = event.target.value === "change", reason = decide.querySelector(".reason");
  decide.querySelector(".changes").hidden = !change;
  reason.hidden = event.target.value === "accept";
  reason.querySelector("textarea").required = !reason.hidden;
  decide.querySelector("[name=instead]").required = change;
});
document.addEventListener("click", (event) => {
  const more = event.target.closest("[data-another]");
  if (!more) return;
  const rows = more.closest("fieldset").querySelectorAll(".change"), made = rows[0].cloneNode(true);
  for (const field of made.querySelectorAll("input")) [field.value, field.required] = ["", false];
  rows[rows.length - 1].after(made);
  made.querySelector("select").focus();
});
document.addEventListener("submit", async (event) => {
  const sent = event.target;
  if (!sent.matches("[data-decide], [data-glass]")) return;
  event.preventDefault();
  const error = sent.querySelector(".error"), button = event.submitter;
  error.hidden = true;
  if (button) button.disabled = true;
  try {
    const given = await box.post(sent.matches("[data-glass]") ? "/glass" : sent.getAttribute("action"), () => new FormData(sent));
    if (sent.matches("[data-decide]")) {
      await ready();
      location.href = sent.getAttribute("action").replace("/decide", "");
    } else {
      await given.text();
      sent.closest("details").open = false;
      document.querySelector("[data-decide] button.primary").focus();
    }
  } catch (problem) {
    error.hidden = false;
    error.textContent = problem.status ? problem.message : spoken.offline;
  } finally {
    if (button) button.disabled = false;
  }
});

if (!document.getElementById("consultation")) askForWords();
