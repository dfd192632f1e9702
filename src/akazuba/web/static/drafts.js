// What was typed, on this tablet, until the box has it: one record a consultation in IndexedDB.
"use strict";
const drafts = {
  opened: new Promise((resolve, reject) => {
    const asked = indexedDB.open("akazuba", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("draft", { keyPath: "id" });
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  }),
  async _run(mode, work) {
    const file = await this.opened;
    return new Promise((resolve, reject) => {
      const change = file.transaction("draft", mode, { durability: "strict" });
      const asked = work(change.objectStore("draft"));
      change.oncomplete = () => resolve(asked.result);
      change.onerror = change.onabort = () => reject(change.error);
    });
  },
  put(draft) { return this._run("readwrite", (store) => store.put({ ...draft, changed: Date.now() })); },
  get(id) { return this._run("readonly", (store) => store.get(id)); },
  all() { return this._run("readonly", (store) => store.getAll()); },
  remove(id) { return this._run("readwrite", (store) => store.delete(id)); },
};
