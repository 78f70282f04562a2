//! The page, and its style and script. It stands alone: nothing is fetched from elsewhere, and it has no style and no script
//! within, as its content policy demands.

use super::frame::Fragments;
use crate::chart::chart_style;

/// What the page does with the stream of changes.
pub(super) const SCRIPT: &str = include_str!("page.js");

/// How the page looks; the rules of the pictures' colours follow.
pub(super) fn style() -> String {
    include_str!("page.css").to_owned() + &chart_style()
}

/// The page as it is now. Without a script it loads itself again.
pub(super) fn page(fragments: &Fragments) -> String {
    let Fragments { summary, interfaces, classes, pictures, flows, refusals } = fragments;
    let pictures = pictures.as_deref().unwrap_or_default();
    format!(
        "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>gqos</title>
<link rel=\"icon\" href=\"/icon.svg\">
<link rel=\"stylesheet\" href=\"/page.css\">
<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>
<script src=\"/page.js\" defer></script>
</head>
<body>
<a class=\"skip\" href=\"#flows-heading\">To the flows</a>
<header><h1>gqos</h1><p id=\"live\"><noscript>This page loads itself every 5 s.</noscript></p></header>
<main>
<section id=\"summary\" aria-label=\"Daemon\">{summary}</section>
<h2>Interfaces</h2>
<section id=\"interfaces\">{interfaces}</section>
<h2>The last ten minutes</h2>
<section id=\"pictures\">{pictures}</section>
<h2>Classes</h2>
<section id=\"classes\">{classes}</section>
<h2 id=\"flows-heading\" tabindex=\"-1\">Flows</h2>
<section id=\"flows\">{flows}</section>
<h2>Recent refusals</h2>
<section id=\"refusals\">{refusals}</section>
<p class=\"note\">Rates are of IP packets; used and sent count link headers as well. A promise is kept if the flow's class has lately neither dropped packets nor let them wait, or sends at its rate. A dash is a value that the kernel does not count.
<a href=\"/metrics\">Metrics</a> <a href=\"/health\">Health</a> <a href=\"/\">Load again</a></p>
</main>
</body></html>
"
    )
}
