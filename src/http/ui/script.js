// Everything here is a convenience: each page works without it.
"use strict";

for (const button of document.querySelectorAll("button[data-copy]")) {
  const said = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      // Without a secure context there is no clipboard but the selection's.
      const field = document.createElement("textarea");
      field.value = button.dataset.copy;
      button.after(field);
      field.select();
      document.execCommand("copy");
      field.remove();
      button.focus();
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = said), 2000);
  });
}

// Figures that change while somebody looks: the part is fetched again, unless the page is in the background.
const live = document.querySelector("[data-refresh]");
if (live) {
  setInterval(async () => {
    if (document.hidden || live.contains(document.activeElement)) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-refresh]");
      if (!fresh) return;
      const open = [...live.querySelectorAll("details")].map((part) => part.open);
      fresh.querySelectorAll("details").forEach((part, at) => (part.open = open[at]));
      live.replaceChildren(...fresh.childNodes);
    } catch {
      // The next round tries again.
    }
  }, Number(live.dataset.refresh) * 1000);
}
