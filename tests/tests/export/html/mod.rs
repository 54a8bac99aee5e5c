//! Pages, shown by Chromium.

// The path of the packets.
mod path;
// What makes a page readable for everybody.
mod quality;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tracer_tests::{Process, process, program::LIMIT};

use crate::{export, fixture, folder, journeys};

/// Recordings with drops, with translations, with pods that come and go, and without a problem.
const RECORDINGS: &[&str] = &[
    "clean",
    "nft-forward-far-drop-4",
    "pod-restarts",
    "wiring-calicodualstack-clean",
    "wiring-docker-published",
];

/// The page's policy allows only its own scripts, so the tests remove it.
const POLICY: &str = "http-equiv=\"Content-Security-Policy\"";

/// Shows a page, runs `script` in it, and returns the script's value.
fn shown(folder: &Path, page: &str, script: &str) -> Result<Value> {
    let driver = format!(
        "<script>document.body.append(Object.assign(document.createElement('pre'), \
         {{ id: 'result', textContent: JSON.stringify((() => {{ {script} }})()) }}));</script>"
    );
    let page = page
        .replace(POLICY, "name=\"policy\"")
        .replace("</body>", &format!("{driver}</body>"));
    let dom = dom(folder, &page)?;
    let (_, result) = dom
        .rsplit_once("<pre id=\"result\">")
        .with_context(|| format!("the page did not end: {dom}"))?;
    let (result, _) = result.split_once("</pre>").context("an end")?;
    let result = result
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    Ok(serde_json::from_str(&result)?)
}

/// The DOM of a page in Chromium.
fn dom(folder: &Path, page: &str) -> Result<String> {
    let file = folder.join("page.html");
    fs::write(&file, page)?;
    let mut command = process::command("chromium");
    // The sandbox is for untrusted pages, and does not run as root.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", folder.join("user").display()));
    command.arg(format!("file://{}", file.display()));
    let ended = Process::start(&mut command, "")?.finish(LIMIT)?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    Ok(ended.stdout)
}

/// The JSON in a page's element.
fn data(page: &str, name: &str) -> Result<Value> {
    let begin = format!("<script type=\"application/json\" id=\"{name}\">");
    let (_, data) = page.split_once(&begin).context("an element")?;
    let (data, _) = data.split_once("</script>").context("its end")?;
    Ok(serde_json::from_str(data)?)
}

/// Replaces the data in an element of a page.
fn with_data(page: &str, name: &str, value: &Value) -> Result<String> {
    let begin = format!("<script type=\"application/json\" id=\"{name}\">");
    let (before, rest) = page.split_once(&begin).context("an element")?;
    let (_, after) = rest.split_once("</script>").context("its end")?;
    let value = value.to_string().replace('<', "\\u003c");
    Ok(format!("{before}{begin}{value}</script>{after}"))
}

/// Goes through a page's whole list by keyboard, and reads the details of each journey.
const ALL: &str = "
    const list = document.getElementById('list');
    const press = (key) => list.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
    const total = JSON.parse(document.getElementById('rows').textContent).length;
    const all = [];
    press('Home');
    for (let number = 0; number < total; number += 1) {
      const chosen = document.getElementById(list.getAttribute('aria-activedescendant'));
      const cells = [...chosen.children].map((cell) => cell.textContent);
      const hops = document.querySelectorAll('#detail .fall tr td:nth-child(2)').length;
      const detail = document.getElementById('detail').innerText;
      all.push({ cells, hops, detail });
      press('ArrowDown');
    }
    return all;";

#[test]
fn a_page_shows_the_journeys_of_a_replay() -> Result<()> {
    for name in RECORDINGS {
        let recording = fixture(name);
        let folder = folder()?;
        let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
        let all = shown(folder.path(), &page, ALL)?;
        let all = all.as_array().context("a list")?;
        let replayed = journeys(&recording)?;
        ensure!(all.len() == replayed.len(), "{name}: {}", all.len());
        let by_id: BTreeMap<String, &Value> = all
            .iter()
            .map(|shown| {
                (
                    shown["cells"][0].as_str().unwrap_or_default().to_owned(),
                    shown,
                )
            })
            .collect();
        for journey in &replayed {
            let id = format!("#{}", journey["id"]);
            let shown = by_id.get(&id).with_context(|| format!("{name}: no {id}"))?;
            let verdict = &journey["verdict"];
            ensure!(shown["cells"][2] == verdict["kind"], "{name}: {shown}");
            let time = journey["time"].as_str().context("a time")?;
            ensure!(
                shown["cells"][1] == time[11..23],
                "{name} at {time}: {shown}"
            );
            let hops = journey["hops"].as_array().context("hops")?;
            let drops = journey["drops"].as_array().context("drops")?;
            let drops = drops.iter().filter(|drop| drop["class"] != "delivered");
            let lines = hops.len() + drops.count();
            ensure!(shown["hops"] == lines, "{name}: {shown}");
            let detail = shown["detail"].as_str().context("text")?;
            let text = verdict["text"].as_str().context("text")?;
            ensure!(detail.contains(text), "{name}: {text} in {detail}");
            for evidence in verdict["evidence"].as_array().context("evidence")? {
                let text = evidence["text"].as_str().context("text")?;
                ensure!(detail.contains(text), "{name}: {text} in {detail}");
            }
            for hop in hops {
                let direction = if hop["direction"] == "ingress" {
                    "←"
                } else {
                    "→"
                };
                let (interface, node) = (hop["interface"].as_str(), hop["node"].as_str());
                let place = format!(
                    "{} {direction} on {}",
                    interface.unwrap_or_default(),
                    node.unwrap_or_default()
                );
                ensure!(detail.contains(&place), "{name}: {place} in {detail}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_wrong_comes_first() -> Result<()> {
    let folder = folder()?;
    let recording = fixture("nft-forward-far-drop-4");
    let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
    let text = "return document.querySelector('main section').innerText";
    let wrong = shown(folder.path(), &page, text)?.to_string();
    ensure!(wrong.contains("What is wrong"), "{wrong}");
    ensure!(
        wrong.contains("10\\tdropped at flannel.1 on node-b"),
        "{wrong}"
    );

    let page = fs::read_to_string(export(&folder, &fixture("clean"), &["-f", "html"])?)?;
    let wrong = shown(folder.path(), &page, text)?.to_string();
    ensure!(
        wrong.contains("Of no journey is anything known to be wrong"),
        "{wrong}"
    );
    Ok(())
}

/// A time span as the page writes it, with all its digits.
fn exact(ns: i64) -> String {
    let (unit, size) = match ns.unsigned_abs() {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => ("µs", 1_000_u64),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let digits = size.ilog10() as usize;
    let (whole, part) = (ns.unsigned_abs() / size, ns.unsigned_abs() % size);
    let sign = if ns < 0 { "-" } else { "" };
    let number = format!("{sign}{whole}.{part:0digits$}");
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number} {unit}")
}

#[test]
fn times_of_hops_have_all_their_digits() -> Result<()> {
    let script = "
        const list = document.getElementById('list');
        const press = (key) => list.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
        const total = JSON.parse(document.getElementById('rows').textContent).length;
        const all = {};
        press('Home');
        for (let number = 0; number < total; number += 1) {
          const detail = document.getElementById('detail');
          const id = detail.querySelector('h3').textContent.split(' ')[0];
          const took = [...detail.querySelectorAll('.fall tr td:nth-child(2)')].map((cell) => cell.textContent);
          all[id] = { time: detail.querySelector('p').textContent, took };
          press('ArrowDown');
        }
        return all;";
    let folder = folder()?;
    let recording = fixture("pod-restarts");
    let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
    let all = shown(folder.path(), &page, script)?;
    let mut nanoseconds = 0;
    for journey in journeys(&recording)? {
        let shown = &all[format!("#{}", journey["id"])];
        let time = journey["time"].as_str().context("a time")?;
        let clock = time[11..].trim_end_matches('Z');
        let begins = shown["time"].as_str().context("text")?;
        ensure!(begins.starts_with(clock), "{clock}: {begins}");
        for (index, hop) in journey["hops"]
            .as_array()
            .context("hops")?
            .iter()
            .enumerate()
        {
            let Some(ns) = hop["since_previous_ns"].as_i64() else {
                continue;
            };
            let took = shown["took"][index].as_str().context("text")?;
            ensure!(
                took.trim_start_matches(['~', '+']) == exact(ns),
                "{ns} ns: {took}"
            );
            nanoseconds += u32::from(ns % 1_000 != 0);
        }
    }
    ensure!(nanoseconds > 0, "no time has a part of a microsecond");
    Ok(())
}

/// A reader of a page knows that journeys are left out, and which ones.
#[test]
fn a_page_names_the_filter_that_made_it() -> Result<()> {
    let folder = folder()?;
    let recording = fixture("nft-forward-far-drop-4");
    let text =
        "return ['note', 'wrong', 'path'].map((id) => document.getElementById(id).innerText)";
    let filtered = |query: &str| -> Result<Value> {
        let page = export(&folder, &recording, &["-f", "html", "--where", query])?;
        shown(folder.path(), &fs::read_to_string(page)?, text)
    };
    let told = filtered("verdict:delivered")?;
    let [note, wrong, path] = [0, 1, 2].map(|part| told[part].as_str().unwrap_or_default());
    ensure!(
        note.contains("--where 'verdict:delivered': 0 of 10"),
        "{note}"
    );
    // The journeys that are left out were dropped.
    ensure!(wrong.contains("leaves other journeys out"), "{wrong}");
    ensure!(path.contains("only the journeys on this page"), "{path}");
    let told = filtered("verdict:dropped")?;
    ensure!(
        told[0].to_string().contains("'verdict:dropped': 10 of 10"),
        "{told}"
    );
    let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
    let told = shown(folder.path(), &page, text)?;
    ensure!(told[0] == "", "{told}");
    Ok(())
}

#[test]
fn a_search_and_a_filter_leave_what_they_ask_for() -> Result<()> {
    let folder = folder()?;
    let recording = fixture("pod-restarts");
    let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
    let script = "
        const count = () => document.getElementById('count').textContent;
        const search = document.getElementById('search');
        const type = (text) => { search.value = text; search.dispatchEvent(new Event('input')); return count(); };
        const boxes = [...document.querySelectorAll('#kinds label')];
        const found = [count(), type('NO-PORT cni0'), type('#14'), type('no such thing'), type('')];
        boxes.filter((box) => !box.textContent.includes('dropped')).forEach((box) => box.click());
        return [...found, count()];";
    let counts = shown(folder.path(), &page, script)?;
    let journeys = journeys(&recording)?;
    let of = |which: &dyn Fn(&&Value) -> bool| journeys.iter().filter(which).count();
    let all = journeys.len();
    let told = |found: usize| format!("{found} of {all} journeys");
    let no_port = of(&|journey| journey["verdict"]["cause"] == "no-port");
    let dropped = of(&|journey| journey["verdict"]["kind"] == "dropped");
    ensure!(no_port > 0 && dropped > no_port);
    let expected = [all, no_port, 1, 0, all, dropped].map(told);
    ensure!(counts == json!(expected), "{counts}");
    Ok(())
}

#[test]
fn a_hundred_thousand_journeys_are_few_elements() -> Result<()> {
    const MANY: u64 = 100_000;
    let folder = folder()?;
    let recording = fixture("pod-restarts");
    let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
    let rows = data(&page, "rows")?;
    let rows = rows.as_array().context("rows")?;
    let many = (1..=MANY).zip(rows.iter().cycle()).map(|(id, row)| {
        let mut row = row.clone();
        row[0] = json!(id);
        row
    });
    let page = with_data(&page, "rows", &Value::Array(many.collect()))?;
    let script = "
        const list = document.getElementById('list');
        let most = 0;
        for (const key of ['Home', 'PageDown', 'End', 'PageUp']) {
          list.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
          most = Math.max(most, document.getElementsByTagName('*').length);
        }
        list.dispatchEvent(new KeyboardEvent('keydown', { key: 'End', bubbles: true }));
        const chosen = document.getElementById(list.getAttribute('aria-activedescendant'));
        return [most, chosen.firstChild.textContent, document.getElementById('count').textContent];";
    let result = shown(folder.path(), &page, script)?;
    let most = result[0].as_u64().context("a number")?;
    ensure!(most < 3_000, "{most} elements");
    ensure!(result[1] == format!("#{MANY}"), "{result}");
    ensure!(result[2] == "100,000 of 100,000 journeys", "{result}");
    Ok(())
}

/// A name is text wherever it is shown. This page is unchanged, with its own policy.
#[test]
fn names_are_no_markup() -> Result<()> {
    const NAME: &str = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";
    let folder = folder()?;
    let recording = fixture("nft-forward-far-drop-4");
    let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
    let bad = |value: &Value| {
        let text = value.to_string();
        let name = json!(NAME).to_string();
        let name = &name[1..name.len() - 1];
        ["node-b", "flannel.1"]
            .iter()
            .fold(text, |text, old| text.replace(old, name))
    };
    let mut page = page;
    for name in ["meta", "strings"] {
        let value = serde_json::from_str(&bad(&data(&page, name)?))?;
        page = with_data(&page, name, &value)?;
    }
    ensure!(page.contains(POLICY));
    let dom = dom(folder.path(), &page)?;
    ensure!(dom.contains("<title>tracer: "), "{dom}");
    ensure!(dom.contains("&lt;img src=x"), "{dom}");
    ensure!(!dom.contains("<img"), "{dom}");
    ensure!(dom.matches("<script").count() == 4, "{dom}");
    Ok(())
}

/// No address in the page leads elsewhere.
#[test]
fn a_page_loads_nothing() -> Result<()> {
    let folder = folder()?;
    let page = fs::read_to_string(export(&folder, &fixture("clean"), &["-f", "html"])?)?;
    ensure!(page.contains("default-src 'none'"));
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for word in [
        "http:", "https:", "src=", "url(", "@import", "<link", "fetch(",
    ] {
        ensure!(!page.contains(word), "{word}");
    }
    Ok(())
}
