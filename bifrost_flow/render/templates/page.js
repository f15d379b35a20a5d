// What every page of ours does: the switch between light and dark, and times as the reader has them.
(() => {
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
  for (const element of document.querySelectorAll("time")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    element.title = `${moment.toISOString().slice(0, 16).replace("T", " ")} UTC`;
    element.textContent = format.format(moment);
  }
  // Paper shows everything.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const item of closed) item.open = true;
  });
  addEventListener("afterprint", () => { for (const item of closed) item.open = false; });
})();
