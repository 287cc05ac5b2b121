// What a rule under the pen would move: the server is asked while it is written; nothing is saved.
(() => {
  "use strict";
  const form = document.getElementById("criteria");
  const ask = form?.querySelector("[data-preview]");
  const place = document.getElementById("preview");
  if (!ask || !place) return;
  const PAUSE_MS = 400;
  let timer = 0, asked = null;

  const look = async () => {
    asked?.abort();
    asked = new AbortController();
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(ask.formAction, { method: "POST", body: new FormData(form), signal: asked.signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("preview");
      if (!page) throw new Error(String(answer.status));
      place.replaceChildren(...page.childNodes);
    } catch (error) {
      if (error.name === "AbortError") return;
      place.textContent = place.dataset.failed;
    }
    place.removeAttribute("aria-busy");
  };
  form.addEventListener("input", (event) => {
    if (!event.target.closest("[data-row]")) return;
    clearTimeout(timer);
    timer = setTimeout(look, PAUSE_MS);
  });
  ask.addEventListener("click", (event) => { event.preventDefault(); clearTimeout(timer); look(); });
})();
