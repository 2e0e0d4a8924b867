/** The report's style sheet: one for light, dark, phone and paper. No font, image or sheet from elsewhere. */
import type { Look } from './palette.js';

const INK = {
  light: '--page:#ffffff;--card:#f6f7f9;--ink:#1f2328;--soft:#59636e;--rule:#d1d6dc;--link:#0969da',
  dark: '--page:#0d1117;--card:#161b22;--ink:#e6edf3;--soft:#9aa4af;--rule:#343b44;--link:#6cb6ff',
};

/** `--p0`, `--p1` ... are the paths' colours, for the legend; the charts read the rest from here too. */
export function reportStyle(looks: readonly Look[]): string {
  const colours = (theme: 'light' | 'dark'): string => looks.map((look, index) => `;--p${index}:${look[theme]}`).join('');
  return `:root{color-scheme:light dark;${INK.light}${colours('light')}}
@media screen and (prefers-color-scheme:dark){:root{${INK.dark}${colours('dark')}}}
${RULES}`;
}

const RULES = `
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:76rem;background:var(--page);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.25rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--rule);padding-bottom:.2rem}
h3{font-size:1rem;margin:0}
p,li,dd{max-width:46rem}
a{color:var(--link)}
.lead{max-width:60rem;font-size:1.3rem;line-height:1.35;border-left:5px solid var(--p0,var(--link));padding-left:.9rem;margin:.8rem 0}
.findings{padding-left:1.2rem}
.findings li{max-width:60rem;margin:.2rem 0}
.warnings{background:var(--card);border-radius:.5rem;padding:.1rem 1rem;margin:1rem 0;max-width:60rem}
.warnings p{margin:.5rem 0;max-width:none}
.paths{margin:.6rem 0}
.paths div{display:grid;grid-template-columns:9rem minmax(0,1fr);gap:0 .8rem;padding:.12rem 0}
.paths dt{font-weight:600}
.paths dd{margin:0}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.5rem 1.2rem;background:var(--card);border-radius:.5rem;padding:.8rem 1rem;margin:1rem 0}
.facts dt{color:var(--soft);font-size:.8rem}
.facts dd{margin:0}
.controls{position:sticky;top:0;z-index:5;display:flex;flex-wrap:wrap;gap:.3rem 1.4rem;align-items:center;background:var(--page);border-bottom:1px solid var(--rule);padding:.4rem 0;margin:0 0 .8rem}
.controls fieldset{border:0;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.1rem .9rem;align-items:center}
.controls legend{float:left;margin-right:.6rem;color:var(--soft);font-size:.85rem}
.controls label{display:inline-flex;gap:.35rem;align-items:center;min-height:2rem;cursor:pointer;max-width:100%}
.swatch{width:38px;height:14px;flex:none}
.charts{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:1rem}
.chart{background:var(--card);border-radius:.5rem;padding:.8rem;margin:0;min-width:0}
.chart.wide{grid-column:1/-1}
.chart header{display:flex;flex-wrap:wrap;justify-content:space-between;gap:.2rem 1rem}
.chart header label{font-size:.85rem;color:var(--soft);white-space:nowrap}
.scaling{display:block;width:100%;height:auto}
.scaling text{font-size:12px;fill:var(--ink)}
.note:empty{display:none}
.unit,.note{color:var(--soft);font-size:.85rem;margin:.1rem 0 .4rem}
.panels{display:flex;flex-wrap:wrap;gap:.6rem}
.panel{position:relative;flex:1 1 17rem;min-width:0}
.panel h4{font-size:.85rem;font-weight:600;margin:0 0 .1rem 3rem}
.tip{position:absolute;pointer-events:none;z-index:4;background:var(--page);border:1px solid var(--rule);border-radius:.3rem;padding:.3rem .5rem;font-size:.78rem;line-height:1.35;white-space:nowrap;box-shadow:0 2px 6px #0003}
.tip b{display:block}
.tip .shown,.controls .shown span{font-weight:600}
.tip i{display:inline-block;width:.65em;height:.65em;margin-right:.4em;border-radius:50%}
.scroll{overflow-x:auto;border:1px solid var(--rule);border-radius:.4rem;margin:.4rem 0}
table{overflow-wrap:normal;border-collapse:collapse;font-size:.83rem;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;padding:.4rem .6rem;color:var(--soft);position:sticky;left:0}
th,td{padding:.25rem .6rem;text-align:right;white-space:nowrap;border-top:1px solid var(--rule)}
th{font-weight:600}
thead th{vertical-align:bottom}
tbody th,td{vertical-align:top}
tbody th,thead th:first-child{text-align:left;position:sticky;left:0;background:var(--page);z-index:1;max-width:11rem;overflow:hidden;text-overflow:ellipsis}
th.text{text-align:left}
td.text{text-align:left;white-space:normal;min-width:8.5rem}
td[colspan]{max-width:0}
td small{color:var(--soft);display:block;font-size:.92em}
tbody tr.first>*{border-top:2px solid var(--soft)}
summary{cursor:pointer;font-weight:600;padding:.4rem 0}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
footer{margin-top:2rem;color:var(--soft);font-size:.85rem}
@media(max-width:52rem){.paths div{grid-template-columns:minmax(0,1fr)}.paths dd{margin:0 0 .3rem}.lead{font-size:1.1rem}.charts{grid-template-columns:minmax(0,1fr)}.controls{position:static}body{padding:.7rem}h1{font-size:1.4rem}tbody th,thead th:first-child{max-width:9rem}}
@page wide{size:landscape}
@media print{.tables{page:wide}body{max-width:none;padding:0;font-size:10pt}.charts{display:block}.chart{break-inside:avoid;margin-bottom:4mm}.controls{position:static}.controls fieldset.pick,.chart header label,.controls input,.tip{display:none}.scroll{overflow:visible;border:0}table{font-size:6.3pt}th,td{padding:.5mm .8mm}td.text{min-width:0}tbody th,thead th:first-child{position:static}tr{break-inside:avoid}a{color:inherit;text-decoration:none}}
`;
