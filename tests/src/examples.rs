//! Command lines that the documentation and the help show as examples.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The ends for examples that leave theirs out.
const ENDS: [&str; 2] = ["--src-pod=default/web", "--dst-pod=shop/cart"];

/// The README and all pages of the documentation.
///
/// # Errors
/// If the folder cannot be read.
pub fn pages() -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(pages)
}

/// The arguments of each `tracer` in a page's code: between fences, or indented.
///
/// # Errors
/// If a line's quotes are not closed.
pub fn of_page(text: &str) -> Result<Vec<Vec<String>>> {
    let mut fenced = false;
    let mut code = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            code.push_str(line);
            code.push('\n');
        }
    }
    command_lines(&code)
        .iter()
        .map(|line| words(line))
        .collect()
}

/// The arguments of each `tracer` in a command's help after its options. In the help, a second
/// column may describe a line.
///
/// # Errors
/// If a line's quotes are not closed.
pub fn of_help(end: &str) -> Result<Vec<Vec<String>>> {
    let lines = command_lines(end);
    let first = lines.iter().map(|line| line.split("   ").next());
    first.flatten().map(words).collect()
}

/// What may stand before `tracer` in a line: a prompt, `sudo`, or the program before a pipe.
const BEFORE: [&str; 4] = ["$ ", "# ", "sudo ", "| "];

/// The lines with a command `tracer`, from that word on. Each line has its continuations: after a
/// backslash, or while quotes are open.
fn command_lines(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        let mut places = line
            .match_indices("tracer ")
            .map(|(at, _)| line.split_at(at));
        let command = places.find(|(before, _)| {
            before.is_empty() || BEFORE.iter().any(|mark| before.ends_with(mark))
        });
        // A line with brackets is a syntax, not an example.
        let Some((_, command)) = command.filter(|(_, command)| !command.contains('[')) else {
            continue;
        };
        let mut whole = command.to_owned();
        while whole.ends_with('\\') || shlex::split(&whole).is_none() {
            let Some(next) = lines.next() else { break };
            whole = format!("{} {}", whole.trim_end_matches('\\'), next.trim());
        }
        found.push(whole);
    }
    found
}

/// The words of a command, without pipes and redirections.
fn words(line: &str) -> Result<Vec<String>> {
    let words = shlex::split(line).with_context(|| format!("quotes are not closed: {line}"))?;
    let is_own = |word: &String| !matches!(&**word, "|" | ">" | "<" | "&&");
    let words = words.into_iter().take_while(is_own);
    let words = words.flat_map(|word| match &*word {
        "…" => ENDS.map(str::to_owned).to_vec(),
        _ => vec![word],
    });
    Ok(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_behind_a_backslash() -> Result<()> {
        let page = "text\n\n    sudo tracer follow … \\\n      -o json | jq\n\n```\n$ tracer show 'a b'\n```\ntracer no\n";
        let expected: [&[&str]; 2] = [
            &["tracer", "follow", ENDS[0], ENDS[1], "-o", "json"],
            &["tracer", "show", "a b"],
        ];
        assert_eq!(of_page(page)?, expected);
        Ok(())
    }

    #[test]
    fn a_command_may_come_after_a_prompt_or_a_pipe() -> Result<()> {
        let help =
            "  node-a# tracer show a\n  cat x | tracer replay -\n  ssh laptop tracer replay b\n";
        let expected: [&[&str]; 2] = [&["tracer", "show", "a"], &["tracer", "replay", "-"]];
        assert_eq!(of_help(help)?, expected);
        Ok(())
    }

    #[test]
    fn a_second_column_is_no_argument() -> Result<()> {
        let help = "EXAMPLES\n  tracer drops                 what is dropped, and why\n";
        assert_eq!(of_help(help)?, [["tracer", "drops"]]);
        Ok(())
    }
}
