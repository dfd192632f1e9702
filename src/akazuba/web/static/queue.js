// The queue looks again every few seconds; an alarm sounds until somebody answers.
"use strict";
const rows = document.getElementById("rows");
async function renew(sent) {
  const read = new DOMParser().parseFromString(await sent.text(), "text/html");
  const focus = document.activeElement && document.activeElement.getAttribute("formaction");
  rows.replaceChildren(...read.body.childNodes);
  if (focus) rows.querySelector(`[formaction="${CSS.escape(focus)}"]`)?.focus();
}
setInterval(async () => {
  if (document.hidden) return;
  const sent = await fetch("/queue/rows", { headers: { "X-Fragment": "1" }, credentials: "same-origin" }).catch(() => null);
  if (sent && sent.ok) await renew(sent);
}, 3000);
rows.addEventListener("submit", async (event) => {
  event.preventDefault();
  await renew(await box.post(event.submitter.getAttribute("formaction"), new FormData(event.target)));
  box.look();
});
