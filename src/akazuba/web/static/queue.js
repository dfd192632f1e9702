// The queue looks again every few seconds; an alarm sounds until somebody answers.
"use strict";
{
  const rows = document.getElementById("rows");
  async function renew(sent) {
    const read = new DOMParser().parseFromString(await sent.text(), "text/html");
    const focus = document.activeElement && document.activeElement.getAttribute("formaction");
    const asking = rows.querySelector("details[open]");
    if (asking && asking.contains(document.activeElement)) return; // somebody is writing there
    rows.replaceChildren(...read.body.childNodes);
    if (focus) rows.querySelector(`[formaction="${CSS.escape(focus)}"]`)?.focus();
    await here();
  }

  // Those whose form was begun on this tablet can be gone on with.
  async function here() {
    const mine = new Set((await drafts.all()).filter((each) => !each.shut).map((each) => each.id));
    for (const link of rows.querySelectorAll("[data-here]")) link.hidden = !mine.has(link.dataset.here);
  }
  setInterval(async () => {
    if (document.hidden) return;
    const sent = await box.get("/queue/rows");
    if (sent) await renew(sent);
  }, 3000);
  rows.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { submitter, target } = event, error = document.getElementById("queue-failed");
    error.hidden = true;
    submitter.disabled = true;
    try {
      const sent = await box.post(submitter.getAttribute("formaction"), () => new FormData(target));
      if (document.activeElement) document.activeElement.blur();
      await renew(sent);
      box.look();
    } catch (problem) {
      submitter.disabled = false;
      error.hidden = false;
      error.textContent = problem.status ? problem.message : spoken.offline;
    }
  });
  here();
}
