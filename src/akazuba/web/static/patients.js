// Finds patients while a name is typed; without this script the form does the same.
"use strict";
(() => {
  const form = document.querySelector("[data-find]"), place = document.getElementById("found");
  if (!form || !place) return;
  const PAUSE_MS = 350, LEAST = 2;
  let typing = 0, turn = 0;
  form.addEventListener("input", (event) => {
    if (event.target.name !== "name") return;
    clearTimeout(typing);
    typing = setTimeout(find, PAUSE_MS);
  });
  async function find() {
    const name = form.elements.name.value.trim(), mine = ++turn;
    if ([...name].length < LEAST) { place.replaceChildren(); return; }
    const sent = await box.find(name, true).catch(() => null);
    if (!sent || mine !== turn) return;
    const read = new DOMParser().parseFromString(await sent.text(), "text/html");
    if (mine === turn) place.replaceChildren(...read.body.childNodes);
  }
  place.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-patient]");
    if (chosen) location.href = `/patients/${encodeURIComponent(chosen.dataset.patient)}`;
  });
})();
