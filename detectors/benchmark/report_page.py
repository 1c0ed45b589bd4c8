"""The skeleton of the report: one page, no script, nothing loaded from anywhere."""

from typing import Final

# The policy makes the browser refuse whatever might slip in: no script, no request.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE: Final = """
:root { color-scheme: light dark; --page: #fcfcfb; --ink: #1c1e21; --soft: #5b6169; --line: #d9dce0;
  --card: #ffffff; --good: #00694d; --bad: #a63a00; --high: #fbe6d9; }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --ink: #e7e9ec; --soft: #a3a9b2;
  --line: #33383f; --card: #1c1f24; --good: #4fd3a8; --bad: #ff9d66; --high: #3a2418; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 82rem; padding: 1.5rem; background: var(--page);
  color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p, .soft { color: var(--soft); margin: .3rem 0; max-width: 60rem; }
.figures { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; padding: 0;
  list-style: none; }
.figures li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem 1rem; min-width: 9rem; color: var(--soft); font-size: .85rem; }
.figures b { display: block; font-size: 1.5rem; color: var(--ink);
  font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap;
  } tr:last-child td { border-bottom: 0; }
td.time, td.name { white-space: nowrap; } td.numbers { min-width: 9rem; }
td.text { min-width: 15rem; overflow-wrap: anywhere; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
tr.high, tr.critical { background: var(--high); }
svg { width: 100%; height: auto; color: var(--soft); display: block; }
figure { margin: 0; padding: .6rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; } figure + figure, details + details { margin-top: .8rem; }
figcaption { font-size: .85rem; color: var(--soft); } figcaption b { color: var(--ink); }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .8rem; }
code { font: .85em ui-monospace, SFMono-Regular, Menlo, monospace; }
"""

PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p>{lead}</p></header>
<ul class="figures">{figures}</ul>
<main>
{sections}
</main>
<footer>{footer}</footer>
</body>
</html>
"""
