//! Modules of one folder that import each other, directly or through others.
//!
//! Who reads one module of such a circle has to read all of them. What they share belongs into
//! a module below them. An import counts for the module that has the name, not for a folder
//! that exports the name again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    slice,
};

use anyhow::{Result, ensure};

/// The path of a module or of a name in one, from the crate's root.
type Name = Vec<String>;

/// The source text of each module.
type Modules = BTreeMap<Name, String>;

/// Looks for circles in the source of a crate.
///
/// # Errors
/// If there are any.
pub(crate) fn check(source: &Path) -> Result<()> {
    let mut modules = Modules::new();
    read(source, &[], &mut modules)?;
    let circles = circles(&modules);
    ensure!(
        circles.is_empty(),
        "modules in {} import each other; move what they share into a module below them:\n{}",
        source.display(),
        circles.join("\n")
    );
    Ok(())
}

/// Reads all modules but those of tests, which may use everything.
fn read(folder: &Path, module: &[String], modules: &mut Modules) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let child = [module, &[name.to_string()]].concat();
        if name == "main" || name.ends_with("tests") || name == "fuzz" {
            continue;
        }
        if path.is_dir() {
            read(&path, &child, modules)?;
        } else if name == "lib" || name == "mod" {
            modules.insert(module.to_vec(), fs::read_to_string(&path)?);
        } else {
            modules.insert(child, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The imports that are part of a circle, a line each.
fn circles(modules: &Modules) -> Vec<String> {
    let (mut all, mut exports) = (Vec::new(), BTreeMap::new());
    for (module, text) in modules {
        for path in named(module, text) {
            if let Some(name) = path.last() {
                exports.insert([&module[..], slice::from_ref(name)].concat(), path.clone());
            }
            all.push((module, path));
        }
    }
    let mut imports: BTreeMap<(&[String], &str), BTreeMap<String, String>> = BTreeMap::new();
    for (from, path) in &all {
        let to = home(path, modules, &exports, 0);
        let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        if let (Some(one), Some(other)) = (from.get(common), to.get(common)) {
            let line = format!("  {} imports {}", from.join("::"), path.join("::"));
            let others = imports.entry((&from[..common], one)).or_default();
            others.insert(other.clone(), line);
        }
    }
    let mut lines = Vec::new();
    for ((folder, one), others) in &imports {
        for (other, line) in others {
            let (mut seen, mut open) = (BTreeSet::new(), vec![&**other]);
            while let Some(next) = open.pop() {
                if seen.insert(next) {
                    let further = imports.get(&(*folder, next)).into_iter().flatten();
                    open.extend(further.map(|(to, _)| &**to));
                }
            }
            if seen.contains(one) {
                lines.push(line.clone());
            }
        }
    }
    lines
}

/// The module that has what a path names.
fn home(path: &[String], modules: &Modules, exports: &BTreeMap<Name, Name>, deep: u8) -> Name {
    let is_module = |end: &usize| modules.contains_key(&path[..*end]);
    let end = (1..=path.len()).take_while(is_module).last().unwrap_or(0);
    match path.get(..=end).and_then(|name| exports.get(name)) {
        Some(export) if deep < 8 => {
            let path = [export, &path[end + 1..]].concat();
            home(&path, modules, exports, deep + 1)
        }
        _ => path[..end].to_vec(),
    }
}

/// The paths that a module names, in `use` or elsewhere, from the crate's root.
fn named(module: &[String], text: &str) -> Vec<Name> {
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines();
    let lines = lines.filter_map(|line| line.split("//").next());
    let code = lines.collect::<Vec<_>>().join(" ");
    let code = code.replace('{', " { ").replace('}', " } ");
    let words = code.split(|c: char| !(c.is_alphanumeric() || "_:{}".contains(c)));
    // What stands before an open brace: a path, if the brace is one of `use`.
    let mut open: Vec<Option<Name>> = Vec::new();
    let (mut found, mut path, mut before) = (Vec::new(), None, "");
    for word in words.filter(|word| !word.is_empty()) {
        match word {
            "{" => open.push(path.take().filter(|_| before.ends_with("::"))),
            "}" => drop(open.pop()),
            _ => {
                let first = word.split("::").next();
                let is_here = before == "use" || word.starts_with("self::");
                let base = match first {
                    Some("crate") => Some(Name::new()),
                    Some("super") => Some(module.to_vec()),
                    _ if word == "as" || before == "as" => None,
                    _ if is_here => Some(module.to_vec()),
                    _ => open.last().cloned().flatten(),
                };
                path = base.map(|base| word.split("::").fold(base, join));
                found.extend(path.clone());
            }
        }
        before = word;
    }
    found
}

fn join(mut path: Name, part: &str) -> Name {
    match part {
        "super" => drop(path.pop()),
        "" | "crate" | "self" => {}
        part => path.push(part.to_owned()),
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles_of(modules: &[(&str, &str)]) -> Vec<String> {
        let modules = modules.iter().map(|(name, text)| {
            let name = name.split("::").filter(|part| !part.is_empty());
            (name.map(str::to_owned).collect(), (*text).to_owned())
        });
        circles(&modules.collect())
    }

    #[test]
    fn modules_that_import_each_other_are_a_circle() {
        let used = [
            ("", "mod a;\nmod b;\nmod c;\nmod d;"),
            ("a", "use crate::{\n    b::{One, Two as Other},\n    d,\n};"),
            ("b", "fn f() {\n    super::c::g();\n}"),
            ("c", "// use crate::a;\nuse crate::d::X;"),
            ("d", "#[cfg(test)]\nmod tests {\n    use crate::a;\n}"),
        ];
        assert_eq!(circles_of(&used), [""; 0]);
        let mut circle = used;
        circle[3].1 = "use super::a::Three;";
        let lines = [
            "  a imports b::Two",
            "  b imports c::g",
            "  c imports a::Three",
        ];
        assert_eq!(circles_of(&circle), lines);
    }

    #[test]
    fn a_folder_that_exports_a_name_hides_no_circle() {
        let modules = [
            ("", "mod link;"),
            ("link", "pub use error::Error;\nuse self::way::Way;"),
            ("link::error", "use super::way::Way;"),
            ("link::way", "use super::Error;"),
            ("link::way::deep", "use crate::link::way;\nuse super::Way;"),
        ];
        let lines = [
            "  link::error imports link::way::Way",
            "  link::way imports link::Error",
        ];
        assert_eq!(circles_of(&modules), lines);
    }
}
