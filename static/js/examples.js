// A box that a person draws in the picture, or takes over from the suggestions; and the frame that is shown.
// The forms of this page send it as what they are about: an example of a question, a search for what looks alike.
(() => {
  "use strict";
  const stage = document.getElementById("stage"), form = document.getElementById("example");
  if (!stage || !form) return;
  const SVG = "http://www.w3.org/2000/svg", STEP = 0.005, LEAST = 0.02;
  const act = (name) => form.querySelector(`[data-do="${name}"]`);
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const timed = stage.dataset.kind === "video";
  const svg = document.createElementNS(SVG, "svg"), rect = document.createElementNS(SVG, "rect"), halo = rect.cloneNode();
  let box = form.dataset.start ? form.dataset.start.split(",").map(Number) : null, drawing = false, tall = 750;
  svg.setAttribute("class", "drawn");
  svg.setAttribute("preserveAspectRatio", "xMidYMid meet");
  halo.setAttribute("class", "under");
  svg.append(halo, rect);

  const sharp = () => ("veiled" in stage.dataset ? null : stage.querySelector("img.sharp, video.sharp"));
  const within = ([x, y, w, h]) => {
    w = clamp(w, LEAST, 1); h = clamp(h, LEAST, 1);
    return [clamp(x, 0, 1 - w), clamp(y, 0, 1 - h), w, h];
  };
  const show = () => {
    const picture = sharp();
    for (const name of ["draw", "pick"]) if (act(name)) act(name).disabled = !picture;
    svg.toggleAttribute("hidden", !picture);
    svg.classList.toggle("drawing", drawing && Boolean(picture));
    act("draw")?.setAttribute("aria-pressed", String(drawing));
    for (const r of [halo, rect]) {
      r.setAttribute("visibility", box ? "visible" : "hidden");
      if (box) for (const [k, v] of Object.entries({ x: box[0] * 1000, y: box[1] * tall, width: box[2] * 1000, height: box[3] * tall })) r.setAttribute(k, v);
    }
    form.querySelector("[data-words]").textContent = box ? form.dataset.box : timed && picture ? form.dataset.frame : form.dataset.whole;
    for (const field of document.querySelectorAll("[data-box]")) field.value = box ? box.map((v) => v.toFixed(5)).join(",") : "";
    for (const field of document.querySelectorAll("[data-at]")) field.value = timed && picture ? String(Math.round(picture.currentTime * 1000)) : "";
  };
  const fit = () => {
    const picture = sharp();
    if (!picture) return show();
    tall = 1000 * (picture.videoHeight || picture.naturalHeight || 750) / (picture.videoWidth || picture.naturalWidth || 1000);
    svg.setAttribute("viewBox", `0 0 1000 ${tall}`);
    stage.insertBefore(svg, document.getElementById("veil"));
    if (timed && !picture.dataset.followed) {
      picture.dataset.followed = "";
      for (const e of ["timeupdate", "seeked"]) picture.addEventListener(e, show);
    }
    picture.addEventListener(timed ? "loadedmetadata" : "load", fit, { once: true });
    show();
  };

  const at = (event) => {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [clamp(p.x / 1000, 0, 1), clamp(p.y / tall, 0, 1)];
  };
  svg.addEventListener("pointerdown", (event) => {
    if (!drawing || event.button) return;
    event.preventDefault();
    const start = at(event);
    svg.setPointerCapture(event.pointerId);
    const move = (e) => {
      const here = at(e);
      box = within([Math.min(start[0], here[0]), Math.min(start[1], here[1]), Math.abs(here[0] - start[0]), Math.abs(here[1] - start[1])]);
      show();
    };
    const stop = () => {
      svg.removeEventListener("pointermove", move);
      for (const e of ["pointerup", "pointercancel"]) svg.removeEventListener(e, stop);
      drawing = false;
      show();
    };
    svg.addEventListener("pointermove", move);
    for (const e of ["pointerup", "pointercancel"]) svg.addEventListener(e, stop);
  });
  act("draw")?.addEventListener("click", (event) => {
    if (box && !drawing) box = null; // a second press takes the box away
    else if (event.detail === 0) box = [0.35, 0.35, 0.3, 0.3]; // by key: in the middle, to be moved with the arrows
    else drawing = !drawing;
    if (box) sharp()?.pause?.();
    show();
  });
  let picked = -1;
  act("pick")?.addEventListener("click", () => {
    const found = [...document.querySelectorAll(timed ? "#boxes .timed.now" : "#boxes g")];
    if (!found.length) return;
    sharp()?.pause?.();
    picked = (picked + 1) % found.length;
    const of = found[picked].querySelector("rect"), whole = document.getElementById("boxes").viewBox.baseVal;
    const part = (name, size) => Number(of.getAttribute(name)) / size;
    box = within([part("x", whole.width), part("y", whole.height), part("width", whole.width), part("height", whole.height)]);
    show();
  });
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (!box || !by || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, video, audio, dialog, [popover]")) return;
    event.preventDefault();
    const [x, y] = by;
    box = within(event.shiftKey ? [box[0], box[1], box[2] + x, box[3] + y] : [box[0] + x, box[1] + y, box[2], box[3]]);
    show();
  });
  for (const e of ["amparo:sharp", "amparo:veil"]) document.addEventListener(e, fit);
  fit();
})();
