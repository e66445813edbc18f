/** Of the report's one page; it follows what the reader's system prefers. */
export const reportStyle = `
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5b6773; --paper: #ffffff; --card: #f5f7f9; --rule: #d9dfe5; --line: #0b6bcb;
  --hit: #009e73; --joined: #56b4e9; --miss: #e69f00; --bypassed: #cc79a7; --refused: #9aa3ad; --failed: #d55e00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf0; --soft: #9aa7b4; --paper: #12171d; --card: #1a2129; --rule: #313b46; --line: #63adff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 20px 60px; max-width: 1100px; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 24px; margin: 0 0 2px; }
h2 { font-size: 17px; margin: 34px 0 8px; }
p { margin: 4px 0; color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 18px 0 0; padding: 0; }
.tile { border-top: 1px solid var(--rule); padding: 8px 0; min-width: 0; }
.tile dt { color: var(--soft); font-size: 13px; }
.tile dd { margin: 0; font-size: 20px; font-weight: 600; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 10px 24px; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 12px; }
svg text.label, svg text.value { fill: var(--ink); }
.grid { stroke: var(--rule); fill: none; }
.line { stroke: var(--line); stroke-width: 2; fill: none; }
circle { fill: var(--line); }
.tick { stroke: var(--soft); fill: none; }
.hit { fill: var(--hit); background: var(--hit); } .joined { fill: var(--joined); background: var(--joined); }
.miss { fill: var(--miss); background: var(--miss); } .bypassed { fill: var(--bypassed); background: var(--bypassed); }
.refused { fill: var(--refused); background: var(--refused); } .failed { fill: var(--failed); background: var(--failed); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 4px 0 0; padding: 0; list-style: none; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
@media (max-width: 640px) {
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  svg text { font-size: 15px; }
  thead { display: none; }
  tr { display: block; padding: 8px 0; border-bottom: 1px solid var(--rule); }
  td, td.number { display: flex; gap: 12px; justify-content: space-between; padding: 2px 0; border: 0; text-align: right; white-space: normal; overflow-wrap: anywhere; }
  td::before { content: attr(data-label); color: var(--soft); text-align: left; white-space: nowrap; }
}
code { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
`;
