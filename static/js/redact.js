// The editor of a redaction: boxes drawn, moved and decided on, by mouse, finger or keyboard. The server checks all of it.
(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const data = (id) => JSON.parse($(id).textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const facts = data("facts"), model = amparoRegions(data("draft"), facts), draft = model.draft;
  const stage = $("stage"), words = $("words").dataset, form = $("redaction"), before = JSON.stringify(draft);
  let selected = null, drawing = false, sharp = null, sent = false;
  const drawn = new Map();
  const act = (name) => document.querySelector(`[data-act="${name}"]`);
  const make = (name, css, to) => { const e = document.createElementNS(SVG, name); if (css) e.setAttribute("class", css); to.append(e); return e; };
  const set = (e, values) => { for (const [k, v] of Object.entries(values)) e.setAttribute(k, v); };
  const say = (sentence, n) => sentence.replace("{n}", n.toLocaleString(document.documentElement.lang));
  const seconds = (ms) => `${Math.floor(ms / 60000)}:${(ms % 60000 / 1000).toFixed(2).padStart(5, "0")}`;
  const now = () => (facts.timed && sharp ? Math.floor(sharp.currentTime * 1000) : 0);
  const nowUp = () => (facts.timed && sharp ? Math.ceil(sharp.currentTime * 1000) : 0);
  const seek = (ms) => { if (facts.timed && sharp) { sharp.pause(); sharp.currentTime = ms / 1000 + 0.0005; } };
  const isSound = (thing) => thing && "do" in thing;
  const name = (r) => isSound(r) ? words[r.do] : `${words[r.kind]} ${draft.regions.indexOf(r) + 1}`;
  const state = (r) => !r.suggestion ? words.drawn : r.state !== "confirmed" ? words[r.state] : model.corrected(r) ? words.corrected : words.confirmed;

  // --- the picture

  const svg = make("svg", "regions", stage);
  set(svg, { preserveAspectRatio: "xMidYMid meet" });
  let tall = 750, pixels = [facts.width || 1000, facts.height || 750];
  const fit = () => {
    pixels = [sharp?.videoWidth || sharp?.naturalWidth || pixels[0], sharp?.videoHeight || sharp?.naturalHeight || pixels[1]];
    tall = 1000 * pixels[1] / pixels[0];
    svg.setAttribute("viewBox", `0 0 1000 ${tall}`);
    const unit = Math.max(1000 / stage.clientWidth, tall / stage.clientHeight);
    if (Number.isFinite(unit)) svg.style.setProperty("--unit", String(unit));
    draw();
  };
  const rect = (e, [x, y, w, h]) => set(e, { x: x * 1000, y: y * tall, width: w * 1000, height: h * tall });
  const group = (r) => {
    const g = make("g", "", svg);
    set(g, { tabindex: "0", role: "button" });
    for (const css of ["grown", "halo", "face"]) make("rect", css, g);
    make("text", "", g);
    for (const corner of ["nw", "ne", "sw", "se"]) make("rect", "handle", g).dataset.corner = corner;
    g.addEventListener("focus", () => choose(r));
    g.addEventListener("pointerdown", (event) => drag(event, r, event.target.dataset.corner || "move"));
    drawn.set(r, g);
    return g;
  };
  const draw = () => {
    const ms = now(), half = 6 * (parseFloat(svg.style.getPropertyValue("--unit")) || 1);
    for (const [r, g] of drawn) if (!draft.regions.includes(r)) { g.remove(); drawn.delete(r); }
    for (const r of draft.regions) {
      const box = model.boxAt(r, ms), g = drawn.get(r) || group(r);
      const hide = !box || (r.state === "rejected" && r !== selected);
      g.toggleAttribute("hidden", hide);
      g.setAttribute("display", hide ? "none" : "inline");
      if (hide) continue;
      g.setAttribute("class", `${r.state === "confirmed" ? "mine" : ""} ${r === selected ? "selected" : ""}`);
      g.setAttribute("aria-label", `${name(r)}, ${state(r)}`);
      const [wide, halo, face, ...corners] = g.querySelectorAll("rect");
      rect(wide, model.grown(box, ...pixels)); rect(halo, box); rect(face, box);
      const label = g.querySelector("text");
      label.textContent = name(r);
      set(label, { x: box[0] * 1000, y: Math.max(box[1] * tall - 1.8 * half, 3 * half) });
      corners.forEach((handle, i) => {
        handle.setAttribute("display", r === selected ? "inline" : "none");
        set(handle, { x: (box[0] + (i % 2 ? box[2] : 0)) * 1000 - half, y: (box[1] + (i > 1 ? box[3] : 0)) * tall - half, width: 2 * half, height: 2 * half });
      });
    }
    heads();
  };
  const at = (event) => {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [p.x / 1000, p.y / tall];
  };
  const spanned = ([x1, y1], [x2, y2]) => [Math.min(x1, x2), Math.min(y1, y2), Math.abs(x2 - x1), Math.abs(y2 - y1)];
  const drag = (event, r, how) => {
    if (event.button) return;
    event.preventDefault();
    event.stopPropagation();
    sharp?.pause?.();
    const start = at(event), ms = now();
    let box = r && model.boxAt(r, ms), made = null;
    if (r) choose(r);
    svg.setPointerCapture(event.pointerId);
    const move = (e) => {
      const here = at(e).map((v) => Math.min(Math.max(v, 0), 1));
      const [dx, dy] = [here[0] - start[0], here[1] - start[1]];
      if (how === "draw") {
        if (Math.hypot(dx, dy) < 0.01 && !made) return;
        if (!made) { made = model.add(ms, spanned(start, here)); selected = made; }
        made.keys[0].box = spanned(start, here).map((v) => Math.max(v, 0.004).toFixed(5));
      } else if (how === "move") {
        if (Math.hypot(dx, dy) > 0.002) model.place(r, ms, [box[0] + dx, box[1] + dy, box[2], box[3]]);
      } else {
        const far = [box[0] + (how.includes("w") ? box[2] : 0), box[1] + (how.includes("n") ? box[3] : 0)];
        model.place(r, ms, spanned(far, here));
      }
      draw();
    };
    const stop = () => {
      svg.removeEventListener("pointermove", move);
      for (const e of ["pointerup", "pointercancel"]) svg.removeEventListener(e, stop);
      pen(false);
      show();
      if (made) drawn.get(made)?.focus();
    };
    svg.addEventListener("pointermove", move);
    for (const e of ["pointerup", "pointercancel"]) svg.addEventListener(e, stop);
  };
  svg.addEventListener("pointerdown", (event) => {
    if (event.target === svg && (drawing || event.pointerType === "mouse")) drag(event, null, "draw");
  });
  const pen = (on) => { drawing = on; svg.classList.toggle("drawing", on); act("draw").setAttribute("aria-pressed", String(on)); };

  // --- the list

  const row = (r) => {
    const li = $(isSound(r) ? "range-row" : "row").content.firstElementChild.cloneNode(true), part = (css) => li.querySelector(css);
    li.classList.toggle("selected", r === selected);
    part(".name").textContent = name(r);
    part(".name").addEventListener("click", () => go(r));
    if (facts.timed) {
      const [when, moments] = [document.createElement("bdi"), document.createElement("bdi")];
      when.dir = "ltr";
      when.textContent = `${seconds(r.from_ms)}–${seconds(r.to_ms)}`;
      part(".times").append(when);
      if (r.keys?.length > 1) { moments.textContent = say(words.moments, r.keys.length); part(".times").append(" · ", moments); }
    }
    part(".refuse").addEventListener("click", () => refuse(r));
    if (r === selected) part(".refuse").dataset.key = "box_refuse";
    if (isSound(r)) return li;
    li.classList.add(r.state);
    const chip = part(".chip"), fill = part(".fill"), kind = part(".kind"), accept = part(".accept");
    chip.classList.add(r.state === "confirmed" ? "human" : "machine");
    chip.textContent = r.state === "suggested" ? `${words.suggested} ${Number(r.suggestion.confidence).toFixed(2)}` : state(r);
    kind.value = r.kind;
    fill.value = r.kind === "plate" ? "solid" : r.fill;
    fill.disabled = r.kind === "plate";
    kind.addEventListener("change", () => { r.kind = kind.value; if (r.kind === "plate") r.fill = "solid"; show(); });
    fill.addEventListener("change", () => { r.fill = fill.value; show(); });
    accept.hidden = r.state === "confirmed";
    accept.addEventListener("click", () => { r.state = "confirmed"; onward(r); });
    if (r === selected) accept.dataset.key = "box_accept";
    part(".refuse span").textContent = !r.suggestion ? words.delete : r.state === "rejected" ? words.restore : words.reject;
    return li;
  };
  const show = () => {
    const focus = document.activeElement?.closest?.(".region") ? [selected, document.activeElement.className.split(" ").at(-1)] : null;
    $("regions").replaceChildren(...draft.regions.map(row));
    $("ranges-list")?.replaceChildren(...draft.sound.ranges.map(row));
    const left = model.undecided().length, mine = draft.regions.filter((r) => r.state === "confirmed").length;
    $("left").textContent = left ? say($("left").dataset.left, left) : draft.regions.some((r) => r.suggestion) ? $("left").dataset.none : "";
    $("tally").textContent = say(words.tally, mine);
    $("confirm").disabled = left > 0;
    $("none").hidden = draft.regions.length > 0;
    act("accept-shown").disabled = !left;
    act("next").disabled = !draft.regions.length;
    const can = selected && sharp && !("veiled" in stage.dataset);
    for (const n of ["left", "right", "up", "down", "larger", "smaller"]) act(n).disabled = !can || isSound(selected);
    for (const n of ["start", "end"]) if (act(n)) act(n).disabled = !can;
    if (act("forget")) act("forget").disabled = !can || isSound(selected) || selected.keys.length < 2 || !model.keyAt(selected, now());
    act("draw").disabled = !sharp || "veiled" in stage.dataset;
    lanes();
    draw();
    if (focus) document.querySelector(`.region.selected .${focus[1]}`)?.focus();
  };
  const choose = (r) => { if (selected !== r) { selected = r; show(); } };
  const go = (r) => {
    selected = r;
    const ms = now(), shown = isSound(r) ? ms >= r.from_ms && ms <= r.to_ms : model.covers(r, ms);
    if (facts.timed && !shown) seek(isSound(r) ? r.from_ms : r.suggestion ? r.keys[0].at_ms : r.from_ms);
    show();
    document.querySelector(".region.selected")?.scrollIntoView({ block: "nearest" });
  };
  const onward = (r) => {
    const waiting = model.undecided();
    if (waiting.length) go(waiting.find((o) => draft.regions.indexOf(o) > draft.regions.indexOf(r)) || waiting[0]);
    else show();
  };
  const refuse = (r) => {
    if (isSound(r)) { draft.sound.ranges.splice(draft.sound.ranges.indexOf(r), 1); selected = null; show(); return; }
    if (r.suggestion && r.state !== "rejected") { r.state = "rejected"; onward(r); return; }
    if (r.suggestion) { r.state = "suggested"; show(); return; }
    model.remove(r);
    if (selected === r) selected = null;
    show();
  };

  // --- the time line

  const lanes = () => {
    const list = document.querySelector("#lanes ul");
    if (!list) return;
    for (const old of list.querySelectorAll(".of-box")) old.remove();
    const length = facts.length || 1, x = (ms) => 1000 * Math.min(ms / length, 1);
    for (const r of [...draft.regions.filter((o) => o.state !== "rejected"), ...draft.sound.ranges]) {
      const li = document.createElement("li"), label = document.createElement("span"), track = document.createElement("div");
      li.className = `lane of-box ${isSound(r) || r.state === "confirmed" ? "mine" : "suggestion"} ${r === selected ? "selected" : ""}`;
      label.className = "name";
      label.textContent = name(r);
      track.className = "track";
      const line = make("svg", "", track);
      set(line, { viewBox: "0 0 1000 6", preserveAspectRatio: "none", "aria-hidden": "true" });
      set(make("line", "span", line), { x1: x(r.from_ms), x2: Math.max(x(r.to_ms), x(r.from_ms) + 3), y1: 3, y2: 3 });
      for (const k of r.keys?.length > 1 ? r.keys : []) set(make("line", "tick", line), { x1: x(k.at_ms), x2: x(k.at_ms), y1: 0, y2: 6 });
      make("line", "head", line);
      line.addEventListener("click", (event) => {
        const { left, width } = line.getBoundingClientRect();
        selected = r;
        seek((event.clientX - left) / width * length);
        show();
      });
      li.append(label, track);
      list.insertBefore(li, list.lastElementChild);
    }
  };
  const heads = () => {
    const x = String(facts.length ? 1000 * now() / facts.length : 0);
    for (const head of document.querySelectorAll(".of-box .head")) set(head, { x1: x, x2: x, y1: -6, y2: 12 });
  };

  // --- acts

  const nudge = (dx, dy, dw, dh) => {
    const box = selected && !isSound(selected) && model.boxAt(selected, now());
    if (!box) return;
    sharp?.pause?.();
    model.place(selected, now(), [box[0] + dx, box[1] + dy, box[2] + dw, box[3] + dh]);
    show();
  };
  const STEP = 0.005, acts = {
    draw: (event) => {
      if (event.detail === 0) { // by key: a box in the middle, to be moved with the arrows
        selected = model.add(now(), [0.4, 0.4, 0.2, 0.2]);
        show();
        drawn.get(selected)?.focus();
      } else pen(!drawing);
    },
    left: () => nudge(-STEP, 0, 0, 0), right: () => nudge(STEP, 0, 0, 0), up: () => nudge(0, -STEP, 0, 0), down: () => nudge(0, STEP, 0, 0),
    larger: () => nudge(-STEP, -STEP, 2 * STEP, 2 * STEP), smaller: () => nudge(STEP, STEP, -2 * STEP, -2 * STEP),
    start: () => { isSound(selected) ? (selected.from_ms = Math.min(now(), selected.to_ms)) : model.bound(selected, false, now()); show(); },
    end: () => { isSound(selected) ? (selected.to_ms = Math.max(nowUp(), selected.from_ms)) : model.bound(selected, true, nowUp()); show(); },
    forget: () => { model.forget(selected, now()); show(); },
    next: () => { const r = draft.regions[(draft.regions.indexOf(selected) + 1) % draft.regions.length]; if (r) { go(r); drawn.get(r)?.focus(); } },
    "accept-shown": () => { for (const r of model.undecided()) if (model.covers(r, now())) r.state = "confirmed"; onward(draft.regions[0]); },
    "add-mute": () => addRange("mute"), "add-pitch": () => addRange("pitch"),
  };
  const addRange = (what) => { selected = { do: what, from_ms: now(), to_ms: Math.max(now(), facts.length) }; draft.sound.ranges.push(selected); show(); };
  for (const [n, what] of Object.entries(acts)) act(n)?.addEventListener("click", what);
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [0, 0, -STEP, 0], ArrowRight: [0, 0, STEP, 0], ArrowUp: [0, 0, 0, -STEP], ArrowDown: [0, 0, 0, STEP] }[event.key];
    const busy = event.target.closest("input, select, textarea, dialog");
    if (!busy && selected && !isSound(selected) && event.shiftKey && by) { event.preventDefault(); nudge(...by); }
    if (!busy && selected && event.key === "Delete") { event.preventDefault(); refuse(selected); }
  });

  const sound = $("sound-do");
  const hear = () => { $("ranges").hidden = sound.value !== "ranges"; $("pitch-note").hidden = !(sound.value === "pitch" || draft.sound.ranges.some((r) => r.do === "pitch")); };
  if (sound) { sound.value = draft.sound.do; hear(); sound.addEventListener("change", () => { draft.sound.do = sound.value; hear(); show(); }); }

  const changed = () => JSON.stringify(draft) !== before;
  form.addEventListener("submit", () => { $("document").value = JSON.stringify(draft); sent = true; });
  window.addEventListener("beforeunload", (event) => { if (changed() && !sent) event.preventDefault(); });

  // --- the picture comes, and moves

  const attach = () => {
    sharp = stage.querySelector(".sharp");
    stage.insertBefore(svg, $("veil"));
    if (!sharp) return show();
    for (const e of ["load", "loadedmetadata"]) sharp.addEventListener(e, fit);
    if (facts.timed) {
      sharp.removeAttribute("controls");
      const follow = () => { draw(); if (!sharp.paused) requestAnimationFrame(follow); };
      sharp.addEventListener("play", follow);
      for (const e of ["seeked", "pause"]) sharp.addEventListener(e, show);
      sharp.addEventListener("loadedmetadata", () => { if (Number.isFinite(sharp.duration)) facts.length = Math.ceil(sharp.duration * 1000); });
    }
    if (!selected && model.undecided().length) selected = model.undecided()[0];
    fit();
    show();
  };
  new ResizeObserver(fit).observe(stage);
  document.addEventListener("amparo:sharp", attach);
  document.addEventListener("amparo:veil", show);
  attach();
})();
