// The moment that was asked about is shown once the veil is lifted.
(() => {
  "use strict";
  const form = document.getElementById("example"), stage = document.getElementById("stage");
  if (!form?.dataset.startS) return;
  const show = () => {
    const video = stage.querySelector("video.sharp");
    const go = () => { video.currentTime = Number(form.dataset.startS); };
    if (video?.readyState) go(); else video?.addEventListener("loadedmetadata", go, { once: true });
  };
  document.addEventListener("amparo:sharp", show, { once: true });
  show();
})();

// While a model looks at a drawn box, ask now and then; when it has looked, show the page that it makes possible.
(() => {
  "use strict";
  const EVERY = 1500, waiting = document.getElementById("waiting");
  if (!waiting) return;
  const ask = async () => {
    try {
      const answer = await fetch(waiting.dataset.url, { headers: { Accept: "application/json" } });
      if (!answer.ok || !(await answer.json()).waiting) { location.reload(); return; }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the connection broke: ask again
    }
    setTimeout(ask, EVERY);
  };
  setTimeout(ask, EVERY);
})();
