// Opens the page when the box is away. Only the shell is kept: nothing of a patient is ever in this cache.
"use strict";
const VERSION = "1";
const CACHE = `akazuba-shell-${VERSION}`;
const PAGES = ["/", "/consultation"];
const FILES = ["/static/akazuba.css", "/static/akazuba.js", "/static/drafts.js", "/static/consultation.js", "/static/icon.svg", "/manifest.webmanifest"];
const PATIENCE_MS = 4000;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([...PAGES, ...FILES])).then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => {
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)))).then(() => self.clients.claim()));
});
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  const known = PAGES.includes(url.pathname) || FILES.includes(url.pathname);
  if (known) event.respondWith(freshOrKept(event.request, url));
});

// The box's own answer where it comes soon enough, else what was kept of it.
async function freshOrKept(request, url) {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.ok && answer.type === "basic" && !answer.redirected) await cache.put(url.pathname, answer.clone());
    return answer;
  } catch (problem) {
    const kept = await cache.match(url.pathname);
    if (kept) return kept;
    throw problem;
  }
}
