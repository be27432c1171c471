"""How the page of a report looks: light and dark, on a desk and on a phone."""

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --panel: #f5f7f9; --ink: #1b2430; --soft: #5a6675; --line:
  #dde3e9;
  --good: #1a7f37; --bad: #c0282d; --warn: #8a5a00; --skip: #6b7683; --good-wash: #e6f4ea; --bad-wash: #fdecec;
  --warn-wash: #fff4d6;
  --skip-wash: #eceff2; --blue: #3a86c8; }
@media (prefers-color-scheme: dark) { :root { --paper: #12171d; --panel: #1a2129; --ink: #e3e8ee; --soft: #9aa7b5;
  --line: #2c3641;
  --good: #57c778; --bad: #ff8078; --warn: #e3b341; --skip: #93a0ad; --good-wash: #14301e; --bad-wash: #3c1a1c;
  --warn-wash: #33290f;
  --skip-wash: #232c35; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem clamp(.8rem, 3vw, 2rem) 3rem; max-width: 76rem; background: var(--paper);
  color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; overflow-wrap:
  anywhere; }
h1, h2, h3 { line-height: 1.25; margin: 0; font-weight: 650; }
h1 { font-size: 1.45rem; } h2 { font-size: 1.1rem; margin: 2.4rem 0 .7rem; } h3 { font-size: 1rem; }
p { margin: .3rem 0; } a { color: inherit; }
code, .number { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; font-size: .92em; }
.soft { color: var(--soft); }
header { border: 1px solid var(--line); border-left: .5rem solid var(--tone); border-radius: .6rem; background:
  var(--wash);
  padding: 1.1rem 1.3rem; }
header .verdict { color: var(--tone); font-weight: 750; letter-spacing: .06em; font-size: .95rem; }
.good { --tone: var(--good); --wash: var(--good-wash); } .bad { --tone: var(--bad); --wash: var(--bad-wash); }
.warn { --tone: var(--warn); --wash: var(--warn-wash); } .skip { --tone: var(--skip); --wash: var(--skip-wash); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem; margin: .9rem 0 0; }
.tile { border: 1px solid var(--line); border-radius: .6rem; padding: .6rem .9rem; background: var(--panel); }
.tile b { display: block; font-size: 1.5rem; line-height: 1.2; color: var(--tone, var(--ink)); font-variant-numeric:
  tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.pill { display: inline-block; min-width: 3.6em; text-align: center; border-radius: 1em; padding: 0 .6em; font-size:
  .8rem;
  font-weight: 650; color: var(--tone); background: var(--wash); white-space: nowrap; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; }
.panel { border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1.1rem; margin: 0 0 .8rem; }
article.panel { border-left: .35rem solid var(--tone); }
article h3 { display: flex; gap: .6rem; align-items: baseline; flex-wrap: wrap; }
.found { background: var(--wash); border-radius: .4rem; padding: .5rem .8rem; margin: .6rem 0; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 1.6rem; margin: .6rem 0 0; }
figure { margin: 0; flex: 1 1 20rem; max-width: 30rem; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; color: var(--ink); overflow: visible; }
figure svg text { font-family: system-ui, sans-serif !important; }
figcaption { color: var(--soft); font-size: .85rem; } figcaption b { color: var(--ink); font-weight: 600; }
.bar { display: flex; height: .65rem; border-radius: .35rem; overflow: hidden; background: var(--skip-wash); }
.bar i { display: block; background: var(--tone); } .bar i.rest { background: var(--blue); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { text-align: right; padding: .28rem .7rem; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: .85rem; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.long { text-align: left; min-width: 9rem; } td.wide { min-width: 7rem; width: 40%; }
.chips { display: flex; flex-wrap: wrap; gap: .35rem; margin: .4rem 0 .8rem; padding: 0; list-style: none; }
.chips li { border: 1px solid var(--line); border-radius: .4rem; padding: 0 .5rem; font-size: .86rem; background:
  var(--panel); }
.chips.none li { border-style: dashed; background: none; color: var(--soft); }
details > summary { cursor: pointer; }
.checks { border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; }
.checks .family { background: var(--panel); padding: .35rem .9rem; font-weight: 650; border-bottom: 1px solid
  var(--line); }
.line { display: grid; grid-template-columns: 4.4rem minmax(11rem, 17rem) 5rem 5rem 5rem 1fr; gap: 0 .8rem;
  align-items: baseline;
  padding: .3rem .9rem; list-style: none; }
.line::-webkit-details-marker { display: none; }
.line .number { text-align: right; white-space: nowrap; } .line .told { color: var(--soft); }
.head { color: var(--soft); font-size: .85rem; font-weight: 600; border-bottom: 1px solid var(--line); }
.head .number { font-family: inherit; font-size: inherit; }
.check { border-bottom: 1px solid var(--line); } .check:last-child { border-bottom: 0; }
.check > summary:hover { background: var(--panel); }
.check > summary code::after { content: " \\25b8"; color: var(--soft); } .check[open] > summary code::after {
  content: " \\25be"; }
.inside { padding: .2rem .9rem 1rem; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 46rem) {
  .line { grid-template-columns: 4.4rem 1fr; padding: .45rem .7rem; }
  .line .number { text-align: left; } .line .number[data-label]::before { content: attr(data-label) " "; color:
  var(--soft); }
  .line .numbers { grid-column: 1 / -1; } .line .told { grid-column: 1 / -1; }
  .line .number { display: inline; grid-column: 1 / -1; font-size: .85em; }
  .line .number:empty { display: none; } .head { display: none; }
  dl.facts { grid-template-columns: 1fr; gap: 0; } dl.facts dd { margin-bottom: .4rem; }
  .panel { padding: .7rem .8rem; } th, td { padding: .25rem .45rem; }
}
@media print { .check:not([open]) > .inside { display: block; } body { max-width: none; } }
"""
