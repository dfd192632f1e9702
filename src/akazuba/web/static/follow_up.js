// A follow-up: kept on the tablet while it is typed, an answer of last time copied when the nurse says so, sent once.
"use strict";
let draft = null;
{
  const form = document.querySelector("[data-follow-up]"), page = form.dataset;
  const error = form.querySelector("[data-error]"), send = form.querySelector("[data-send]");
  const typed = () => Object.fromEntries([...new FormData(form)].filter(([name]) => name !== "csrf" && name !== "visit"));
  const blank = JSON.stringify(typed());
  let saving = Promise.resolve(), typing = 0;

  // --- the draft and the form

  function save() {
    if (!draft) return saving;
    const mine = Object.assign(draft, { fields: typed() }), done = mine.state === "draft" && JSON.stringify(mine.fields) === blank;
    saving = saving.then(() => (done ? drafts.remove(mine.id) : drafts.put(mine))).catch(unkept);
    return saving;
  }
  function unkept(problem) {
    const failed = document.getElementById("unkept");
    failed.hidden = false;
    failed.querySelector("code").textContent = String(problem).slice(0, 120);
  }
  function write(fields) {
    for (const field of form.elements) {
      if (!(field.name in fields)) continue;
      if (field.type === "radio") field.checked = field.value === fields[field.name];
      else field.value = fields[field.name];
      if (fields[field.name] && field.closest("details")) field.closest("details").open = true;
    }
  }

  // What she typed of this patient on this day, or a new one; another nurse's stays shut.
  async function begin() {
    await drafts.belong(spoken.user);
    const wanted = new URLSearchParams(location.search).get("draft"), { visit } = form.elements, day = visit.value.slice(0, 11);
    const hers = (each) => each && !each.shut && each.followUp === page.followUp && drafts.opens(each.owner);
    const there = [wanted && (await drafts.get(wanted)), ...(await drafts.all()).filter(({ id }) => id.startsWith(day))].find(hers);
    draft = there || { id: visit.value, owner: spoken.user, state: "draft", followUp: page.followUp, name: page.name, fields: {}, pictures: [] };
    visit.value = draft.id;
    history.replaceState(null, "", `?draft=${draft.id}`);
    if (there) write(there.fields);
    if (draft.refused) [draft.state, draft.refused] = ["draft", undefined];
    await save();
    form.dataset.ready = "yes";
    if (draft && draft.state === "waiting" && box.state) record();
  }

  async function record() {
    const mine = draft;
    if (!mine || send.disabled) return;
    [error.hidden, send.disabled] = [true, true];
    await save();
    try {
      const sent = await box.post(location.pathname, () => sending.followed(mine)), { to } = await sent.json();
      draft = null;
      saving = saving.then(() => drafts.remove(mine.id)).catch(unkept);
      await saving;
      location.assign(to);
    } catch (problem) {
      mine.state = !problem.status ? "waiting" : problem.status === 422 ? "draft" : mine.state;
      await save();
      if (!problem.status) connected(false);
      [error.hidden, send.disabled] = [false, false];
      error.textContent = problem.status ? problem.message : page.offline;
      error.scrollIntoView({ block: "center" });
    }
  }

  // --- listening

  function asLastTime(name) {
    const holder = form.querySelector(`[data-same="${CSS.escape(name)}"]`).parentElement.querySelector("[data-last]");
    const last = holder.dataset.last, fields = form.querySelectorAll(`[name="${CSS.escape(name)}"]`);
    for (const field of fields) {
      if (field.type !== "radio") field.value = last;
      else if (field.value === last) field.checked = true;
    }
  }
  for (const button of form.querySelectorAll("[data-same], [data-all-same]")) button.hidden = false;
  form.addEventListener("click", (event) => {
    const one = event.target.closest("[data-same]"), all = event.target.closest("[data-all-same]");
    if (one) asLastTime(one.dataset.same);
    if (all) for (const button of form.querySelectorAll("[data-same]")) asLastTime(button.dataset.same);
    if (one || all) save();
  });
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(save, 150);
  });
  form.addEventListener("change", save);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    record();
  });
  addEventListener("pagehide", save);
  document.addEventListener("visibilitychange", () => { if (document.hidden) save(); });
  leaving.push(save);
  document.addEventListener("owner-known", save);
  document.addEventListener("box-back", () => { if (draft && draft.state === "waiting") record(); });
  document.addEventListener("user-known", async () => {
    if (!draft || !box.user || box.user === draft.owner) return;
    await save();
    draft = null;
    location.reload(); // what another nurse typed is not for whoever is here now
  });
  begin().catch(unkept);
}
