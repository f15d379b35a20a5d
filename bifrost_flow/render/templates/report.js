// Filters and folds. The page says everything without it.
(() => {
  const all = [...document.querySelectorAll("details.finding")];
  const controls = document.querySelector(".controls");
  if (controls && all.length) {
    const words = controls.querySelector("input");
    const chips = [...controls.querySelectorAll("button[data-status]")];
    const fold = controls.querySelector(".fold");
    const none = document.querySelector(".none");
    let status = "";
    const text = new Map(all.map((item) => [item, item.textContent.toLowerCase()]));
    const update = () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const item of all) {
        const fits = (!status || item.dataset.status === status) && wanted.every((word) => text.get(item).includes(word));
        item.hidden = !fits;
        shown += fits;
      }
      none.hidden = shown > 0;
    };
    const open = () => all.some((item) => !item.open);
    const name = () => { fold.textContent = open() ? fold.dataset.open : fold.dataset.close; };
    words.addEventListener("input", update);
    for (const chip of chips) {
      chip.addEventListener("click", () => {
        status = chip.dataset.status;
        for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
        update();
      });
    }
    fold.addEventListener("click", () => { const to = open(); for (const item of all) item.open = to; name(); });
    for (const item of all) item.addEventListener("toggle", name);
    name();
    controls.hidden = false;
  }
  const show = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target && target.matches("details")) target.open = true;
  };
  addEventListener("hashchange", show);
  show();
})();
