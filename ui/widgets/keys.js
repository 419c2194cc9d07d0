// Keyboard shortcuts and the few things that need no server, the same on every page.
// Physical keys (event.code), so that shortcuts work in the Russian layout too.
(() => {
  let acted = -1000;                                      // when Ctrl+Enter was pressed last, ms
  let waiting = false;                                    // "g" was pressed, the next letter names the place
  const places = {KeyR: '/desk', KeyI: '/incoming', KeyB: '/board', KeyP: '/reading', KeyS: '/studies', KeyO: '/exchange', KeyD: '/devices'};
  const sheet = () => document.getElementById('keys');

  // A key of the page's own, such as 1, 0 or V: the button or link that bears it; a digit also with the number pad.
  const press = (e) => {
    const key = /^(?:Digit|Numpad|Key)([\dA-Z])$/.exec(e.code)?.[1];
    const button = key && document.querySelector(`[data-key="${key}"]`);
    if (!button?.offsetParent || document.querySelector('dialog[open], .q-menu')) return false;
    // Again one press, one act.
    if (!e.repeat && performance.now() - acted > 700) {
      acted = performance.now();
      button.click();
    }
    return true;
  };

  // A pinned theme is kept in this browser, and applied before the first paint.
  const pinned = /(?:^|; )wlb_theme=(light|dark)/.exec(document.cookie);
  if (pinned) document.body.classList.add('body--' + pinned[1]);
  const pin = (name) => {
    const age = name === 'system' ? 0 : 31536000;
    document.cookie = `wlb_theme=${name}; path=/; max-age=${age}; samesite=strict`;
  };

  // A page that exists to be printed prints itself, and goes when that is done.
  if (document.body.hasAttribute('data-print')) {
    addEventListener('afterprint', () => { if (history.length === 1) window.close(); });
    addEventListener('load', () => setTimeout(() => window.print(), 50));
  }

  addEventListener('click', (e) => {
    const at = (name) => e.target.closest?.(`[data-${name}]`);
    const opener = at('opens');
    if (opener) document.getElementById(opener.dataset.opens)?.showModal();
    if (at('closes')) e.target.closest('dialog')?.close();
    const theme = at('theme');
    if (theme) pin(theme.dataset.theme);
    const submitter = at('submits');
    if (submitter) document.getElementById(submitter.dataset.submits)?.submit();
  });
  addEventListener('keydown', (e) => {
    const typing = e.target.matches?.('input, textarea, select');
    if (e.code === 'F2') {
      e.preventDefault();
      const start = document.querySelector('[data-start]');
      if (start?.matches('a')) start.click();
      else start ? start.focus() : location.assign('/desk');
    } else if (e.ctrlKey && (e.code === 'Enter' || e.code === 'NumpadEnter')) {
      e.preventDefault();
      e.stopPropagation();                                // an open list would take Enter for itself
      // One press, one act: the second of two quick ones would meet the button that has taken the first one's place.
      if (!document.querySelector('dialog[open]') && performance.now() - acted > 700) {
        acted = performance.now();
        document.querySelector('[data-primary]')?.click();
      }
    } else if (e.altKey && !e.ctrlKey && !e.metaKey && /^Digit\d$/.test(e.code)) {
      const answer = document.querySelector(`[data-alt="${e.code.slice(5)}"]`);
      if (answer && answer.offsetParent && !document.querySelector('dialog[open]')) { e.preventDefault(); answer.click(); }
    } else if (e.key === 'Escape' && !typing && !document.querySelector('dialog[open], .q-menu')) {
      document.querySelector('[data-back]')?.click();
    } else if (!typing && !e.ctrlKey && !e.altKey && !e.metaKey && !waiting && press(e)) {
      e.preventDefault();
    } else if (!typing && !e.ctrlKey && !e.altKey && !e.metaKey) {
      if (e.code === 'Slash' && e.shiftKey) sheet()?.showModal();
      else if (e.code === 'Slash') { e.preventDefault(); document.getElementById('find')?.focus(); }
      else if (waiting && places[e.code]) location.assign(places[e.code]);
      // While reading, letters are the reader's: none of them leaves the page.
      waiting = e.code === 'KeyG' && !document.body.classList.contains('room');
    }
  }, true);                                               // while capturing: Quasar's select stops Enter on its way up
})();
