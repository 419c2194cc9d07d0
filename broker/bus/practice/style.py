"""How the pages of the practice bus look: one style sheet, light and dark, from a telephone's width on."""

STYLE = """
:root { color-scheme: light dark; --ground: #f4f6f8; --card: #ffffff; --line: #d9e0e6; --text: #1c2733;
  --muted: #52616f; --accent: #1f5fae; --slate: #52616f; --indigo: #5145c0; --green: #1c7034; --red: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ground: #12181d; --card: #1a2228; --line: #2c3741; --text: #e4eaef;
  --muted: #a2b0bc; --accent: #8fbdf5; --slate: #a9b6c1; --indigo: #aba6ff; --green: #74cc8a; --red: #ff8f85; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 20px 16px 48px; background: var(--ground); color: var(--text);
  font: 15px/1.45 "Segoe UI", -apple-system, "Noto Sans", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 20px; margin: 0 0 10px; }
h2 { font-size: 17px; margin: 28px 0 10px; overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 20px 0 8px; }
a { color: var(--accent); }
.guid { color: var(--muted); font-size: 13px; font-weight: 400; }
.muted { color: var(--muted); }
.alarm { color: var(--red); border: 1px solid var(--red); border-radius: 6px; padding: 8px 12px; }
.tabs { display: flex; flex-wrap: wrap; border-bottom: 1px solid var(--line); margin-bottom: 14px; }
.tabs a { padding: 8px 14px; color: var(--muted); text-decoration: none; border-bottom: 3px solid transparent; }
.tabs a:hover { color: var(--text); }
.tabs a[aria-current] { color: var(--text); border-color: var(--accent); font-weight: 600; }
.tabs i { font-style: normal; font-size: 13px; font-weight: 400; color: var(--muted); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px;
  margin: 0 0 10px; }
header { display: flex; flex-wrap: wrap; gap: 2px 14px; align-items: baseline; }
header span, header b { overflow-wrap: anywhere; }
time { margin-left: auto; color: var(--muted); font-size: 13px; white-space: nowrap; }
.status { font-weight: 600; }
.slate { color: var(--slate); } .indigo { color: var(--indigo); } .green { color: var(--green); }
.red { color: var(--red); }
article p { margin: 6px 0; overflow-wrap: anywhere; }
.links { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 13px; }
.result { margin: 10px 0 0; padding: 8px 0 0 12px; border-left: 3px solid var(--line); }
dl { display: grid; grid-template-columns: 150px 1fr; gap: 4px 14px; margin: 6px 0; }
dt { color: var(--muted); } dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 7px 14px; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th { color: var(--muted); font-size: 13px; font-weight: 400; }
td { white-space: nowrap; } .long, .path { white-space: normal; overflow-wrap: anywhere; min-width: 180px; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; margin: 12px 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
.fault { display: flex; flex-wrap: wrap; gap: 12px 16px; align-items: end; }
label { display: grid; grid-template-columns: minmax(0, 1fr); gap: 4px; max-width: 100%; color: var(--muted);
  font-size: 13px; }
select, input, button { font: inherit; font-size: 15px; color: var(--text); background: var(--card); height: 38px;
  border: 1px solid var(--line); border-radius: 6px; padding: 0 10px; max-width: 100%; }
button { cursor: pointer; padding: 0 18px; } .fault button { background: var(--accent); color: var(--card); border: 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 600px) {
  time { margin-left: 0; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 6px; }
  .guid { display: block; } .fault label, .fault button { width: 100%; } .tabs a { padding: 8px 9px; }
  thead { display: none; } tr { display: block; padding: 8px 12px; border-bottom: 1px solid var(--line); }
  td { display: inline-block; border: 0; padding: 0 10px 2px 0; } td:empty { display: none; }
  .path, .long { display: block; }
}
"""
