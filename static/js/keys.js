// Keys are data (archive/keys.py, in the page as #keys-data). An element says which key it hears: data-key="name".
// Pressing it focuses a field, opens a dialog or clicks a button; nothing else is known here.
(() => {
  "use strict";
  const table = Object.entries(JSON.parse(document.getElementById("keys-data").textContent));
  const OFF = "amparo.keys.off";
  const off = () => { try { return localStorage.getItem(OFF) === "1"; } catch { return false; } };
  const writes = (element) => element.closest(
    'input:not([type="checkbox"], [type="radio"], [type="range"], [type="file"], [type="submit"], [type="button"]), select, textarea, [contenteditable]');

  const named = (event) => {
    const exact = table.find(([, k]) => k.press.toLowerCase() === event.key.toLowerCase());
    if (exact) return exact[0];
    // A keyboard set to another script: the physical key counts, unless it wrote a Latin sign of its own.
    if (/^[\x20-\x7e]$/.test(event.key)) return null;
    const physical = table.find(([, k]) => k.code === event.code && k.shift === event.shiftKey);
    return physical ? physical[0] : null;
  };
  const shown = (element) => element.getClientRects().length > 0;
  const press = (element) => {
    if (element.matches("input, select, textarea")) {
      const fold = element.closest("details");
      if (fold) fold.open = true;
      element.focus();
    } else element.click();
  };

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && writes(event.target)) { event.target.blur(); return; }
    if (off() || writes(event.target)) return;
    const name = named(event);
    if (!name || name.startsWith("nudge_") && event.target.closest("input, video, audio, dialog")) return;
    const keys = document.getElementById("keys");
    if (keys.open) { if (name === "keys") { event.preventDefault(); keys.close(); } return; }
    if (name === "keys") { event.preventDefault(); keys.showModal(); return; }
    if (document.querySelector("dialog[open]") || event.repeat && !/^(frame|nudge)_/.test(name)) return;
    const all = [...document.querySelectorAll(`[data-key="${name}"]`)].filter((e) => !e.disabled);
    const target = all.find(shown) || all.find((e) => e.closest("details"));
    if (target) { event.preventDefault(); press(target); }
  });

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (!opener) return;
    const dialog = document.getElementById(opener.dataset.opens);
    opener.closest("[popover]")?.hidePopover();
    dialog.showModal();
  });
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-keys-off]")) return;
    try { localStorage.setItem(OFF, event.target.checked ? "1" : "0"); } catch { /* storage refused: keys stay on */ }
  });
  const box = document.querySelector("[data-keys-off]");
  if (box) box.checked = off();
})();
