// Writes moments as the clock of whoever looks shows them; without script they stand in UTC.
const write = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });
const name = Intl.DateTimeFormat().resolvedOptions().timeZone;

function translate() {
  for (const cell of document.querySelectorAll("[data-local]")) {
    const time = cell.querySelector("time");
    const shown = time && `${write.format(new Date(time.dateTime))} ${name}`;
    if (shown && cell.textContent !== shown) {
      time.textContent = shown;
      cell.replaceChildren(time);
    }
  }
}

translate();
// Parts of the page are replaced when something has changed.
new MutationObserver(translate).observe(document.getElementById("content"), { childList: true, subtree: true });
