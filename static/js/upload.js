// Bringing material in. Three files at a time, each in pieces that are confirmed one by one (tus 1.0).
// A file is 'stored' only when the server says which item it became. Nothing about files is kept in this browser.
(() => {
  "use strict";
  const form = document.getElementById("upload");
  if (!form) return;
  const set = JSON.parse(document.getElementById("upload-settings").textContent);
  const words = set.words;
  const csrf = form.elements.csrfmiddlewaretoken.value;
  const $ = (id) => document.getElementById(id);
  const AT_ONCE = 3, HASH_UP_TO = 64 * 2 ** 20, END = 2 ** 20, BATCH = 20;
  const files = [];
  const fresh = [];
  const ready = [];
  let preparing = false, sending = 0, stopped = false, began = 0, sentNow = 0;

  const say = (text, values) => Object.entries(values).reduce((t, [k, v]) => t.replace(`{${k}}`, v), text);
  const size = (n) => {
    let unit = 0;
    while (n >= 1000 && unit < 4) { n /= 1000; unit += 1; }
    return `${n.toLocaleString(document.documentElement.lang, { maximumFractionDigits: unit && n < 100 ? 1 : 0 })} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
  };
  const span = (s) => s < 90 ? say(words.seconds, { n: Math.max(1, Math.round(s)) }) : s < 5400 ? say(words.minutes, { n: Math.round(s / 60) }) : say(words.hours, { n: Math.round(s / 360) / 10 });
  const hex = (buffer) => [...new Uint8Array(buffer)].map((b) => b.toString(16).padStart(2, "0")).join("");
  const sha256 = async (buffer) => hex(await crypto.subtle.digest("SHA-256", buffer));

  // --- one line for each file

  const isolated = (text, css) => {
    const part = document.createElement("bdi");
    part.dir = "auto";
    part.className = css || "";
    part.textContent = text;
    return part;
  };
  const addLine = (entry) => {
    const row = $("rows").insertRow();
    const name = row.insertCell(), weight = row.insertCell();
    entry.cell = row.insertCell();
    entry.cell.className = "state";
    const cut = entry.path.lastIndexOf("/") + 1;
    if (cut) name.append(isolated(entry.path.slice(0, cut), "dir"));
    name.append(isolated(entry.file.name));
    weight.className = "num";
    weight.dir = "ltr";
    weight.textContent = size(entry.file.size);
  };
  const show = (entry, state, more) => {
    entry.state = state;
    const told = document.createElement("span");
    told.className = state;
    told.append(more && more.text ? `${words[state] || state} ` : words[state] || state);
    if (more && more.text) told.append(isolated(more.text));
    if (more && more.item) {
      const link = document.createElement("a");
      link.href = more.item.url;
      link.append(isolated(more.item.code));
      told.append(" ", link);
    }
    entry.cell.replaceChildren(told);
    if (state === "sending" || state === "resuming") {
      entry.bar = document.createElement("progress");
      entry.bar.max = Math.max(1, entry.file.size);
      entry.bar.value = entry.done;
      entry.bar.setAttribute("aria-label", entry.file.name);
      entry.cell.append(entry.bar);
    }
    summarise();
  };

  const summarise = () => {
    const count = (...states) => files.filter((f) => states.includes(f.state)).length;
    const stored = count("stored", "again"), held = count("held"), failed = count("failed"), all = files.length;
    const over = stored + held + failed === all;
    const bytes = files.reduce((n, f) => n + f.file.size, 0);
    const done = files.reduce((n, f) => n + (["stored", "again", "held", "failed"].includes(f.state) ? f.file.size : f.done), 0);
    const parts = [say(words.summary, { stored: stored.toLocaleString(), all: all.toLocaleString() })];
    if (held) parts.push(say(words.summary_held, { n: held.toLocaleString() }));
    if (failed) parts.push(say(words.summary_failed, { n: failed.toLocaleString() }));
    const seconds = (Date.now() - began) / 1000;
    if (stopped && !over) parts.push(words.stopped);
    else if (!over && sentNow && seconds > 2) parts.push(say(words.left, { done: size(done), all: size(bytes), time: span((bytes - done) / (sentNow / seconds)) }));
    const text = parts.join(" · ");
    if ($("summary").textContent !== text) $("summary").textContent = text;
    $("all").max = Math.max(1, bytes);
    $("all").value = over ? Math.max(1, bytes) : done;
    $("retry").hidden = !(failed || stopped && !over) || sending > 0;
    $("stop").hidden = over || stopped;
    $("done").hidden = !over || stored + held === 0;
  };

  // --- what is held already, and what goes on

  const json = async (url, body) => {
    const answer = await fetch(url, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": csrf } });
    if (answer.redirected) throw new Error(words.signed_out); // to the sign-in page
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || words.offline);
    return answer.json();
  };
  const know = async (entry) => {
    const file = entry.file;
    if (!globalThis.crypto?.subtle) return; // not a secure page: the server finds out by itself
    show(entry, "hashing");
    const ends = [String(file.size), String(file.lastModified), entry.path, await sha256(await file.slice(0, END).arrayBuffer()), await sha256(await file.slice(-END).arrayBuffer())];
    entry.fingerprint = await sha256(new TextEncoder().encode(ends.join("\n")));
    if (file.size && file.size <= HASH_UP_TO) entry.sha256 = await sha256(await file.arrayBuffer());
  };
  const prepare = async () => {
    if (preparing) return;
    preparing = true;
    while (fresh.length && !stopped) {
      const batch = [];
      let weight = 0;
      while (fresh.length && batch.length < BATCH && weight < HASH_UP_TO) {
        const entry = fresh.shift();
        if (entry.file.size > set.limit) { show(entry, "failed", { text: words.too_large }); continue; }
        try {
          await know(entry);
          batch.push(entry);
          weight += entry.file.size;
        } catch { show(entry, "failed", { text: words.unreadable }); }
      }
      if (!batch.length) continue;
      try {
        const { files: told } = await json(set.held, { files: batch.map((e) => ({ sha256: e.sha256 || "", fingerprint: e.fingerprint || "" })) });
        batch.forEach((entry, i) => {
          if (told[i].item && !$("again").checked) { show(entry, "held", { item: told[i].item }); return; }
          entry.url = told[i].upload;
          show(entry, "waiting");
          ready.push(entry);
        });
      } catch (error) { batch.forEach((entry) => show(entry, "failed", { text: error instanceof TypeError ? words.offline : error.message })); }
      pump();
    }
    preparing = false;
    pump();
  };

  // --- sending

  const pump = () => {
    while (!stopped && sending < AT_ONCE && ready.length) send(ready.shift());
    summarise();
  };
  const send = (entry) => {
    sending += 1;
    let before = 0;
    const end = (state, more) => { sending -= 1; entry.task = null; show(entry, state, more); pump(); };
    const reason = (error) => {
      try { return JSON.parse(error.originalResponse.getBody()).detail; } catch { return error.originalResponse ? error.message : words.offline; }
    };
    entry.task = new tus.Upload(entry.file, {
      endpoint: set.endpoint,
      uploadUrl: entry.url || null,
      chunkSize: set.chunk,
      retryDelays: [0, 1000, 3000, 5000, 10000, 20000, 30000, 60000],
      storeFingerprintForResuming: false,
      removeFingerprintOnSuccess: true,
      headers: { "X-CSRFToken": csrf, Accept: "application/json" },
      metadata: { filename: entry.file.name, path: entry.path, source: form.elements.source.value, url: form.elements.url.value.trim(), sha256: entry.sha256 || "", fingerprint: entry.fingerprint || "" },
      onUploadUrlAvailable: () => { entry.url = entry.task.url; },
      onProgress: (sent) => {
        if (before && sent > before) sentNow += sent - before;
        before = sent;
        entry.done = sent;
        if (entry.bar) entry.bar.value = sent;
        if (sent === entry.file.size && entry.state !== "storing" && entry.file.size > set.chunk) show(entry, "storing");
        else summarise();
      },
      onSuccess: ({ lastResponse }) => {
        const item = { code: lastResponse.getHeader("Amparo-Item"), url: lastResponse.getHeader("Amparo-Item-Location") };
        entry.done = entry.file.size;
        if (!item.code) end("failed", { text: words.offline });
        else if (lastResponse.getHeader("Amparo-Already-Held") === "1") end("again", { item });
        else end("stored", { item });
      },
      onError: (error) => end("failed", { text: reason(error) }),
    });
    show(entry, entry.url ? "resuming" : "sending");
    entry.task.start();
  };

  // --- what comes in

  const take = (list) => {
    if (!list.length) { $("sending").hidden = false; $("summary").textContent = words.no_files; return; }
    $("sending").hidden = false;
    began = files.some((f) => f.task) ? began : Date.now();
    sentNow = files.some((f) => f.task) ? sentNow : 0;
    stopped = false;
    for (const { file, path } of list) {
      const entry = { file, path, done: 0, state: "waiting" };
      files.push(entry);
      addLine(entry);
      show(entry, "waiting");
      fresh.push(entry);
    }
    prepare();
  };
  for (const id of ["files", "folder"]) $(id).addEventListener("change", (event) => {
    take([...event.target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
    event.target.value = "";
  });
  const walk = async (entry) => {
    if (entry.isFile) return [{ file: await new Promise((good, bad) => entry.file(good, bad)), path: entry.fullPath.replace(/^\//, "") }];
    const reader = entry.createReader(), found = [];
    for (;;) { // a reader gives at most 100 at a time
      const some = await new Promise((good, bad) => reader.readEntries(good, bad));
      if (!some.length) return found;
      for (const inner of some) found.push(...await walk(inner));
    }
  };
  const drop = $("drop");
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", (event) => { if (!drop.contains(event.relatedTarget)) drop.classList.remove("over"); });
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const found = [];
    for (const entry of entries) found.push(...await walk(entry).catch(() => []));
    take(entries.length ? found : [...event.dataTransfer.files].map((file) => ({ file, path: file.name })));
  });
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

  $("stop").addEventListener("click", () => {
    stopped = true;
    for (const entry of files) if (entry.task) { entry.task.abort(); entry.task = null; sending -= 1; show(entry, "stopped"); }
    for (const entry of ready.splice(0)) show(entry, "stopped");
    for (const entry of fresh.splice(0)) show(entry, "stopped");
    summarise();
  });
  $("retry").addEventListener("click", () => {
    stopped = false;
    began = Date.now();
    sentNow = 0;
    for (const entry of files) if (["failed", "stopped", "waiting", "hashing"].includes(entry.state) && !fresh.includes(entry) && !ready.includes(entry)) { entry.url = null; show(entry, "waiting"); fresh.push(entry); }
    prepare();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("beforeunload", (event) => { if (sending || fresh.length || ready.length) event.preventDefault(); });
  window.addEventListener("online", pump);
})();
