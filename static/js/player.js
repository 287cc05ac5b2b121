// Time: play, step, jump; the head on every lane; boxes of the frame that is shown.
(() => {
  "use strict";
  const stage = document.getElementById("stage");
  const lanes = document.getElementById("lanes");
  if (!stage || !lanes) return;
  const scrub = document.getElementById("scrub");
  const now = document.getElementById("now");
  const heads = lanes.querySelectorAll("line.head");
  const frames = document.querySelectorAll(".boxes .timed");
  const looked = JSON.parse(document.getElementById("boxes")?.dataset.looked || "[]");
  const length = Number(stage.dataset.length);
  const rate = Number(stage.dataset.rate) || 25;
  const shots = JSON.parse(lanes.dataset.shots || "[]");
  let video = null, drawn = null;

  const clock = (ms) => {
    const s = Math.floor(ms / 1000), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60, two = (n) => String(n).padStart(2, "0");
    return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
  };
  const total = () => (Number.isFinite(video?.duration) ? video.duration * 1000 : length);
  const draw = () => {
    const ms = video ? video.currentTime * 1000 : 0;
    now.textContent = clock(ms);
    scrub.value = String(Math.round(ms));
    scrub.setAttribute("aria-valuetext", clock(ms));
    const x = String(total() ? (ms / total()) * 1000 : 0);
    for (const head of heads) { head.setAttribute("x1", x); head.setAttribute("x2", x); }
    // Boxes were looked for in sampled frames: show those of the nearest of them, which may have none.
    let near = null, least = Infinity;
    for (const at of looked) { const d = Math.abs(at - ms); if (d < least) { least = d; near = String(at); } }
    if (near !== drawn) {
      for (const g of frames) g.classList.toggle("now", g.dataset.at === near);
      drawn = near;
      document.dispatchEvent(new CustomEvent("amparo:boxes"));
    }
    const field = document.querySelector("[data-frame]");
    if (field) field.value = String(Math.round(ms));
  };
  const follow = () => { draw(); if (video && !video.paused) requestAnimationFrame(follow); };
  const seek = (ms) => { if (video) video.currentTime = Math.min(Math.max(ms, 0), total() || Infinity) / 1000; };
  const button = (name) => lanes.querySelector(`[data-do="${name}"]`);
  const acts = {
    "play": () => (video.paused ? video.play() : video.pause()),
    "frame-back": () => { video.pause(); seek(video.currentTime * 1000 - 1000 / rate); },
    "frame-on": () => { video.pause(); seek(video.currentTime * 1000 + 1000 / rate); },
    "shot-back": () => seek([...shots].reverse().find((s) => s < video.currentTime * 1000 - 300) ?? 0),
    "shot-on": () => seek(shots.find((s) => s > video.currentTime * 1000 + 50) ?? total()),
    "sound": () => { video.muted = !video.muted; },
  };
  const sound = () => {
    const b = button("sound");
    b.setAttribute("aria-pressed", String(!video.muted));
    b.querySelector("span").textContent = video.muted ? b.dataset.off : b.dataset.on;
  };
  const attach = () => {
    const found = stage.querySelector("video");
    if (!found || found === video) return;
    video = found;
    video.controls = false;
    video.muted = true;
    for (const e of ["timeupdate", "seeked", "loadedmetadata"]) video.addEventListener(e, draw);
    video.addEventListener("play", follow);
    video.addEventListener("volumechange", sound);
    video.addEventListener("click", acts.play);
    video.addEventListener("loadedmetadata", () => { scrub.max = String(Math.round(total())); });
    for (const name of Object.keys(acts)) { const b = button(name); if (b) { b.disabled = false; b.addEventListener("click", acts[name]); } }
    scrub.disabled = false;
    sound();
    draw();
  };
  scrub.addEventListener("input", () => seek(Number(scrub.value)));
  for (const lane of lanes.querySelectorAll("[data-seek]")) {
    lane.addEventListener("click", (event) => {
      const { left, width } = lane.getBoundingClientRect();
      seek(((event.clientX - left) / width) * total());
    });
  }
  document.addEventListener("amparo:sharp", attach);
  attach();
})();
