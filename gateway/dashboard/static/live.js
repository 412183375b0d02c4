// Keeps a page's parts up to date: the server says that something has changed, and the page is asked for anew.
// Parts are the elements with `data-part`, each with an id. Without this file pages show how things were.
const main = document.querySelector("main[data-live]");
const LEAST = 1000; // milliseconds between two looks
const AGAIN = 15000; // until the next try where the server takes no more listeners
let source = null;
let due = 0;
let last = 0;
let looking = false;

function keep(part, fresh) {
  const open = new Set([...part.querySelectorAll("details[open][id]")].map((one) => one.id));
  const closed = new Set([...part.querySelectorAll("details:not([open])[id]")].map((one) => one.id));
  for (const one of fresh.querySelectorAll("details[id]")) {
    if (open.has(one.id)) one.open = true;
    else if (closed.has(one.id)) one.open = false;
  }
}

function busy(part) {
  const active = document.activeElement;
  const typing = part.contains(active) && active.matches("input, textarea, select");
  return typing || [...part.querySelectorAll("input:not([type=hidden]), textarea")].some((one) => one.value !== one.defaultValue);
}

function swap(part, fresh) {
  if (busy(part) || part.innerHTML === fresh.innerHTML) return;
  const active = part.contains(document.activeElement) ? document.activeElement.id : "";
  const scrolls = [...part.querySelectorAll(".wide")].map((one) => one.scrollLeft);
  keep(part, fresh);
  if (part.innerHTML === fresh.innerHTML) return;
  part.replaceChildren(...fresh.childNodes);
  [...part.querySelectorAll(".wide")].forEach((one, number) => (one.scrollLeft = scrolls[number] ?? 0));
  if (active) document.getElementById(active)?.focus({ preventScroll: true });
}

async function look() {
  due = 0;
  if (looking) return plan();
  looking = true;
  last = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") return location.reload();
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) {
      const found = fresh.getElementById(part.id);
      if (found) swap(part, document.importNode(found, true));
    }
    main.dataset.looks = Number(main.dataset.looks ?? 0) + 1;
  } catch (error) {
    console.info("the page couldn't be asked for:", error.message);
  } finally {
    looking = false;
  }
}

function plan() {
  if (!due) due = setTimeout(look, Math.max(0, last + LEAST - Date.now()));
}

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(main.dataset.live);
  source.addEventListener("change", plan);
  source.addEventListener("open", () => {
    main.dataset.listening = "yes";
    plan(); // what has changed since the page was made, or while nobody listened
  });
  source.addEventListener("error", () => {
    delete main.dataset.listening;
    if (source?.readyState !== EventSource.CLOSED) return; // the browser comes again by itself
    source = null;
    setTimeout(() => { plan(); listen(); }, AGAIN);
  });
}

if (main) {
  // A browser opens few connections to one server: pages that nobody looks at give theirs back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else {
      plan();
      listen();
    }
  });
  listen();
}
