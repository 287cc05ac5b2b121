// A click on a hash copies all of it, and says so.
(() => {
  "use strict";
  const said = document.getElementById("said");
  const legacy = (text) => {
    const field = document.createElement("textarea");
    field.value = text; field.readOnly = true; field.className = "visually-hidden";
    document.body.append(field); field.select();
    document.execCommand("copy"); field.remove();
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try { await navigator.clipboard.writeText(button.dataset.copy); } catch { legacy(button.dataset.copy); button.focus(); }
    said.textContent = `${said.dataset.copied}: ${button.dataset.copy.slice(0, 8)}…`;
    const before = button.title;
    button.title = said.dataset.copied;
    button.dataset.copied = "";
    setTimeout(() => { button.title = before; delete button.dataset.copied; }, 1600);
  });
})();
