// Waiting for a rendering, and watching its result: two videos that play as one.
(() => {
  "use strict";
  const waiting = document.getElementById("waiting");
  const share = document.getElementById("share");
  if (waiting && share) {
    const ask = async () => {
      try {
        const answer = await fetch(waiting.dataset.stateUrl, { headers: { Accept: "application/json" } });
        const now = await answer.json();
        if (now.state !== "confirmed" || now.job === "failed") { location.reload(); return; }
        if (now.share) share.value = now.share; else share.removeAttribute("value");
      } catch { /* asked again */ }
      setTimeout(ask, 2000);
    };
    ask();
  }
  const [original, result] = document.querySelectorAll("#compare video");
  if (!result) return;
  const follow = () => { if (Math.abs(original.currentTime - result.currentTime) > 0.08) original.currentTime = result.currentTime; };
  result.addEventListener("play", () => { follow(); original.play().catch(() => {}); });
  result.addEventListener("pause", () => { original.pause(); follow(); });
  result.addEventListener("ratechange", () => { original.playbackRate = result.playbackRate; });
  for (const event of ["seeked", "timeupdate"]) result.addEventListener(event, follow);
})();
