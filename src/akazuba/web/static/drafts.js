// What was typed, on this tablet, until the box has it: one record a consultation in IndexedDB.
//
// What a signed-in user types is kept under a key that the box gives for her and that leaves every tab of the tablet
// when she signs out or was away too long: nobody else opens it. What is typed while nobody is signed in is kept as
// it is.
"use strict";
const drafts = {
  owner: "", // whose key lies on this tablet, "" for nobody's
  _key: null,

  opened: new Promise((resolve, reject) => {
    const asked = indexedDB.open("akazuba-tablet", 1);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore("draft", { keyPath: "id" });
      asked.result.createObjectStore("picture");
      asked.result.createObjectStore("key");
    };
    asked.onsuccess = () => {
      asked.result.onversionchange = () => asked.result.close();
      resolve(asked.result);
    };
    asked.onerror = () => reject(asked.error);
  }),
  async _run(mode, work) {
    const file = await this.opened;
    return new Promise((resolve, reject) => {
      const change = file.transaction(["draft", "picture", "key"], mode, { durability: "strict" });
      const asked = work((name) => change.objectStore(name));
      change.oncomplete = () => resolve(asked && asked.result);
      change.onerror = change.onabort = () => reject(change.error);
    });
  },

  // --- whose they are

  known: null,
  tabs: new BroadcastChannel("akazuba-owner"),
  begin() {
    this.known ||= this._look();
    return this.known;
  },
  async _look() {
    const own = await this._run("readonly", (at) => at("key").get("own"));
    [this.owner, this._key] = own ? [own.owner, own.key] : ["", null];
  },
  // Whether what `owner` typed may stand on the screen: she is signed in, or nobody can sign in (the box is away or
  // locked) and her key is still here.
  opens(owner) {
    return !owner || (owner === this.owner && (box.user === owner || !box.state || box.state.state !== "open"));
  },
  async belong(user) {
    await this.begin();
    if (this.owner === user) return;
    const sent = await box.get("/drafts/key");
    if (!sent) return;
    const told = await sent.json();
    const key = crypto.subtle ? await crypto.subtle.importKey("raw", Uint8Array.from(atob(told.key), (c) => c.charCodeAt(0)), "AES-GCM", false, ["encrypt", "decrypt"]) : null;
    if (this.owner) await ready(); // what stands there is hers whose key goes
    await this._run("readwrite", (at) => at("key").put({ owner: told.user, key }, "own"));
    [this.owner, this._key] = [told.user, key];
    this._tell();
  },
  async leave() {
    await this._run("readwrite", (at) => at("key").clear());
    [this.owner, this._key] = ["", null];
    this._tell();
  },
  _tell() {
    this.tabs.postMessage("another owner");
    document.dispatchEvent(new CustomEvent("owner-known"));
  },
  // Another tab of this tablet has another key, or none any more.
  async heard() {
    await ready();
    const before = this.owner;
    await this._look();
    if (before === this.owner) return;
    document.dispatchEvent(new CustomEvent("owner-known"));
    if (!this.owner && spoken.user && !document.getElementById("consultation")) toSignIn(); // what it shows was shown to her
    else box.look();
  },

  // --- one draft

  async put(draft) {
    await this.begin();
    const { pictures, ...rest } = { ...draft, changed: Date.now() };
    const { id, owner, state, changed, told } = rest;
    if (owner && owner !== this.owner) return; // she has signed out: what she typed was sealed before that
    const mine = owner && this._key;
    const kept = { id, owner, state, changed, told };
    const body = { ...rest, pictures: pictures.map(({ name, kind }) => ({ name, kind })) };
    if (mine) kept.sealed = await this._seal(id, new TextEncoder().encode(JSON.stringify(body)));
    else kept.body = body;
    const blobs = [];
    for (const each of pictures.filter((one) => one.kept !== (mine ? owner : "-"))) {
      const place = `${id}/${each.name}`;
      blobs.push([place, mine ? { type: each.blob.type, sealed: await this._seal(place, await each.blob.arrayBuffer()) } : { type: each.blob.type, blob: each.blob }]);
      each.kept = mine ? owner : "-";
    }
    await this._run("readwrite", (at) => {
      for (const [place, blob] of blobs) at("picture").put(blob, place);
      return at("draft").put(kept);
    });
  },
  async get(id) {
    await this.begin();
    const kept = await this._run("readonly", (at) => at("draft").get(id));
    return kept && this._open(kept, true);
  },
  // Without their pictures; `shut` where the key of its owner is not here.
  async all() {
    await this.begin();
    const kept = await this._run("readonly", (at) => at("draft").getAll());
    return Promise.all(kept.map((each) => this._open(each, false)));
  },
  remove(id) {
    return this._run("readwrite", (at) => {
      at("picture").delete(IDBKeyRange.bound(`${id}/`, `${id}/\uffff`));
      return at("draft").delete(id);
    });
  },

  async _open({ id, owner, state, changed, told, sealed, body }, whole) {
    if (owner && owner !== this.owner) return { id, owner, state, changed, told, shut: true };
    const draft = sealed ? JSON.parse(new TextDecoder().decode(await this._unseal(id, sealed))) : body;
    if (whole) {
      for (const each of draft.pictures) {
        const place = `${id}/${each.name}`, found = await this._run("readonly", (at) => at("picture").get(place));
        each.blob = found.sealed ? new Blob([await this._unseal(place, found.sealed)], { type: found.type }) : found.blob;
        each.kept = found.sealed ? owner : "-";
      }
    }
    return draft;
  },
  async _seal(place, data) {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    return { iv, data: await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: new TextEncoder().encode(place) }, this._key, data) };
  },
  _unseal(place, { iv, data }) {
    return crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData: new TextEncoder().encode(place) }, this._key, data);
  },
};

drafts.tabs.onmessage = () => drafts.heard();

// Where nobody is signed in any more and no form of hers is open, her key has no business here.
let parting = false;
document.addEventListener("user-known", async () => {
  if (box.user) { drafts.belong(box.user); return; }
  await drafts.begin();
  if (parting || drafts.opens(drafts.owner) || (typeof draft !== "undefined" && draft && draft.owner)) return;
  parting = true;
  await sending.flush(openDraft());
  await box.look(); // somebody may have signed in meanwhile
  if (!box.user && !drafts.opens(drafts.owner)) await drafts.leave();
  parting = false;
});

// Signing out: what waits is sent first, then the session ends, then the key goes, and with it whatever she typed.
document.addEventListener("submit", async (event) => {
  const leaver = event.target;
  if (leaver.getAttribute("action") !== "/sign-out" || leaver.dataset.going) return;
  event.preventDefault();
  await ready();
  await sending.flush();
  const over = await box.post("/sign-out", () => new FormData(leaver), false).then(() => true, () => false);
  await drafts.leave();
  leaver.dataset.going = "yes";
  if (over) location.assign("/sign-in");
  else leaver.submit();
});
