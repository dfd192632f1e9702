// Passkeys: signs in by one, and adds one to whoever is signed in. Where the browser has none, the PIN stays.
"use strict";
const passkeys = (() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
  const text = (buffer) => btoa(Array.from(new Uint8Array(buffer), (each) => String.fromCharCode(each)).join("")).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const keys = (listed) => (listed || []).map((each) => ({ ...each, id: bytes(each.id) }));

  // By hand, since tablets' browsers often lack PublicKeyCredential.parse…FromJSON and toJSON.
  const made = (asked) => navigator.credentials.create({ publicKey: { ...asked, challenge: bytes(asked.challenge), user: { ...asked.user, id: bytes(asked.user.id) }, excludeCredentials: keys(asked.excludeCredentials) } });
  const got = (asked) => navigator.credentials.get({ publicKey: { ...asked, challenge: bytes(asked.challenge), allowCredentials: keys(asked.allowCredentials) } });

  function written({ id, rawId, type, response }) {
    const said = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) if (response[name]) said[name] = text(response[name]);
    return JSON.stringify({ id, rawId: text(rawId), type, response: said });
  }

  // Asks the box for a challenge, for what a field of the form holds, and the key for its answer.
  async function answer(form, path, field, key) {
    const asked = await box.post(path, () => {
      const given = new FormData();
      given.set(field, form.elements[field].value);
      return given;
    });
    return written(await key(await asked.json()));
  }

  // The form of a page goes with the key's answer, as it would with a PIN.
  async function through(form, answering, button, failed) {
    const error = form.querySelector("p.error") || form.insertBefore(Object.assign(document.createElement("p"), { className: "error" }), button.closest(".buttons") || button);
    error.setAttribute("role", "alert");
    error.textContent = "";
    button.disabled = true;
    try {
      const said = await answering();
      const sent = form.elements.answer || form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name: "answer" }));
      sent.value = said;
      for (const secret of form.querySelectorAll("input[type=password]")) secret.value = "";
      form.submit();
    } catch (problem) {
      error.textContent = problem.status ? problem.message : failed;
    } finally {
      button.disabled = false;
    }
  }

  const there = isSecureContext && "PublicKeyCredential" in window && Boolean(navigator.credentials), signIn = (form) => answer(form, "/sign-in/passkey", "user", got);
  const signs = document.querySelector('main [data-passkey="sign-in"]'), adds = document.querySelector('form[data-passkey="add"]');
  if (there && signs) {
    signs.hidden = false;
    signs.addEventListener("click", () => {
      if (signs.form.querySelector("[name=user]").reportValidity()) through(signs.form, () => signIn(signs.form), signs, signs.dataset.failed);
    });
  }
  if (there && adds) {
    adds.hidden = false;
    document.querySelector("[data-without]").hidden = true;
    adds.addEventListener("submit", (event) => {
      event.preventDefault();
      through(adds, () => answer(adds, "/me/passkeys/options", "current", made), adds.querySelector("button"), adds.dataset.failed);
    });
  }
  return { there, signIn };
})();
