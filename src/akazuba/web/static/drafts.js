// What was typed, on this tablet, until the box has it: one record a consultation in IndexedDB.
//
// What a signed-in user types is kept under a key that the box gives for her and that leaves the tablet when she
// signs out: nobody else opens it. What is typed while nobody is signed in is kept as it is.
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
  begin() {
    this.known ||= this._run("readonly", (at) => at("key").get("own")).then((own) => {
      if (own) [this.owner, this._key] = [own.owner, own.key];
    });
    return this.known;
  },
  async belong(user) {
    await this.begin();
    if (this.owner === user) return;
    const sent = await box.get("/drafts/key");
    if (!sent) return;
    const told = await sent.json();
    const key = crypto.subtle ? await crypto.subtle.importKey("raw", Uint8Array.from(atob(told.key), (c) => c.charCodeAt(0)), "AES-GCM", false, ["encrypt", "decrypt"]) : null;
    await this._run("readwrite", (at) => at("key").put({ owner: told.user, key }, "own"));
    [this.owner, this._key] = [told.user, key];
    document.dispatchEvent(new CustomEvent("owner-known"));
  },
  async leave() {
    await this._run("readwrite", (at) => at("key").clear());
    [this.owner, this._key] = ["", null];
  },

  // --- one draft

  async put(draft) {
    await this.begin();
    const { pictures, ...rest } = { ...draft, changed: Date.now() };
    const { id, owner, state, changed } = rest;
    if (owner && owner !== this.owner) return; // she has signed out: what she typed was sealed before that
    const mine = owner && this._key;
    const kept = { id, owner, state, changed };
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

  async _open({ id, owner, state, changed, sealed, body }, whole) {
    if (owner && owner !== this.owner) return { id, owner, state, changed, shut: true };
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

document.addEventListener("user-known", () => { if (box.user) drafts.belong(box.user); });

// Signing out: what waits is sent first, then the key goes, and with it whatever she typed.
document.addEventListener("submit", async (event) => {
  if (event.target.getAttribute("action") !== "/sign-out" || event.target.dataset.going) return;
  event.preventDefault();
  await ready();
  await sending.flush();
  await drafts.leave();
  event.target.dataset.going = "yes";
  event.target.submit();
});
