// Opens the page when the box is away. What it keeps is asked for without cookies, as a tablet that nobody
// signed in on would: nothing of a patient or a user is ever in this cache.
"use strict";
const PAGES = ["/", "/consultation"];
const FILES = ["/manifest.webmanifest", ...["akazuba.css", "akazuba.js", "drafts.js", "sending.js", "sound.js", "home.js", "consultation.js", "answers.js", "icon.svg"].map((name) => `/static/${name}`)];
const PREFIX = "akazuba-shell-";
const PATIENCE_MS = 4000;

self.addEventListener("install", (event) => event.waitUntil(keep("first", navigator.language).then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

// A page tells which shell the box has, and in which language this tablet is used.
self.addEventListener("message", (event) => {
  const { shell, language } = event.data;
  if (/^[0-9a-f]{12}$/.test(shell) && /^[a-z]{2,3}$/.test(language)) event.waitUntil(keep(`${shell}-${language}`, language));
});

// All of a shell or nothing of it: a page never meets the scripts of another release.
let keeping = Promise.resolve();
function keep(name, language) {
  keeping = keeping.then(async () => {
    const whole = PREFIX + name;
    if (await caches.has(whole)) return;
    const answers = await Promise.all([...PAGES, ...FILES].map(async (path) => {
      const answer = await fetch(path, { credentials: "omit", cache: "no-store", headers: { "Accept-Language": language } });
      if (!answer.ok || answer.redirected) throw new Error(`${path}: ${answer.status}`);
      const headers = new Headers(answer.headers);
      for (const name of ["content-encoding", "content-length"]) headers.delete(name); // of what was sent, not of what is kept
      return [path, new Response(await answer.blob(), { headers })]; // read at once: six that are not block the rest
    }));
    const cache = await caches.open(whole);
    for (const [path, answer] of answers) await cache.put(path, answer);
    for (const other of await caches.keys()) if (other.startsWith(PREFIX) && other !== whole) await caches.delete(other);
  }).catch(() => {}); // the box went away meanwhile: the shell that is there stays
  return keeping;
}

self.addEventListener("fetch", (event) => {
  const { request } = event, url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  const known = PAGES.includes(url.pathname) || FILES.includes(url.pathname);
  if (known) event.respondWith(freshOrKept(request, url.pathname));
  else if (request.mode === "navigate") event.respondWith(fetch(request).catch(async () => (await caches.match("/")) || Response.error()));
});

// The box's own answer where it comes soon enough, else what was kept of it.
async function freshOrKept(request, path) {
  const kept = () => caches.match(path);
  let slow;
  const late = new Promise((resolve) => { slow = setTimeout(async () => { const there = await kept(); if (there) resolve(there); }, PATIENCE_MS); });
  try {
    return await Promise.race([fetch(request), late]);
  } catch (problem) {
    const there = await kept();
    if (there) return there;
    throw problem;
  } finally {
    clearTimeout(slow);
  }
}
