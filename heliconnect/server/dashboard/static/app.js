// What the pages can do beyond links and forms: live rows, keyboard, theme, copying. All state is in the URL and
// localStorage. Every page reads well without this file.
"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement;
  const kept = {
    get(name) { try { return localStorage.getItem(name); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(name, value); } catch { /* private mode */ } },
  };
  const say = (text) => { one("[data-say]").textContent = text; };
  const number = (value) => value.toLocaleString("en-US");

  // Times in the reader's own zone.
  const two = (value) => String(value).padStart(2, "0");
  function localize(within) {
    for (const time of all("time[data-time]", within)) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
      if (time.dataset.time === "short") {
        const day = document.createElement("span");
        day.className = "muted";
        day.textContent = `${at.toLocaleString("en-US", { month: "short" })} ${two(at.getDate())}`;
        time.replaceChildren(day, ` ${clock}`);
      } else {
        time.textContent = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock}`;
      }
    }
  }

  // Theme.
  function switchTheme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept.set("theme", root.dataset.theme);
  }

  // A thin line at the top when the next page takes longer than a moment.
  let busy;
  const begin = () => { clearTimeout(busy); busy = setTimeout(() => root.classList.add("busy"), 300); };
  const end = () => { clearTimeout(busy); root.classList.remove("busy"); };
  addEventListener("pageshow", (event) => {
    end();
    for (const field of all("[data-filters] :disabled")) field.disabled = false;
    if (event.persisted) for (const form of all("[data-filters]")) form.reset();
  });

  // Connection, as the foot of the page shows it.
  function state(isUp) {
    const text = one("[data-state]");
    if (text.dataset.is === (isUp ? "on" : "off")) return;
    text.dataset.is = isUp ? "on" : "off";
    text.textContent = isUp ? "connected" : "reconnecting…";
  }

  async function ask(url) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer;
  }
  const withKey = (url, name, key) => `${url}${url.includes("?") ? "&" : "?"}${name}=${encodeURIComponent(key)}`;

  // Calls `step` again and again while the page is visible: soon after success, later after each failure.
  function repeat(step) {
    let timer, pause = 1000, running = false;
    const run = async () => {
      clearTimeout(timer);
      if (document.hidden || running) return;
      running = true;
      try { pause = (await step()) ? 50 : 1000; state(true); } catch { pause = Math.min(pause * 1.7, 15000); state(false); }
      running = false;
      timer = setTimeout(run, pause);
    };
    document.addEventListener("visibilitychange", () => { if (!document.hidden) { pause = 1000; run(); } });
    timer = setTimeout(run, pause);
    return { stop: () => { clearTimeout(timer); running = true; }, start: () => { running = false; run(); } };
  }

  // The open table: selection, new rows on top, older ones below.
  const body = one("[data-body]");
  const scroll = one("[data-scroll]");
  const rowsOf = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = `<table><tbody>${html}</tbody></table>`;
    localize(holder.content);
    return [...one("tbody", holder.content).children];
  };
  const MOST_ROWS = 3000;

  function live(table) {
    const button = one("[data-live]", table), pill = one("[data-new]", table), counter = one("[data-count]", table);
    let after = table.dataset.after, waiting = 0;
    const isAtTop = () => scroll.scrollTop < 10;
    const seen = () => { waiting = 0; pill.hidden = true; };
    scroll.addEventListener("scroll", () => { if (isAtTop()) seen(); }, { passive: true });
    pill.addEventListener("click", (event) => { event.preventDefault(); scroll.scrollTo({ top: 0, behavior: "smooth" }); });

    function add(rows) {
      const wasAtTop = isAtTop(), height = scroll.scrollHeight;
      for (const row of rows) row.classList.add("new");
      body.prepend(...rows);
      one("[data-nothing]", table)?.remove();
      if (!wasAtTop) {
        scroll.scrollTop += scroll.scrollHeight - height;
        waiting += rows.length;
        pill.textContent = `${number(waiting)} new`;
        pill.hidden = false;
      } else if (body.children.length > MOST_ROWS) {
        while (body.children.length > MOST_ROWS) body.lastElementChild.remove();
        const link = one("[data-more]", table);
        if (link) link.dataset.more = body.lastElementChild.dataset.key;
      }
      if (counter.dataset.count) {
        counter.dataset.count = Number(counter.dataset.count) + rows.length;
        counter.textContent = number(Number(counter.dataset.count));
      }
    }
    const poll = repeat(async () => {
      const answer = await ask(withKey(table.dataset.tail, "after", after));
      const rows = answer.status === 200 ? rowsOf(await answer.text()) : [];
      after = answer.headers.get("x-newest") || after;
      if (rows.length) add(rows);
      return answer.headers.get("x-more");
    });
    function set(isOn) {
      button.setAttribute("aria-pressed", String(isOn));
      kept.set("live", isOn ? "on" : "off");
      if (isOn) poll.start(); else poll.stop();
    }
    button.addEventListener("click", () => set(button.getAttribute("aria-pressed") !== "true"));
    set(kept.get("live") !== "off");
  }

  function grow(table) {
    const link = one("[data-more]", table);
    if (!link) return;
    let isLoading = false;
    async function more() {
      if (isLoading || body.children.length > MOST_ROWS) return;
      isLoading = true;
      let pause = 0;
      try {
        const answer = await ask(withKey(table.dataset.rows, "before", link.dataset.more));
        body.append(...rowsOf(await answer.text()));
        const older = answer.headers.get("x-older");
        if (older) {
          const url = new URL(link.href);
          url.searchParams.set("before", older);
          link.href = url;
          link.dataset.more = older;
        } else { link.remove(); watch.disconnect(); }
      } catch { state(false); pause = 3000; }
      isLoading = false;
      // The observer tells changes only: asked anew, it says whether the link is still in sight.
      setTimeout(() => { watch.unobserve(link); if (link.isConnected) watch.observe(link); }, pause);
    }
    const watch = new IntersectionObserver((seen) => { if (seen[0].isIntersecting) more(); }, { root: scroll, rootMargin: "900px" });
    watch.observe(link);
    link.addEventListener("click", (event) => {
      if (body.children.length <= MOST_ROWS) { event.preventDefault(); more(); }
    });
  }

  // Selection by keyboard; opening by click anywhere on a row.
  const selected = () => body && one("tr.sel", body);
  function select(step) {
    const rows = all("tr", body), at = rows.indexOf(selected());
    const next = rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + step))];
    if (!next) return;
    selected()?.classList.remove("sel");
    next.classList.add("sel");
    next.scrollIntoView({ block: "nearest" });
    if (scroll) { // the head of the table covers the first row's height
      const under = next.getBoundingClientRect().top - scroll.getBoundingClientRect().top - 33;
      if (under < 0) scroll.scrollTop += under;
    }
    say(one("a", next)?.textContent.trim() || "");
  }
  body?.addEventListener("click", (event) => {
    if (event.target.closest("a, button, summary") || String(getSelection())) return;
    const link = one("a", event.target.closest("tr"));
    if (!link) return;
    if (event.metaKey || event.ctrlKey) open(link.href, "_blank", "noopener"); else { begin(); location.assign(link.href); }
  });

  const dialog = one("[data-help-box]");
  let before = "";
  const go = (selector) => { const link = one(selector); if (link) { begin(); location.assign(link.href); } return Boolean(link); };
  const keys = {
    "/": () => { const field = one(".search input"); field?.focus(); field?.select(); return Boolean(field); },
    j: () => (body ? select(1) : go('.steps a[rel="next"]')),
    k: () => (body ? select(-1) : go('.steps a[rel="prev"]')),
    Enter: () => { const link = selected() && one("a", selected()); if (link) { begin(); location.assign(link.href); } return Boolean(link); },
    Escape: () => { const row = selected(); if (row) { row.classList.remove("sel"); return true; } return go("a[data-back]"); },
    l: () => one("[data-live]")?.click(),
    t: switchTheme,
    "?": () => dialog.showModal(),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const field = event.target.closest("input, select, textarea");
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
    const was = before;
    before = event.key;
    if (was === "g" && one(`[data-go="${CSS.escape(event.key)}"]`)) { event.preventDefault(); go(`[data-go="${CSS.escape(event.key)}"]`); return; }
    if (Object.hasOwn(keys, event.key) && keys[event.key]() !== false) event.preventDefault();
  });

  document.addEventListener("click", async (event) => {
    const target = event.target.closest("[data-theme-switch], [data-help], [data-copy], [data-rest], a[href]");
    if (!target) return;
    if (target.matches("[data-theme-switch]")) switchTheme();
    else if (target.matches("[data-help]")) dialog.showModal();
    else if (target.matches("[data-copy]")) {
      try { await navigator.clipboard.writeText(one("pre", target.closest("section")).textContent); say("Copied"); target.classList.add("done"); } catch { say("The browser did not allow copying"); }
      setTimeout(() => target.classList.remove("done"), 1200);
    } else if (target.matches("[data-rest]")) {
      event.preventDefault();
      try {
        const text = await (await ask(target.href)).text();
        const place = target.previousElementSibling;
        place.classList.remove("md");
        place.classList.add("raw");
        place.textContent = text;
        target.remove();
      } catch { location.assign(target.href); }
    } else if (!event.defaultPrevented && !event.metaKey && !event.ctrlKey && target.target !== "_blank") begin();
  });

  for (const form of all("[data-filters]")) {
    form.addEventListener("change", (event) => { if (event.target.matches("select")) form.requestSubmit(); });
    form.addEventListener("submit", () => {
      for (const field of all("input, select", form)) if (!field.value) field.disabled = true;
      begin();
    });
  }

  localize(document);
  const table = one("[data-live-table]");
  if (table) {
    if (one("[data-live]", table)) live(table);
    grow(table);
  }
  const first = one("[data-first-run]");
  if (first) repeat(async () => { if ((await ask(withKey(first.dataset.tail, "after", 0))).status === 200) location.reload(); });
})();
