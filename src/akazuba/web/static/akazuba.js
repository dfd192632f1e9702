// What every page does: keeps an eye on the box, says when it is away, signs in without leaving the page.
"use strict";
document.documentElement.classList.add("js");

const LOOK_MS = 5000;
const IDLE_MS = 600_000; // of a session that this page was never told of, since the box was away
const SOFT = { "X-Fragment": "1", Accept: "text/html, application/json" };
const spoken = document.body.dataset;

const box = {
  csrf: document.querySelector('meta[name="csrf"]').content,
  online: true,
  state: null, // the newest answer of /state, null while the box is away
  user: spoken.user || null, // id of who is signed in, as far as this page knows
  idle_ms: 0, // after so long without a touch her session is over
  first: null, // the first look at the box, whether it answered or not

  // Sends a form, which `made` makes anew for each try. A session that is over is opened again in place
  // where `again`; a token that was renewed meanwhile is used, once.
  async post(path, made, again = true, renewed = false) {
    const form = typeof made === "function" ? made() : made, token = this.csrf;
    form.set("csrf", token);
    const sent = await fetch(path, { method: "POST", body: form, headers: { ...SOFT, "X-Csrf-Token": token }, credentials: "same-origin" });
    if (sent.status === 401 && again && (await signIn())) return this.post(path, made, false);
    if (sent.status === 403 && !renewed) {
      await this.look();
      if (token !== this.csrf) return this.post(path, made, again, true);
    }
    if (!sent.ok) {
      const said = await sent.json().catch(() => ({ error: String(sent.status) }));
      throw Object.assign(new Error(said.error), { status: sent.status });
    }
    return sent;
  },

  // Patients of a name, which never stands in an address.
  find(name, again = false) {
    const form = new FormData();
    form.set("name", name);
    return this.post("/patients/find", form, again);
  },

  // A part of a page, or null when there is none to be had. again: signs in for it where that is needed.
  async get(path, again = false) {
    const sent = await fetch(path, { headers: SOFT, credentials: "same-origin" }).catch(() => null);
    if (sent && sent.status === 401 && again && (await signIn())) return this.get(path);
    return sent && sent.ok ? sent : null;
  },

  // Asks how the box stands. Only what somebody does here is use of a session: while nobody touches the
  // tablet, the question is a quiet one.
  async look(quiet = false) {
    let known;
    try {
      const answer = await fetch(quiet ? "/state?quiet" : "/state", { headers: { Accept: "application/json" }, credentials: "same-origin", signal: AbortSignal.timeout(LOOK_MS) });
      if (!answer.ok) throw new Error(String(answer.status));
      known = await answer.json();
    } catch {
      this.state = null;
      connected(false);
      return;
    }
    this.csrf = known.csrf;
    this.state = { ...known, at: Date.now() };
    for (const field of document.querySelectorAll('input[name="csrf"]')) field.value = known.csrf;
    if ("user_id" in known) {
      this.user = known.user_id;
      this.idle_ms = known.user_id ? 1000 * known.idle_s : this.idle_ms;
    }
    await stands(known);
    connected(true);
    alarms(known);
  },

  // The day of something that began when this tablet's clock showed `ms`, by the box's calendar: a wrong
  // clock of the tablet cancels out. Null while the box is away.
  day(ms) {
    if (!this.state) return null;
    const passed = Math.max(0, Date.now() - ms), { clock, at } = this.state;
    const then = clock.ms + (Date.now() - at) - (passed < 30 * 86_400_000 ? passed : 0);
    return new Date(then + clock.offset_min * 60_000).toISOString().slice(0, 10);
  },
};

function connected(yes) {
  const line = document.getElementById("connection"), was = box.online;
  box.online = yes;
  document.body.classList.toggle("away", !yes);
  if (yes === was) return;
  line.hidden = false;
  line.textContent = yes ? spoken.again : spoken.offline;
  line.className = yes ? "notice good" : "notice warn";
  if (yes) setTimeout(() => { if (box.online) line.hidden = true; }, 4000);
  document.dispatchEvent(new CustomEvent(yes ? "box-back" : "box-away"));
}

// The head of a page that was opened before somebody signed in, or without the box, is brought up to date.
let stood = `${spoken.user} ${spoken.state} ${document.documentElement.lang}`;
let told = false;
async function stands(known) {
  if ("user_id" in known) {
    const now = `${known.user_id || ""} ${known.state} ${known.language}`;
    if (now !== stood) {
      stood = now;
      const head = await box.get("/");
      const read = head && new DOMParser().parseFromString(await head.text(), "text/html");
      for (const id of ["me", "standing"]) {
        const fresh = read && read.getElementById(id), old = document.getElementById(id);
        if (fresh && old) old.replaceWith(fresh);
      }
    }
    document.dispatchEvent(new CustomEvent("user-known"));
  }
  document.getElementById("tablet").textContent = known.tablet;
  if (!told && "serviceWorker" in navigator) {
    told = true;
    navigator.serviceWorker.ready.then((worker) => worker.active.postMessage({ shell: known.shell, language: known.language }));
  }
}

function alarms(known) {
  const count = document.getElementById("alarms");
  count.hidden = !known.alarms;
  count.textContent = known.alarms || "";
  count.classList.toggle("sounding", known.loudest > 1);
  document.dispatchEvent(new CustomEvent("alarms", { detail: known }));
}

// Opens the sign-in dialog over the page; resolves to whether somebody signed in.
async function signIn() {
  const dialog = document.getElementById("sign-in"), form = dialog.querySelector("form"), error = dialog.querySelector(".error");
  if (dialog.open) return false;
  const key = await offered(form, await people(form.querySelector("[data-people]")));
  if (dialog.open) { // asked twice meanwhile
    key?.remove();
    return false;
  }
  return new Promise((resolve) => {
    const enter = async (given) => {
      try {
        await box.post("/sign-in", given, false);
        await box.look();
        done(true);
      } catch (problem) {
        fail(problem.message);
      }
    };
    const fail = (words) => { [error.hidden, error.textContent] = [false, words]; };
    const submit = (event) => {
      event.preventDefault();
      enter(() => new FormData(form));
    };
    const byKey = async () => {
      if (!form.querySelector("[name=user]").reportValidity()) return;
      error.hidden = true;
      key.disabled = true;
      const answer = await passkeys.signIn(form).catch((problem) => fail(problem.status ? problem.message : key.dataset.failed));
      key.disabled = false;
      if (!answer || !dialog.open) return;
      form.elements.pin.value = ""; // a typed PIN would go before the key
      await enter(() => {
        const given = new FormData(form);
        given.set("answer", answer);
        return given;
      });
    };
    const closed = () => done(false);
    const done = (yes) => {
      key?.remove();
      form.removeEventListener("submit", submit);
      dialog.removeEventListener("close", closed);
      form.reset();
      error.hidden = true;
      if (dialog.open) dialog.close();
      resolve(yes);
    };
    form.addEventListener("submit", submit);
    key?.addEventListener("click", byKey);
    dialog.addEventListener("close", closed);
    dialog.showModal();
  });
}

// The button for a passkey, where the page of signing in has one and this browser too; else null.
async function offered(form, read) {
  const button = read && read.querySelector('main [data-passkey="sign-in"]');
  if (!button) return null;
  if (typeof passkeys === "undefined") {
    await new Promise((resolve) => { document.head.append(Object.assign(document.createElement("script"), { src: "/static/passkeys.js", onload: resolve, onerror: resolve })); });
  }
  if (typeof passkeys === "undefined" || !passkeys.there) return null;
  button.hidden = false;
  form.querySelector("[data-cancel]").before(button, " ");
  return button;
}

// The names as the page of signing in shows them; that page, or null.
async function people(place) {
  const sent = await fetch("/sign-in", { headers: { Accept: "text/html" }, credentials: "same-origin" }).catch(() => null);
  const read = sent && sent.ok && new DOMParser().parseFromString(await sent.text(), "text/html");
  const names = read && read.querySelector("main fieldset");
  if (!names) return read;
  place.replaceChildren(names);
  const last = place.querySelector(`input[value="${CSS.escape(spoken.user || "")}"]`);
  if (last) last.checked = true;
  return read;
}

// What has to be done before the page is left: `leaving` holds functions that return a promise.
const leaving = [];
const ready = () => Promise.all(leaving.map((work) => work()));
document.addEventListener("change", async (event) => {
  if (event.target.id !== "language") return;
  const form = event.target.form;
  form.elements.back.value = location.pathname + location.search + location.hash;
  await ready();
  form.submit();
});
document.addEventListener("click", async (event) => {
  if (event.target.closest("[data-print]")) print();
  const cancel = event.target.closest("dialog [data-cancel]");
  if (cancel) cancel.closest("dialog").close();
  const heat = event.target.closest("[data-heat]");
  if (heat) heat.closest("figure").querySelector("svg").toggleAttribute("hidden", !heat.checked);
  const link = event.target.closest("a[href]");
  const plain = link && event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !link.target && link.origin === location.origin;
  if (!plain || !leaving.length || link.pathname + link.search === location.pathname + location.search) return;
  event.preventDefault();
  document.body.inert = true; // what is typed from now on would belong to the page that is left
  await ready();
  location.assign(link.href);
});
addEventListener("pageshow", () => { document.body.inert = false; });

// --- is somebody there?

const TOUCHED = "touched"; // of all pages of this tablet: none of them alone keeps a session open
let touched = 0;
const lastTouch = () => Number(localStorage.getItem(TOUCHED)) || 0;
function touch() {
  if (Math.abs(Date.now() - touched) < 1000) return;
  touched = Date.now();
  localStorage.setItem(TOUCHED, String(touched));
}
for (const kind of ["pointerdown", "keydown", "input"]) addEventListener(kind, touch, { passive: true, capture: true });
async function watch() {
  if (document.hidden) return;
  const idle = Math.abs(Date.now() - lastTouch()), most = box.idle_ms || (drafts.owner ? IDLE_MS : 0), over = most && idle > most;
  await box.look(!over && idle > 2 * LOOK_MS);
  if (!over || box.user || !box.online || document.getElementById("sign-in").open) return;
  box.idle_ms = 0;
  await ready(); // nobody was there for so long: what stands on the screen is not for whoever comes by
  await Promise.race([sending.flush(), new Promise((resolve) => { setTimeout(resolve, LOOK_MS); })]);
  await drafts.leave();
  toSignIn();
}
function toSignIn() {
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
}
touch();
box.first = box.look();
setInterval(watch, LOOK_MS);
document.addEventListener("visibilitychange", watch);
addEventListener("online", () => box.look());
addEventListener("offline", () => connected(false));
if ("serviceWorker" in navigator) navigator.serviceWorker.register("/sw.js");
