// How far a bundle is, told while it is being made; when it ends, the page shows what became of it.
(() => {
  "use strict";
  const EVERY = 2000;
  const said = document.getElementById("said");
  let box = document.getElementById("progress");
  if (!box) return;
  let words = box.querySelector("[data-words]"), bar = box.querySelector("progress"), told = "", tenth = -1;

  const tell = (text) => { said.textContent = text; };

  const show = (now) => {
    words.textContent = now.words;
    if (now.total) { bar.max = now.total; bar.value = now.done; } else { bar.removeAttribute("value"); }
    const step = now.words.replace(/[\d.,\s]+/g, ""), share = now.total ? Math.floor(10 * now.done / now.total) : -1;
    if (step !== told || share !== tenth) { tell(now.words); told = step; tenth = share; }  // not each second to who listens
  };

  const renew = async () => {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const fresh = page.getElementById("bundle"), old = document.getElementById("bundle");
    const held = old.contains(document.activeElement);
    old.replaceWith(document.adoptNode(fresh));
    if (held) document.getElementById("main").focus();
    tell(fresh.querySelector("[data-outcome]")?.textContent ?? "");
  };

  const ask = async () => {
    try {
      const answer = await fetch(box.dataset.url, { headers: { Accept: "application/json" } });
      if (answer.ok) {
        const now = await answer.json();
        if (now.state !== "requested") { await renew(); return; }
        show(now);
      } else if (answer.status === 404) { return; }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;  // the connection broke: ask again
    }
    setTimeout(ask, EVERY);
  };
  setTimeout(ask, EVERY / 2);
})();
