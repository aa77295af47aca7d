// Theme and language are the browser's to remember: a cookie each, which the server reads for the next page.
"use strict";

const CHECK_MS = 5_000;

window.framemesh = (() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const remember = (name, value) => {
    document.cookie = `framemesh_${name}=${value}; path=/; max-age=31536000; samesite=lax`;
  };
  const remembered = () => /(?:^|; )framemesh_theme=(dark|light)/.exec(document.cookie)?.[1];
  const isDark = () => (remembered() ?? (system.matches ? "dark" : "light")) === "dark";
  const apply = () => {
    root.dataset.theme = isDark() ? "dark" : "light";
    window.Quasar?.Dark.set(isDark());
  };
  system.addEventListener("change", apply);
  apply();

  // A login that is over, or a token that was taken back, leads to the login page, whatever the page is waiting for.
  const check = async () => {
    const answer = await fetch("/session", { cache: "no-store" }).catch(() => null);
    if (answer?.status !== 401) return;
    clearInterval(checks); // a slow login page would be asked for anew, and never come
    window.location.reload();
  };
  const checks = window.location.pathname === "/login" ? 0 : setInterval(check, CHECK_MS);
  return {
    isDark,
    toggleTheme() {
      remember("theme", isDark() ? "light" : "dark");
      apply();
    },
    setLanguage(code) {
      remember("language", code);
      window.location.reload();
    },
  };
})();
