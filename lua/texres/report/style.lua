--- How a report looks: light and dark, on a telephone, a screen and paper.

return [[
:root { color-scheme: light dark; --page: #f6f6f3; --card: #ffffff; --ink: #1b1e23; --soft: #5b626d; --line: #dcdcd6;
  --one: #1d5fc0; --two: #b4490a; --three: #2f7a3d; --heat: 29 95 192; --miss: 200 85 15; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --card: #1d2026; --ink: #e9e9e6; --soft: #a3aab5;
  --line: #343942; --one: #82b4ff; --two: #ffab6b; --three: #7fd192; --heat: 90 150 255; --miss: 255 140 60; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1, h2, h3, .sub, .warning, .figures dd { overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p.sub { color: var(--soft); margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.5rem 0 0;
  padding: 0; }
.figures div, .card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .8rem 1rem; }
.figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.5rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem;
  align-items: start; }
figure { margin: 0; }
figcaption, caption { font-weight: 600; text-align: left; padding: 0 0 .4rem; }
svg { display: block; width: 100%; height: auto; font-size: 12px; }
svg text { fill: var(--soft); }
svg .grid { stroke: var(--line); }
svg .one, svg .two { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .one { stroke: var(--one); } svg .two { stroke: var(--two); stroke-dasharray: 6 3; }
svg circle.one { fill: var(--one); } svg circle.two { fill: var(--two); stroke-dasharray: none; }
svg text.one { fill: var(--one); stroke: none; } svg text.two { fill: var(--two); stroke: none; }
svg .three { fill: none; stroke: var(--three); stroke-width: 2; stroke-linejoin: round; stroke-dasharray: 2 3; }
svg circle.three { fill: var(--three); stroke-dasharray: none; } svg text.three { fill: var(--three); stroke: none; }
svg .band-three { fill: var(--three); fill-opacity: .15; }
svg .best { stroke: var(--soft); stroke-dasharray: 2 3; }
.scroll { overflow-x: auto; } .below { margin-bottom: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { color: var(--soft); font-size: .85rem; vertical-align: bottom; }
tbody th, tfoot th, thead th.name, td.name { text-align: left; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
td:not(.name) { white-space: nowrap; }
td.name { overflow-wrap: anywhere; min-width: 8rem; } th { max-width: 14rem; overflow-wrap: break-word; }
.confusion td { text-align: center; border: 1px solid var(--line); min-width: 2.2rem; line-height: 1.25; }
.confusion th, .confusion td { padding: .3rem .35rem; } .confusion thead th { font-size: .8rem; max-width: 7rem; }
.confusion tbody th { max-width: 10rem; }
.confusion td.right { background: rgb(var(--heat) / var(--share)); }
.confusion td.wrong { background: rgb(var(--miss) / var(--share)); }
.confusion small { display: block; color: inherit; opacity: .8; }
.confusion thead th:not(.name) { text-align: center; }
pre { margin: 0; overflow-x: auto; font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
summary { cursor: pointer; color: var(--soft); padding: .4rem 0; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: .75rem;
  margin: 1rem 0; }
.answers > div { background: var(--card); border: 1px solid var(--line); border-left: .35rem solid var(--one);
  border-radius: .6rem; padding: .8rem 1rem; }
.answers > div.bad { border-left-color: var(--two); }
.answers h3 { margin: 0; font-size: .95rem; font-weight: 400; color: var(--soft); }
.answers strong { display: block; font-size: 1.9rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.answers p { margin: 0; font-size: .9rem; } .answers p, .answers strong { overflow-wrap: anywhere; }
.warning { border: 1px solid var(--two); border-radius: .6rem; padding: .6rem 1rem; margin: .75rem 0; }
.gallery { display: flex; flex-wrap: wrap; gap: .75rem; margin: .5rem 0; padding: 0; list-style: none; }
.gallery li { width: 9.4rem; font-size: .8rem; line-height: 1.3; overflow-wrap: anywhere; }
.gallery img { display: block; width: 100%; height: auto; border-radius: .3rem; image-rendering: pixelated; }
img.maps { display: block; max-width: 100%; height: auto; image-rendering: pixelated; }
.gallery .two { display: grid; grid-template-columns: 1fr 1fr; gap: .2rem; }
svg .hover { fill: transparent; } svg .hover:hover { fill: var(--line); fill-opacity: .5; }
svg .bar-one { fill: var(--one); fill-opacity: .65; } svg .bar-two { fill: var(--two); fill-opacity: .65; }
svg .band-one { fill: var(--one); fill-opacity: .15; } svg .band-two { fill: var(--two); fill-opacity: .15; }
svg .faint { fill-opacity: .5; stroke: none; }
svg .mark { stroke: var(--ink); stroke-dasharray: 4 3; } svg .chance { stroke: var(--soft); stroke-dasharray: 2 3; }
svg .box { fill: var(--page); stroke: var(--soft); } svg .box.heavy { stroke: var(--one); stroke-width: 1.5; }
svg .wire { fill: none; stroke: var(--soft); stroke-width: 1.5; }
svg .skip { fill: none; stroke: var(--two); stroke-width: 2.5; } svg text.label { fill: var(--ink); }
svg.heat { max-width: 44rem; }
svg.drawing { width: auto; max-width: 100%; margin: 0 auto; }
@media print { html { font-size: 11px; } body { max-width: none; background: #fff; padding: 0; font-size: 11px; }
  .sub, summary { break-after: avoid; }
  .card, .figures div, .answers > div, .gallery li { break-inside: avoid; } h2, h3 { break-after: avoid; } }
]]
