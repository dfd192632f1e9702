// What lies on this tablet and is not yet at the box. Names are shown to whoever typed them, and where nobody can
// sign in because the box is away or locked, as long as her key is here.
"use strict";
{
  const left = document.getElementById("drafts"), sure = document.getElementById("sure");
  const made = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text }, more);

  async function list() {
    const words = left.dataset, all = (await drafts.all()).sort((a, b) => b.changed - a.changed);
    const locked = !box.state || box.state.state !== "open", may = (each) => !each.shut && drafts.opens(each.owner) && (locked || Boolean(box.user));
    left.hidden = !all.length;
    left.querySelector("ul").replaceChildren(...all.map((each) => row(each, words, may(each))));
    left.querySelector("[data-sign-in]").hidden = all.every(may) || locked;
  }

  function row(each, words, may) {
    const line = document.createElement("li"), { fields = {}, signs = [] } = each;
    const name = may ? each.name || fields["person.name"] || (fields.note || "").slice(0, 40) || words.nameless : each.shut ? words.shut : words.nameless;
    const state = made("span", each.refused && may ? `${words.refused} ${each.refused}` : each.state === "waiting" ? words.waiting : words.draft, { className: "dim" });
    line.className = `card draft${signs.length && may ? " urgent" : ""}`;
    line.dataset.id = each.id;
    line.append(made("strong", `${signs.length && may ? "! " : ""}${name}`), state);
    if (may && (box.online || !each.followUp)) line.append(made("a", words.open, { className: "button", href: each.followUp ? `/follow-up/${encodeURIComponent(each.followUp)}?draft=${each.id}` : `/consultation?draft=${each.id}#${signs.length ? "emergency" : "patient"}` }));
    const gone = made("button", words.remove, { type: "button" });
    gone.setAttribute("aria-label", `${words.remove}: ${name}`);
    gone.addEventListener("click", () => ask(each));
    line.append(gone);
    return line;
  }

  function ask(each) {
    sure.returnValue = "";
    sure.onclose = async () => {
      if (sure.returnValue !== "yes") return;
      await drafts.remove(each.id);
      await list();
    };
    sure.showModal();
  }

  for (const kind of ["user-known", "owner-known", "box-away", "box-back", "drafts-sent"]) document.addEventListener(kind, list);
  if (!box.online || box.state) list(); // it was known before this script was there
}
