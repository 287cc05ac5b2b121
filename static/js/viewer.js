// Veil and boxes. The sharp bytes are asked for by a POST that is logged; only then does this page know their address.
(() => {
  "use strict";
  const stage = document.getElementById("stage");
  if (!stage) return;
  const veil = document.getElementById("veil");
  const boxes = document.getElementById("boxes");
  const tool = (name) => document.querySelector(`[data-do="${name}"]`);
  const board = document.getElementById("storyboard");
  const said = document.getElementById("said");

  const lower = () => { stage.dataset.veiled = ""; stage.querySelector("video")?.pause(); show(); };
  const lift = () => { delete stage.dataset.veiled; show(); };
  const show = () => {
    const button = tool("veil");
    if (button) button.hidden = "veiled" in stage.dataset;
    if (board) board.hidden = "veiled" in stage.dataset;
    document.dispatchEvent(new CustomEvent("amparo:veil", { detail: { lifted: !("veiled" in stage.dataset) } }));
  };

  const make = (answer) => {
    const video = stage.dataset.kind === "video";
    const sound = stage.dataset.kind === "audio";
    const sharp = document.createElement(video ? "video" : sound ? "audio" : "img");
    sharp.className = "sharp";
    if (video || sound) {
      sharp.preload = "metadata";
      sharp.setAttribute("aria-label", stage.dataset.alt);
      if (video) { sharp.muted = true; sharp.playsInline = true; if (answer.poster) sharp.poster = answer.poster; }
      else sharp.controls = true;
    } else sharp.alt = stage.dataset.alt;
    sharp.src = answer.src;
    stage.insertBefore(sharp, boxes || veil);
    if (board && answer.storyboard) {
      const frames = document.createElement("img");
      frames.alt = board.dataset.alt;
      frames.src = answer.storyboard;
      board.prepend(frames);
    }
    return sharp;
  };

  veil?.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (stage.querySelector(".sharp")) { lift(); return; }
    const button = veil.querySelector("button[type=submit]");
    button.disabled = true;
    try {
      const answer = await fetch(veil.action, { method: "POST", body: new FormData(veil), headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const sharp = make(await answer.json());
      if (sharp.tagName === "IMG") await sharp.decode().catch(() => {});
      document.dispatchEvent(new CustomEvent("amparo:sharp"));
      lift();
    } catch {
      const line = veil.querySelector("p");
      line.textContent = veil.dataset.failed;
      line.setAttribute("role", "alert");
    } finally { button.disabled = false; }
  });
  tool("veil")?.addEventListener("click", () => ("veiled" in stage.dataset ? veil.requestSubmit() : lower()));

  // Labels keep their size on screen however large the picture is drawn.
  const fit = () => {
    if (!boxes) return;
    const { width, height } = boxes.viewBox.baseVal;
    const scale = Math.max(width / stage.clientWidth, height / stage.clientHeight);
    if (Number.isFinite(scale)) boxes.style.setProperty("--unit", String(scale));
    declutter();
  };
  // Of labels that would lie over each other only the first is written; its box tells the others.
  const declutter = () => {
    const written = [];
    for (const text of boxes.querySelectorAll("text")) {
      text.classList.remove("crowded");
      const at = text.getBoundingClientRect();
      if (!at.width) continue;
      const meets = (o) => at.left < o.right && o.left < at.right && at.top < o.bottom && o.top < at.bottom;
      if (written.some(meets)) text.classList.add("crowded");
      else written.push(at);
    }
  };
  if (boxes) { new ResizeObserver(fit).observe(stage); fit(); }
  tool("boxes")?.addEventListener("click", (event) => {
    const off = boxes.toggleAttribute("data-off");
    event.currentTarget.setAttribute("aria-pressed", String(!off));
    declutter();
    said.textContent = event.currentTarget.textContent.trim();
  });
  if (boxes) document.addEventListener("amparo:boxes", declutter);
  show();
})();
