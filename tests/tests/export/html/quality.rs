//! What makes a page readable for everybody: its language, headings, names of controls, colours
//! and its print. The rules are those of WCAG 2.2, level AA.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::shown;
use crate::{export, fixture, folder};

/// The least contrast of text, and of graphics and the borders of controls.
const TEXT: f64 = 4.5;
const GRAPHICS: f64 = 3.0;

fn page() -> Result<String> {
    let folder = folder()?;
    let page = export(&folder, &fixture("pod-restarts"), &["-f", "html"])?;
    Ok(fs::read_to_string(page)?)
}

/// The page's style sheet, without the parts of other media; and the part of one of them.
fn style(page: &str, medium: &str) -> Result<(String, String)> {
    let (_, style) = page.split_once("<style>").context("a style")?;
    let (style, _) = style.split_once("</style>").context("its end")?;
    let (mut outside, mut inside) = (String::new(), String::new());
    let mut rest = style;
    while let Some((before, media)) = rest.split_once("@media ") {
        outside += before;
        let (name, body) = media.split_once('{').context("a medium's rules")?;
        let mut depth = 1;
        let end = body.find(|letter| {
            depth += match letter {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            depth == 0
        });
        let (body, after) = body.split_at(end.context("a medium's end")?);
        if name.trim() == medium {
            inside += body;
        }
        rest = &after[1..];
    }
    outside += rest;
    Ok((outside, inside))
}

/// The colours that rules for `:root` set, by name.
fn colours(rules: &str) -> Result<BTreeMap<String, [f64; 3]>> {
    let (_, root) = rules.split_once(":root {").context("a palette")?;
    let (root, _) = root.split_once('}').context("its end")?;
    let lines = root.split(';').filter_map(|line| line.split_once(':'));
    let named = lines.filter(|(name, _)| name.trim().starts_with("--"));
    let colour = |(name, value): (&str, &str)| {
        let digits = value.trim().strip_prefix('#').context("a colour")?;
        let each = digits.len() / 3;
        let mut parts = [0.0; 3];
        for (part, at) in parts.iter_mut().zip([0, each, 2 * each]) {
            let value = u8::from_str_radix(&digits[at..at + each], 16)?;
            // A single digit stands for two of the same.
            *part = f64::from(if each == 1 { 17 * value } else { value }) / 255.0;
        }
        Ok((name.trim().to_owned(), parts))
    };
    named.map(colour).collect()
}

/// Relative luminance, as WCAG defines it.
fn luminance(colour: [f64; 3]) -> f64 {
    let linear = colour.map(|part| {
        if part <= 0.04045 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let [one, other] = [one, other].map(luminance);
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn colours_have_enough_contrast_in_light_and_dark_and_in_print() -> Result<()> {
    ensure!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
    let page = page()?;
    let (light, dark) = style(&page, "(prefers-color-scheme: dark)")?;
    let (_, print) = style(&page, "print")?;
    let light = colours(&light)?;
    let over = |below: &BTreeMap<String, [f64; 3]>, rules: &str| -> Result<_> {
        let mut all = below.clone();
        all.extend(colours(rules)?);
        Ok(all)
    };
    let dark = over(&light, &dark)?;
    // A browser may keep the dark palette below the print's.
    let prints = [over(&light, &print)?, over(&dark, &print)?];
    let palettes = [("light", &light), ("dark", &dark)];
    let palettes = palettes.into_iter().chain([
        ("print of light", &prints[0]),
        ("print of dark", &prints[1]),
    ]);
    for (name, palette) in palettes {
        for back in ["--back", "--raised", "--chosen"] {
            let pairs =
                ["--text", "--dim", "--link", "--good", "--bad", "--odd"].map(|it| (it, TEXT));
            for (front, least) in pairs.into_iter().chain([("--bar", GRAPHICS)]) {
                let ratio = contrast(palette[front], palette[back]);
                ensure!(ratio >= least, "{name}: {front} on {back} is {ratio:.2}");
            }
        }
    }
    Ok(())
}

/// The headings of the page in their order, after the script has run.
const HEADINGS: &str = "
    return [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]
      .map((one) => [Number(one.tagName[1]), one.innerText]);";

/// Controls without a name for a screen reader, tables without column headers, and drawings
/// without a text. The last part is the number of all things that were looked at.
const UNNAMED: &str = "
    const all = [...document.querySelectorAll('input, select, textarea, button, table, svg, section, article, [role=listbox]')];
    const name = (one) => {
      const by = one.getAttribute('aria-labelledby');
      if (by !== null) return document.getElementById(by)?.textContent ?? '';
      if (one.hasAttribute('aria-label')) return one.getAttribute('aria-label');
      if (one.labels?.length > 0) return one.labels[0].textContent;
      if (one.tagName === 'BUTTON') return one.textContent;
      if (one.tagName === 'TABLE') return one.querySelector('th[scope=col]')?.textContent ?? '';
      return '';
    };
    const without = all.filter((one) => name(one).trim() === '');
    return { without: without.map((one) => one.outerHTML.slice(0, 120)), all: all.length };";

#[test]
fn a_page_has_a_language_and_headings_in_order() -> Result<()> {
    let page = page()?;
    ensure!(page.contains("<html lang=\"en\">"));
    ensure!(
        page.contains("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
    );
    let folder = folder()?;
    let headings = shown(folder.path(), &page, HEADINGS)?;
    let headings = headings.as_array().context("a list")?;
    let mut before = 0;
    for heading in headings {
        let level = heading[0].as_u64().context("a level")?;
        // One heading of the first level, and none that skips a level.
        ensure!((level == 1) == (before == 0), "{headings:?}");
        ensure!(level <= before + 1, "{headings:?}");
        ensure!(heading[1] != "", "{headings:?}");
        before = level;
    }
    ensure!(
        headings.iter().any(|heading| heading[0] == 3),
        "{headings:?}"
    );
    Ok(())
}

#[test]
fn everything_on_a_page_has_a_name() -> Result<()> {
    let folder = folder()?;
    let found = shown(folder.path(), &page()?, UNNAMED)?;
    ensure!(found["without"] == Value::Array(Vec::new()), "{found}");
    ensure!(found["all"].as_u64() > Some(20), "{found}");
    Ok(())
}

/// A print has no controls, and cuts nothing off.
#[test]
fn a_print_is_whole() -> Result<()> {
    let (_, print) = style(&page()?, "print")?;
    for rule in [
        "form, .keys { display: none; }",
        "#list, #detail, pre { height: auto; max-height: none; overflow: visible;",
        "tr { break-inside: avoid; }",
    ] {
        ensure!(print.contains(rule), "{rule} in {print}");
    }
    Ok(())
}
