// What every page of ours does: the switch between light and dark, times as the reader has them, copies, paper.
const page = (() => {
  const root = document.documentElement, switches = document.querySelectorAll("button.theme");
  const system = matchMedia("(prefers-color-scheme: dark)"), KEY = "bifrost-theme";
  // A browser may refuse storage to a page from disk; the choice then holds for as long as the page is open.
  const stored = (act) => { try { return act(localStorage); } catch { return null; } };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const name = () => { for (const button of switches) button.setAttribute("aria-pressed", String(isDark())); };
  const chosen = stored((storage) => storage.getItem(KEY));
  if (["light", "dark"].includes(chosen)) root.dataset.theme = chosen;
  for (const button of switches) {
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      stored((storage) => storage.setItem(KEY, root.dataset.theme));
      name();
    });
  }
  system.addEventListener("change", name);
  name();
  // The reader's own way to write the page's language, and the reader's own time; UTC is in the title.
  const lang = navigator.languages.find((each) => each.split("-")[0] === root.lang) || root.lang;
  const format = new Intl.DateTimeFormat(lang,
    { year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short" });
  const showTime = (element) => {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) return element;
    element.title = `${moment.toISOString().slice(0, 16).replace("T", " ")} UTC`;
    element.textContent = format.format(moment);
    return element;
  };
  // Long names, such as paths, go on in the next line where one of their parts ends.
  const markSeams = (element) => {
    const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), found = [];
    while (texts.nextNode()) if (/\S{20}/.test(texts.currentNode.data)) found.push(texts.currentNode);
    for (const text of found) {
      const parts = text.data.slice(0, 4000).split(/(?<=[\w.][/_.:=])(?=[A-Za-z])/);
      const rest = text.data.slice(4000);
      text.replaceWith(...parts.flatMap((part, at) => (at ? [document.createElement("wbr"), part] : [part])), rest);
    }
  };
  for (const element of document.querySelectorAll("time")) showTime(element);
  for (const element of document.querySelectorAll("h3, .where, .path")) markSeams(element);
  const copy = async (text) => {
    // A page that came over plain HTTP has no clipboard but this old one.
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("not copied");
  };
  // Each copy button copies the text of its neighbours that are meant for it.
  for (const button of document.querySelectorAll("button.copy")) button.hidden = false;
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button || button.dataset.before) return;
    const parts = [...button.parentElement.querySelectorAll("[data-copy]")].map((part) => part.textContent);
    button.dataset.before = button.textContent;
    try {
      await copy(parts.join("\n"));
      button.textContent = button.dataset.done;
    } catch {
      button.textContent = button.dataset.failed;
    }
    setTimeout(() => { button.textContent = button.dataset.before; delete button.dataset.before; }, 2000);
  });
  // Paper shows everything.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const item of closed) item.open = true;
  });
  addEventListener("afterprint", () => { for (const item of closed) item.open = false; });
  return { lang, showTime, markSeams };
})();
