//! Skips unneeded parts of YAML.
//!
//! kubectl prints about two hundred lines for a pod, and twelve of them concern addresses. A
//! YAML parser takes seconds for the other lines of a large cluster. In block style, the value
//! of a key is indented deeper than the key, so lines can be skipped without being parsed. Only
//! that is used here. Lines that do not begin with a plain key are kept, and the parser judges
//! them.
//!
//! The output is chunks that parse separately: a document, or some items of a list. So a large
//! list is never in memory as a whole.

use super::objects::{SECTIONS, WHOLE, is_of_use};

/// Approximate size of items that are parsed at once, bytes.
const CHUNK: usize = 1 << 16;

/// Lines that parse separately.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    pub(super) text: String,
    /// The number of each line in the file, from 1.
    pub(super) lines: Vec<u64>,
    /// Whether an item has no kind of its own.
    pub(super) kindless: bool,
}

impl Chunk {
    fn push(&mut self, line: &str, number: u64) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines.push(number);
    }
}

/// The output, in order.
#[derive(Debug)]
pub(super) enum Part {
    /// Items of a list; the next document has the rest of the list.
    Items(Chunk),
    /// A document, without the items that came before.
    Document(Chunk),
}

/// Turns lines into chunks.
#[derive(Debug, Default)]
pub(super) struct Skimmer {
    number: u64,
    /// Whether the document has begun.
    is_open: bool,
    document: Chunk,
    object: Object,
    items: Option<Items>,
}

/// The list that is being read.
#[derive(Debug, Default)]
struct Items {
    /// Column of the dashes; `None` before the first one.
    column: Option<usize>,
    chunk: Chunk,
    /// The open item, and its begin in the chunk.
    item: Object,
    begins: Option<(usize, usize)>,
}

/// The state of reading a mapping.
#[derive(Debug, Default)]
struct Object {
    /// Column of the keys.
    column: usize,
    /// What happens to the lines below the last key.
    below: Below,
    /// Kind of the object, if it has one.
    kind: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Below {
    #[default]
    Keep,
    Leave,
    /// Some children are kept.
    Choose {
        from: &'static [&'static str],
        /// Column of the children, and whether the last one was kept; `None` before the first
        /// one.
        last: Option<(usize, bool)>,
    },
}

impl Skimmer {
    /// Takes a line.
    pub(super) fn line(&mut self, line: &str, out: &mut impl FnMut(Part)) {
        let line = line.trim_end();
        self.number += 1;
        // A byte order mark has no meaning in UTF-8.
        let line = match self.number {
            1 => line.trim_start_matches('\u{feff}'),
            _ => line,
        };
        let number = self.number;
        let indent = line.len() - line.trim_start_matches(' ').len();
        let content = &line[indent..];
        if indent == 0 && (is_mark(content, "---") || is_mark(content, "...")) {
            self.end(out);
            // The rest of the same line belongs to the document.
            if !matches!(content[3..].trim_start().chars().next(), None | Some('#')) {
                self.document.push(line, number);
                self.is_open = true;
            }
            return;
        }
        let is_comment = content.is_empty() || content.starts_with(['#', '%']);
        self.is_open |= !is_comment;
        if let Some(items) = &mut self.items {
            if items.take(line, indent, content, number, out) {
                return;
            }
            items.end(out);
            if items.column.is_none() {
                // This is no list in block style, so the parser decides.
                self.document.push("items:", number);
            }
            self.items = None;
            self.object.below = Below::Keep;
        }
        if indent == 0 && content == "items:" {
            self.items = Some(Items::default());
        } else if indent == 0 && content.starts_with('%') {
            // A directive, which is for the parser.
        } else if self.object.keeps(indent, content) {
            self.document.push(line, number);
        }
    }

    /// Ends the open document.
    pub(super) fn end(&mut self, out: &mut impl FnMut(Part)) {
        if let Some(mut items) = self.items.take() {
            items.end(out);
        }
        let document = std::mem::take(&mut self.document);
        self.object = Object::default();
        if std::mem::take(&mut self.is_open) {
            out(Part::Document(document));
        }
    }
}

impl Items {
    /// Takes a line, if it belongs to the list.
    fn take(
        &mut self,
        line: &str,
        indent: usize,
        content: &str,
        number: u64,
        out: &mut impl FnMut(Part),
    ) -> bool {
        let is_dash = content == "-" || content.starts_with("- ");
        let column = match self.column {
            Some(column) => column,
            None if is_dash => *self.column.insert(indent),
            None => return content.is_empty() || content.starts_with('#'),
        };
        if indent == column && is_dash {
            self.close();
            if self.chunk.text.len() >= CHUNK {
                self.flush(out);
            }
            self.begins = Some((self.chunk.text.len(), self.chunk.lines.len()));
            let rest = content[1..].trim_start_matches(' ');
            self.item = Object {
                column: indent + content.len() - rest.len(),
                ..Object::default()
            };
            if rest.is_empty() {
                // The mapping begins on the next line, where its column shows.
                self.item.column = usize::MAX;
            } else if self.item.keeps(self.item.column, rest) {
                self.chunk.push(line, number);
                return true;
            }
            self.chunk.push(&line[..=indent], number);
            return true;
        }
        if indent <= column && !content.is_empty() && !content.starts_with('#') {
            return false;
        }
        if self.item.column == usize::MAX && !content.is_empty() && !content.starts_with('#') {
            self.item.column = indent;
        }
        if self.item.keeps(indent, content) {
            self.chunk.push(line, number);
        }
        true
    }

    /// Ends the open item. Items of kinds without addresses are not parsed.
    fn close(&mut self) {
        let Some((text, lines)) = self.begins.take() else {
            return;
        };
        match self.item.kind.as_deref() {
            Some(kind) if !is_of_use(kind) => {
                self.chunk.text.truncate(text);
                self.chunk.lines.truncate(lines);
            }
            Some(_) => {}
            None => self.chunk.kindless = true,
        }
    }

    fn flush(&mut self, out: &mut impl FnMut(Part)) {
        let chunk = std::mem::take(&mut self.chunk);
        if !chunk.text.is_empty() {
            out(Part::Items(chunk));
        }
    }

    fn end(&mut self, out: &mut impl FnMut(Part)) {
        self.close();
        self.flush(out);
    }
}

impl Object {
    /// Whether a line of the mapping is kept.
    fn keeps(&mut self, indent: usize, content: &str) -> bool {
        let is_dash = content == "-" || content.starts_with("- ");
        if content.is_empty() || indent > self.column || (indent == self.column && is_dash) {
            return self.below.keeps(indent, content, is_dash);
        }
        if content.starts_with('#') {
            return false;
        }
        let Some((key, value)) = plain_key(content) else {
            self.below = Below::Keep;
            return true;
        };
        if key == "kind" {
            self.kind = plain_value(value);
        }
        let section = SECTIONS.iter().find(|(name, _)| *name == key);
        self.below = match section {
            Some((_, from)) if value.is_empty() => Below::Choose { from, last: None },
            Some(_) => Below::Keep,
            None if matches!(key, "kind" | "items") || WHOLE.contains(&key) => Below::Keep,
            None => Below::Leave,
        };
        !matches!(self.below, Below::Leave)
    }
}

impl Below {
    fn keeps(&mut self, indent: usize, content: &str, is_dash: bool) -> bool {
        let (from, last) = match self {
            Self::Keep => return true,
            Self::Leave => return false,
            Self::Choose { from, last } => (from, last),
        };
        let column = match *last {
            _ if content.is_empty() => return last.is_some_and(|(_, taken)| taken),
            Some((column, taken)) if indent > column || (indent == column && is_dash) => {
                return taken;
            }
            Some((column, _)) => column,
            None => indent,
        };
        if content.starts_with('#') {
            return false;
        }
        let taken = match plain_key(content) {
            Some((key, _)) if indent == column => from.contains(&key),
            _ => true,
        };
        *last = Some((column, taken));
        taken
    }
}

/// Whether a line is a marker of a document's begin or end.
fn is_mark(content: &str, mark: &str) -> bool {
    let rest = content.strip_prefix(mark);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// A key of letters and the rest of its line; `None` for other lines.
fn plain_key(content: &str) -> Option<(&str, &str)> {
    let (key, value) = content.split_once(':')?;
    let key = key
        .strip_prefix('"')
        .map_or(Some(key), |key| key.strip_suffix('"'))?;
    let is_plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_plain && (value.is_empty() || value.starts_with(' '))).then(|| (key, value.trim()))
}

/// A value of letters; `None` for other values.
fn plain_value(value: &str) -> Option<String> {
    let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Part, Skimmer};

    /// A pod among ten unneeded lines.
    fn pod(number: usize) -> String {
        let container = "    - name: main\n      image: a-name-of-some-length\n".repeat(20);
        format!(
            "- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: pod-{number}\n  spec:\n    \
             containers:\n{container}    nodeName: n\n  status:\n    podIP: 10.0.0.1\n"
        )
    }

    fn parts(text: &str) -> Vec<Part> {
        let (mut skimmer, mut parts) = (Skimmer::default(), Vec::new());
        for line in text.lines() {
            skimmer.line(line, &mut |part| parts.push(part));
        }
        skimmer.end(&mut |part| parts.push(part));
        parts
    }

    #[test]
    fn what_is_parsed_is_little_and_comes_in_chunks() {
        let pods: String = (0..2_000).map(pod).collect();
        let text = format!("apiVersion: v1\nitems:\n{pods}kind: List\n");
        let mut kept = 0;
        let parts = parts(&text);
        for part in &parts {
            match part {
                Part::Items(chunk) => {
                    assert!(chunk.text.len() < CHUNK + 1_000);
                    assert_eq!(chunk.text.lines().count(), chunk.lines.len());
                    assert!(!chunk.kindless);
                    kept += chunk.text.len();
                }
                Part::Document(chunk) => assert_eq!(chunk.text, "kind: List\n"),
            }
        }
        assert!(parts.len() > 3 && kept * 10 < text.len(), "{kept}");
    }

    #[test]
    fn what_is_no_plain_key_is_left_to_the_parser() {
        for text in [
            "{kind: Pod, metadata: {name: p}}\n",
            "? kind\n: Pod\n",
            "'kind': Pod\n'metadata':\n  labels: {}\n",
            "  kind: Pod\n  other:\n    name: p\n",
            "<<: *base\nspec: &anchor {}\n",
        ] {
            let parts = parts(text);
            let [Part::Document(chunk)] = parts.as_slice() else {
                panic!("{parts:?}");
            };
            assert_eq!(chunk.text, text);
        }
    }
}
