// Passkeys: signs in by one, and adds one to whoever is signed in. Where the browser has none, the PIN stays.
"use strict";
{
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

  // Asks the box for a challenge, the key for its answer, and sends the form with it.
  async function through(form, path, fields, key, button, failed) {
    const error = form.querySelector("p.error") || form.insertBefore(Object.assign(document.createElement("p"), { className: "error" }), button.closest(".buttons") || button);
    error.setAttribute("role", "alert");
    error.textContent = "";
    button.disabled = true;
    try {
      const asked = await box.post(path, () => {
        const given = new FormData();
        for (const name of fields) given.set(name, form.elements[name].value);
        return given;
      });
      const answer = written(await key(await asked.json()));
      const sent = form.elements.answer || form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name: "answer" }));
      sent.value = answer;
      for (const secret of form.querySelectorAll("input[type=password]")) secret.value = "";
      form.submit();
    } catch (problem) {
      error.textContent = problem.status ? problem.message : failed;
    } finally {
      button.disabled = false;
    }
  }

  const signs = document.querySelector('[data-passkey="sign-in"]'), adds = document.querySelector('form[data-passkey="add"]');
  if (isSecureContext && "PublicKeyCredential" in window && navigator.credentials) {
    if (signs) {
      signs.hidden = false;
      signs.addEventListener("click", () => {
        if (signs.form.querySelector("[name=user]").reportValidity()) through(signs.form, "/sign-in/passkey", ["user"], got, signs, signs.dataset.failed);
      });
    }
    if (adds) {
      adds.hidden = false;
      document.querySelector("[data-without]").hidden = true;
      adds.addEventListener("submit", (event) => {
        event.preventDefault();
        through(adds, "/me/passkeys/options", ["current"], made, adds.querySelector("button"), adds.dataset.failed);
      });
    }
  }
}
