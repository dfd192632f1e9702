// What every page does: keeps an eye on the box, says when it is away, signs in without leaving the page.
"use strict";
document.documentElement.classList.add("js");

const box = {
  csrf: document.querySelector('meta[name="csrf"]').content,
  online: true,
  state: null,

  // Sends a form; a session that is over is opened again without losing what was typed.
  async post(path, form, again = true) {
    const sent = await fetch(path, { method: "POST", body: form, headers: { "X-Csrf-Token": this.csrf, "X-Fragment": "1", Accept: "text/html, application/json" }, credentials: "same-origin" });
    if (sent.status === 401 && again && (await signIn())) return this.post(path, form, false);
    if (sent.status === 403 && again && (await this.look())) return this.post(path, form, false);
    if (!sent.ok) {
      const said = await sent.json().catch(() => ({ error: String(sent.status) }));
      throw Object.assign(new Error(said.error), { status: sent.status });
    }
    return sent;
  },

  // Asks how the box stands; true when the token of the forms was renewed.
  async look() {
    try {
      const answer = await fetch("/state", { headers: { Accept: "application/json" }, credentials: "same-origin", signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw new Error(String(answer.status));
      const known = await answer.json();
      const renewed = known.csrf !== this.csrf;
      this.csrf = known.csrf;
      this.state = known;
      for (const field of document.querySelectorAll('input[name="csrf"]')) field.value = known.csrf;
      connected(true);
      alarms(known);
      return renewed;
    } catch {
      connected(false);
      return false;
    }
  },
};

function connected(yes) {
  const line = document.getElementById("connection");
  const was = box.online;
  box.online = yes;
  document.body.classList.toggle("away", !yes);
  if (yes === was) return;
  line.hidden = false;
  line.textContent = yes ? document.body.dataset.again : document.body.dataset.offline;
  line.className = yes ? "notice good" : "notice warn";
  if (yes) setTimeout(() => { if (box.online) line.hidden = true; }, 4000);
  document.dispatchEvent(new CustomEvent(yes ? "box-back" : "box-away"));
}

function alarms(known) {
  const count = document.getElementById("alarms");
  if (!count) return;
  count.hidden = !known.alarms;
  count.textContent = known.alarms || "";
  count.classList.toggle("sounding", known.loudest > 1);
  if (known.alarms && navigator.vibrate && navigator.userActivation && navigator.userActivation.hasBeenActive) navigator.vibrate(known.loudest > 1 ? [400, 150, 400] : 250);
}

// Opens the sign-in dialog over the page; resolves to whether somebody signed in.
function signIn() {
  const dialog = document.getElementById("sign-in"), form = dialog.querySelector("form"), error = dialog.querySelector(".error");
  return new Promise((resolve) => {
    const submit = async (event) => {
      if (event.submitter && event.submitter.value === "cancel") return;
      event.preventDefault();
      try {
        await box.post("/sign-in", new FormData(form), false);
        done(true);
      } catch (problem) {
        error.hidden = false;
        error.textContent = problem.message;
      }
    };
    const closed = () => done(false);
    const done = (yes) => {
      form.removeEventListener("submit", submit);
      dialog.removeEventListener("close", closed);
      form.reset();
      error.hidden = true;
      if (dialog.open) dialog.close();
      resolve(yes);
    };
    form.addEventListener("submit", submit);
    dialog.addEventListener("close", closed);
    dialog.showModal();
  });
}

document.querySelector("#language").addEventListener("change", (event) => {
  const form = event.target.form;
  form.elements.back.value = location.pathname + location.search + location.hash;
  document.dispatchEvent(new CustomEvent("before-leaving"));
  form.submit();
});
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) print();
  const heat = event.target.closest("[data-heat]");
  if (heat) heat.closest("figure").querySelector("svg").toggleAttribute("hidden", !heat.checked);
});

const LOOK_MS = 5000;
box.look();
setInterval(() => { if (!document.hidden) box.look(); }, LOOK_MS);
addEventListener("online", () => box.look());
addEventListener("offline", () => connected(false));
if ("serviceWorker" in navigator) navigator.serviceWorker.register("/sw.js");
