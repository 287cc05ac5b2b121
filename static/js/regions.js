// What a redaction holds: regions, their moments, and where each lies at a time. No page is touched here.
globalThis.amparoRegions = (draft, facts) => {
  "use strict";
  const NEAR_MS = 12;
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const numbers = (key) => key.box.map(Number);
  const text = (box) => box.map((v) => clamp(v, 0, 1).toFixed(5));
  const within = ([x, y, w, h]) => { // inside the picture, never thinner than a thousandth of it
    w = clamp(w, 0.004, 1); h = clamp(h, 0.004, 1);
    return [clamp(x, 0, 1 - w), clamp(y, 0, 1 - h), w, h];
  };

  const covers = (r, ms) => !facts.timed || (r.from_ms <= ms && ms <= r.to_ms);
  const keyAt = (r, ms) => r.keys.find((k) => !facts.timed || Math.abs(k.at_ms - ms) <= NEAR_MS);
  const boxAt = (r, ms) => {
    if (!covers(r, ms)) return null;
    const after = r.keys.findIndex((k) => k.at_ms >= ms);
    if (!facts.timed || after === 0) return numbers(r.keys[0]);
    if (after < 0) return numbers(r.keys.at(-1));
    const a = r.keys[after - 1], b = r.keys[after], share = (ms - a.at_ms) / (b.at_ms - a.at_ms);
    return numbers(a).map((v, i) => v + (Number(b.box[i]) - v) * share);
  };
  const place = (r, ms, box) => {
    const key = keyAt(r, ms), kept = text(within(box));
    if (key) key.box = kept;
    else { r.keys.push({ at_ms: ms, box: kept }); r.keys.sort((a, b) => a.at_ms - b.at_ms); }
    if (r.suggestion) r.state = "confirmed"; // who corrects a box says that it belongs there
  };
  const forget = (r, ms) => { const key = keyAt(r, ms); if (key && r.keys.length > 1) r.keys.splice(r.keys.indexOf(key), 1); };
  const add = (ms, box) => {
    const r = { id: "d" + [...crypto.getRandomValues(new Uint8Array(8))].map((b) => b.toString(16).padStart(2, "0")).join(""),
      kind: "other", fill: "solid", state: "confirmed", from_ms: facts.timed ? ms : null, to_ms: facts.timed ? Math.max(ms, facts.length) : null,
      keys: [{ at_ms: facts.timed ? ms : null, box: text(within(box)) }] };
    draft.regions.push(r);
    return r;
  };
  const remove = (r) => draft.regions.splice(draft.regions.indexOf(r), 1);
  const corrected = (r) => r.suggestion && ["from_ms", "to_ms", "keys"].some((n) => JSON.stringify(r[n]) !== JSON.stringify(r.suggestion.as[n]));
  const bound = (r, end, ms) => {
    if (end) r.to_ms = Math.max(ms, r.from_ms); else r.from_ms = Math.min(ms, r.to_ms);
    if (r.suggestion) r.state = "confirmed";
  };
  // The area that will be painted, about: the renderer rounds it outwards to its grid.
  const grown = ([x, y, w, h], width, height) => {
    const mx = w * facts.grow + facts.pixels / Math.max(1, width), my = h * facts.grow + facts.pixels / Math.max(1, height);
    const left = clamp(x - mx, 0, 1), top = clamp(y - my, 0, 1);
    return [left, top, clamp(x + w + mx, 0, 1) - left, clamp(y + h + my, 0, 1) - top];
  };
  const undecided = () => draft.regions.filter((r) => r.state === "suggested");
  return { draft, covers, keyAt, boxAt, place, forget, add, remove, corrected, bound, grown, undecided };
};
