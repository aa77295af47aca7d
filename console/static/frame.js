// Theme and language are the browser's to remember: a cookie each, which the server reads for the next page.
"use strict";

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
