// A follow-up: copies an answer of last time when the nurse says so, and sends the form without losing it.
"use strict";
(() => {
  const form = document.querySelector("[data-follow-up]");
  if (!form) return;
  const error = form.querySelector(".error"), send = form.querySelector("[data-send]");

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
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (send.disabled) return;
    error.hidden = true;
    send.disabled = true;
    try {
      const sent = await box.post(location.pathname, () => new FormData(form));
      location.href = (await sent.json()).to;
    } catch (problem) {
      send.disabled = false;
      error.hidden = false;
      error.textContent = problem.status ? problem.message : form.dataset.offline;
      error.scrollIntoView({ block: "center" });
    }
  });
})();
