// A consultation or a follow-up of this tablet as the box takes it, and those that wait to be sent: each is recorded once,
// however often it is sent, because the box knows it by its id and its content.
"use strict";

const listed = (text) => (!text || !text.trim() ? null : /^(none|no|-|0|aucun|aucune|non|hakuna|hapana|nta|ntabyo|ntabwo|oya|无|没有)\.?$/i.test(text.trim()) ? [] : text.split(/[,;，；、\n]/).map((part) => part.trim()).filter(Boolean));

// What sensors gave, as long as the form holds it.
const marked = ({ fields, sensed }) => Object.entries(sensed || {}).filter(([name, { value, at }]) => at && fields[name] === String(value));

function caseOf({ id, date, fields, signs, findings, tests, answers, pictures, sensed }) {
  const made = { id, patient: {}, vitals: {}, findings: [], tests: [], images: [] };
  if (date) made.date = date;
  if (fields.note) made.note = fields.note;
  made.language = fields.language || document.documentElement.lang;
  for (const [name, value] of Object.entries(fields)) {
    const [room, key] = name.split(".");
    if ((room === "patient" || room === "vitals") && key) made[room][key] = value === "true" ? true : value === "false" ? false : key === "sex" || key === "consciousness" ? value : Number(value);
  }
  const came = marked({ fields, sensed }).map(([name, { sensor, value, at, simulated }]) => ({ vital: name.slice("vitals.".length), sensor, value, at, simulated }));
  if (came.length) made.sensed = came;
  if (fields.age) made.patient[fields.age_unit || "age_years"] = Number(fields.age);
  if (fields.band === "pregnant" && signs.length && made.patient.pregnant === undefined) made.patient.pregnant = true;
  if (fields.gestational_age_weeks) made.gestational_age_weeks = Number(fields.gestational_age_weeks);
  for (const sign of signs) made.findings.push({ id: sign, present: true });
  for (const [finding, present] of Object.entries(findings)) if (!signs.includes(finding)) made.findings.push({ id: finding, present });
  for (const [test, result] of Object.entries(tests)) made.tests.push({ id: test, result });
  if (Object.keys(answers).length) made.answers = answers;
  for (const each of pictures) made.images.push({ path: each.name, kind: each.kind });
  const allergies = listed(fields.allergies), medicines = listed(fields.medications), conditions = listed(fields.conditions);
  if (allergies) made.allergies = allergies;
  if (medicines) made.medications = medicines.map((name) => ({ name }));
  if (conditions) made.conditions = conditions;
  return made;
}

const sending = {
  // A draft gets its day from the box once, so that it is the same case however often it is sent.
  async dated(draft) {
    if (draft.date) return;
    if (!box.state) await box.look();
    draft.date = box.day(draft.began);
  },

  packed(given, keep) {
    const sent = new FormData(), { fields } = given;
    sent.set("case", JSON.stringify(caseOf(given)));
    sent.set("person", JSON.stringify({ id: given.person, name: fields["person.name"] || "", born: fields["person.born"] || "", sex: fields["patient.sex"] || "", place: fields["person.place"] || "" }));
    sent.set("owner", given.owner);
    sent.set("unanswered", JSON.stringify(given.unanswered));
    sent.set("keep", keep ? "yes" : "no");
    for (const each of given.pictures) sent.append("picture", each.blob, each.name);
    return sent;
  },

  followed({ id, owner, fields }) {
    const sent = new FormData();
    for (const [name, value] of Object.entries({ ...fields, visit: id, owner })) sent.set(name, value);
    return sent;
  },

  // Whatever waits, in the order in which it was finished; `open` is on the screen and sends itself. When
  // whoever typed it is not signed in, the queue learns of the patient at once and the record waits for her.
  flush(open = null) {
    const work = async () => {
      let sent = 0;
      const waiting = (await drafts.all()).filter((each) => each.state === "waiting" && !each.shut && !each.refused && each.id !== open);
      for (const { id } of waiting.sort((a, b) => a.changed - b.changed)) {
        const draft = await drafts.get(id);
        if (!draft || draft.shut) continue;
        try {
          sent += await this._once(draft);
        } catch (problem) {
          if (!problem.status || problem.status >= 500 || problem.status === 429) break; // away again, or busy
          await drafts.put({ ...draft, refused: problem.message });
        }
      }
      if (sent) document.dispatchEvent(new CustomEvent("drafts-sent"));
      return sent;
    };
    return navigator.locks ? navigator.locks.request("akazuba-sending", work) : work();
  },
  async _once(draft) {
    const hers = !draft.owner || draft.owner === box.user;
    if (!hers && (draft.told || draft.followUp)) return 0;
    if (draft.followUp) {
      await box.post(`/follow-up/${encodeURIComponent(draft.followUp)}`, () => this.followed(draft), false);
      await drafts.remove(draft.id);
      return 1;
    }
    if (!draft.date) {
      await this.dated(draft);
      await drafts.put(draft);
    }
    const answer = await box.post("/consultation/assess", () => this.packed(draft, hers), false);
    const read = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".assessment");
    if (!hers) await drafts.put({ ...draft, told: true });
    else if (read.dataset.kept === "none") await drafts.put({ ...draft, state: "draft" }); // a box without a store
    else await drafts.remove(draft.id);
    return 1;
  },
};

const openDraft = () => (typeof draft !== "undefined" && draft ? draft.id : null);
document.addEventListener("user-known", async () => {
  await drafts.begin();
  if (box.state) sending.flush(openDraft());
});
