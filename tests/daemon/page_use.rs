//! The web page as its readers use it: by keyboard, on a narrow screen, and without a script.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use gqos::policy::HttpAddress;
use serde_json::{Value, json};

use super::browser::Browser;
use super::client::{Client, TestDaemon};
use super::common;
use super::http::POLICY;
use super::page::{HOSTILE, SHOWN, reserve};

/// A daemon, the client that holds its flows, a browser in its network namespace, and the address of the page.
fn open() -> Option<(TestDaemon, Client, Browser, String)> {
    if !common::installed(&["nsenter"]) {
        return None;
    }
    if Command::new("chromium").arg("--version").output().is_err() {
        common::skip("no chromium; Debian: chromium");
        return None;
    }
    let daemon = TestDaemon::start_with(POLICY, |_: &Path| Some("127.0.0.1:0".parse().unwrap()))?;
    let mut client = daemon.client();
    reserve(&mut client);
    let Some(HttpAddress::Port(address)) = &daemon.http else { panic!("{:?}", daemon.http) };
    let url = format!("http://{address}/");
    let browser = Browser::start(&daemon.site().namespace_path());
    Some((daemon, client, browser, url))
}

/// Whether the element with the focus shows that it has it.
const SHOWS_FOCUS: &str = "(() => { const style = getComputedStyle(document.activeElement), box = document.activeElement.getBoundingClientRect(); \
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && box.left >= 0 && box.width > 0 && box.height > 0; })()";

#[test]
fn every_control_is_reached_and_operated_by_keyboard() {
    let Some((_daemon, _client, mut browser, url)) = open() else { return };
    browser.open(&url);
    browser.until("document.querySelector('#live button')?.textContent === 'Pause'");
    let controls =
        browser.value("[...document.querySelectorAll('a[href],button,input,select,summary')].length");
    let mut reached = Vec::new();
    loop {
        browser.press("Tab");
        let name = browser
            .value("document.activeElement === document.body ? null : document.activeElement.textContent");
        if name.is_null() || reached.first() == Some(&name) {
            break;
        }
        assert_eq!(browser.value(SHOWS_FOCUS), true, "the focus of {name} is seen");
        reached.push(name);
        assert!(reached.len() < 100, "{reached:?}");
    }
    assert_eq!(Value::from(reached.len()), controls, "{reached:?}");
    assert_eq!(reached[..2], ["To the flows", "Pause"]);
    // The button stops what changes, and resumes it.
    browser.value("document.querySelector('#live button').focus()");
    browser.press("Enter");
    browser.until("document.querySelector('#live button').textContent === 'Resume'");
    browser.press(" ");
    browser.until("document.querySelector('#live button').textContent === 'Pause'");
    browser.value("document.querySelector('.skip').focus()");
    browser.press("Enter");
    browser.until("document.activeElement.id === 'flows-heading'");
    assert_eq!(browser.value(SHOWS_FOCUS), true, "the heading shows that it has the focus");
    // A frame that replaces parts of the page leaves the focus where it is.
    browser.value("document.querySelector('#live button').focus()");
    browser.value("window.before = document.getElementById('refusals').firstChild; null");
    browser.until("document.getElementById('refusals').firstChild !== window.before");
    assert_eq!(browser.value("document.activeElement.textContent"), "Pause");
    assert_eq!(browser.complaints(), [&Value::Null; 0]);
}

#[test]
fn a_narrow_screen_shows_everything_without_scrolling_to_the_side() {
    let Some((_daemon, _client, mut browser, url)) = open() else { return };
    for (width, script) in [(360, true), (360, false), (320, true), (1200, true)] {
        let screen = json!({ "width": width, "height": 740, "deviceScaleFactor": 2, "mobile": width < 700 });
        browser.call("Emulation.setDeviceMetricsOverride", screen);
        browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": !script }));
        browser.open(&url);
        if script {
            browser.until("document.getElementById('live').textContent.includes('live')");
        }
        // A screen with a mouse has a bar at the side, which takes part of the width.
        let root = "document.documentElement";
        let sizes = browser.value(&format!("[{root}.scrollWidth - {root}.clientWidth, innerWidth]"));
        assert_eq!(sizes, json!([0, width]), "the page is no wider than the screen");
        // Nothing that is shown ends beyond the screen either, where it would be cut off.
        let beyond = browser.value(
            "[...document.querySelectorAll('main *, header *')].filter(element => { \
                const box = element.getBoundingClientRect(); \
                return box.width > 0 && box.left >= 0 && !element.closest('svg') && box.right > innerWidth + 1; \
             }).map(element => element.outerHTML.slice(0, 80))",
        );
        assert_eq!(beyond, json!([]), "{width}");
        let shown = browser.value("document.getElementById('flows').innerText");
        assert!(shown.as_str().unwrap().contains("<U+202E>gpj"), "{shown}");
    }
}

#[test]
fn no_request_leaves_the_host_and_hostile_names_are_text() {
    let Some((_daemon, _client, mut browser, url)) = open() else { return };
    browser.open(&url);
    browser.until("document.getElementById('live').textContent.includes('live')");
    let requested = browser.requested();
    assert!(requested.len() >= 4, "{requested:?}");
    assert!(
        requested.iter().all(|request| request.starts_with(&url) || request == "about:blank"),
        "{requested:?}"
    );
    // The name is one text: it has made no element.
    let names = browser.value("[...document.querySelectorAll('#flows bdi')].map(name => name.textContent)");
    let shown = HOSTILE.replace('\u{202E}', "<U+202E>");
    assert!(names.as_array().unwrap().contains(&json!(shown)), "{names}");
    assert_eq!(browser.value("document.querySelectorAll('main img').length"), 0);
    assert_eq!(browser.complaints(), [&Value::Null; 0]);
}

#[test]
fn without_a_script_the_page_shows_the_same() {
    let Some((daemon, _client, mut browser, url)) = open() else { return };
    browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    browser.open(&url);
    let document = browser.call("DOM.getDocument", json!({}));
    let node = json!({ "nodeId": document["root"]["nodeId"] });
    let html = browser.call("DOM.getOuterHTML", node)["outerHTML"].as_str().unwrap().to_owned();
    super::page::check(&html, &daemon.client().call("Status", json!({})).unwrap());
    assert!(html.contains(SHOWN) && html.contains("This page loads itself every 5 s."), "{html}");
    assert!(!html.contains("<button"), "no control that does nothing");
    // It loads itself.
    let loads = |browser: &Browser| browser.requested().iter().filter(|request| **request == url).count();
    let before = loads(&browser);
    super::client::until("the page has loaded itself", || {
        browser.value("1");
        loads(&browser) > before
    });
    assert_eq!(browser.complaints(), [&Value::Null; 0]);
}

const STYLE: &str = include_str!("../../src/daemon/http/page.css");

/// The declarations of the style sheet, as property and value.
fn declarations() -> impl Iterator<Item = (&'static str, &'static str)> {
    STYLE.split(['{', '}', ';']).filter_map(|declaration| declaration.trim().split_once(':'))
}

/// The colours of a theme by their names: those of its rule for the root.
fn theme(rule: &str) -> BTreeMap<&'static str, [f64; 3]> {
    let body = STYLE.split(rule).nth(1).unwrap().split('}').next().unwrap();
    let named =
        body.split(';').filter_map(|declaration| declaration.trim().strip_prefix("--")?.split_once(":#"));
    let parsed = named.map(|(name, hex)| {
        let digits =
            if hex.len() == 3 { hex.chars().flat_map(|digit| [digit; 2]).collect() } else { hex.to_owned() };
        let part = |at: usize| f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
        (name, [part(0), part(2), part(4)])
    });
    parsed.collect()
}

/// Source: WCAG 2.2, contrast ratio and relative luminance.
#[expect(clippy::float_arithmetic, reason = "the appearance of colours")]
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [red, green, blue] = colour.map(|part| {
            let part = part / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
    };
    let (one, other) = (luminance(one), luminance(other));
    (one / other).max(other / one)
}

/// WCAG 2.2 level AA: 4.5 for text, 3 for what shows a control and its focus. Lines between rows carry no meaning.
#[test]
fn every_text_has_contrast_in_both_themes() {
    // There is one background: each pair is a colour with it.
    let backgrounds: Vec<_> =
        declarations().filter(|(property, _)| property.starts_with("background")).collect();
    assert!(
        backgrounds.iter().all(|(_, value)| *value == "var(--ground)") && backgrounds.len() == 2,
        "{backgrounds:?}"
    );
    let [light, dark] = [":root{color-scheme:light dark;", "dark){:root{"].map(theme);
    assert_eq!(light.keys().collect::<Vec<_>>(), dark.keys().collect::<Vec<_>>());
    let mut texts = 0;
    for (property, value) in declarations() {
        let Some(name) = value.split("var(--").nth(1).and_then(|rest| rest.split(')').next()) else {
            continue;
        };
        let least = match property {
            "color" => 4.5,
            "outline" | "border" => 3.0,
            "background" => continue,
            "border-bottom" if name == "line" => continue,
            other => panic!("{other}: {value}"),
        };
        for (theme, colours) in [("light", &light), ("dark", &dark)] {
            let ratio = contrast(colours[name], colours["ground"]);
            assert!(ratio >= least, "{theme} {property} {name}: {ratio:.2}");
        }
        texts += usize::from(property == "color");
    }
    assert!(texts >= 8, "{texts}");
}

#[test]
fn contrast_is_that_of_the_standard() {
    let [black, white] = [[0.0; 3], [255.0; 3]];
    assert_eq!(format!("{:.2}", contrast(black, white)), "21.00");
    assert_eq!(format!("{:.2}", contrast([118.0; 3], white)), "4.54", "#767676");
}
